//! Which revision of a collector's configuration runs: tried first, watched, put back when it
//! fails. Touches nothing; called in each pass of an actor whose engine is `otelCollector`.
//!
//! ```text
//! desired ─ check ─┬─ rejected: what runs stays, until the spec changes
//!                  └─ accepted ─ rolled out ─┬─ ready for a while: it is the last good one
//!                                            └─ crashes or stalls: the last good one returns, and
//!                                               this one stays away until the spec changes
//! ```
//!
//! All memory is in the cluster, so a pass can stop anywhere and another process can go on: the hash
//! in the workload's template says what runs; two annotations beside it, written in the same apply,
//! name the last good one and the one that was taken back; the status keeps what the collector
//! refused, and should it be lost the check is made again.

use super::check::CheckOutcome;
use super::revision::ConfigHash;
use crate::conditions::Status;
use std::collections::BTreeSet;
use weir_crds::conditions::reason;
use weir_crds::log_processor::ConfigCheck;

/// Reason of ConfigAccepted, Unknown: the check is under way.
pub const CHECKING: &str = "Checking";
/// Reason of ConfigAccepted, Unknown: the check ended without a verdict and will be made again.
pub const CHECK_INCONCLUSIVE: &str = "CheckInconclusive";
/// Milliseconds that a replica must have been ready before what it runs counts as good. A collector
/// that finds its file missing or its port taken ends within a second; one that dies of its first
/// records takes a little longer.
pub const PROVEN_MS: i64 = 30_000;

/// How the template that is in the workload now fares. Pods of earlier templates do not count: the
/// hash in a pod's annotation says which it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No workload, or no replicas: nothing is proven.
    Idle,
    /// Not all replicas have it, are ready and are available, or the newest generation is not
    /// observed yet.
    Rolling,
    /// All replicas have it, at least one, and all are ready.
    Settled {
        /// How long the replica that has been ready for longest has been so.
        ready_ms: i64,
    },
    /// Its replicas crash, or its rollout does not get on. Pods for which there is no node are no such
    /// failure: another configuration would find none either.
    Failing(String),
}

/// A revision that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Which.
    pub hash: ConfigHash,
    /// Why.
    pub message: String,
}

/// How many replicas say, in their own metrics, that they run the workload's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Those that do.
    pub replicas: u32,
    /// All that should.
    pub of: u32,
}

/// What is known.
#[derive(Clone, Debug)]
pub struct State<'a> {
    /// What the spec asks for.
    pub desired: &'a ConfigHash,
    /// Whether it is tried first.
    pub check: ConfigCheck,
    /// What the workload's template has; `None`: there is no workload.
    pub running: Option<&'a ConfigHash>,
    /// Annotation of the workload.
    pub last_good: Option<&'a ConfigHash>,
    /// Annotation of the workload.
    pub rolled_back: Option<&'a ConfigHash>,
    /// From the status.
    pub rejected: Option<&'a Rejected>,
    /// The check of `desired`.
    pub job: &'a CheckOutcome,
    /// How `running` fares.
    pub progress: &'a Progress,
    /// `None`: replicas are not scraped, so none can say.
    pub confirmed: Option<Confirmed>,
    /// Revisions whose ConfigMap exists.
    pub existing: &'a [ConfigHash],
    /// Revisions whose Job exists.
    pub jobs: &'a [ConfigHash],
}

/// Something new that a person should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The collector refused the desired revision.
    Rejected,
    /// The desired revision failed and the last good one returns.
    RolledBack,
}

/// A condition's status, reason and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Status.
    pub status: Status,
    /// Stable word.
    pub reason: &'static str,
    /// Sentence for people.
    pub message: String,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the workload's template should have; `None`: make no workload yet.
    pub deploy: Option<ConfigHash>,
    /// Create the Job that checks the desired revision.
    pub start_check: bool,
    /// Annotation of the workload, to be written with `deploy`.
    pub last_good: Option<ConfigHash>,
    /// Annotation of the workload, to be written with `deploy`.
    pub rolled_back: Option<ConfigHash>,
    /// For the status.
    pub rejected: Option<Rejected>,
    /// New in this step.
    pub change: Option<Change>,
    /// The condition ConfigAccepted.
    pub accepted: Verdict,
    /// The condition ConfigConfirmed.
    pub confirmed: Verdict,
    /// Revisions whose ConfigMap nothing needs any more.
    pub garbage_config_maps: Vec<ConfigHash>,
    /// Revisions whose Job nothing needs any more.
    pub garbage_jobs: Vec<ConfigHash>,
}

