//! New modules on trial before they take over: `spec.rollout`. Touches the network through
//! [`super::keep`]; called by [`super::runner`].
//!
//! While a trial runs, the last good module stays in the slot, so whatever happens to the operator or
//! to the trial, that is what goes on. A standby never runs a trial; a process that becomes the leader
//! goes on with what the status says of it.

use super::keep::{self, Kept};
use super::status::Report;
use super::trial::Trial;
use super::{Entry, loading, room};
use crate::context::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::ids::{Digest, UnixMs};
use weir_core::scaling::ScalingPolicy as _;
use weir_core::trial::{Calls, Difference, Next, Plan, Seen, judge};
use weir_crds::WasmPolicy;
use weir_crds::wasm_policy::{OnTrial, PolicyKind, Promotion, Revision, Rollout, Strategy, TrialOutcome};
use weir_engine::verify::{Rules, Trust};
use weir_engine::{Candidate, LoadError, Policy, Prepared, Ready, StageTimes};

/// How often a trial is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How often what was counted is told, while nothing else happens.
const TELL: Duration = Duration::from_secs(10);

/// Reason of what a person brought about.
const ABORTED: &str = TrialOutcome::Aborted.as_str();

/// The module on trial as it was shipped: what is kept when it takes over.
pub(super) struct Shipped {
    pub(super) kept: Kept,
    pub(super) revision: Option<String>,
}

/// The plan of a spec, when it asks for a trial.
pub(super) fn plan(spec: &WasmPolicy) -> Option<(&Rollout, Plan)> {
    // Trials compare answers about replicas.
    let rollout = spec.spec.rollout.as_ref().filter(|_| spec.spec.kind == PolicyKind::Scaling)?;
    let steps = match rollout.strategy {
        Strategy::Immediate => return None,
        Strategy::Shadow => Vec::new(),
        Strategy::Canary => rollout.steps.clone(),
    };
    let gates = &rollout.gates;
    let plan = Plan {
        steps,
        bake_ms: i64::try_from(rollout.bake.as_millis()).unwrap_or(i64::MAX),
        min_decisions: u64::from(rollout.min_decisions),
        manual: rollout.promotion == Promotion::Manual,
        gates: weir_core::trial::Gates {
            failure_share: gates.failure_share,
            refusal_share: gates.refusal_share,
            disagreement_share: gates.disagreement_share,
            latency_us: gates.latency.map(|latency| latency.as_millis().saturating_mul(1000)),
            refused_records_share: Some(gates.refused_records_share),
            freshness_s: Some(gates.freshness.as_secs_f64()),
        },
    };
    Some((rollout, plan))
}

/// What a person says in the spec about a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    None,
    Promote,
    Abort,
}

fn word(rollout: &Rollout, digest: &str) -> Word {
    // Who promotes what was aborted before means it.
    if rollout.promote.as_deref() == Some(digest) {
        Word::Promote
    } else if rollout.abort.as_deref() == Some(digest) {
        Word::Abort
    } else {
        Word::None
    }
}

/// The module that runs is one that a person wants to be rid of: the one before it takes over. With a
/// time: it can be tried again then.
pub(super) async fn back(context: &Context, entry: &Entry, spec: &WasmPolicy, trust: &Trust, report: &mut Report) -> Option<Duration> {
    let (rollout, running) = spec.spec.rollout.as_ref().zip(entry.current())?;
    let (digest, version) = (running.stamp().digest.to_string(), running.stamp().version.clone());
    if word(rollout, &digest) != Word::Abort || !context.leadership.is_leader() {
        return None;
    }
    let Some(Kept { bytes, params, signatures }) = keep::recall(context, spec, keep::Which::Previous).await else {
        tracing::warn!(policy = %entry.object, digest, "spec.rollout.abort names the module that runs, and no copy of the one before it is kept");
        return None;
    };
    let candidate = Candidate { bytes, params, digest: None, ..loading::candidate(entry, spec) };
    let kept_trust = Trust { rules: trust.rules.clone(), signatures };
    match loading::prepare(context, entry, &candidate, &kept_trust).await.result {
        Ok(Ready::New(policy)) => {
            if !room::make(context, entry, &policy, true, report) {
                return None;
            }
            entry.take_over(&policy, &trust.rules);
            // Whom a person wants to be rid of is no fallback.
            entry.fallbacks.write().previous = None;
            context.metrics.policy_swapped(None);
            tracing::info!(policy = %entry.object, from = digest, to = %policy.stamp().digest, "rolled back to the module before, as spec.rollout.abort asks");
            report.ended(revision(context.now(), (&digest, &version), TrialOutcome::Aborted, ABORTED, "spec.rollout.abort names it"));
            report.accepted(context.now(), &policy, None);
            None
        }
        Ok(Ready::Same(_)) => None,
        Err(error) => {
            tracing::warn!(policy = %entry.object, %error, "the module before can't be used");
            loading::retry(report, &error)
        }
    }
}

