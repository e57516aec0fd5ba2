//! New modules on trial: a canary that is good, one that is worse and comes back by itself, a shadow
//! that a person promotes, a rollback, and an operator that dies in between. On a control plane with
//! fake nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use rstest::rstest;
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use weir_cluster::{Cluster, Level, TestNamespace, shared, wait_until};
use weir_e2e::{Answer, Operator, Prometheus, Values, apply_crds, component, processor, program, ship, wasm_policy};

const PATIENCE: Duration = Duration::from_secs(60);
const USERS: usize = 10;

struct Setting {
    cluster: &'static Cluster,
    namespace: TestNamespace,
    operator: Operator,
    _prometheus: Prometheus,
}

impl Setting {
    /// Ten objects with two replicas each, by a module that always says two.
    async fn new(name: &str, rollout: Value) -> Result<Self> {
        Self::with(name, rollout, Answer::Value(150.0), &[]).await
    }

    /// The same, with more series than the load. `USER` in a query stands for the object's number.
    async fn with(name: &str, rollout: Value, answer: Answer, series: &[(&str, &str)]) -> Result<Self> {
        let cluster = shared(Level::ControlPlane)?;
        apply_crds(cluster)?;
        let namespace = TestNamespace::create(cluster, name)?;
        let prometheus = Prometheus::start(answer).await?;
        let operator = Operator::start(cluster, namespace.name(), &[])?;
        let setting = Self { cluster, namespace, operator, _prometheus: prometheus };
        setting.ship("fixed-2")?;
        let mut policy = wasm_policy("rule", json!({ "configMap": { "name": "module", "key": "policy.wasm" } }), json!({}));
        policy["spec"].as_object_mut().context("a spec")?.remove("params");
        policy["spec"]["rollout"] = rollout;
        setting.apply(&policy)?;
        for user in 0..USERS {
            let mut object = processor(&format!("user-{user}"), &setting._prometheus.url, "rule", 20);
            object["spec"]["scaling"]["guardrails"]["scaleDown"]["stabilizationWindow"] = json!("0s");
            for (name, query) in series {
                let all = object["spec"]["metrics"]["series"].as_array_mut().context("series")?;
                all.push(json!({ "name": name, "unit": "records", "prometheus": { "query": query.replace("USER", &user.to_string()) } }));
            }
            setting.apply(&object)?;
        }
        setting.until("all have two replicas", |setting| Ok(setting.replicas()? == [2; USERS]))?;
        Ok(setting)
    }

    fn ship(&self, module: &str) -> Result<()> {
        ship(&self.namespace, "module", &component(&format!("fixtures/{module}"))?)
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.namespace.kubectl().apply(&object.to_string()).map(drop)
    }

    /// Replicas that each user asks for.
    fn replicas(&self) -> Result<[u64; USERS]> {
        let all = self.namespace.kubectl().json(["get", "deployments"])?;
        let mut replicas = [0; USERS];
        for item in all["items"].as_array().context("items")? {
            let name = item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let number = name.strip_prefix("user-").and_then(|rest| rest.strip_suffix("-collector")).and_then(|number| number.parse::<usize>().ok());
            if let Some(place) = number.and_then(|number| replicas.get_mut(number)) {
                *place = item.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or_default();
            }
        }
        Ok(replicas)
    }

    fn policy(&self) -> Result<Value> {
        self.namespace.kubectl().json(["get", "wasmpolicy", "rule"])
    }

    fn until(&self, what: &str, is: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        wait_until(what, PATIENCE, || Ok(is(self)?.then_some(()))).with_context(|| {
            format!(
                "{:?}\n{:#}\n{}",
                self.replicas().unwrap_or_default(),
                self.policy().map(|policy| policy["status"].clone()).unwrap_or_default(),
                self.operator.log()
            )
        })
    }

    /// Waits until a field of the policy's status is as wanted.
    fn status(&self, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        self.until(what, |setting| Ok(is(&setting.policy()?["status"])))?;
        Ok(self.policy()?["status"].clone())
    }

