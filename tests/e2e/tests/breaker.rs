//! A module that passed its probes and then keeps failing: the one before it decides, or the policy of
//! spec.fallback, or replicas are held; good probes or a good new module end that. And quotas of a namespace:
//! exceeded and freed. On a control plane with fake nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::time::Duration;
use weir_cluster::{Cluster, Level, TestNamespace, shared, wait_until};
use weir_core::ids::Digest;
use weir_e2e::{Answer, Operator, Prometheus, apply_crds, component, condition, processor, ship, wasm_policy};

const PATIENCE: Duration = Duration::from_secs(90);
const USERS: usize = 3;
/// A load that the module bears, and one at which it traps.
const CALM: f64 = 150.0;
const OVERLOAD: f64 = 5000.0;

struct Setting {
    _cluster: &'static Cluster,
    namespace: TestNamespace,
    operator: Operator,
    prometheus: Prometheus,
}

impl Setting {
    async fn new(name: &str, options: &[&str]) -> Result<Self> {
        let cluster = shared(Level::ControlPlane)?;
        apply_crds(cluster)?;
        let namespace = TestNamespace::create(cluster, name)?;
        let prometheus = Prometheus::start(Answer::Value(CALM)).await?;
        let operator = Operator::start(cluster, namespace.name(), options)?;
        Ok(Self { _cluster: cluster, namespace, operator, prometheus })
    }

    /// Some objects by one policy, whose first module is this one.
    fn populate(&self, module: &str) -> Result<()> {
        self.ship("module", module)?;
        self.policy("rule", "module")?;
        for user in 0..USERS {
            let mut object = processor(&format!("user-{user}"), &self.prometheus.url, "rule", 20);
            object["spec"]["scaling"]["guardrails"]["scaleDown"]["stabilizationWindow"] = json!("0s");
            self.apply(&object)?;
        }
        Ok(())
    }

    fn policy(&self, name: &str, map: &str) -> Result<()> {
        let mut policy = wasm_policy(name, json!({ "configMap": { "name": map, "key": "policy.wasm" } }), json!({}));
        policy["spec"].as_object_mut().context("a spec")?.remove("params");
        self.apply(&policy)
    }

    fn ship(&self, map: &str, module: &str) -> Result<()> {
        ship(&self.namespace, map, &component(&format!("fixtures/{module}"))?)
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.namespace.kubectl().apply(&object.to_string()).map(drop)
    }

    fn patch(&self, what: &str, spec: &Value) -> Result<()> {
        self.namespace.kubectl().run(["patch", "wasmpolicy", what, "--type=merge", "-p", &json!({ "spec": spec }).to_string()]).map(drop)
    }

    fn replicas(&self) -> Result<Vec<u64>> {
        let all = self.namespace.kubectl().json(["get", "deployments"])?;
        let items = all["items"].as_array().context("items")?.iter();
        Ok(items.filter_map(|item| item.pointer("/spec/replicas").and_then(Value::as_u64)).collect())
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.namespace.kubectl().json(["get", kind, name])
    }

    fn until(&self, what: &str, is: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        wait_until(what, PATIENCE, || Ok(is(self)?.then_some(()))).with_context(|| {
            let status = |kind: &str, name: &str| self.get(kind, name).map(|object| object["status"].clone()).unwrap_or_default();
            let (policy, user) = (status("wasmpolicy", "rule"), status("logprocessor", "user-0"));
            format!("{:?}\n{policy:#}\n{user:#}\n{}", self.replicas().unwrap_or_default(), self.operator.log())
        })
    }

    fn all_have(&self, replicas: u64) -> Result<()> {
        self.until(&format!("all have {replicas} replicas"), |setting| Ok(setting.replicas()? == [replicas; USERS]))
    }

    /// Waits until a condition is `status/reason`; its message.
    fn told(&self, (kind, name): (&str, &str), type_: &str, wanted: &str) -> Result<String> {
        let is = |setting: &Self| -> Result<Option<(String, String, String)>> {
            let found = condition(&setting.get(kind, name)?, type_);
            Ok(found.filter(|(status, reason, _)| format!("{status}/{reason}") == wanted))
        };
        self.until(&format!("{type_} of {kind} {name} is {wanted}"), |setting| Ok(is(setting)?.is_some()))?;
        let message = is(self)?.map(|(.., message)| message).unwrap_or_default();
        println!("{kind} {name} {type_} {wanted}: {message}");
        Ok(message)
    }

    fn events(&self) -> Result<Vec<String>> {
        let all = self.namespace.kubectl().json(["get", "events.events.k8s.io"])?;
        Ok(all["items"].as_array().context("items")?.iter().filter_map(|event| event["reason"].as_str().map(str::to_owned)).collect())
    }
}

const RULE: (&str, &str) = ("wasmpolicy", "rule");

