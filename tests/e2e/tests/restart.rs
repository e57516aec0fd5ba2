//! What a start of the operator meets: a broken source, edits that were made meanwhile, nothing to
//! measure yet. On a control plane with fake nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::time::Duration;
use weir_cluster::{Cluster, Kubectl, Level, TestNamespace, shared, wait_until};
use weir_e2e::{Answer, Operator, Prometheus, apply_crds, component, condition, processor, ship, wasm_policy};

/// What exists is compared within half a minute of a start.
const PATIENCE: Duration = Duration::from_secs(60);

struct Setting {
    cluster: &'static Cluster,
    namespace: TestNamespace,
    prometheus: Prometheus,
    operator: Operator,
}

impl Setting {
    async fn new(name: &str) -> Result<Self> {
        let cluster = shared(Level::ControlPlane)?;
        apply_crds(cluster)?;
        let namespace = TestNamespace::create(cluster, name)?;
        let prometheus = Prometheus::start(Answer::Value(150.0)).await?;
        let operator = Operator::start(cluster, namespace.name(), &[])?;
        Ok(Self { cluster, namespace, prometheus, operator })
    }

    fn restart(&mut self, meanwhile: impl FnOnce(&Self) -> Result<()>) -> Result<()> {
        self.operator.kill()?;
        meanwhile(self)?;
        self.operator = Operator::start(self.cluster, self.namespace.name(), &[])?;
        Ok(())
    }

    fn kubectl(&self) -> &Kubectl {
        self.namespace.kubectl()
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl().apply(&object.to_string()).map(drop)
    }

    /// An object once it looks as wanted.
    fn wait(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        let seen = || self.kubectl().json(["get", what]).ok();
        wait_until(what, PATIENCE, || Ok(seen().filter(|found| is(found)))).with_context(|| format!("{:#?}\n{}", seen(), self.operator.log()))
    }

    fn replicas(&self, wanted: u64) -> Result<()> {
        self.wait("deploy/edge-collector", |found| found.pointer("/spec/replicas").and_then(Value::as_u64) == Some(wanted)).map(drop)
    }

    fn more_replicas_than(&self, before: u64) -> Result<u64> {
        let replicas = |found: &Value| found.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or_default();
        self.wait("deploy/edge-collector", |found| replicas(found) > before).map(|found| replicas(&found))
    }

    /// The message of a condition once it has that status and reason.
    fn condition(&self, object: &str, kind: &str, status: &str, reason: &str) -> Result<String> {
        let has = |found: &Value| condition(found, kind).filter(|(is, why, _)| is == status && why == reason);
        let found = self.wait(object, |found| has(found).is_some())?;
        has(&found).map(|(_, _, message)| message).context("the condition has turned")
    }

    fn policy_of_config_map(&self) -> Result<()> {
        ship(&self.namespace, "rule", &component("threshold")?)?;
        let params = json!({ "target": 0.8, "up": 0.9, "seconds": 1, "downSeconds": 2 });
        self.apply(&wasm_policy("rule", json!({ "configMap": { "name": "rule" } }), params))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_starts_while_the_source_is_broken_goes_on_with_the_last_good_module() -> Result<()> {
    let mut setting = Setting::new("broken-source").await?;
    ship(&setting.namespace, "rule", &component("threshold")?)?;
    setting.apply(&wasm_policy("rule", json!({ "configMap": { "name": "rule" } }), json!({})))?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 40))?;
    let mut replicas = setting.more_replicas_than(1)?;
    setting.wait("configmap/rule-last-good", |_| true)?;
    let digest = |found: &Value| found.pointer("/status/running/digest").and_then(Value::as_str).map(str::to_owned);
    let good = digest(&setting.kubectl().json(["get", "wp/rule"])?).context("no digest")?;

