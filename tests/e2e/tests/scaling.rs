//! Plain pods on a control plane with fake nodes: what a user of `kubectl` sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use weir_cluster::{Cluster, Kubectl, Level, TestNamespace, shared, wait_until};
use weir_e2e::{Answer, Operator, Prometheus, apply_crds, condition, processor, wasm_policy};

const PATIENCE: Duration = Duration::from_secs(30);

struct Setting {
    cluster: &'static Cluster,
    namespace: TestNamespace,
    prometheus: Prometheus,
    operator: Operator,
}

impl Setting {
    async fn new(name: &str, load: f64) -> Result<Self> {
        let cluster = shared(Level::ControlPlane)?;
        apply_crds(cluster)?;
        let namespace = TestNamespace::create(cluster, name)?;
        let prometheus = Prometheus::start(Answer::Value(load)).await?;
        let operator = Operator::start(cluster, namespace.name(), &[])?;
        let policy = wasm_policy("rule", json!({ "builtin": { "name": "threshold" } }), json!({ "target": 0.8, "up": 0.9, "seconds": 1, "downSeconds": 2 }));
        namespace.kubectl().apply(&policy.to_string())?;
        Ok(Self { cluster, namespace, prometheus, operator })
    }

    fn kubectl(&self) -> &Kubectl {
        self.namespace.kubectl()
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl().apply(&object.to_string()).map(drop)
    }

    fn get(&self, what: &str) -> Result<Value> {
        self.kubectl().json(["get", what])
    }

    fn wait_replicas(&self, workload: &str, replicas: u64) -> Result<()> {
        let what = format!("{workload} asks for {replicas} replicas");
        wait_until(&what, PATIENCE, || Ok(self.get(workload).ok().filter(|found| found.pointer("/spec/replicas").and_then(Value::as_u64) == Some(replicas))))
            .with_context(|| format!("{:?}\n{}", self.kubectl().run(["get", "lp,wp,deploy,pods,events"]), self.operator.log()))
            .map(drop)
    }

