//! Every bad policy has its own clear condition and no effect on anything else: as the first module of
//! a WasmPolicy, as an update of one that works, and all of them at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

#[path = "plane/bad_policies.rs"]
mod bad_policies;
#[path = "plane/bystander.rs"]
mod bystander;
#[path = "plane/everywhere.rs"]
mod everywhere;

use anyhow::{Context as _, Result};
use bad_policies::{GOOD, Row, rows};
use bystander::Bystander;
use everywhere::Everywhere;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use weir_cluster::{Level, TestNamespace, eventually, shared, wait_until};
use weir_crds::conditions::kind::{LATEST_ACCEPTED, POLICY_READY, READY};
use weir_e2e::observer::Seen;
use weir_e2e::plane::PATIENCE;
use weir_e2e::{Answer, Plane, Prometheus, apply_crds, component, condition, config_map, processor, ship, wasm_policy};

/// An operator that watches all namespaces would also work for the other tests' objects.
static NAMESPACES: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// What was expected and is not so, collected, so that one run shows all of it.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, fine: bool, otherwise: impl FnOnce() -> String) {
        if !fine {
            self.0.push(otherwise());
        }
    }
}

/// A user of a policy: 150 records/s are offered, a replica takes 100.
fn user(name: &str, prometheus: &Prometheus, min: u32) -> Value {
    let mut object = processor(name, &prometheus.url, name, 20);
    object["spec"]["replicas"]["min"] = json!(min);
    object["spec"]["scaling"]["guardrails"]["scaleDown"]["stabilizationWindow"] = json!("0s");
    object
}

fn workload(name: &str) -> String {
    format!("{name}-collector")
}

/// Status, reason and message of a condition of a WasmPolicy, once it is known.
fn verdict(seen: &Seen, policy: &str, kind: &str) -> Option<(bool, String, String)> {
    let status = seen.policies.get(policy)?.status.as_ref()?;
    let found = status.conditions.iter().find(|condition| condition.type_ == kind && condition.status != "Unknown")?;
    Some((found.status == "True", found.reason.clone(), found.message.clone()))
}

fn running(seen: &Seen, policy: &str) -> Option<String> {
    Some(seen.policies.get(policy)?.status.as_ref()?.running.as_ref()?.digest.clone())
}

/// How often a workload's replicas were seen to change.
fn changes(seen: &Seen, name: &str) -> usize {
    let workload = workload(name);
    seen.scaled.iter().filter(|scaled| scaled.workload == workload).count()
}

struct Table<'a> {
    plane: &'a Plane,
    folder: &'a Path,
    rows: Vec<Row>,
    findings: Findings,
    /// Failed decisions of each policy when it was good last.
    failed: BTreeMap<&'static str, u64>,
}