    for (load, breaks, reason) in [(500.0, "garbage", "NotWasm"), (1000.0, "gone", "SourceNotFound"), (1800.0, "traps", "ProbeFailed")] {
        if breaks == "traps" {
            // Refused while the operator runs: the next one has no snapshots yet, and must not take it in.
            ship(&setting.namespace, "rule", &component("fixtures/traps")?)?;
            setting.condition("wp/rule", "LatestAccepted", "False", reason)?;
        }
        setting.restart(|setting| match breaks {
            "garbage" => ship(&setting.namespace, "rule", b"not a module"),
            "gone" => setting.kubectl().run(["delete", "configmap", "rule"]).map(drop),
            _ => Ok(()),
        })?;
        setting.prometheus.say(Answer::Value(load));
        replicas = setting.more_replicas_than(replicas)?;
        let message = setting.condition("wp/rule", "LatestAccepted", "False", reason)?;
        println!("{breaks}: {reason}: {message}");
        setting.condition("wp/rule", "Ready", "True", "AsExpected")?;
        assert_eq!(digest(&setting.kubectl().json(["get", "wp/rule"])?), Some(good.clone()));
    }
    // A module that is all right is taken in again.
    ship(&setting.namespace, "rule", &component("fixtures/fixed-5")?)?;
    setting.condition("wp/rule", "LatestAccepted", "True", "AsExpected")?;
    setting.replicas(5)?;
    // The copy goes with its policy.
    setting.kubectl().run(["delete", "wp", "rule"])?;
    wait_until("the copy is gone", PATIENCE, || Ok(setting.kubectl().json(["get", "configmap/rule-last-good"]).err().map(drop)))
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_budgets_are_put_right_at_once_and_edits_of_a_time_without_operator_soon() -> Result<()> {
    let mut setting = Setting::new("edits").await?;
    setting.policy_of_config_map()?;
    let mut object = processor("edge", &setting.prometheus.url, "rule", 20);
    object["spec"]["engine"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "name": "http", "containerPort": 8080 }]);
    setting.apply(&object)?;
    setting.replicas(2)?;
    let port = |found: &Value| found.pointer("/spec/ports/0/port").and_then(Value::as_u64);
    let most = |found: &Value| found.pointer("/spec/maxUnavailable").cloned();
    setting.wait("service/edge", |found| port(found) == Some(8080))?;
    setting.wait("pdb/edge", |found| most(found) == Some(json!("10%")))?;
    let edit = |setting: &Setting| -> Result<()> {
        setting.kubectl().run(["patch", "service", "edge", "--type=json", "-p", r#"[{"op":"replace","path":"/spec/ports/0/port","value":9999}]"#])?;
        setting.kubectl().run(["patch", "pdb", "edge", "--type=merge", "-p", r#"{"spec":{"maxUnavailable":"100%"}}"#])?;
        Ok(())
    };
    edit(&setting)?;
    setting.wait("service/edge", |found| port(found) == Some(8080))?;
    setting.wait("pdb/edge", |found| most(found) == Some(json!("10%")))?;
    setting.kubectl().run(["delete", "service/edge", "pdb/edge"])?;
    setting.wait("service/edge", |found| port(found) == Some(8080))?;
    setting.wait("pdb/edge", |found| most(found) == Some(json!("10%")))?;
    setting.condition("lp/edge", "Ready", "True", "AsExpected")?;
    setting.restart(edit)?;
    setting.wait("service/edge", |found| port(found) == Some(8080))?;
    setting.wait("pdb/edge", |found| most(found) == Some(json!("10%"))).map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_normal_start_and_a_restart_publish_no_warning_and_keep_the_status() -> Result<()> {
    let mut setting = Setting::new("calm").await?;
    setting.policy_of_config_map()?;
    setting.condition("wp/rule", "Ready", "True", "AsExpected")?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    setting.replicas(2)?;
    setting.condition("lp/edge", "Ready", "True", "AsExpected")?;
    setting.condition("lp/edge", "ScalingActive", "True", "AsExpected")?;
    let before = setting.kubectl().json(["get", "lp/edge"])?;
    setting.restart(|_| Ok(()))?;
    wait_until("the new process decides", PATIENCE, || Ok((setting.operator.metric("weir_decisions_total", "Steady")? >= 8.0).then_some(())))?;
    let after = setting.kubectl().json(["get", "lp/edge"])?;
    assert_eq!(before["status"]["conditions"], after["status"]["conditions"]);
    assert_eq!(before["status"]["lastDecision"], after["status"]["lastDecision"]);
    let events = setting.kubectl().json(["get", "events.events.k8s.io"])?;
    let ours = |event: &&Value| event["reportingController"] == "weir.dev/operator" && event["type"] == "Warning";
    let warnings: Vec<&Value> = events["items"].as_array().into_iter().flatten().filter(ours).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_metrics_is_not_told_that_they_are_missing() -> Result<()> {
    let setting = Setting::new("no-metrics").await?;
    setting.apply(&json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": "edge" },
        "spec": {
            "engine": { "template": { "spec": { "containers": [{ "name": "main", "image": "weir.local/busybox:test" }] } } },
            "replicas": { "min": 2, "max": 5 }, "metrics": { "scrape": { "enabled": false } },
        },
    }))?;
    setting.replicas(2)?;
    setting.condition("lp/edge", "MetricsReady", "True", "AsExpected")?;
    setting.condition("lp/edge", "Ready", "True", "AsExpected")?;
    // A policy that has too little to go by says so itself.
    setting.policy_of_config_map()?;
    setting.kubectl().run(["patch", "lp", "edge", "--type=merge", "-p", r#"{"spec":{"scaling":{"policyRef":{"name":"rule"}}}}"#])?;
    setting.condition("lp/edge", "ScalingActive", "False", "CapacityUnknown").map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_that_a_spec_no_longer_refers_to_is_released() -> Result<()> {
    let setting = Setting::new("strays").await?;
    setting.policy_of_config_map()?;
    let pod = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "main", "image": "weir.local/busybox:test" }] } });
    for name in ["blue", "green"] {
        let mut pod = pod.clone();
        pod["metadata"]["labels"] = json!({ "app": name });
        setting.apply(&json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": { "replicas": 1, "selector": { "matchLabels": { "app": name } }, "template": pod },
        }))?;
    }
    let target = |name: &str| {
        let mut object = processor("edge", &setting.prometheus.url, "rule", 20);
        object["spec"]["engine"] = json!({ "targetRef": { "kind": "Deployment", "name": name } });
        object
    };
    let scaled = |found: &Value| found.pointer("/metadata/annotations/weir.dev~1scaled-by").is_some();
    let replicas = |found: &Value| found.pointer("/spec/replicas").and_then(Value::as_u64);
    setting.apply(&target("blue"))?;
    setting.wait("deploy/blue", |found| scaled(found) && replicas(found) == Some(2))?;
    // Another workload: the first one is released with what it has.
    setting.apply(&target("green"))?;
    setting.wait("deploy/green", |found| scaled(found) && replicas(found) == Some(2))?;
    setting.wait("deploy/blue", |found| !scaled(found) && replicas(found) == Some(2))?;
    Ok(())
}
