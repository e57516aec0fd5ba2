//! Bad metrics through scrapes: whatever the pods answer, the replicas are held and the LogProcessor
//! says why, until the pods answer well again. The pods are played; at their addresses the test
//! itself answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

#[path = "plane/bad_metrics.rs"]
mod bad_metrics;

use anyhow::{Context as _, Result};
use bad_metrics::{Fault, Then, Whom, body, faults, good};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_e2e::exposer::{Counter, Says};
use weir_e2e::observer::{Seen, is_ready};
use weir_e2e::plane::PATIENCE;
use weir_e2e::{Exposer, Plane, processor, wasm_policy};

const PODS: usize = 5;
const WORKLOAD: &str = "edge-collector";
const PATH: &str = "/metrics";

/// Ticks of 250 ms for which a fault lasts: more than the policy and the guardrails need to act on it,
/// which is four in either direction.
const LASTS: usize = 9;

struct Edge {
    plane: Plane,
    exposer: Exposer,
    counters: Vec<Arc<Counter>>,
    /// The pod at each address.
    pods: Vec<String>,
    /// The LogProcessor as it was written.
    object: Value,
}

impl Edge {
    /// Five pods that take 80 records/s each, of the 100 that each can take.
    async fn start(name: &str) -> Result<Self> {
        let plane = Plane::start(name, &[]).await?;
        let exposer = Exposer::start(u8::try_from(PODS)?, Says::Metrics(Arc::new(|| body("0", "")))).await?;
        let counters: Vec<Arc<Counter>> = (0..PODS).map(|_| Counter::new(0.0)).collect();
        for (number, counter) in counters.iter().enumerate() {
            exposer.say(number, good(counter))?;
        }
        // Too little load for five replicas is acted on within a second and so is too much.
        let params = json!({ "target": 0.8, "up": 1.3, "down": 0.7, "seconds": 0.5, "downSeconds": 1 });
        plane.apply(&wasm_policy("rule", json!({ "builtin": { "name": "threshold" } }), params)).await?;
        let mut object = processor("edge", "", "rule", 20);
        object["spec"]["scaling"]["guardrails"]["scaleDown"]["stabilizationWindow"] = json!("0s");
        object["spec"]["metrics"] = json!({
            "interval": "250ms", "window": "5s", "staleness": "2s", "scrape": { "port": exposer.port(), "path": PATH },
            "series": [
                { "name": "offered", "unit": "records/s", "scrape": { "metric": "demo_records_total", "kind": "Counter" } },
                { "name": "memory", "unit": "By", "scrape": { "metric": "demo_memory_bytes", "kind": "Gauge" } },
            ],
        });
        plane.apply(&object).await?;
        let mut edge = Self { plane, exposer, counters, pods: Vec::new(), object };
        // The first pod takes all there is until the others are there.
        edge.counters.first().context("a counter")?.set_rate(380.0);
        edge.place(1).await?;
        edge.replicas(PODS).await?;
        edge.place(PODS).await?;
        edge.counters.iter().for_each(|counter| counter.set_rate(80.0));
        edge.metrics_ready("at the start").await?;
        Ok(edge)
    }