/// What became of a fetched module.
pub(super) enum Tried {
    /// It runs already.
    Same(Arc<Policy>),
    /// It may take over at once.
    Take(Arc<Policy>),
    /// It is on trial.
    OnTrial,
    /// It is not tried; the report says why. With a time: it may be tried then.
    NotNow(Option<Duration>),
    /// A gate of the load refused it.
    Refused(LoadError),
    /// There is a module that ran before, and it has to be there before this one is judged.
    Recall(Arc<Policy>),
}

/// Verifies a fetched module and puts it on trial, where the plan asks for one.
pub(super) async fn try_out(
    context: &Context,
    entry: &Entry,
    (spec, (rollout, plan)): (&WasmPolicy, (&Rollout, &Plan)),
    candidate: &Candidate,
    trust: &Trust,
    report: &mut Report,
) -> (Tried, StageTimes) {
    let Prepared { result, stages } = loading::prepare(context, entry, candidate, trust).await;
    (judge_prepared(context, entry, (spec, (rollout, plan)), result, report), stages)
}

/// What becomes of a module that may run, or of one that may not.
pub(super) fn judge_prepared(
    context: &Context,
    entry: &Entry,
    (spec, (rollout, plan)): (&WasmPolicy, (&Rollout, &Plan)),
    prepared: Result<Ready, LoadError>,
    report: &mut Report,
) -> Tried {
    let new = match prepared {
        Err(error) => {
            end(entry, report);
            return Tried::Refused(error);
        }
        Ok(Ready::Same(running)) => {
            end(entry, report);
            return Tried::Same(running);
        }
        Ok(Ready::New(new)) => new,
    };
    let digest = new.stamp().digest.to_string();
    let Some(running) = entry.current() else {
        let ran = spec.status.as_ref().and_then(|status| status.running.as_ref());
        // Without a module that ran before, nobody is worse off than now.
        return if ran.is_some_and(|ran| ran.digest != digest) && word(rollout, &digest) != Word::Promote { Tried::Recall(new) } else { Tried::Take(new) };
    };
    if running.stamp().digest == new.stamp().digest {
        // Params and limits are the spec's: whoever changed them has meant it.
        end(entry, report);
        return Tried::Take(new);
    }
    let now = context.now();
    match word(rollout, &digest) {
        Word::Promote => {
            let by_hand = entry.trial().is_some_and(|trial| trial.digest() == new.stamp().digest);
            end(entry, report);
            if by_hand || report.outcome(&digest).is_some() {
                report.ended(revision(
                    now,
                    (&digest, &new.stamp().version),
                    TrialOutcome::Promoted,
                    TrialOutcome::Promoted.as_str(),
                    "spec.rollout.promote names it",
                ));
            }
            return Tried::Take(new);
        }
        Word::Abort => {
            end(entry, report);
            if report.outcome(&digest) != Some(TrialOutcome::Aborted) {
                report.ended(revision(now, (&digest, &new.stamp().version), TrialOutcome::Aborted, ABORTED, "spec.rollout.abort names it"));
            }
            let message = "spec.rollout.abort names this module: ship another one, or write its digest into spec.rollout.promote";
            report.refused(now, Some(new.stamp().digest), ABORTED, message);
            return Tried::NotNow(None);
        }
        Word::None => {}
    }
    if let Some(message) = report.rolled_back(&digest) {
        end(entry, report);
        let message = format!("this module was tried and dropped: {message}; ship another one, or write its digest into spec.rollout.promote");
        report.refused(now, Some(new.stamp().digest), TrialOutcome::RolledBack.as_str(), &message);
        return Tried::NotNow(None);
    }
    let rest = report.last_rollback().map(|last| i64::try_from(rollout.cooldown.as_millis()).unwrap_or(i64::MAX).saturating_sub(now.since(last)));
    if let Some(rest) = rest.and_then(|rest| u64::try_from(rest).ok()).filter(|rest| *rest > 0) {
        end(entry, report);
        let message = format!("another module was rolled back a short time ago: this one is tried in {} s (spec.rollout.cooldown)", rest.div_ceil(1000));
        report.refused(now, Some(new.stamp().digest), "Cooldown", &message);
        return Tried::NotNow(Some(Duration::from_millis(rest)));
    }
    if let Some(trial) = entry.trial()
        && trial.digest() == new.stamp().digest
        && trial.policy.params() == new.params()
        && trial.policy.limits() == new.limits()
    {
        return Tried::OnTrial;
    }
    end(entry, report);
    if !room::make(context, entry, &new, false, report) {
        return Tried::NotNow(None);
    }
    let trial = Trial::new(new.clone(), percent(plan, 0), now);
    if let Some(known) = spec.status.as_ref().and_then(|status| status.candidate.as_ref()).filter(|known| known.digest == digest) {
        let seen = seen_before(known);
        trial.resume(&seen, percent(plan, seen.step));
    }
    tracing::info!(policy = %entry.object, %digest, percent = trial.percent(), "a new module is on trial, the last good one goes on");
    entry.set_trial(Some(Arc::new(trial)));
    report.clear_rejected();
    Tried::OnTrial
}

/// The source holds nothing any more that could be tried.
pub(super) fn end(entry: &Entry, report: &mut Report) {
    entry.set_trial(None);
    report.trial = None;
}

