//! A namespace of the shared platform, for one test.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard};
use weir_cluster::{Kubectl, TestNamespace, wait_until};
use weir_e2e::manifests::{OTLP, STORE, store};
use weir_e2e::observer::Seen;
use weir_e2e::platform::{InCluster, cluster_ip, rolled_out, shared_platform};
use weir_e2e::{Observer, wasm_policy};
use weir_loadgen::{Checker, Report, Sender, SenderConfig, SenderHandle};

pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
pub(crate) const STORES: [&str; 2] = ["store-low", "store-high"];

/// The machine is shared: one test at a time, or each would measure the others.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

pub(crate) struct Setting {
    pub(crate) namespace: TestNamespace,
    pub(crate) observer: Observer,
    pub(crate) operator: InCluster,
    _alone: MutexGuard<'static, ()>,
}

impl Setting {
    /// None: this is not root, so nodes can't run.
    pub(crate) async fn new(name: &str) -> Result<Option<Self>> {
        if std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) != 0) {
            println!("skipped: needs root");
            return Ok(None);
        }
        let alone = ONE_AT_A_TIME.lock().await;
        let (cluster, operator) = shared_platform()?;
        let namespace = TestNamespace::create(cluster, name)?;
        let observer = Observer::start(cluster.kubeconfig(), namespace.name()).await?;
        Ok(Some(Self { namespace, observer, operator, _alone: alone }))
    }

    pub(crate) fn kubectl(&self) -> &Kubectl {
        self.namespace.kubectl()
    }

    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl().apply(&object.to_string()).map(drop)
    }

    /// The built-in threshold, that goes up by the last second and down by the peak of the last `down` ones.
    pub(crate) fn quick_rule(&self, down: u32) -> Result<()> {
        self.apply(&wasm_policy("rule", json!({ "builtin": { "name": "threshold" } }), json!({ "seconds": 1, "downSeconds": down })))
    }

    /// Two VictoriaLogs; their URLs.
    pub(crate) fn stores(&self) -> Result<Vec<String>> {
        for (name, node) in STORES.into_iter().zip(["node-1", "node-2"]) {
            self.apply(&store(self.namespace.name(), name, node))?;
        }
        rolled_out(self.kubectl(), &STORES)?;
        STORES.iter().map(|name| Ok(format!("http://{}:{STORE}", cluster_ip(self.kubectl(), name)?))).collect()
    }

    /// Clients with long-lived gRPC connections to a LogProcessor's Service.
    pub(crate) fn send(&self, processor: &str, run: &str, rate: &str) -> Result<SenderHandle> {
        let target = format!("{}:{OTLP}", cluster_ip(self.kubectl(), processor)?);
        let config = SenderConfig {
            connections: 12,
            streams: 12,
            skew: 0.5,
            in_flight: 2,
            profile: rate.parse()?,
            ..SenderConfig::new(format!("{run}-{}", self.namespace.name()), vec![target.parse()?])
        };
        Ok(Sender::start(config)?)
    }

    pub(crate) async fn until<T>(&self, what: &str, within: Duration, found: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        self.observer.until(what, within, found).await.with_context(|| self.story())
    }

    /// Waits for a condition of a LogProcessor; its message.
    pub(crate) async fn condition(&self, processor: &str, kind: &str, status: &str, reason: &str) -> Result<String> {
        self.until(&format!("{processor} has {kind}={status} with reason {reason}"), PATIENCE * 2, |seen| {
            seen.condition(processor, kind).filter(|(is, why, _)| *is == status && *why == reason).map(|(_, _, message)| message.to_owned())
        })
        .await
    }

    /// Waits until a LogProcessor's Deployment asks for so many replicas, all are ready, and no other pod is left.
    pub(crate) async fn settled(&self, processor: &str, replicas: usize) -> Result<()> {
        let workload = format!("{processor}-collector");
        self.until(&format!("{processor} has settled on {replicas} replicas"), PATIENCE * 2, |seen| {
            let asked = seen.replicas(&workload)?;
            let pods = || seen.pods_of(processor);
            let ready = pods().filter(|pod| weir_e2e::observer::is_ready(pod)).count();
            (usize::try_from(asked) == Ok(replicas) && ready == replicas && pods().count() == replicas).then_some(())
        })
        .await
    }

    /// Waits until the operator has decided some more times, over all objects.
    pub(crate) fn more_decisions(&self, more: f64) -> Result<()> {
        let decisions = || self.operator.metric("weir_decisions_total", "");
        let before = decisions()?;
        wait_until("more decisions", PATIENCE, || Ok((decisions()? >= before + more).then_some(()))).with_context(|| self.story())
    }

    /// Every record was acknowledged, and each of them is in one of the stores.
    pub(crate) async fn all_found(&self, report: &Report, stores: &[String]) -> Result<()> {
        let verdict = Checker::new(stores, &report.run).check(report).await?;
        println!("{} acknowledged, {} found, {} missing, {} twice", verdict.acked, verdict.distinct, verdict.missing, verdict.duplicates);
        assert!(
            verdict.complete() && report.all_acked(),
            "{:?} {:?}\n{}",
            report.records,
            verdict.streams.iter().map(|stream| &stream.missing_ranges).collect::<Vec<_>>(),
            self.story()
        );
        Ok(())
    }

    /// Nothing was forbidden to the operator so far. Writes into a namespace that is being deleted don't count:
    /// they are forbidden to everyone.
    pub(crate) fn nothing_forbidden(&self) -> Result<()> {
        let log = self.operator.whole_log()?;
        let is_refusal = |line: &&str| line.to_lowercase().contains("forbidden") && !line.contains("because it is being terminated");
        let lines: Vec<&str> = log.lines().filter(is_refusal).collect();
        ensure!(lines.is_empty(), "the operator lacks a right: {lines:#?}");
        Ok(())
    }

    pub(crate) fn story(&self) -> String {
        let look = |args: &[&str]| self.kubectl().run(args.iter().copied()).unwrap_or_else(|error| format!("{error:#}\n"));
        format!(
            "{}\n{}\n{}\n--- log of the operator\n{}",
            look(&["get", "lp,wp,deploy,pods,jobs", "-o", "wide"]),
            look(&["get", "lp", "-o", "yaml", "--show-managed-fields=false"]),
            look(&["get", "events", "--sort-by=.lastTimestamp"]),
            self.operator.log()
        )
    }
}