/// What is to become of the desired revision.
enum Fate<'a> {
    /// It runs or may run.
    Deploy,
    /// Its check is to be made, under way, or without a verdict.
    Wait,
    /// The collector refuses it.
    Rejected(&'a str),
    /// It failed, now or before.
    Failed(&'a str),
}

/// Decides on the next step.
#[must_use]
pub fn step(state: &State<'_>) -> Step {
    let last_good = last_good(state);
    let fate = fate(state, last_good);
    let deploy = match fate {
        Fate::Deploy => Some(state.desired),
        Fate::Wait | Fate::Rejected(_) | Fate::Failed(_) => instead(state, last_good),
    };
    let (rejected, rolled_back, change) = match fate {
        Fate::Deploy | Fate::Wait => (None, None, None),
        Fate::Rejected(message) => {
            let new = state.rejected.is_none_or(|known| known.hash != *state.desired);
            (Some(message), None, new.then_some(Change::Rejected))
        }
        Fate::Failed(message) => {
            let new = state.rolled_back != Some(state.desired);
            (Some(message), Some(state.desired.clone()), new.then_some(Change::RolledBack))
        }
    };
    let rejected = rejected.map(|message| Rejected { hash: state.desired.clone(), message: message.to_owned() });
    Step {
        start_check: matches!(fate, Fate::Wait) && *state.job == CheckOutcome::None,
        accepted: accepted(state, &fate),
        confirmed: confirmed(state, &fate, deploy),
        garbage_config_maps: garbage(state, last_good, deploy),
        garbage_jobs: state.jobs.iter().filter(|job| *job != state.desired).cloned().collect(),
        deploy: deploy.cloned(),
        last_good: last_good.cloned(),
        rolled_back,
        rejected,
        change,
    }
}

/// What has been ready for a while; else what was before, as long as its ConfigMap exists.
fn last_good<'a>(state: &State<'a>) -> Option<&'a ConfigHash> {
    let proven = matches!(state.progress, Progress::Settled { ready_ms } if *ready_ms >= PROVEN_MS);
    match state.running {
        Some(running) if proven && state.rolled_back != Some(running) => Some(running),
        _ => state.last_good.filter(|good| *good == state.desired || state.existing.contains(good)),
    }
}

fn fate<'a>(state: &State<'a>, last_good: Option<&ConfigHash>) -> Fate<'a> {
    let runs = state.running == Some(state.desired);
    let other_good = last_good.is_some_and(|good| good != state.desired);
    let known = state.rejected.filter(|known| known.hash == *state.desired).map(|known| known.message.as_str());
    if state.rolled_back == Some(state.desired) && other_good {
        return Fate::Failed(known.unwrap_or("it was rolled out and failed"));
    }
    if runs {
        return match state.progress {
            Progress::Failing(message) if other_good => Fate::Failed(message),
            _ => Fate::Deploy,
        };
    }
    if state.check == ConfigCheck::Skip || last_good == Some(state.desired) {
        return Fate::Deploy;
    }
    if let Some(message) = known {
        return Fate::Rejected(message);
    }
    match state.job {
        CheckOutcome::Accepted => Fate::Deploy,
        CheckOutcome::Rejected(message) => Fate::Rejected(message),
        CheckOutcome::None | CheckOutcome::Running { .. } | CheckOutcome::Inconclusive(_) => Fate::Wait,
    }
}

/// What runs while the desired revision may not: what runs now, or the last good one when that is
/// the refused one or fails.
fn instead<'a>(state: &State<'a>, last_good: Option<&'a ConfigHash>) -> Option<&'a ConfigHash> {
    let failing = matches!(state.progress, Progress::Failing(_));
    match state.running {
        Some(running) if failing || running == state.desired => last_good.or(Some(running)),
        running => running,
    }
}