#[tokio::test(flavor = "multi_thread")]
async fn the_module_before_decides_while_the_newest_one_keeps_failing_and_a_good_one_ends_that() -> Result<()> {
    let setting = Setting::new("breaker", &[]).await?;
    setting.populate("fixed-2")?;
    setting.all_have(2)?;
    setting.ship("module", "overload-traps")?;
    setting.all_have(7)?;
    setting.prometheus.say(Answer::Value(OVERLOAD));
    let said = setting.told(RULE, "BreakerOpen", "True/FallbackDecides")?;
    assert!(said.contains("calls of module") && said.contains("the last one with Trap: wasm trap") && said.contains("asked beside it from"), "{said}");
    setting.told(RULE, "Ready", "True/FallbackDecides")?;
    setting.all_have(2)?;
    setting.told(("logprocessor", "user-0"), "PolicyReady", "True/FallbackDecides")?;
    let good = Digest::of(&component("fixtures/fixed-2")?).to_string();
    setting.until("the last decision says who made it, and why", |setting| {
        let last = &setting.get("logprocessor", "user-0")?["status"]["lastDecision"];
        Ok(last["policy"]["digest"] == good.as_str() && last["fallback"].as_str().is_some_and(|why| why.contains("Trap")) && last["to"] == 2)
    })?;
    let count = |name: &str| setting.operator.metric(name, "policy=\"rule\"");
    assert_eq!((count("weir_policy_breaker_state")?, count("weir_policy_breaker_openings_total")?), (2.0, 1.0));
    assert!(count("weir_policy_fallback_decisions_total")? >= 1.0);
    // Another module with another digest starts closed; it is a good one.
    setting.ship("module", "fixed-5")?;
    setting.all_have(5)?;
    setting.told(RULE, "BreakerOpen", "False/Closed")?;
    setting.told(RULE, "Ready", "True/AsExpected")?;
    assert_eq!(count("weir_policy_breaker_state")?, 0.0);
    setting.until("both turns were told once", |setting| {
        let events = setting.events()?;
        let times = |reason: &str| events.iter().filter(|event| *event == reason).count();
        Ok((times("BreakerOpened"), times("BreakerClosed")) == (1, 1))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_module_before_it_is_held_until_a_fallback_is_named_and_good_probes_bring_it_back() -> Result<()> {
    let setting = Setting::new("fallback", &[]).await?;
    setting.populate("overload-traps")?;
    setting.all_have(7)?;
    setting.prometheus.say(Answer::Value(OVERLOAD));
    setting.told(RULE, "BreakerOpen", "True/Held")?;
    setting.told(RULE, "Ready", "False/BreakerOpen")?;
    setting.told(("logprocessor", "user-0"), "PolicyReady", "False/BreakerOpen")?;
    assert_eq!(setting.replicas()?, [7; USERS], "held");

    setting.patch("rule", &json!({ "fallback": { "builtin": "oracle" } }))?;
    let said = setting.told(RULE, "FallbackReady", "False/SourceNotFound")?;
    assert!(said.contains("no built-in policy `oracle`") && said.contains("threshold"), "{said}");
    setting.patch("rule", &json!({ "fallback": { "builtin": "threshold", "params": { "speed": 11 } } }))?;
    let said = setting.told(RULE, "FallbackReady", "False/InvalidParams")?;
    assert!(said.contains("speed") && said.contains("spec.fallback.params"), "{said}");
    setting.patch("rule", &json!({ "fallback": { "builtin": "threshold", "params": { "speed": null } } }))?;
    setting.told(RULE, "FallbackReady", "True/AsExpected")?;
    setting.told(RULE, "BreakerOpen", "True/FallbackDecides")?;
    setting.all_have(20)?;

    // The inputs are good again: three probes, from half a minute after the opening on.
    setting.prometheus.say(Answer::Value(CALM));
    setting.told(RULE, "BreakerOpen", "False/Closed")?;
    setting.all_have(7)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_last_finds_no_room_in_the_quota_and_is_loaded_when_there_is_some() -> Result<()> {
    let setting = Setting::new("quota", &["--namespace-quota", "policies=2,decision=1ms"]).await?;
    for (name, module) in [("one", "fixed-2"), ("two", "fixed-5"), ("rule", "fixed-2")] {
        setting.ship(name, module)?;
        setting.policy(name, name)?;
        if name != "rule" {
            setting.told(("wasmpolicy", name), "Ready", "True/AsExpected")?;
        }
    }
    let said = setting.told(RULE, "Ready", "False/QuotaExceeded")?;
    assert!(said.contains("2 WasmPolicies") && said.contains("2 may") && said.contains("--namespace-quota-for"), "{said}");
    let count = |name: &str| setting.operator.metric(name, setting.namespace.name());
    assert_eq!(count("weir_namespace_policies")?, 2.0);
    assert!(count("weir_namespace_compiled_bytes")? > 1000.0 && count("weir_namespace_refusals_total")? >= 1.0);
    setting.namespace.kubectl().run(["delete", "wasmpolicy", "one"])?;
    setting.told(RULE, "Ready", "True/AsExpected")?;

    // A millisecond a second is less than a few dozen decisions a second take in the long run.
    for user in 0..20 {
        setting.apply(&processor(&format!("user-{user}"), &setting.prometheus.url, "rule", 20))?;
    }
    setting.until("decisions are spaced out", |_| {
        Ok(count("weir_namespace_held_decisions_total")? > 0.0 && count("weir_namespace_decision_time_seconds_total")? > 0.0)
    })
}
