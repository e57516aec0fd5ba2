//! Status and Events of a WasmPolicy. Touches the network; writes only what changed.

use super::Entry;
use super::fallback::{Fit, Open};
use crate::conditions::{Conditions, Status, find, millis, time};
use crate::context::Context;
use crate::shell::events::EventType;
use crate::watch::chain;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _};
use std::sync::Arc;
use std::time::Instant;
use weir_core::ids::{Digest, UnixMs};
use weir_core::scaling::ScalingPolicy as _;
use weir_crds::conditions::{kind, reason};
use weir_crds::names::FIELD_MANAGER;
use weir_crds::wasm_policy::{
    Candidate, Description, OnTrial, Revision, Running, SeriesNeeded, StateVersions, TrialOutcome, WasmPolicyStatus, WasmPolicySummary,
};
use weir_crds::{GROUP, VERSION, WasmPolicy};
use weir_engine::Policy;

/// Ended trials that are told of.
const HISTORY: usize = 10;

/// What came of the newest load.
#[derive(Default)]
pub(super) struct Report {
    running: Option<Running>,
    description: Option<Description>,
    rejected: Option<Candidate>,
    /// Whether there was a load at all.
    loaded_once: bool,
    /// Loads in a row that were refused for what may pass by itself.
    pub(super) retries: u32,
    /// What is told of the module on trial, and since when.
    pub(super) trial: Option<OnTrial>,
    pub(super) told: Option<Instant>,
    /// How trials ended, the newest first.
    history: Vec<Revision>,
    /// Why it is not known whether the newest module runs: its registry does not answer.
    pub(super) stale: Option<String>,
    /// Whether the policy of `spec.fallback` can be asked.
    pub(super) fallback: Option<Fit>,
    /// What is told while the breaker is open.
    pub(super) breaker: Option<Open>,
}

impl Report {
    /// The last good module runs again; what is wrong with the newest one stays said.
    pub(super) fn recalled(&mut self, now: UnixMs, policy: &Arc<Policy>, revision: Option<String>) {
        let rejected = self.rejected.take();
        self.accepted(now, policy, revision);
        self.rejected = rejected;
    }

    /// Takes in what an earlier process knew.
    pub(super) fn remember(&mut self, policy: &WasmPolicy) {
        if let Some(status) = policy.status.as_ref().filter(|_| self.history.is_empty()) {
            self.history.clone_from(&status.history);
        }
    }

    /// A trial has ended.
    pub(super) fn ended(&mut self, revision: Revision) {
        self.history.insert(0, revision);
        self.history.truncate(HISTORY);
    }

    /// How the last trial of a module ended.
    pub(super) fn outcome(&self, digest: &str) -> Option<TrialOutcome> {
        self.history.iter().find(|known| known.digest == digest).map(|known| known.outcome)
    }

    /// Why a module was dropped, if it was.
    pub(super) fn rolled_back(&self, digest: &str) -> Option<String> {
        let last = self.history.iter().find(|known| known.digest == digest)?;
        (last.outcome != TrialOutcome::Promoted).then(|| last.message.clone())
    }

    /// When a gate last failed.
    pub(super) fn last_rollback(&self) -> Option<UnixMs> {
        let last = self.history.iter().find(|known| known.outcome == TrialOutcome::RolledBack)?;
        Some(millis(&last.time))
    }

    /// The newest module is not refused any more.
    pub(super) fn clear_rejected(&mut self) {
        self.rejected = None;
        self.loaded_once = true;
    }

    /// Reason for which the newest module was refused.
    pub(super) fn refused_for(&self) -> Option<&str> {
        self.rejected.as_ref().map(|rejected| rejected.reason.as_str())
    }

    pub(super) fn accepted(&mut self, now: UnixMs, policy: &Arc<Policy>, revision: Option<String>) {
        let stamp = policy.stamp();
        self.running = Some(Running {
            digest: stamp.digest.to_string(),
            name: stamp.name.clone(),
            version: stamp.version.clone(),
            loaded_at: time(now),
            source_revision: revision,
        });
        let description = policy.description();
        self.description = Some(Description {
            summary: description.summary.clone(),
            params_schema: description.params_schema.as_ref().map(ToString::to_string),
            state: (description.state.version() > 0).then(|| StateVersions { version: description.state.version(), reads: description.state.reads().to_vec() }),
            series_needed: description.series.iter().map(|need| SeriesNeeded { name: need.name.clone(), required: need.required }).collect(),
        });
        self.rejected = None;
        self.loaded_once = true;
    }