    /// Waits for so many ready pods and gives an address to those that have none of the test's.
    async fn place(&mut self, count: usize) -> Result<()> {
        let all = |seen: &Seen| {
            let ready: Vec<String> = seen.pods_of("edge").filter(|pod| is_ready(pod)).filter_map(|pod| pod.metadata.name.clone()).collect();
            (ready.len() == count).then_some(ready)
        };
        let ready = self.plane.observer.until(&format!("{count} pods are ready"), PATIENCE, all).await?;
        let mut new: Vec<String> = ready.iter().filter(|pod| !self.pods.contains(pod)).cloned().collect();
        self.pods.resize(count, String::new());
        for (number, pod) in self.pods.iter_mut().enumerate().filter(|(_, pod)| !ready.contains(pod)) {
            *pod = new.pop().context("a pod without an address")?;
            self.plane.place(pod, &self.exposer.address(number)?).await?;
        }
        // Whoever plays the pods may write an address of its own a moment later.
        let mut right = 0;
        while right < 4 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            right += 1;
            for (number, pod) in self.pods.iter().enumerate() {
                let address = self.exposer.address(number)?;
                let has = |found: &Pod| found.status.as_ref().and_then(|status| status.pod_ip.as_deref()) == Some(address.as_str());
                let is_there = self.plane.observer.now().pods_of("edge").any(|found| found.metadata.name.as_deref() == Some(pod) && has(found));
                if !is_there {
                    self.plane.place(pod, &address).await?;
                    right = 0;
                }
            }
        }
        Ok(())
    }

    async fn replicas(&self, count: usize) -> Result<()> {
        let wanted = i32::try_from(count)?;
        let scaled = self.plane.observer.until(&format!("{count} replicas"), PATIENCE, |seen| (seen.replicas(WORKLOAD) == Some(wanted)).then_some(())).await;
        scaled.with_context(|| self.plane.operator.log())
    }

    /// Waits for MetricsReady=True and for five ticks more.
    async fn metrics_ready(&self, when: &str) -> Result<()> {
        let ready = |seen: &Seen| seen.condition("edge", "MetricsReady").filter(|(status, ..)| *status == "True").map(drop);
        let ready = self.plane.observer.until(&format!("the metrics are ready {when}"), PATIENCE, ready).await;
        ready.with_context(|| format!("{:?}", self.plane.namespace.kubectl().run(["get", "lp/edge", "-o", "yaml"])))?;
        self.plane.ticks(&self.exposer, 0, PATH, 5).await
    }

    /// How often the replicas were seen to change.
    fn changes(&self) -> usize {
        self.plane.observer.now().scaled.iter().filter(|scaled| scaled.workload == WORKLOAD).count()
    }

    /// Lets time pass in which a wrong decision would be made and acted on.
    async fn last(&self) -> Result<()> {
        let wanted = self.plane.count("weir_decisions_total", "")? + u64::try_from(LASTS)?;
        let decided = async || Ok((self.plane.count("weir_decisions_total", "")? >= wanted).then_some(()));
        weir_cluster::eventually(format!("{LASTS} decisions"), PATIENCE, decided).await
    }

    fn hit(&self, whom: Whom) -> std::ops::Range<usize> {
        if whom == Whom::All { 0..PODS } else { 3..4 }
    }

    /// Lets a fault happen and pass. What is not as it should be.
    async fn suffer(&mut self, fault: &Fault) -> Result<Vec<String>> {
        let (mut wrong, before, begun) = (Vec::new(), self.changes(), Instant::now());
        for number in self.hit(fault.whom) {
            let counter = self.counters.get(number).context("a counter")?;
            match fault.says {
                Some(says) => self.exposer.say(number, says(counter))?,
                None => counter.restart(),
            }
        }
        match fault.then {
            Then::Harmless => println!("{:<42} harmless", fault.name),
            Then::Held(reasons, words) => {
                let last = RefCell::new(None);
                // Not all pods are hit in the same tick: what is said in the end counts.
                let says = |seen: &Seen| {
                    let (_, reason, message) = seen.condition("edge", "MetricsReady").filter(|(status, ..)| *status == "False")?;
                    *last.borrow_mut() = Some(format!("{reason}: {message}"));
                    let all = words.iter().all(|words| words.split('|').any(|word| message.contains(word))) && message.contains("the replicas are held");
                    (reasons.split('|').any(|wanted| wanted == reason) && all).then(|| (reason.to_owned(), message.to_owned()))
                };
                match self.plane.observer.until("MetricsReady is False", Duration::from_secs(6), says).await {
                    Ok((reason, message)) => println!("{:<42} {reason:<20} {:>5.0} ms  {message}", fault.name, begun.elapsed().as_secs_f64() * 1e3),
                    Err(_) => wrong.push(format!("MetricsReady should say {reasons} and {words:?}, and says {}", last.borrow().as_deref().unwrap_or("True"))),
                }
            }
        }
        self.last().await?;
        wrong.extend(self.moved(before, "while it lasts"));
        for number in self.hit(fault.whom) {
            self.exposer.say(number, good(self.counters.get(number).context("a counter")?))?;
        }
        let begun = Instant::now();
        self.metrics_ready("again").await?;
        let took = begun.elapsed();
        self.last().await?;
        wrong.extend(self.moved(before, "after it"));
        if took > Duration::from_secs(8) {
            wrong.push(format!("recovery took {took:?}"));
        }
        // What is still wrong must not make the next fault look wrong, too.
        if self.plane.observer.now().replicas(WORKLOAD) != Some(i32::try_from(PODS)?) {
            self.put_right().await?;
        }
        Ok(wrong.into_iter().map(|wrong| format!("{}: {wrong}", fault.name)).collect())
    }

    fn moved(&self, before: usize, when: &str) -> Option<String> {
        let seen = self.plane.observer.now();
        let all: Vec<i32> = seen.scaled.iter().filter(|scaled| scaled.workload == WORKLOAD).skip(before).map(|scaled| scaled.replicas).collect();
        (!all.is_empty()).then(|| format!("the replicas went from 5 to {all:?} {when}"))
    }

    /// Back to five pods, by way of a pin.
    async fn put_right(&mut self) -> Result<()> {
        let mut pinned = self.object.clone();
        pinned["spec"]["replicas"]["pin"] = json!(PODS);
        self.plane.apply(&pinned).await?;
        self.replicas(PODS).await?;
        self.place(PODS).await?;
        self.metrics_ready("with five pods again").await?;
        self.last().await?;
        self.plane.apply(&self.object).await
    }

    async fn pod_ready(&self, pod: &str, ready: bool) -> Result<()> {
        let api: Api<Pod> = Api::namespaced(self.plane.client.clone(), self.plane.namespace.name());
        let mark = async |value: Value| {
            let patch = Patch::Merge(json!({ "metadata": { "annotations": { "test.weir.dev/not-ready": value } } }));
            api.patch(pod, &PatchParams::default(), &patch).await.map(drop)
        };
        let status = if ready { "True" } else { "False" };
        let condition = Patch::Strategic(json!({ "status": { "conditions": [{ "type": "Ready", "status": status }] } }));
        if !ready {
            // Otherwise whoever plays the pods makes it ready again, at another address.
            mark(json!("true")).await?;
        }
        self.plane.patch_pod_status(pod, &condition).await?;
        if ready {
            mark(Value::Null).await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_pods_answer_the_replicas_are_held_and_the_object_says_why() -> Result<()> {
    let mut edge = Edge::start("scrapes").await?;
    let before = edge.plane.memory()?;
    let mut wrong = Vec::new();
    for fault in faults() {
        wrong.extend(edge.suffer(&fault).await?);
    }
    let after = edge.plane.memory()?;
    println!("memory: {} MB before, {} MB after, at most {} MB", before.resident, after.resident, after.peak);
    if after.resident > before.resident + 64 {
        wrong.push(format!("memory grew from {} to {} MB", before.resident, after.resident));
    }
    if edge.plane.count("weir_actor_panics_total", "")? > 0 {
        wrong.push("a task panicked".to_owned());
    }
    // That nothing moved above is no wonder unless what is real moves the replicas.
    edge.counters.iter().for_each(|counter| counter.set_rate(16.0));
    edge.replicas(1).await?;
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_ready_any_more_does_not_make_the_load_look_smaller() -> Result<()> {
    let edge = Edge::start("unready").await?;
    let (before, pod) = (edge.changes(), edge.pods.get(3).context("a pod")?.clone());
    edge.pod_ready(&pod, false).await?;
    let told = |seen: &Seen| {
        let (_, reason, message) = seen.condition("edge", "Ready").filter(|(status, ..)| *status == "False")?;
        message.contains("4 of 5 replicas are ready").then(|| (reason.to_owned(), message.to_owned()))
    };
    let (reason, message) = edge.plane.observer.until("Ready says that 4 of 5 replicas are ready", PATIENCE, told).await?;
    println!("one of five is not ready: {reason}: {message}");
    edge.last().await?;
    println!("{:?}", edge.plane.observer.now().condition("edge", "MetricsReady"));
    assert_eq!(edge.moved(before, "while one pod was not ready"), None);
    edge.pod_ready(&pod, true).await?;
    let ready = |seen: &Seen| seen.condition("edge", "Ready").filter(|(status, ..)| *status == "True").map(drop);
    edge.plane.observer.until("Ready is True again", PATIENCE, ready).await?;
    edge.metrics_ready("again").await?;
    edge.last().await?;
    assert_eq!(edge.moved(before, "after it was ready again"), None);
    Ok(())
}
