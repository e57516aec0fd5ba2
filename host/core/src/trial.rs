//! A new version of a policy on trial: beside the running one (Shadow), or deciding for a share of the
//! objects (Canary). Touches nothing; the operator counts, [`judge`] says what is next.
//!
//! ```text
//! Shadow ──bake──────────────────────────────┐
//! Canary ──step 1: bake──step 2: bake── … ───┼── all gates hold: promoted
//!                                            └── a gate fails, at any time: rolled back
//! ```
//!
//! A trial fails fast and succeeds slowly: gates are looked at with every decision, steps end only when
//! their time is over and enough decisions were made.

use crate::ids::{Digest, ObjectRef, UnixMs};
use crate::scaling::Outcome;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A gate on a share does not speak before this many decisions of the candidate: one failure of one is
/// 100 %. A failure counts at once where no failure is allowed.
const FEWEST: u64 = 20;

/// How a new version gets into use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Percent of the objects that it decides for, step by step; none: it only runs beside (Shadow).
    pub steps: Vec<u8>,
    /// Milliseconds that a shadow or a step lasts at least.
    pub bake_ms: i64,
    /// Decisions of the candidate in a shadow or step at least.
    pub min_decisions: u64,
    /// At the end it waits for a person's word.
    pub manual: bool,
    /// What must hold.
    pub gates: Gates,
}

/// Limits that end a trial. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Share of the candidate's calls that may fail (traps, limits, invalid proposals).
    pub failure_share: f64,
    /// Share of the candidate's calls that may be refusals, above that of the current version.
    pub refusal_share: f64,
    /// Share of snapshots on which both would decide differently; absent: no gate.
    pub disagreement_share: Option<f64>,
    /// Most microseconds of 99 of 100 calls; absent: no gate.
    pub latency_us: Option<u64>,
    /// How much more of its records the candidate's objects may refuse than before the step, beyond what
    /// the other objects do; absent: no gate.
    pub refused_records_share: Option<f64>,
    /// How many seconds older the candidate's objects may let their oldest waiting record get than
    /// before the step, beyond what the other objects do; absent: no gate.
    pub freshness_s: Option<f64>,
}

impl Default for Gates {
    fn default() -> Self {
        Self { failure_share: 0.0, refusal_share: 0.05, disagreement_share: None, latency_us: None, refused_records_share: Some(0.01), freshness_s: Some(30.0) }
    }
}

/// Which version decides for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// The one that ran before.
    Current,
    /// The one on trial.
    Candidate,
}

/// Which version decides for an object while `percent` of all are the candidate's. The same for the same
/// object and candidate, whatever the other objects are; a larger percentage keeps who was in.
#[must_use]
pub fn arm(object: &ObjectRef, candidate: &Digest, percent: u8) -> Arm {
    let mut hash = Sha256::new();
    hash.update(candidate.as_bytes());
    hash.update(object.namespace.as_bytes());
    hash.update([0]);
    hash.update(object.name.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let place = u64::from_be_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]]);
    // The top 32 bits as a share of their range: no bias, and no floats.
    if (place >> 32) * 100 < u64::from(percent) << 32 { Arm::Candidate } else { Arm::Current }
}

/// In which way two answers to one snapshot differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Difference {
    /// The candidate wants more replicas.
    More,
    /// The candidate wants fewer.
    Fewer,
    /// The candidate refuses, and the current one does not.
    Refuses,
    /// The candidate fails, and the current one does not.
    Fails,
    /// The candidate proposes, and the current one refuses or fails.
    Answers,
}

impl Difference {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::More, Self::Fewer, Self::Refuses, Self::Fails, Self::Answers];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::More => "More",
            Self::Fewer => "Fewer",
            Self::Refuses => "Refuses",
            Self::Fails => "Fails",
            Self::Answers => "Answers",
        }
    }

    /// Compares two answers; `None` when both would have the same effect.
    #[must_use]
    pub fn between(current: &Outcome, candidate: &Outcome) -> Option<Self> {
        match (current, candidate) {
            (Outcome::Proposal(one), Outcome::Proposal(other)) if one.replicas < other.replicas => Some(Self::More),
            (Outcome::Proposal(one), Outcome::Proposal(other)) if one.replicas > other.replicas => Some(Self::Fewer),
            (Outcome::Failure(_), Outcome::Failure(_)) | (Outcome::Refusal(_), Outcome::Refusal(_)) | (Outcome::Proposal(_), Outcome::Proposal(_)) => None,
            (_, Outcome::Failure(_)) => Some(Self::Fails),
            (Outcome::Proposal(_), Outcome::Refusal(_)) => Some(Self::Refuses),
            (Outcome::Failure(_), Outcome::Refusal(_)) | (_, Outcome::Proposal(_)) => Some(Self::Answers),
        }
    }
}

/// Calls of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// All calls.
    pub total: u64,
    /// Those that were refusals.
    pub refusals: u64,
    /// Those that failed.
    pub failures: u64,
    /// Microseconds that 99 of 100 calls took at most.
    pub p99_us: u64,
}

impl Calls {
    fn share(part: u64, of: u64) -> f64 {
        if of == 0 { 0.0 } else { part as f64 / of as f64 }
    }
}

/// How the records of one arm's objects fare, as means over its objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fate {
    /// Share of the records that were refused; absent: not measured.
    pub refused_share: Option<f64>,
    /// Seconds that the newest waiting record will have waited; absent: not measured.
    pub age_s: Option<f64>,
}