    pub(super) fn unchanged(&mut self, now: UnixMs, policy: &Arc<Policy>, revision: Option<String>) {
        if self.running.is_none() {
            self.accepted(now, policy, revision);
        }
        self.rejected = None;
    }

    pub(super) fn refused(&mut self, now: UnixMs, digest: Option<Digest>, reason: &str, sentence: &str) {
        let digest = digest.map(|digest| digest.to_string());
        let same = self.rejected.as_ref().is_some_and(|known| known.reason == reason && known.message == sentence && known.digest == digest);
        if !same {
            self.rejected = Some(Candidate { digest, reason: reason.to_owned(), message: sentence.to_owned(), time: time(now) });
        }
        self.loaded_once = true;
    }

    fn status(&self, now: UnixMs, policy: &WasmPolicy, users: u32) -> WasmPolicyStatus {
        let before = policy.status.clone().unwrap_or_default();
        let mut conditions = Conditions::new(&before.conditions, now, policy.metadata.generation);
        match (&self.running, &self.rejected, &self.breaker) {
            (Some(_), _, Some(open)) if open.reason == reason::HELD => conditions.set(kind::READY, Status::False, reason::BREAKER_OPEN, &open.sentence),
            (Some(_), _, Some(open)) => conditions.set(kind::READY, Status::True, open.reason, &open.sentence),
            (Some(running), _, None) => {
                let message = format!("{} {} runs", running.name, running.version);
                conditions.set(kind::READY, Status::True, reason::AS_EXPECTED, &message);
            }
            (None, Some(rejected), _) => conditions.set(kind::READY, Status::False, &rejected.reason, &rejected.message),
            (None, None, _) => conditions.set(kind::READY, Status::Unknown, reason::STARTING, "the module is being loaded"),
        }
        let trial = self.trial.as_ref();
        match (trial, &self.rejected, &self.stale) {
            (Some(trial), ..) => conditions.set(kind::LATEST_ACCEPTED, Status::Unknown, reason::ON_TRIAL, &trial.message),
            (None, Some(rejected), _) => conditions.set(kind::LATEST_ACCEPTED, Status::False, &rejected.reason, &rejected.message),
            (None, None, Some(stale)) => conditions.set(kind::LATEST_ACCEPTED, Status::Unknown, super::fetch::OUTAGE, stale),
            (None, None, None) if self.loaded_once => {
                conditions.set(kind::LATEST_ACCEPTED, Status::True, reason::AS_EXPECTED, "the newest module of the source runs")
            }
            (None, None, None) => conditions.set(kind::LATEST_ACCEPTED, Status::Unknown, reason::STARTING, "the module is being loaded"),
        }
        match &self.fallback {
            Some(Ok(name)) => conditions.set(kind::FALLBACK_READY, Status::True, reason::AS_EXPECTED, &format!("{name} decides when the module keeps failing")),
            Some(Err((why, sentence))) => conditions.set(kind::FALLBACK_READY, Status::False, why, &format!("spec.fallback: {sentence}")),
            None => {}
        }
        match &self.breaker {
            Some(open) => conditions.set(kind::BREAKER_OPEN, Status::True, open.reason, &open.sentence),
            // Only of a policy that had one open it is said that it is closed.
            None if find(&before.conditions, kind::BREAKER_OPEN).is_some() => {
                conditions.set(kind::BREAKER_OPEN, Status::False, reason::CLOSED, "the module that runs is asked, and does not keep failing")
            }
            None => {}
        }
        let digest = self.running.as_ref().map(|running| running.digest.trim_start_matches("sha256:").chars().take(12).collect());
        WasmPolicyStatus {
            observed_generation: policy.metadata.generation,
            conditions: conditions.finish(),
            // A restart of the operator loads the same module again: that is no news.
            running: match (&before.running, &self.running) {
                (Some(known), Some(running)) if known.digest == running.digest && known.source_revision == running.source_revision => Some(known.clone()),
                (_, running) => running.clone(),
            },
            candidate: self.trial.clone(),
            history: self.history.clone(),
            rejected: match (&before.rejected, &self.rejected) {
                (Some(known), Some(rejected)) if known.reason == rejected.reason && known.digest == rejected.digest && known.message == rejected.message => {
                    Some(known.clone())
                }
                (_, rejected) => rejected.clone(),
            },
            description: self.description.clone(),
            users: Some(users),
            summary: Some(WasmPolicySummary {
                source: policy.spec.source.choice().map(|choice| choice.to_string()),
                trial: trial.map(|trial| match trial.step {
                    Some(_) => format!("Canary {}%", trial.percent),
                    None => "Shadow".to_owned(),
                }),
                digest,
            }),
        }
    }
}

