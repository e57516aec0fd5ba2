//! Policies are exchanged while they decide: how long it takes until the new one does, and that no
//! decision is lost or made twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, ResourceExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_core::ids::Digest;
use weir_e2e::exposer::Says;
use weir_e2e::observer::{Seen, is_ready};
use weir_e2e::plane::{PATIENCE, Pace, quantile, whole};
use weir_e2e::{Answer, Exposer, Plane, Prometheus, component, config_map, processor, wasm_policy};

const INTERVAL: Duration = Duration::from_millis(250);
const USERS: usize = 20;

/// These tests measure times: one after the other.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A component whose digest is another one: with a custom section that says a number.
fn numbered(mut component: Vec<u8>, number: u32) -> Vec<u8> {
    let text = format!("{number:08}");
    // Section 0, its size, the length of its name, its name, its content.
    component.extend([0, 14, 5]);
    component.extend(b"swaps");
    component.extend(text.as_bytes());
    component
}

/// Where the modules come from.
enum Source {
    Map,
    /// A folder as the kubelet mounts it: `policy.wasm` leads to `..data/policy.wasm`, and `..data` to
    /// the folder of the newest version.
    Folder(PathBuf),
}

impl Source {
    fn of_policy(&self) -> Value {
        match self {
            Self::Map => json!({ "configMap": { "name": "rule" } }),
            Self::Folder(_) => json!({ "file": { "path": "rule/policy.wasm" } }),
        }
    }

    async fn ship(&self, plane: &Plane, number: u32, module: &[u8]) -> Result<()> {
        match self {
            Self::Map => plane.apply(&config_map("rule", module)).await,
            Self::Folder(root) => exchange(&root.join("rule"), number, module),
        }
    }
}

fn exchange(folder: &Path, number: u32, module: &[u8]) -> Result<()> {
    let version = format!("..version_{number}");
    fs::create_dir_all(folder.join(&version))?;
    fs::write(folder.join(&version).join("policy.wasm"), module)?;
    let before = fs::read_link(folder.join("..data"));
    symlink(&version, folder.join("..data_tmp"))?;
    fs::rename(folder.join("..data_tmp"), folder.join("..data"))?;
    match before {
        Ok(before) => fs::remove_dir_all(folder.join(before))?,
        Err(_) => symlink("..data/policy.wasm", folder.join("policy.wasm"))?,
    }
    Ok(())
}

/// Writes to the API server like any other client, and remembers how long each write took: whoever
/// waits for a server that is slow decides late.
struct Pulse {
    took: Arc<Mutex<Vec<Duration>>>,
    _task: JoinSet<()>,
}

impl Pulse {
    fn start(plane: &Plane) -> Self {
        let took: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let (sink, api) = (took.clone(), Api::<ConfigMap>::namespaced(plane.client.clone(), plane.namespace.name()));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            for beat in 0_u64.. {
                ticks.tick().await;
                let begun = Instant::now();
                let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "pulse" }, "data": { "beat": beat.to_string() } });
                let _ = api.patch("pulse", &PatchParams::apply("pulse").force(), &Patch::Apply(&map)).await;
                sink.lock().push(begun.elapsed());
            }
        });
        Self { took, _task: task }
    }

    /// Writes so far, and how many of them took longer than half an interval.
    fn writes(&self) -> (usize, usize) {
        let took = self.took.lock();
        (took.len(), took.iter().filter(|took| **took > INTERVAL / 2).count())
    }
}

/// Many users that are measured by scraping, so that each tick of each of them is seen, and one whose
/// replicas follow the policy, so that the first decision of a module is seen in the cluster.
struct Load {
    plane: Plane,
    source: Source,
    exposer: Exposer,
    written: watch::Receiver<Instant>,
    _prometheus: Prometheus,
    _watch: JoinSet<()>,
}

fn path(user: usize) -> String {
    format!("/user-{user}")
}