    fn wait_condition(&self, object: &str, kind: &str, status: &str, reason: &str) -> Result<String> {
        let what = format!("{object} has {kind}={status} with reason {reason}");
        wait_until(&what, PATIENCE, || {
            let Some((is, why, message)) = self.get(object).ok().and_then(|found| condition(&found, kind)) else { return Ok(None) };
            Ok((is == status && why == reason).then_some(message))
        })
        .with_context(|| format!("{:?}\n{}", self.kubectl().run(["get", object, "-o", "yaml"]), self.operator.log()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_the_load_and_kubectl_tells_the_story() -> Result<()> {
    let setting = Setting::new("follow", 150.0).await?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    setting.wait_replicas("deploy/edge-collector", 2)?;
    setting.wait_condition("lp/edge", "Ready", "True", "AsExpected")?;
    setting.prometheus.say(Answer::Value(1000.0));
    setting.wait_replicas("deploy/edge-collector", 13)?;
    setting.prometheus.say(Answer::Value(100.0));
    setting.wait_replicas("deploy/edge-collector", 2)?;
    let table = setting.kubectl().run(["get", "lp"])?;
    assert!(table.contains("edge") && table.contains("rule") && table.contains("Enforce"), "{table}");
    let object = setting.get("lp/edge")?;
    let last = object.pointer("/status/lastDecision").context("no last decision")?;
    assert_eq!((last["to"].as_u64(), last["policy"]["name"].as_str()), (Some(2), Some("rule")), "{last}");
    let events = setting.kubectl().run(["get", "events", "-o", "wide"])?;
    assert!(events.contains("Scaled"), "{events}");
    println!("{table}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_scale_pins_and_removing_the_pin_gives_control_back() -> Result<()> {
    let setting = Setting::new("pin", 150.0).await?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 6))?;
    setting.wait_replicas("deploy/edge-collector", 2)?;
    setting.kubectl().run(["scale", "lp/edge", "--replicas=5"])?;
    setting.wait_replicas("deploy/edge-collector", 5)?;
    setting.wait_condition("lp/edge", "ScalingActive", "False", "Pinned")?;
    setting.kubectl().run(["scale", "lp/edge", "--replicas=50"])?;
    setting.wait_replicas("deploy/edge-collector", 6)?;
    setting.kubectl().run(["patch", "lp", "edge", "--type=merge", "-p", r#"{"spec":{"replicas":{"pin":null}}}"#])?;
    setting.wait_replicas("deploy/edge-collector", 2)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_that_cannot_be_trusted_hold_the_replicas_and_say_why() -> Result<()> {
    let setting = Setting::new("metrics", 500.0).await?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    setting.wait_replicas("deploy/edge-collector", 7)?;
    for answer in [Answer::Fault, Answer::Html, Answer::Half, Answer::Empty, Answer::Value(f64::NAN), Answer::Old(10.0, 3600.0)] {
        setting.prometheus.say(answer.clone());
        let held = wait_until(format!("{answer:?} holds"), PATIENCE, || {
            let found = condition(&setting.get("lp/edge")?, "MetricsReady");
            Ok(found.filter(|(status, ..)| status == "False"))
        })
        .with_context(|| setting.operator.log())?;
        println!("{answer:?}: {} {}", held.1, held.2);
        assert!(held.2.contains("held"), "{held:?}");
        let replicas = setting.get("deploy/edge-collector")?.pointer("/spec/replicas").and_then(Value::as_u64);
        assert_eq!(replicas, Some(7), "{answer:?}");
        setting.prometheus.say(Answer::Value(500.0));
        setting.wait_condition("lp/edge", "MetricsReady", "True", "AsExpected")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_autoscaler_is_named_and_not_fought() -> Result<()> {
    let setting = Setting::new("rival", 500.0).await?;
    setting.apply(&json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "other" },
        "spec": { "maxReplicas": 3, "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "edge-collector" } },
    }))?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    let message = setting.wait_condition("lp/edge", "ScalingActive", "False", "OtherAutoscaler")?;
    assert!(message.contains("HorizontalPodAutoscaler other"), "{message}");
    setting.kubectl().run(["delete", "hpa", "other"])?;
    setting.wait_replicas("deploy/edge-collector", 7)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workload_is_adopted_and_released_with_the_replicas_it_has() -> Result<()> {
    let setting = Setting::new("adopt", 500.0).await?;
    let pod = json!({ "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "main", "image": "weir.local/busybox:test" }] } });
    let workload = |kind: &str, more: Value| {
        let mut spec = json!({ "replicas": 2, "selector": { "matchLabels": { "app": "web" } }, "template": pod });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": "web" }, "spec": spec })
    };
    for (kind, more) in [("Deployment", json!({})), ("StatefulSet", json!({ "serviceName": "web", "podManagementPolicy": "Parallel" }))] {
        let mut adopting = processor("edge", &setting.prometheus.url, "rule", 20);
        adopting["spec"]["engine"] = json!({ "targetRef": { "kind": kind, "name": "web" } });
        setting.apply(&adopting)?;
        setting.wait_condition("lp/edge", "Ready", "False", "TargetNotFound")?;
        setting.apply(&workload(kind, more))?;
        setting.wait_replicas(&format!("{kind}/web"), 7)?;
        setting.kubectl().run(["delete", "lp", "edge", "--timeout=20s"])?;
        let released = setting.get(&format!("{kind}/web"))?;
        assert_eq!(released.pointer("/spec/replicas").and_then(Value::as_u64), Some(7));
        assert_eq!(released.pointer("/metadata/labels/weir.dev~1processor"), None);
        setting.kubectl().run(["delete", kind, "web", "--timeout=20s"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_run_and_pause_change_nothing() -> Result<()> {
    let setting = Setting::new("dry", 500.0).await?;
    let mut object = processor("edge", &setting.prometheus.url, "rule", 20);
    object["spec"]["scaling"]["mode"] = json!("DryRun");
    setting.apply(&object)?;
    setting.wait_condition("lp/edge", "ScalingActive", "False", "DryRun")?;
    wait_until("the decision is recorded", PATIENCE, || {
        Ok(setting.get("lp/edge")?.pointer("/status/lastDecision/to").and_then(Value::as_u64).filter(|to| *to == 7))
    })?;
    assert_eq!(setting.get("deploy/edge-collector")?.pointer("/spec/replicas").and_then(Value::as_u64), Some(1));
    object["spec"]["scaling"]["paused"] = json!(true);
    object["spec"]["scaling"]["mode"] = json!("Enforce");
    setting.apply(&object)?;
    setting.wait_condition("lp/edge", "ScalingActive", "False", "Paused")?;
    assert_eq!(setting.get("deploy/edge-collector")?.pointer("/spec/replicas").and_then(Value::as_u64), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_weir_owns_is_put_right_when_somebody_edits_or_deletes_it() -> Result<()> {
    let setting = Setting::new("drift", 500.0).await?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    setting.wait_replicas("deploy/edge-collector", 7)?;
    setting.kubectl().run(["set", "image", "deploy/edge-collector", "main=wrong:1"])?;
    wait_until("the image is put right", PATIENCE, || {
        let image = setting.get("deploy/edge-collector")?.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str).map(str::to_owned);
        Ok(image.filter(|image| image == "weir.local/busybox:test"))
    })
    .with_context(|| setting.operator.log())?;
    setting.kubectl().run(["delete", "deploy", "edge-collector"])?;
    setting.wait_replicas("deploy/edge-collector", 7)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_is_killed_at_random_ends_in_the_same_state_without_flapping() -> Result<()> {
    let mut setting = Setting::new("kill", 150.0).await?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    setting.wait_replicas("deploy/edge-collector", 2)?;
    let mut seen: Vec<u64> = Vec::new();
    for round in 0..20_u32 {
        // The load only ever rises, so replicas that fall would be flapping.
        setting.prometheus.say(Answer::Value(150.0 + f64::from(round) * 50.0));
        let pause = Duration::from_millis(rand::random_range(20..1500));
        let until = Instant::now() + pause;
        wait_until("the moment of the kill", PATIENCE, || {
            let replicas = setting.get("deploy/edge-collector")?.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or_default();
            if seen.last() != Some(&replicas) {
                seen.push(replicas);
            }
            Ok((Instant::now() >= until).then_some(()))
        })?;
        setting.operator.kill()?;
        setting.operator = Operator::spawn(setting.cluster, setting.namespace.name(), &[])?;
    }
    setting.operator.wait_ready()?;
    setting.prometheus.say(Answer::Value(1500.0));
    setting.wait_replicas("deploy/edge-collector", 19)?;
    println!("replicas through 20 kills: {seen:?}");
    assert!(seen.is_sorted(), "replicas fell while the load rose: {seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_takes_over_when_the_leader_dies() -> Result<()> {
    let mut setting = Setting::new("leader", 150.0).await?;
    setting.apply(&processor("edge", &setting.prometheus.url, "rule", 20))?;
    setting.wait_replicas("deploy/edge-collector", 2)?;
    let standby = Operator::start(setting.cluster, setting.namespace.name(), &[])?;
    assert!(standby.metric("weir_decisions_total", "")? == 0.0, "a standby must not decide");
    let decided = |operator: &Operator| -> Result<()> {
        wait_until("the standby decides", PATIENCE, || Ok((operator.metric("weir_decisions_total", "")? > 0.0).then_some(()))).with_context(|| operator.log())
    };
    setting.operator.kill()?;
    let begun = Instant::now();
    decided(&standby)?;
    println!("killed leader: the standby decided after {:.2} s", begun.elapsed().as_secs_f64());
    let next = Operator::start(setting.cluster, setting.namespace.name(), &[])?;
    setting.operator = standby;
    setting.operator.terminate()?;
    let begun = Instant::now();
    decided(&next)?;
    println!("clean handover: the next one decided after {:.2} s", begun.elapsed().as_secs_f64());
    setting.operator = next;
    // Seven replicas, from whatever there was on the way.
    setting.prometheus.say(Answer::Value(560.0));
    setting.wait_replicas("deploy/edge-collector", 7)
}