    fn weir(&self, word: &str) -> Result<String> {
        let output = Command::new(program("weir")?)
            .args(["policy", word, "rule", "--namespace", self.namespace.name(), "--kubeconfig"])
            .arg(self.cluster.kubeconfig())
            .output()?;
        ensure!(output.status.success(), "weir policy {word}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn count(replicas: &[u64], of: u64) -> usize {
    replicas.iter().filter(|found| **found == of).count()
}

fn last(status: &Value) -> (&str, &str, &str) {
    let last = &status["history"][0];
    let text = |field: &str| last[field].as_str().unwrap_or_default();
    (text("outcome"), text("reason"), text("message"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_canary_grows_step_by_step_outlives_the_operator_and_takes_over() -> Result<()> {
    let rollout = json!({ "strategy": "Canary", "steps": [30, 60], "bake": "12s", "minDecisions": 5 });
    let mut setting = Setting::new("canary", rollout).await?;
    setting.ship("fixed-5")?;
    let five = |setting: &Setting| -> Result<usize> { Ok(count(&setting.replicas()?, 5)) };
    setting.until("some are decided for by the new module", |setting| Ok(five(setting)? > 0))?;
    setting.status("the trial is told of", |status| status["candidate"]["percent"] == 30)?;
    let first = setting.replicas()?;
    println!("30 %: {first:?}");
    assert!(count(&first, 2) > 0, "{first:?}");
    // Another process goes on with the same objects in the same step.
    setting.operator.kill()?;
    setting.operator = Operator::start(setting.cluster, setting.namespace.name(), &[])?;
    setting.status("the second step", |status| status["candidate"]["percent"] == 60)?;
    let shown = setting.weir("status")?;
    println!("{shown}");
    assert!(shown.contains("on trial") && shown.contains("step 2, 60 % of the objects"), "{shown}");
    let second = setting.replicas()?;
    println!("60 %: {second:?}");
    for (before, after) in first.iter().zip(&second) {
        assert!(!(*before == 5 && *after == 2), "whoever is in stays in: {first:?}, {second:?}");
    }
    setting.until("all have five replicas", |setting| Ok(five(setting)? == USERS))?;
    let status = setting.status("the trial is over", |status| status["candidate"].is_null() && status["history"][0].is_object())?;
    println!("{:?}", last(&status));
    assert_eq!((last(&status).0, last(&status).1), ("Promoted", "AllGatesHeld"));

    // The module that runs turns out to be unwanted: the one before takes over, and stays.
    println!("{}", setting.weir("rollback")?);
    setting.until("all have two replicas again", |setting| Ok(setting.replicas()? == [2; USERS]))?;
    let status = setting.status("the rollback is told of", |status| last(status).0 == "Aborted")?;
    println!("{:?}", last(&status));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(setting.replicas()?, [2; USERS]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_worse_comes_back_by_itself_and_is_not_tried_again() -> Result<()> {
    let rollout = json!({ "strategy": "Canary", "steps": [50], "bake": "60s", "minDecisions": 1000, "cooldown": "5s", "gates": { "disagreementShare": 0.2 } });
    let setting = Setting::new("worse", rollout).await?;
    for (module, gate) in [("refuses", "RefusalShare"), ("fixed-5", "DisagreementShare")] {
        setting.ship(module)?;
        let status = setting.status(&format!("{module} is rolled back"), |status| last(status).1 == gate)?;
        println!("{module}: {:?}", last(&status));
        assert_eq!(last(&status).0, "RolledBack");
        setting.until("all have two replicas", |setting| Ok(setting.replicas()? == [2; USERS]))?;
        let told = setting.status("it is said why", |status| {
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            conditions.iter().any(|condition| condition["type"] == "LatestAccepted" && condition["status"] == "False" && condition["reason"] == gate)
        })?;
        assert!(told["running"].is_object() && told["candidate"].is_null(), "{told:#}");
        std::thread::sleep(Duration::from_secs(6));
    }
    // The same bytes once more: they are known.
    setting.ship("refuses")?;
    setting.status("it is refused at once", |status| {
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == "LatestAccepted" && condition["reason"] == "RolledBack")
    })?;
    assert_eq!(setting.replicas()?, [2; USERS]);
    Ok(())
}

/// What five replicas do to their records is bad, whatever the module's answers look like: the gate on
/// what comes of a decision speaks.
#[rstest]
#[case::refuses_records("RefusedRecords", "refused", 30.0)]
#[case::lets_records_wait("Freshness", "backlog", 150.0 * 120.0)]
#[tokio::test(flavor = "multi_thread")]
async fn a_canary_with_a_worse_outcome_comes_back_by_itself(#[case] gate: &str, #[case] series: &str, #[case] bad: f64) -> Result<()> {
    let replicas = Arc::new(Mutex::new([2; USERS]));
    let seen = replicas.clone();
    let values = Values::new(move |query| match query.rsplit_once('_').and_then(|(_, user)| user.parse::<usize>().ok()) {
        Some(user) if seen.lock()[user] == 5 => bad,
        Some(_) => 0.0,
        None => 150.0,
    });
    let rollout = json!({ "strategy": "Canary", "steps": [50], "bake": "120s", "minDecisions": 1000, "cooldown": "600s" });
    let name = gate.to_lowercase();
    let setting = Setting::with(&name, rollout, Answer::By(values), &[(series, &format!("{series}_USER")), ("sent", "sent")]).await?;
    setting.ship("fixed-5")?;
    setting.until("some are decided for by the new module", |setting| {
        *replicas.lock() = setting.replicas()?;
        Ok(count(&*replicas.lock(), 5) > 0)
    })?;
    setting.until(&format!("{gate} ends the trial"), |setting| {
        *replicas.lock() = setting.replicas()?;
        Ok(last(&setting.policy()?["status"]).1 == gate)
    })?;
    let status = setting.policy()?["status"].clone();
    println!("{:?}", last(&status));
    assert_eq!(last(&status).0, "RolledBack");
    setting.until("all have two replicas", |setting| Ok(setting.replicas()? == [2; USERS]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_changes_nothing_counts_differences_and_waits_for_a_person() -> Result<()> {
    let rollout = json!({ "strategy": "Shadow", "bake": "2s", "minDecisions": 10, "promotion": "Manual" });
    let setting = Setting::new("shadow", rollout).await?;
    setting.ship("fixed-5")?;
    let status = setting.status("it waits for a person", |status| {
        status["candidate"]["message"].as_str().is_some_and(|message| message.contains("it waits for spec.rollout.promote"))
    })?;
    let trial = &status["candidate"];
    println!("{trial:#}");
    assert!(trial["differences"]["more"].as_u64().is_some_and(|more| more >= 10), "{trial:#}");
    assert_eq!(trial["latest"][0]["kind"], "More");
    assert!(trial["latest"][0]["current"].as_str().is_some_and(|text| text.starts_with("2 replicas")), "{trial:#}");
    assert_eq!(setting.replicas()?, [2; USERS], "a shadow decides nothing");
    println!("{}", setting.weir("promote")?);
    setting.until("all have five replicas", |setting| Ok(setting.replicas()? == [5; USERS]))?;
    let status = setting.status("the promotion is told of", |status| last(status).0 == "Promoted")?;
    println!("{:?}", last(&status));
    // A next one, which a person does not want.
    setting.ship("flapping")?;
    setting.status("the next trial", |status| status["candidate"].is_object())?;
    println!("{}", setting.weir("abort")?);
    setting.status("it was dropped", |status| status["candidate"].is_null() && last(status).0 == "Aborted")?;
    assert_eq!(setting.replicas()?, [5; USERS]);
    Ok(())
}