fn garbage(state: &State<'_>, last_good: Option<&ConfigHash>, deploy: Option<&ConfigHash>) -> Vec<ConfigHash> {
    // While a rollout is under way pods of any revision may start again.
    if !matches!(state.progress, Progress::Settled { .. }) || deploy != state.running {
        return Vec::new();
    }
    let needed: BTreeSet<&ConfigHash> = [Some(state.desired), state.running, last_good, deploy].into_iter().flatten().collect();
    state.existing.iter().filter(|hash| !needed.contains(hash)).cloned().collect()
}

fn verdict(status: Status, reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { status, reason, message: message.into() }
}

fn accepted(state: &State<'_>, fate: &Fate<'_>) -> Verdict {
    let desired = state.desired;
    match fate {
        Fate::Rejected(message) => {
            verdict(Status::False, reason::CONFIG_REJECTED, format!("the collector refuses configuration {desired}: {message}. {}", stays(state)))
        }
        Fate::Deploy | Fate::Failed(_) if state.check == ConfigCheck::Skip => {
            verdict(Status::True, reason::CONFIG_CHECK_SKIPPED, "not checked, because configCheck is Skip")
        }
        Fate::Deploy | Fate::Failed(_) => verdict(Status::True, reason::AS_EXPECTED, format!("the collector takes configuration {desired}")),
        Fate::Wait => match state.job {
            CheckOutcome::Inconclusive(message) => verdict(
                Status::Unknown,
                CHECK_INCONCLUSIVE,
                format!("the check of configuration {desired} ended without a verdict and will be made again: {message}. {}", stays(state)),
            ),
            CheckOutcome::Running { waiting: Some(waiting) } => {
                verdict(Status::Unknown, CHECKING, format!("the check of configuration {desired} does not start: {waiting}"))
            }
            _ => verdict(Status::Unknown, CHECKING, format!("the collector checks configuration {desired}")),
        },
    }
}

fn stays(state: &State<'_>) -> String {
    match state.running {
        Some(running) => format!("Replicas stay on {running}"),
        None => "No replica is started with it".to_owned(),
    }
}

fn confirmed(state: &State<'_>, fate: &Fate<'_>, deploy: Option<&ConfigHash>) -> Verdict {
    let desired = state.desired;
    match fate {
        Fate::Failed(message) => {
            let good = deploy.map_or_else(String::new, ToString::to_string);
            let text = format!("configuration {desired} was rolled out and failed: {message}. {good} was put back; change the spec to try again");
            return verdict(Status::False, reason::ROLLED_BACK, text);
        }
        Fate::Rejected(_) => return verdict(Status::False, reason::CONFIG_REJECTED, stays(state)),
        Fate::Wait => {
            return verdict(Status::False, reason::ROLLING_OUT, format!("configuration {desired} waits for its check"));
        }
        Fate::Deploy => {}
    }
    let rolling = |message: String| verdict(Status::False, reason::ROLLING_OUT, message);
    if state.running != Some(desired) {
        return rolling(format!("configuration {desired} is being rolled out"));
    }
    match (state.progress, state.confirmed) {
        (Progress::Failing(message), _) => {
            verdict(Status::False, reason::DEGRADED, format!("configuration {desired} fails and there is no earlier one to put back: {message}"))
        }
        (Progress::Idle, _) => verdict(Status::Unknown, reason::NO_REPLICAS, "no replica runs, so none can confirm"),
        (Progress::Rolling, None) => rolling(format!("configuration {desired} is being rolled out")),
        (_, Some(Confirmed { replicas, of })) if replicas < of => rolling(format!("{replicas} of {of} replicas confirm configuration {desired}")),
        (Progress::Rolling, Some(Confirmed { of, .. })) => rolling(format!("{of} replicas confirm configuration {desired}, and not all are ready")),
        (Progress::Settled { .. }, _) => verdict(Status::True, reason::AS_EXPECTED, format!("all replicas run configuration {desired}")),
    }
}

#[cfg(test)]
#[path = "rollout_tests.rs"]
mod tests;