fn percent(plan: &Plan, step: usize) -> u8 {
    plan.steps.get(step).copied().unwrap_or(0)
}

fn seen_before(known: &OnTrial) -> Seen {
    let differences = known.differences;
    Seen {
        since: crate::conditions::millis(&known.since),
        step: known.step.map_or(0, |step| usize::try_from(step.saturating_sub(1)).unwrap_or(0)),
        candidate: Calls { total: known.calls, refusals: known.refusals, failures: known.failures, p99_us: known.p99_microseconds },
        compared: known.compared,
        skipped: known.skipped,
        differences: [differences.more, differences.fewer, differences.refuses, differences.fails, differences.answers],
        ..Seen::default()
    }
}

/// Looks at the trial, and ends it when it is time.
pub(super) async fn look(context: &Context, entry: &Entry, (spec, rules): (&WasmPolicy, &[Rules]), shipped: &mut Option<Shipped>, report: &mut Report) {
    let (Some((_, plan)), Some(trial)) = (plan(spec), entry.trial()) else { return };
    let now = context.now();
    let (seen, latest) = trial.seen();
    let (digest, version) = (trial.digest().to_string(), trial.policy.stamp().version.clone());
    match judge(&plan, &seen, now) {
        Next::Wait(message) => {
            // Numbers can wait; that something else is waited for can't.
            let due = report.told.is_none_or(|told| told.elapsed() >= TELL) || report.trial.as_ref().is_none_or(|known| known.percent != trial.percent());
            if due {
                report.told = Some(Instant::now());
                report.trial = Some(tell(&plan, &trial, &seen, latest, message));
            }
        }
        Next::Step(step) => {
            trial.enter(step, percent(&plan, step), now);
            tracing::info!(policy = %entry.object, digest, percent = trial.percent(), "the trial goes on to its next step");
            report.told = None;
        }
        Next::Promote(message) => {
            end(entry, report);
            let was_good = entry.take_over(&trial.policy, rules);
            context.metrics.policy_swapped(None);
            report.ended(revision(now, (&digest, &version), TrialOutcome::Promoted, "AllGatesHeld", &message));
            let shipped = shipped.take();
            report.accepted(now, &trial.policy, shipped.as_ref().and_then(|shipped| shipped.revision.clone()));
            tracing::info!(policy = %entry.object, digest, message, "the trial went well: the new module takes over");
            if let Some(shipped) = shipped {
                keep::keep(context, spec, &trial.digest(), &shipped.kept, was_good).await;
            }
        }
        Next::RollBack { gate, sentence } => {
            end(entry, report);
            context.metrics.policy_rejected(gate);
            tracing::warn!(policy = %entry.object, digest, gate, sentence, "the new module failed its trial: the last good one goes on for all");
            report.ended(revision(now, (&digest, &version), TrialOutcome::RolledBack, gate, &sentence));
            report.refused(now, Some(trial.digest()), gate, &format!("the trial ended: {sentence}"));
            // Whoever was decided for by the new one is looked at again at once.
            entry.wake_users();
        }
    }
}

fn tell(plan: &Plan, trial: &Trial, seen: &Seen, latest: Vec<super::trial::Found>, message: String) -> OnTrial {
    let count = |kind: Difference| Difference::ALL.iter().position(|known| *known == kind).and_then(|at| seen.differences.get(at)).copied().unwrap_or(0);
    OnTrial {
        digest: trial.digest().to_string(),
        version: trial.policy.stamp().version.clone(),
        percent: trial.percent(),
        step: (!plan.steps.is_empty()).then(|| u32::try_from(seen.step).unwrap_or(u32::MAX).saturating_add(1)),
        since: crate::conditions::time(seen.since),
        message,
        calls: seen.candidate.total,
        refusals: seen.candidate.refusals,
        failures: seen.candidate.failures,
        p99_microseconds: seen.candidate.p99_us,
        compared: seen.compared,
        skipped: seen.skipped,
        differences: weir_crds::wasm_policy::Differences {
            more: count(Difference::More),
            fewer: count(Difference::Fewer),
            refuses: count(Difference::Refuses),
            fails: count(Difference::Fails),
            answers: count(Difference::Answers),
        },
        latest: latest
            .into_iter()
            .map(|found| weir_crds::wasm_policy::Difference {
                object: found.object.to_string(),
                decision: found.decision,
                time: crate::conditions::time(found.at),
                kind: found.kind.as_str().to_owned(),
                current: found.current,
                candidate: found.candidate,
            })
            .collect(),
    }
}

fn revision(now: UnixMs, (digest, version): (&str, &str), outcome: TrialOutcome, reason: &str, message: &str) -> Revision {
    Revision {
        digest: digest.to_owned(),
        version: version.to_owned(),
        outcome,
        reason: reason.to_owned(),
        message: message.to_owned(),
        time: crate::conditions::time(now),
    }
}

/// Digest of a running module, for what has to be recalled.
pub(super) fn ran(spec: &WasmPolicy) -> Option<Digest> {
    spec.status.as_ref()?.running.as_ref()?.digest.parse().ok()
}