/// An arm before the step and now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fates {
    /// In the last decisions before the step.
    pub before: Fate,
    /// In the last decisions.
    pub now: Fate,
}

/// Everything that was counted in this shadow or step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// When it began.
    pub since: UnixMs,
    /// 0 for the first step, or for a shadow.
    pub step: usize,
    /// The candidate's calls, its live decisions and those beside.
    pub candidate: Calls,
    /// The current version's calls on the same snapshots.
    pub current: Calls,
    /// Snapshots on which both were asked.
    pub compared: u64,
    /// Snapshots on which both would have been asked, and there was no place for it.
    pub skipped: u64,
    /// Those on which they differ, by [`Difference::ALL`].
    pub differences: [u64; 5],
    /// Objects for which the candidate decides.
    pub candidate_fates: Fates,
    /// The others.
    pub current_fates: Fates,
}

/// What is next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing yet; the sentence says what is waited for.
    Wait(String),
    /// The next step begins: its number.
    Step(usize),
    /// It is taken into use.
    Promote(String),
    /// It is dropped.
    RollBack {
        /// Stable word of the gate, for example `FailureShare`.
        gate: &'static str,
        /// Sentence with the numbers.
        sentence: String,
    },
}

/// Judges a trial. A person's word stands above it: whoever calls this has asked for one.
#[must_use]
pub fn judge(plan: &Plan, seen: &Seen, now: UnixMs) -> Next {
    if let Some((gate, sentence)) = failed(&plan.gates, seen) {
        return Next::RollBack { gate, sentence };
    }
    let what = match plan.steps.get(seen.step) {
        Some(percent) => format!("step {} of {}, {percent} % of the objects", seen.step + 1, plan.steps.len()),
        None => "shadow".to_owned(),
    };
    let left = plan.bake_ms.saturating_sub(now.since(seen.since));
    if left > 0 {
        return Next::Wait(format!("{what}: {} s to go", left.saturating_add(999) / 1000));
    }
    if seen.candidate.total < plan.min_decisions {
        return Next::Wait(format!("{what}: {} of {} decisions made", seen.candidate.total, plan.min_decisions));
    }
    if seen.step + 1 < plan.steps.len() {
        return Next::Step(seen.step + 1);
    }
    if plan.manual {
        return Next::Wait(format!("{what}: done, and all gates hold; it waits for spec.rollout.promote"));
    }
    Next::Promote(format!("all gates held over {} decisions", seen.candidate.total))
}

/// The first gate that fails, with the numbers.
fn failed(gates: &Gates, seen: &Seen) -> Option<(&'static str, String)> {
    let (candidate, current) = (&seen.candidate, &seen.current);
    let failures = Calls::share(candidate.failures, candidate.total);
    if failures > gates.failure_share && (gates.failure_share == 0.0 || candidate.total >= FEWEST) {
        return Some((
            "FailureShare",
            format!("{} of {} calls of the candidate failed, a share of {} is allowed", candidate.failures, candidate.total, gates.failure_share),
        ));
    }
    if candidate.total < FEWEST {
        return None;
    }
    let (refusals, before) = (Calls::share(candidate.refusals, candidate.total), Calls::share(current.refusals, current.total));
    if refusals > before + gates.refusal_share {
        return Some((
            "RefusalShare",
            format!("the candidate refused {refusals:.3} of its calls and the current version {before:.3}; {} more are allowed", gates.refusal_share),
        ));
    }
    let differences: u64 = seen.differences.iter().sum();
    let share = Calls::share(differences, seen.compared);
    if let Some(most) = gates.disagreement_share.filter(|most| seen.compared >= FEWEST && share > *most) {
        return Some((
            "DisagreementShare",
            format!("on {differences} of {} snapshots both versions decide differently, a share of {most} is allowed", seen.compared),
        ));
    }
    if let Some(most) = gates.latency_us.filter(|most| candidate.p99_us > *most) {
        return Some(("Latency", format!("99 of 100 calls of the candidate take up to {} µs, {most} are allowed", candidate.p99_us)));
    }
    worse(gates, seen)
}

/// How much worse the candidate's objects fare than before, beyond what the others do.
fn worse(gates: &Gates, seen: &Seen) -> Option<(&'static str, String)> {
    let rise = |value: fn(&Fate) -> Option<f64>| {
        let rise = |fates: &Fates| Some(value(&fates.now)? - value(&fates.before).unwrap_or(0.0));
        Some((rise(&seen.candidate_fates)?, rise(&seen.current_fates).unwrap_or(0.0)))
    };
    if let (Some(most), Some((own, others))) = (gates.refused_records_share, rise(|fate| fate.refused_share))
        && own > others.max(0.0) + most
    {
        return Some((
            "RefusedRecords",
            format!("the share of refused records rose by {own:.4} where the candidate decides and by {others:.4} elsewhere; {most} more are allowed"),
        ));
    }
    if let (Some(most), Some((own, others))) = (gates.freshness_s, rise(|fate| fate.age_s))
        && own > others.max(0.0) + most
    {
        return Some((
            "Freshness",
            format!("the age of waiting records rose by {own:.0} s where the candidate decides and by {others:.0} s elsewhere; {most} s more are allowed"),
        ));
    }
    None
}

#[cfg(test)]
#[path = "trial_tests.rs"]
mod tests;