/// Writes the status when it differs and this process leads. False: it has to be tried again.
pub(super) async fn write(context: &Context, entry: &Entry, policy: &Arc<WasmPolicy>, report: &Report) -> bool {
    if !context.leadership.is_leader() || !report.loaded_once {
        return true;
    }
    // The newest object, for its status: the one that was loaded may be older.
    let newest = entry.spec.borrow().clone();
    let policy = if newest.metadata.generation == policy.metadata.generation { newest } else { policy.clone() };
    let status = report.status(context.now(), &policy, entry.user_count());
    let before = policy.status.clone().unwrap_or_default();
    if status == before {
        return true;
    }
    let api: Api<WasmPolicy> = Api::namespaced(context.client.clone(), &entry.object.namespace);
    let patch = serde_json::json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "WasmPolicy",
        "metadata": { "name": entry.object.name }, "status": status,
    });
    match api.patch_status(&entry.object.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
        Ok(written) => {
            announce(context, &policy, &before, &status);
            if written.metadata.generation == policy.metadata.generation {
                let mut written = written;
                written.metadata.managed_fields = None;
                entry.spec.send_if_modified(|held| {
                    let newer = crate::views::version(&written.metadata) > crate::views::version(&held.metadata);
                    if newer {
                        *held = Arc::new(written.clone());
                    }
                    false
                });
            }
            true
        }
        Err(kube::Error::Api(error)) if error.code == 404 => true,
        Err(error) => {
            context.metrics.apply_failed("WasmPolicy", &error);
            tracing::warn!(policy = %entry.object, error = %chain(&error), "the status could not be written and is tried again");
            false
        }
    }
}

/// Says once what changed.
fn announce(context: &Context, policy: &WasmPolicy, before: &WasmPolicyStatus, after: &WasmPolicyStatus) {
    let regarding = || policy.object_ref(&());
    let digest = |status: &WasmPolicyStatus| status.running.as_ref().map(|running| running.digest.clone());
    if digest(after) != digest(before)
        && let Some(running) = &after.running
    {
        let note = format!("{} {} ({}) runs from now on{}", running.name, running.version, running.digest, state_note(before, after));
        context.events.publish(regarding(), EventType::Normal, "PolicyLoaded", "Load", &note);
    }
    let trial = |status: &WasmPolicyStatus| status.candidate.as_ref().map(|trial| (trial.digest.clone(), trial.percent));
    if trial(after) != trial(before)
        && let Some(trial) = &after.candidate
    {
        let does = if trial.percent == 0 { "runs beside the current one".to_owned() } else { format!("decides for {} % of the objects", trial.percent) };
        context.events.publish(regarding(), EventType::Normal, "Trial", "Load", format!("{} ({}) is on trial and {does}", trial.version, trial.digest));
    }
    let holds = |status: &WasmPolicyStatus, kind: &str, is: &str| find(&status.conditions, kind).filter(|condition| condition.status == is).cloned();
    match (holds(before, kind::BREAKER_OPEN, "True"), holds(after, kind::BREAKER_OPEN, "True")) {
        (None, Some(open)) => context.events.publish(regarding(), EventType::Warning, "BreakerOpened", "Decide", &open.message),
        (Some(_), None) => context.events.publish(regarding(), EventType::Normal, "BreakerClosed", "Decide", "the module that runs decides again"),
        _ => {}
    }
    if let (None, Some(unfit)) = (holds(before, kind::FALLBACK_READY, "False"), holds(after, kind::FALLBACK_READY, "False")) {
        context.events.publish(regarding(), EventType::Warning, &unfit.reason, "Load", &unfit.message);
    }
    if after.rejected != before.rejected
        && let Some(rejected) = &after.rejected
    {
        let goes_on = if after.running.is_some() { "; the last good one goes on" } else { "" };
        context.events.publish(regarding(), EventType::Warning, &rejected.reason, "Load", format!("{}{goes_on}", rejected.message));
    }
}

