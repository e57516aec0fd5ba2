//! What the actor reads out of its members. Touches nothing.

use crate::build::rollout::{Confirmed, Progress};
use crate::build::{ANNOTATION_GIVEN_AT, LABEL_TEMPLATE};
use crate::index::Members;
use crate::views::{PodView, WorkloadView};
use std::sync::Arc;
use weir_core::health::{Finding, Grace, Problem, WorkloadFacts, assess};
use weir_core::ids::UnixMs;

/// Replicas of one processor, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Replicas that should serve: what the workload asks for, without those that are leaving.
    pub(super) desired: u32,
    /// Ready and serving.
    pub(super) ready: u32,
    /// Wanted, and not ready yet.
    pub(super) starting: u32,
    /// Cordoned.
    pub(super) leaving: u32,
}

/// Counts replicas.
pub(super) fn counts(members: &Members) -> Counts {
    let asked = members.workload.as_ref().map_or(0, |workload| workload.replicas);
    let number = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
    let live = || members.pods.values().filter(|pod| !pod.facts.deleting && !pod.finished);
    let leaving = number(live().filter(|pod| pod.cordoned.is_some()).count());
    let ready = number(live().filter(|pod| pod.ready() && pod.cordoned.is_none()).count());
    let desired = asked.saturating_sub(leaving);
    Counts { desired, ready, starting: desired.saturating_sub(ready), leaving }
}

/// Pods that are measured: ready ones, those that are leaving included.
pub(super) fn measurable(members: &Members) -> Vec<Arc<PodView>> {
    members.pods.values().filter(|pod| pod.ready()).cloned().collect()
}

/// Judges the health.
pub(super) fn health(now: UnixMs, members: &Members) -> Vec<Finding> {
    let stalled = members.workload.as_ref().is_some_and(|workload| workload.stalled.is_some());
    if !stalled && members.pods.values().all(|pod| pod.finished || pod.ready()) {
        return Vec::new();
    }
    let facts = WorkloadFacts {
        stalled: members.workload.as_ref().and_then(|workload| workload.stalled.clone()),
        pods: members.pods.values().filter(|pod| !pod.finished).map(|pod| pod.facts.clone()).collect(),
    };
    assess(now, &facts, Grace::default())
}

/// Pods that were given a configuration to read anew, and that still say so long afterwards that they run
/// another one, do not take it.
const IN_TIME_MS: i64 = 60_000;

/// Replicas that confirm what the workload has, and those that say they run something else.
pub(super) type Said = (Confirmed, u32);

/// How the rollout of what the workload has now gets on. `said`: `None`, replicas are not asked.
pub(super) fn progress(now: UnixMs, members: &Members, findings: &[Finding], said: Option<Said>) -> Progress {
    let Some(workload) = members.workload.as_ref().filter(|workload| workload.replicas > 0) else { return Progress::Idle };
    if let Some(given) = workload.annotations.get(ANNOTATION_GIVEN_AT).and_then(|at| at.parse().ok()) {
        return in_place(now.since(UnixMs(given)).max(0), members, workload, findings, said);
    }
    if workload.settled() && workload.available >= workload.replicas {
        let newest = members.pods.values().filter(|pod| pod.config_hash == workload.config_hash);
        let longest = newest.filter_map(|pod| pod.facts.ready_since).min().map_or(0, |since| now.since(since).max(0));
        return Progress::Settled { ready_ms: longest };
    }
    if let Some(why) = &workload.stalled {
        return Progress::Failing(why.clone());
    }
    // Only pods with the newest template say something about it.
    let newest = |name: &String| members.pods.get(name.as_str()).is_some_and(|pod| pod.config_hash == workload.config_hash);
    let failing = findings.iter().find(|finding| FATAL.contains(&finding.problem) && finding.pods.iter().any(newest));
    failing.map_or(Progress::Rolling, |finding| Progress::Failing(finding.sentence.clone()))
}

/// What a bad configuration does to a pod.
const FATAL: [Problem; 2] = [Problem::CrashLoop, Problem::ContainerConfig];

/// How pods fare that read what they were given `since` milliseconds ago. They were ready before, so only
/// their own metrics say that they run it.
fn in_place(since: i64, members: &Members, workload: &WorkloadView, findings: &[Finding], said: Option<Said>) -> Progress {
    if let Some(why) = &workload.stalled {
        return Progress::Failing(why.clone());
    }
    let newest = |name: &String| members.pods.get(name.as_str()).is_some_and(|pod| pod.labels.get(LABEL_TEMPLATE) == workload.annotations.get(LABEL_TEMPLATE));
    if let Some(finding) = findings.iter().find(|finding| FATAL.contains(&finding.problem) && finding.pods.iter().any(newest)) {
        return Progress::Failing(finding.sentence.clone());
    }
    match said {
        Some((confirmed, _)) if confirmed.replicas >= confirmed.of && workload.settled() && workload.available >= workload.replicas => {
            Progress::Settled { ready_ms: since }
        }
        // While pods are being replaced, those of before say something else for as long as they drain.
        Some((confirmed, others)) if others > 0 && since > IN_TIME_MS && workload.settled() => {
            Progress::Failing(format!("{others} of {} replicas still run another configuration {} s after they were given it", confirmed.of, since / 1_000))
        }
        _ => Progress::Rolling,
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