impl Table<'_> {
    async fn bring(&self, row: &Row, good: bool) -> Result<()> {
        let step = row.step(self.folder, good)?;
        for object in &step.delete {
            self.plane.delete(object).await?;
        }
        for object in &step.apply {
            self.plane.apply(object).await.with_context(|| format!("row {}", row.name))?;
        }
        Ok(())
    }

    /// Holds a reason and its message against the table.
    fn judge(&mut self, row: &Row, when: &str, found: &(bool, String, String), took: Duration) {
        let (status, reason, message) = found;
        println!("{when:<6} {:<16} {reason:<18} {:>5.0} ms  {message}", row.name, took.as_secs_f64() * 1e3);
        self.findings.expect(!status && reason == row.reason, || format!("{when} {}: wanted the reason {}, found {reason}: {message}", row.name, row.reason));
        let lacks = row.lacks(message);
        self.findings.expect(lacks.is_empty(), || format!("{when} {}: the message lacks {lacks:?}: {message}", row.name));
    }

    /// Each row is the first module of its policy: nothing runs, and the user keeps what it has.
    async fn first(&mut self, prometheus: &Prometheus) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let observer = &self.plane.observer;
        for row in &rows {
            // The user is there before the module, so there are inputs to try it on.
            self.plane.apply(&user(row.name, prometheus, 3)).await?;
        }
        for row in &rows {
            let has_three = |seen: &Seen| (seen.replicas(&workload(row.name)) == Some(3)).then_some(());
            observer.until(&format!("{} has three replicas", row.name), PATIENCE, has_three).await?;
            // What holds them at three from here on is no bound.
            self.plane.apply(&user(row.name, prometheus, 1)).await?;
        }
        for row in &rows {
            let waits = |seen: &Seen| seen.condition(row.name, POLICY_READY).filter(|(_, why, _)| *why == "PolicyNotFound").map(drop);
            observer.until(&format!("{} waits for its policy", row.name), PATIENCE, waits).await?;
        }
        // A module can only be tried on inputs: here its user waits for it, and is measured.
        for row in rows.iter().filter(|row| row.decides().is_some()) {
            let policy = row.step(self.folder, false)?.apply.pop().context("a policy")?;
            self.plane.apply(&policy).await?;
        }
        for row in rows.iter().filter(|row| row.decides().is_some()) {
            let joined = |seen: &Seen| (seen.policies.get(row.name)?.status.as_ref()?.users == Some(1)).then_some(());
            observer.until(&format!("{} has a user", row.name), PATIENCE, joined).await?;
            let waits = |seen: &Seen| seen.condition(row.name, POLICY_READY).filter(|(_, why, _)| *why == "PolicyNotReady").map(drop);
            observer.until(&format!("the user of {} waits for its module", row.name), PATIENCE, waits).await?;
        }
        let begun = Instant::now();
        for row in &rows {
            self.bring(row, false).await?;
        }
        for row in &rows {
            let judged = |seen: &Seen| verdict(seen, row.name, READY).filter(|(_, why, _)| row.decides().is_none() || why != "SourceNotFound");
            let found = observer.until(&format!("the verdict on {}", row.name), PATIENCE, judged).await?;
            self.judge(row, "first", &found, begun.elapsed());
        }
        for row in rows.iter().filter(|row| row.decides().is_none()) {
            let held = |seen: &Seen| {
                let (status, why, message) = seen.condition(row.name, POLICY_READY)?;
                (status == "False" && why == "PolicyNotReady").then(|| message.to_owned())
            };
            let message = observer.until(&format!("the user of {} says that no module runs", row.name), PATIENCE, held).await?;
            self.findings.expect(message.contains(row.name) && message.contains("see its conditions"), || format!("first {}: {message}", row.name));
        }
        for row in &rows {
            let replicas = observer.now().replicas(&workload(row.name));
            self.findings.expect(replicas == Some(3), || format!("first {}: its user went from 3 to {replicas:?} replicas", row.name));
        }
        self.rows = rows;
        Ok(())
    }

    /// All policies become good: they decide.
    async fn mend(&mut self) -> Result<()> {
        let begun = Instant::now();
        for row in &self.rows {
            self.bring(row, true).await?;
        }
        for row in &self.rows {
            let mended = |seen: &Seen| {
                let accepted = verdict(seen, row.name, LATEST_ACCEPTED)?.0 && verdict(seen, row.name, READY)?.0;
                (accepted && seen.replicas(&workload(row.name)) == Some(2)).then_some(())
            };
            let mended = self.plane.observer.until(&format!("{} is mended and its user has two replicas", row.name), PATIENCE, mended).await;
            mended.with_context(|| {
                format!("{:?}", self.plane.namespace.kubectl().run(["get", &format!("wp/{}", row.name), &format!("lp/{}", row.name), "-o", "yaml"]))
            })?;
        }
        self.failed = self.rows.iter().map(|row| Ok((row.name, self.failures(row)?))).collect::<Result<_>>()?;
        println!("all {} policies are good after {:.1} s", self.rows.len(), begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// One after the other is updated to its bad self, while it is in use.
    async fn update_each(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        for row in &rows {
            let before = running(&self.plane.observer.now(), row.name);
            let changes_before = changes(&self.plane.observer.now(), row.name);
            let begun = Instant::now();
            self.bring(row, false).await?;
            let refused = |seen: &Seen| verdict(seen, row.name, LATEST_ACCEPTED).filter(|(accepted, ..)| !accepted);
            let found = self.plane.observer.until(&format!("the update of {} is refused", row.name), Duration::from_secs(15), refused).await;
            match found {
                Ok(found) => self.judge(row, "update", &found, begun.elapsed()),
                Err(error) => self.findings.expect(false, || format!("update {}: {error:#}", row.name)),
            }
            self.goes_on(row).await?;
            let seen = self.plane.observer.now();
            let (ready, after) = (verdict(&seen, row.name, READY), running(&seen, row.name));
            self.findings.expect(ready.as_ref().is_some_and(|ready| ready.0), || format!("update {}: Ready is {ready:?}", row.name));
            self.findings.expect(after == before, || format!("update {}: {before:?} ran before and {after:?} after it", row.name));
            let changed = changes(&seen, row.name) - changes_before;
            self.findings.expect(changed == 0, || format!("update {}: the replicas changed {changed} times", row.name));
        }
        self.rows = rows;
        Ok(())
    }

    /// All are updated to their bad selves at once.
    async fn update_all(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let begun = Instant::now();
        for row in &rows {
            self.bring(row, false).await?;
        }
        for row in &rows {
            let refused = |seen: &Seen| verdict(seen, row.name, LATEST_ACCEPTED).filter(|(accepted, ..)| !accepted).map(drop);
            let refused = self.plane.observer.until(&format!("the update of {} is refused", row.name), Duration::from_secs(15), refused).await;
            self.findings.expect(refused.is_ok(), || format!("together {}: {refused:?}", row.name));
        }
        println!("all {} updates at once are refused after {:.1} s", rows.len(), begun.elapsed().as_secs_f64());
        for row in &rows {
            self.goes_on(row).await?;
        }
        self.rows = rows;
        Ok(())
    }

    /// Two more decisions are made with the old module, and none failed.
    async fn goes_on(&mut self, row: &Row) -> Result<()> {
        let calls = self.plane.calls(row.name)?;
        let goes_on = async || Ok((self.plane.calls(row.name)? >= calls + 2).then_some(()));
        let decided = eventually(format!("two more decisions by {}", row.name), Duration::from_secs(5), goes_on).await;
        self.findings.expect(decided.is_ok(), || format!("{}: the old module does not go on: {decided:?}", row.name));
        let failed = self.failures(row)? - self.failed.get(row.name).copied().unwrap_or(0);
        self.findings.expect(failed == 0, || format!("{}: {failed} decisions failed", row.name));
        Ok(())
    }

    fn failures(&self, row: &Row) -> Result<u64> {
        self.plane.count("weir_policy_failures_total", &format!("policy=\"{}\"", row.name))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_policy_is_refused_with_its_own_reason_and_disturbs_nobody() -> Result<()> {
    let _others = NAMESPACES.read().await;
    let folder = tempfile::tempdir()?;
    let plane = Plane::start("bad", &["--policy-dir", &folder.path().display().to_string()]).await?;
    let prometheus = Prometheus::start(Answer::Value(150.0)).await?;
    let bystander = Bystander::start(&plane).await?;
    let mut table = Table { plane: &plane, folder: folder.path(), rows: rows(), findings: Findings::default(), failed: BTreeMap::new() };
    let mut memory = vec![("start", plane.memory()?)];

    let broken = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "broken" }, "binaryData": { "policy.wasm": "%%% no base64" } });
    let refused = format!("{:#}", plane.apply(&broken).await.unwrap_err());
    assert!(refused.contains("base64"), "the API server itself refuses this one: {refused}");

    table.first(&prometheus).await?;
    memory.push(("first", plane.memory()?));
    table.mend().await?;
    memory.push(("mended", plane.memory()?));
    table.update_each().await?;
    memory.push(("each", plane.memory()?));
    table.mend().await?;
    for _ in 0..2 {
        table.update_all().await?;
        table.mend().await?;
        memory.push(("together", plane.memory()?));
    }

    let mut findings = table.findings;
    for (when, memory) in &memory {
        println!("memory, {when}: {} MB, at most {} MB", memory.resident, memory.peak);
    }
    // The same faults once more cost nothing more, but for what an allocator keeps.
    if let [.., (_, before), (_, after)] = memory.as_slice() {
        findings.expect(after.resident < before.resident + 24, || format!("memory grew from {} to {} MB in one round", before.resident, after.resident));
        findings.expect(after.peak < 600, || format!("memory was at {} MB", after.peak));
    }
    findings.expect(plane.count("weir_actor_panics_total", "")? == 0, || "a task panicked".to_owned());
    findings.0.extend(bystander.end(&plane).await?);
    assert!(findings.0.is_empty(), "{} findings:\n{}", findings.0.len(), findings.0.join("\n"));
    Ok(())
}