/// What becomes of states when one module takes over from another: empty when they are read on, or when
/// the one before told no version and may have had none.
fn state_note(before: &WasmPolicyStatus, after: &WasmPolicyStatus) -> String {
    let versions = |status: &WasmPolicyStatus| status.description.as_ref().and_then(|description| description.state.clone());
    let (Some(was), Some(ran), Some(runs)) = (versions(before), &before.running, &after.running) else { return String::new() };
    let is = versions(after).unwrap_or_default();
    if ran.name == runs.name && weir_core::state::StateVersions::new(is.version, is.reads).can_read(was.version) {
        return String::new();
    }
    format!("; it can't read state version {} of {} {}, so it begins without what that remembered of each object", was.version, ran.name, ran.version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn open(reason: &'static str) -> Option<Open> {
        Some(Open { reason, sentence: "5 of 6 calls failed".to_owned() })
    }

    fn running() -> Running {
        Running { digest: "sha256:00".to_owned(), name: "rule".to_owned(), version: "1".to_owned(), loaded_at: time(UnixMs(0)), source_revision: None }
    }

    /// `status/reason` of a condition.
    fn said(status: &WasmPolicyStatus, kind: &str) -> Option<String> {
        find(&status.conditions, kind).map(|condition| format!("{}/{}", condition.status, condition.reason))
    }

    #[rstest]
    #[case::closed(None, None, "True/AsExpected", None)]
    #[case::a_fallback_decides(open(reason::FALLBACK_DECIDES), None, "True/FallbackDecides", Some("True/FallbackDecides"))]
    #[case::held(open(reason::HELD), None, "False/BreakerOpen", Some("True/Held"))]
    #[case::closed_again(None, open(reason::HELD), "True/AsExpected", Some("False/Closed"))]
    fn ready_is_honest_about_a_module_that_keeps_failing(
        #[case] now: Option<Open>,
        #[case] before: Option<Open>,
        #[case] ready: &str,
        #[case] breaker: Option<&str>,
    ) {
        let report = |breaker| Report { running: Some(running()), loaded_once: true, breaker, ..Report::default() };
        let mut policy = WasmPolicy::new("rule", weir_crds::WasmPolicySpec::default());
        policy.status = Some(report(before).status(UnixMs(1_000), &policy, 1));
        let status = report(now).status(UnixMs(2_000), &policy, 1);
        assert_eq!((said(&status, kind::READY).as_deref(), said(&status, kind::BREAKER_OPEN).as_deref()), (Some(ready), breaker));
    }

    #[test]
    fn a_fallback_that_does_not_fit_stops_nothing_and_is_said() {
        let unfit = Some(Err(("SourceNotFound", "there is no built-in policy `oracle`".to_owned())));
        let report = Report { running: Some(running()), loaded_once: true, fallback: unfit, ..Report::default() };
        let status = report.status(UnixMs(0), &WasmPolicy::new("rule", weir_crds::WasmPolicySpec::default()), 1);
        assert_eq!(said(&status, kind::FALLBACK_READY).as_deref(), Some("False/SourceNotFound"));
        assert_eq!(said(&status, kind::READY).as_deref(), Some("True/AsExpected"));
    }

    fn status(name: &str, state: Option<(u32, &[u32])>) -> WasmPolicyStatus {
        let running = Running { digest: String::new(), name: name.into(), version: "1.0.0".into(), loaded_at: time(UnixMs(0)), source_revision: None };
        let state = state.map(|(version, reads)| StateVersions { version, reads: reads.to_vec() });
        WasmPolicyStatus { running: Some(running), description: Some(Description { state, ..Description::default() }), ..WasmPolicyStatus::default() }
    }

    #[rstest]
    #[case::nothing_was_remembered(("calm", None), ("calm", Some((1, &[][..]))), false)]
    #[case::the_same_version(("calm", Some((1, &[][..]))), ("calm", Some((1, &[][..]))), false)]
    #[case::a_version_that_is_read(("calm", Some((1, &[][..]))), ("calm", Some((2, &[1][..]))), false)]
    #[case::a_version_that_is_not_read(("calm", Some((1, &[][..]))), ("calm", Some((2, &[][..]))), true)]
    #[case::versions_are_not_told_any_more(("calm", Some((1, &[][..]))), ("calm", None), true)]
    #[case::another_rule(("calm", Some((1, &[][..]))), ("brisk", Some((1, &[][..]))), true)]
    fn a_swap_that_costs_what_was_remembered_says_so(
        #[case] before: (&str, Option<(u32, &[u32])>),
        #[case] after: (&str, Option<(u32, &[u32])>),
        #[case] said: bool,
    ) {
        let note = state_note(&status(before.0, before.1), &status(after.0, after.1));
        assert_eq!(note.contains("can't read state version 1 of calm 1.0.0"), said, "{note}");
    }
}