impl Load {
    async fn start(name: &str, source: Source) -> Result<Self> {
        let options = match &source {
            Source::Map => Vec::new(),
            Source::Folder(root) => vec!["--policy-dir".to_owned(), root.display().to_string()],
        };
        let plane = Plane::start(name, &options.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        let exposer = Exposer::start(1, Says::Metrics(Arc::new(|| "demo_load 50\n".to_owned()))).await?;
        let prometheus = Prometheus::start(Answer::Value(350.0)).await?;
        source.ship(&plane, 0, &numbered(component("fixtures/fixed-2")?, 0)).await?;
        plane.apply(&wasm_policy("rule", source.of_policy(), json!({}))).await?;
        let mut seen = processor("seen", &prometheus.url, "rule", 20);
        seen["spec"]["scaling"]["guardrails"]["scaleDown"]["stabilizationWindow"] = json!("0s");
        plane.apply(&seen).await?;
        for user in 0..USERS {
            let mut object = processor(&format!("user-{user}"), "", "rule", 20);
            object["spec"]["metrics"] = json!({
                "interval": "250ms", "window": "5s", "staleness": "2s", "scrape": { "port": exposer.port(), "path": path(user) },
                "series": [{ "name": "offered", "unit": "records/s", "scrape": { "metric": "demo_load", "kind": "Gauge" } }],
            });
            object["spec"]["scaling"]["mode"] = json!("DryRun");
            plane.apply(&object).await?;
        }
        for user in 0..USERS {
            let name = format!("user-{user}");
            let ready = |seen: &Seen| seen.pods_of(&name).find(|pod| is_ready(pod)).and_then(|pod| pod.metadata.name.clone());
            let pod = plane.observer.until(&format!("the pod of {name} is ready"), PATIENCE, ready).await?;
            plane.place(&pod, &exposer.address(0)?).await?;
        }
        let mut watches = JoinSet::new();
        let written = watch_map(&plane, &mut watches);
        let load = Self { plane, source, exposer, written, _prometheus: prometheus, _watch: watches };
        load.plane.observer.until("the replicas follow the first module", PATIENCE, |seen| (seen.replicas("seen-collector") == Some(2)).then_some(())).await?;
        for user in 0..USERS {
            // A rule that looks three seconds back finds that much.
            load.plane.ticks(&load.exposer, 0, &path(user), if user == 0 { 14 } else { 1 }).await?;
            let proposes = |seen: &Seen| {
                let last = seen.processors.get(&format!("user-{user}"))?.status.as_ref()?.last_decision.as_ref()?;
                (last.proposed == Some(2)).then_some(())
            };
            load.plane.observer.until(&format!("user {user} is decided on"), PATIENCE, proposes).await?;
        }
        Ok(load)
    }

    /// Ticks of all users, counted before and after the calls of the policy are.
    fn counts(&self) -> Result<(u64, u64, u64)> {
        let ticks = || (0..USERS).map(|user| Ok(u64::try_from(self.exposer.asked(0, &path(user))?.len())?)).sum::<Result<u64>>();
        Ok((ticks()?, self.plane.calls("rule")?, ticks()?))
    }

    /// Exchanges the module once. Milliseconds from the change to the first decision, as the operator
    /// measures it up to where a decision is possible, and as the cluster shows it in the replicas.
    async fn swap(&self, number: u32, module: &str, replicas: i32) -> Result<(f64, f64)> {
        let bytes = numbered(component(module)?, number);
        let digest = Digest::of(&bytes).to_string();
        let metric = |name: &str| self.plane.operator.metric(name, "");
        let before = (metric("weir_policy_swap_duration_seconds_sum")?, metric("weir_policy_swap_duration_seconds_count")?);
        let changed_before = *self.written.borrow();
        self.source.ship(&self.plane, number, &bytes).await?;
        let mut changed = Instant::now();
        let seen = |seen: &Seen| {
            let last = seen.scaled.iter().rfind(|scaled| scaled.workload == "seen-collector")?;
            (last.replicas == replicas).then_some(last.at)
        };
        let scaled = self.plane.observer.until(&format!("{module} asks for {replicas} replicas"), PATIENCE, seen).await;
        let scaled = scaled.with_context(|| self.plane.operator.log())?;
        if matches!(self.source, Source::Map) {
            let mut written = self.written.clone();
            changed = *tokio::time::timeout(PATIENCE, written.wait_for(|at| *at != changed_before)).await.context("the ConfigMap's change is not seen")??;
        }
        let decided = |seen: &Seen| {
            let last = seen.processors.get("seen")?.status.as_ref()?.last_decision.as_ref()?;
            let running = seen.policies.get("rule")?.status.as_ref()?.running.as_ref()?;
            (last.policy.as_ref()?.digest == digest && running.digest == digest).then_some(())
        };
        self.plane.observer.until(&format!("{module} {number} decided and runs by the status"), PATIENCE, decided).await?;
        let after = (metric("weir_policy_swap_duration_seconds_sum")?, metric("weir_policy_swap_duration_seconds_count")?);
        ensure!((after.1 - before.1 - 1.0).abs() < 0.5, "{} swaps were counted for one change", after.1 - before.1);
        Ok(((after.0 - before.0) * 1e3, scaled.saturating_duration_since(changed).as_secs_f64() * 1e3))
    }

    /// Exchanges the module so often, and checks times and counts.
    async fn swaps(&self, count: u32, promise: Duration, bound: Duration) -> Result<()> {
        let holds = |when: &str| self.plane.count("weir_decisions_total", "verdict=\"Hold\"").with_context(|| when.to_owned());
        let (held, begun, before) = (holds("before")?, Instant::now(), self.counts()?);
        let starts: Vec<usize> = (0..USERS).map(|user| Ok(self.exposer.asked(0, &path(user))?.len())).collect::<Result<_>>()?;
        let (mut times, waits, pulse) = (Vec::new(), self.waits()?, Pulse::start(&self.plane));
        for number in 1..=count {
            let (module, replicas) = match number % 10 {
                5 => ("threshold", 5),
                odd if odd % 2 == 1 => ("fixtures/fixed-5", 5),
                _ => ("fixtures/fixed-2", 2),
            };
            times.push((module, self.swap(number, module, replicas).await?));
        }
        let (writes, slow) = pulse.writes();
        drop(pulse);
        let (elapsed, after, held) = (begun.elapsed(), self.counts()?, holds("after")? - held);
        println!("{count} swaps in {:.1} s, {} objects deciding every {INTERVAL:?}", elapsed.as_secs_f64(), USERS + 1);
        self.print_times(&times, promise);
        let all: Vec<f64> = times.iter().map(|(_, (_, seen))| *seen).collect();
        assert!(quantile(&all, 1.0) < bound.as_secs_f64() * 1e3, "a swap took longer than {bound:?}");

        self.print_waits(&waits)?;

        let swaps = u64::from(count);
        let mut fewest_extra = u64::MAX;
        let mut most_extra = 0;
        let (mut longest, mut missed) = (Duration::ZERO, 0);
        for (user, start) in starts.iter().enumerate() {
            let moments = self.exposer.asked(0, &path(user))?;
            let pace = Pace::of(moments.get(start - 1..).context("moments")?, INTERVAL);
            assert!(pace.count <= pace.intervals + swaps, "user {user} decided more than once more per swap: {pace:?}");
            fewest_extra = fewest_extra.min(pace.count.saturating_sub(pace.intervals));
            most_extra = most_extra.max(pace.count.saturating_sub(pace.intervals));
            longest = longest.max(pace.longest);
            missed += missed_in(moments.get(start - 1..).unwrap_or_default());
        }
        println!(
            "{USERS} users: {} ticks, {missed} missed; beyond one per interval {fewest_extra} to {most_extra} each (a swap is decided on at once); longest time between two {:.0} ms",
            after.0 - before.0,
            longest.as_secs_f64() * 1e3
        );
        // What is left of the calls is the one whose replicas are seen.
        let rest = (after.1 - before.1).saturating_sub(after.0 - before.0);
        let intervals = whole(elapsed.as_secs_f64() / INTERVAL.as_secs_f64());
        self.all_decide_by(times.len()).await?;
        println!("decisions by the policy: {}, so {rest} for the one whose replicas are seen, in {intervals} intervals; held: {held}", after.1 - before.1);
        let blur = (after.2 - after.0) + (before.2 - before.0) + 3;
        assert!(rest + blur >= intervals && rest <= intervals + swaps + blur, "{rest} decisions in {intervals} intervals with {swaps} swaps (± {blur})");
        // A machine that lets everybody wait says nothing about swaps.
        if (missed, held) != (0, 0) && slow > 0 {
            println!(
                "{slow} of {writes} writes of the test's own took longer than {:?}: the machine is too busy to tell why decisions were missed",
                INTERVAL / 2
            );
        } else {
            assert_eq!((missed, held), (0, 0), "decisions that were missed, and held");
        }
        assert_eq!(self.plane.count("weir_policy_failures_total", "")?, 0);
        Ok(())
    }

    /// Every user's status tells of a decision by the module that runs now.
    async fn all_decide_by(&self, swaps: usize) -> Result<()> {
        let all = |seen: &Seen| {
            let running = &seen.policies.get("rule")?.status.as_ref()?.running.as_ref()?.digest;
            let by_it = |user: usize| {
                let last = seen.processors.get(&format!("user-{user}")).and_then(|user| user.status.as_ref()?.last_decision.as_ref()?.policy.as_ref());
                last.is_some_and(|policy| policy.digest == *running)
            };
            (0..USERS).all(by_it).then_some(())
        };
        self.plane.observer.until(&format!("all users decide by the module of swap {swaps}"), Duration::from_secs(10), all).await
    }

    /// Ticks and requests to the API server: how many there were, and how many took longer than an interval.
    fn waits(&self) -> Result<[u64; 4]> {
        let slow = "le=\"0.25\"";
        let (ticks, requests) = ("weir_tick_duration_seconds", "weir_api_request_duration_seconds");
        let count = |metric: &str, part: &str, with: &str| self.plane.count(&format!("{metric}_{part}"), with);
        let (all, asked) = (count(ticks, "count", "")?, count(requests, "count", "")?);
        Ok([all, all.saturating_sub(count(ticks, "bucket", slow)?), asked, asked.saturating_sub(count(requests, "bucket", slow)?)])
    }

    fn print_waits(&self, before: &[u64; 4]) -> Result<()> {
        let after = self.waits()?;
        let [ticks, slow_ticks, requests, slow_requests]: [u64; 4] = std::array::from_fn(|at| after[at].saturating_sub(before[at]));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let lost = self.plane.count("weir_scrapes_total", "")? - self.plane.count("weir_scrapes_total", "\"ok\"")?;
        println!("{lost} scrapes failed; {} decisions were refused by the policy", self.plane.count("weir_policy_refusals_total", "")?);
        println!(
            "{ticks} ticks, {slow_ticks} of them longer than {INTERVAL:?}; {requests} requests to the API server, {slow_requests} longer; load of the machine {}",
            load.trim()
        );
        Ok(())
    }

    fn print_times(&self, times: &[(&str, (f64, f64))], promise: Duration) {
        let promise = promise.as_secs_f64() * 1e3;
        for (what, threshold) in [("4 KB", false), ("112 KB", true)] {
            let of = |pick: fn(&(f64, f64)) -> f64| -> Vec<f64> {
                times.iter().filter(|(module, _)| (*module == "threshold") == threshold).map(|(_, times)| pick(times)).collect()
            };
            for (measured, values) in
                [("operator, until a decision is possible", of(|times| times.0)), ("cluster, until the replicas are written", of(|times| times.1))]
            {
                let (p50, p99) = (quantile(&values, 0.5), quantile(&values, 0.99));
                let verdict = if p99 <= promise { "met" } else { "MISSED" };
                println!("module of {what}, {} swaps, {measured}: p50 {p50:.1} ms, p99 {p99:.1} ms; promise {promise} ms {verdict}", values.len());
            }
        }
    }
}

/// Decisions that were not made: whole intervals without one, but for the one that a late tick may take.
fn missed_in(moments: &[Instant]) -> u64 {
    let gaps = moments.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps.map(|gap| u64::try_from(gap.as_millis() / INTERVAL.as_millis()).unwrap_or(u64::MAX).saturating_sub(1)).sum()
}

/// When the ConfigMap was seen to change last.
fn watch_map(plane: &Plane, watches: &mut JoinSet<()>) -> watch::Receiver<Instant> {
    let (sender, receiver) = watch::channel(Instant::now());
    let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(plane.client.clone(), plane.namespace.name());
    watches.spawn(async move {
        let mut events = watcher::watcher(api, watcher::Config::default()).default_backoff().boxed();
        while let Some(event) = events.next().await {
            if matches!(&event, Ok(Event::Apply(map)) if map.name_any() == "rule") {
                sender.send_replace(Instant::now());
            }
        }
    });
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_swaps_of_a_config_map_under_load_lose_no_decision() -> Result<()> {
    let _alone = ALONE.lock().await;
    let load = Load::start("swaps", Source::Map).await?;
    load.swaps(50, Duration::from_millis(100), Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_swaps_of_a_mounted_folder_under_load_lose_no_decision() -> Result<()> {
    let _alone = ALONE.lock().await;
    let root = tempfile::tempdir()?;
    let load = Load::start("mounted", Source::Folder(root.path().to_owned())).await?;
    load.swaps(10, Duration::from_secs(1), Duration::from_secs(5)).await
}