/// There is nothing to try such a module on, so it is taken; then its users say what is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_had_no_user_when_it_came_fails_at_its_users_and_they_hold() -> Result<()> {
    let _others = NAMESPACES.read().await;
    let plane = Plane::start("late", &[]).await?;
    let prometheus = Prometheus::start(Answer::Value(150.0)).await?;
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.decides().is_some()).collect();
    let mut findings = Findings::default();
    for row in &rows {
        for object in row.step(Path::new("/nonexistent"), false)?.apply {
            plane.apply(&object).await?;
        }
    }
    for row in &rows {
        plane.observer.until(&format!("{} is taken", row.name), PATIENCE, |seen| verdict(seen, row.name, READY)).await?;
        plane.apply(&user(row.name, &prometheus, 3)).await?;
    }
    for row in &rows {
        let has_three = |seen: &Seen| (seen.replicas(&workload(row.name)) == Some(3)).then_some(());
        plane.observer.until(&format!("{} has three replicas", row.name), PATIENCE, has_three).await?;
        plane.apply(&user(row.name, &prometheus, 1)).await?;
    }
    for row in &rows {
        let failing = |seen: &Seen| {
            let (status, reason, message) = seen.condition(row.name, POLICY_READY).filter(|(status, ..)| *status == "False")?;
            let ready = seen.condition(row.name, READY).filter(|(_, reason, _)| *reason == "PolicyNotReady")?;
            Some((status == "True" || ready.0 == "True", reason.to_owned(), message.to_owned()))
        };
        let (_, reason, message) = plane.observer.until(&format!("the user of {} says what is wrong", row.name), PATIENCE, failing).await?;
        println!("{:<16} {reason:<18} {message}", row.name);
        // As the probe would have said it: kind, then sentence.
        let lacks: Vec<&str> = row.lacks(&format!("recent inputs; on x/traps: {reason}: {message}"));
        findings.expect(lacks.is_empty(), || format!("{}: the message lacks {lacks:?}: {reason} {message}", row.name));
        findings.expect(message.contains("the replicas are held"), || format!("{}: the message does not say that the replicas are held: {message}", row.name));
        // After a few failures it is the breaker that says so, with the last of them.
        let kind = message.split_once("the last one with ").and_then(|(_, rest)| rest.split_once(':')).map_or(reason.as_str(), |(kind, _)| kind);
        findings.expect(kind == reason || reason == "BreakerOpen", || format!("{}: {reason} is about {kind}", row.name));
        let counted = async || Ok((plane.count("weir_policy_failures_total", &format!("policy=\"{}\",kind=\"{kind}\"", row.name))? >= 3).then_some(()));
        eventually(format!("three failures of {} are counted as {kind}", row.name), PATIENCE, counted).await?;
        let replicas = plane.observer.now().replicas(&workload(row.name));
        findings.expect(replicas == Some(3), || format!("{}: {replicas:?} replicas", row.name));
    }
    assert!(findings.0.is_empty(), "{}", findings.0.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_flaps_changes_the_replicas_once() -> Result<()> {
    let _others = NAMESPACES.read().await;
    let plane = Plane::start("flap", &[]).await?;
    let prometheus = Prometheus::start(Answer::Value(150.0)).await?;
    let mut object = processor("flap", &prometheus.url, "flap", 20);
    object["spec"]["scaling"].as_object_mut().context("spec.scaling")?.remove("guardrails");
    plane.apply(&config_map("flap", &component("fixtures/flapping")?)).await?;
    plane.apply(&wasm_policy("flap", json!({ "configMap": { "name": "flap" } }), json!({}))).await?;
    plane.apply(&object).await?;
    plane.observer.until("the replicas follow the first proposal", PATIENCE, |seen| (seen.replicas("flap-collector") == Some(9)).then_some(())).await?;
    let calls = plane.calls("flap")?;
    eventually("twenty more decisions", PATIENCE, async || Ok((plane.calls("flap")? >= calls + 20).then_some(()))).await?;
    let clamped = plane.count("weir_clamps_total", "StabilizationDown")?;
    let seen = plane.observer.now();
    println!(
        "after 20 decisions more: {:?} replicas, {} changes, {clamped} proposals clamped by StabilizationDown",
        seen.replicas("flap-collector"),
        changes(&seen, "flap")
    );
    // From nothing to min, from min to the first proposal.
    assert_eq!((seen.replicas("flap-collector"), changes(&seen, "flap")), (Some(9), 2), "{:?}", seen.scaled);
    assert!(clamped >= 9, "{clamped}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_missing_or_does_not_serve_the_namespace_holds_and_says_so() -> Result<()> {
    let _alone = NAMESPACES.write().await;
    let cluster = shared(Level::ControlPlane)?;
    apply_crds(cluster)?;
    let (owner, guest) = (TestNamespace::create(cluster, "owner")?, TestNamespace::create(cluster, "guest")?);
    let operator = Everywhere::start(cluster, owner.name())?;
    let prometheus = Prometheus::start(Answer::Value(150.0)).await?;
    let said = |reason: &str, words: &[&str]| -> Result<()> {
        let found = wait_until(format!("the user says {reason}"), PATIENCE, || {
            let found = condition(&guest.kubectl().json(["get", "lp/user"])?, POLICY_READY);
            Ok(found.filter(|(_, why, _)| why == reason))
        })
        .with_context(|| operator.log())?;
        println!("{} {}: {}", found.0, found.1, found.2);
        assert!(words.iter().all(|word| found.2.contains(word)), "the message lacks one of {words:?}: {found:?}");
        Ok(())
    };
    let replicas = |wanted: u64| -> Result<()> {
        wait_until(format!("{wanted} replicas"), PATIENCE, || {
            let replicas = guest.kubectl().json(["get", "deploy/user-collector"])?.pointer("/spec/replicas").and_then(Value::as_u64);
            Ok((replicas == Some(wanted)).then_some(()))
        })
        .with_context(|| operator.log())
    };

    let mut object = user("user", &prometheus, 3);
    object["spec"]["scaling"]["policyRef"] = json!({ "name": "rule", "namespace": owner.name() });
    guest.kubectl().apply(&object.to_string())?;
    replicas(3)?;
    object["spec"]["replicas"]["min"] = json!(1);
    guest.kubectl().apply(&object.to_string())?;
    said("PolicyNotFound", &["no WasmPolicy rule", owner.name(), "create it or correct spec.scaling.policyRef"])?;

    ship(&owner, "rule", &component(GOOD)?)?;
    let mut policy = wasm_policy("rule", json!({ "configMap": { "name": "rule" } }), json!({}));
    owner.kubectl().apply(&policy.to_string())?;
    said("PolicyNotAllowed", &["does not serve this namespace", "spec.allowedNamespaces"])?;
    replicas(3)?;

    policy["spec"]["allowedNamespaces"] = json!({ "matchLabels": { "kubernetes.io/metadata.name": guest.name() } });
    owner.kubectl().apply(&policy.to_string())?;
    said("AsExpected", &[])?;
    replicas(2)?;

    policy["spec"]["allowedNamespaces"] = json!({ "matchLabels": { "kubernetes.io/metadata.name": "somebody-else" } });
    owner.kubectl().apply(&policy.to_string())?;
    said("PolicyNotAllowed", &["spec.allowedNamespaces"])?;
    owner.kubectl().run(["delete", "wp", "rule"])?;
    said("PolicyNotFound", &["no WasmPolicy rule"])?;
    replicas(2)
}
