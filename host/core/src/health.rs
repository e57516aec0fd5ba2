//! What is wrong with a workload, judged from plain facts. Touches nothing; the operator fills the
//! facts from its watches and turns findings into conditions, Events and metrics.

use crate::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// A container that is not running as it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Name of the container.
    pub name: String,
    /// Restarts so far.
    pub restarts: u32,
    /// Reason and message while it waits, for example `CrashLoopBackOff`.
    pub waiting: Option<(String, String)>,
    /// Reason, exit code and message of its last end.
    pub last_end: Option<(String, i32, String)>,
}

/// One pod as the watch shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Name of the pod.
    pub name: String,
    /// When it was created.
    pub created: UnixMs,
    /// When it became ready, while it is.
    pub ready_since: Option<UnixMs>,
    /// It is being deleted.
    pub deleting: bool,
    /// Why the scheduler finds no node.
    pub unschedulable: Option<String>,
    /// Its containers, init containers included.
    pub containers: Vec<ContainerFacts>,
}

/// The workload as the watch shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFacts {
    /// Why its rollout does not get on (`Progressing=False`), in the workload's own words.
    pub stalled: Option<String>,
    /// Its pods.
    pub pods: Vec<PodFacts>,
}

/// What can be wrong. The order is that of urgency: the first finding explains the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Problem {
    /// A container ends again and again.
    CrashLoop,
    /// A container was killed because it used more memory than its limit.
    OutOfMemory,
    /// The image can't be pulled or is not valid.
    ImageError,
    /// The container can't be created: a missing ConfigMap, Secret, volume or command.
    ContainerConfig,
    /// No node has room, or none fits.
    Unschedulable,
    /// The rollout does not get on.
    RolloutStalled,
    /// A pod runs but is not ready for too long.
    NotReady,
}

impl Problem {
    /// The stable word, for example `CrashLoop`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrashLoop => "CrashLoop",
            Self::OutOfMemory => "OutOfMemory",
            Self::ImageError => "ImageError",
            Self::ContainerConfig => "ContainerConfig",
            Self::Unschedulable => "Unschedulable",
            Self::RolloutStalled => "RolloutStalled",
            Self::NotReady => "NotReady",
        }
    }
}

/// One problem with the pods that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub problem: Problem,
    /// Pods that have it, sorted; empty when it is the workload's.
    pub pods: Vec<String>,
    /// One sentence with the details of the first pod.
    pub sentence: String,
}

/// How long what is normal at a start is not a problem yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    /// Milliseconds that a pod may be pending without a node.
    pub unschedulable_ms: i64,
    /// Milliseconds that a pod may run without being ready.
    pub ready_ms: i64,
}

impl Default for Grace {
    fn default() -> Self {
        Self { unschedulable_ms: 15_000, ready_ms: 120_000 }
    }
}

/// Judges. Findings are sorted by urgency, at most one of each kind.
#[must_use]
pub fn assess(now: UnixMs, workload: &WorkloadFacts, grace: Grace) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut add = |problem: Problem, pod: Option<&str>, sentence: String| {
        if let Some(known) = findings.iter_mut().find(|finding| finding.problem == problem) {
            known.pods.extend(pod.map(str::to_owned));
        } else {
            findings.push(Finding { problem, pods: pod.map(str::to_owned).into_iter().collect(), sentence });
        }
    };
    for pod in workload.pods.iter().filter(|pod| !pod.deleting) {
        let age = now.since(pod.created);
        let mut named = false;
        for container in &pod.containers {
            if let Some((problem, sentence)) = container_problem(container, pod.ready_since.is_some()) {
                add(problem, Some(&pod.name), format!("pod {}: {sentence}", pod.name));
                named = true;
            }
        }
        if named {
            continue;
        }
        if let Some(why) = &pod.unschedulable {
            if age >= grace.unschedulable_ms {
                add(Problem::Unschedulable, Some(&pod.name), format!("pod {} has had no node for {} s: {why}", pod.name, age / 1000));
            }
        } else if pod.ready_since.is_none() && age >= grace.ready_ms {
            add(Problem::NotReady, Some(&pod.name), format!("pod {} has not been ready for {} s since it was created", pod.name, age / 1000));
        }
    }
    if let Some(why) = &workload.stalled {
        add(Problem::RolloutStalled, None, format!("the rollout does not get on: {why}"));
    }
    findings.sort_by_key(|finding| finding.problem);
    for finding in &mut findings {
        finding.pods.sort();
        finding.pods.dedup();
    }
    findings
}

fn container_problem(container: &ContainerFacts, pod_ready: bool) -> Option<(Problem, String)> {
    let name = &container.name;
    let ended = container.last_end.as_ref();
    if let Some((reason, message)) = &container.waiting {
        let problem = match reason.as_str() {
            "CrashLoopBackOff" => {
                let why = ended.map_or_else(String::new, |(reason, code, message)| format!(", last end {reason} with exit code {code}{}", tail(message)));
                let problem = if ended.is_some_and(|(reason, ..)| reason == "OOMKilled") { Problem::OutOfMemory } else { Problem::CrashLoop };
                return Some((problem, format!("container {name} was restarted {} times{why}", container.restarts)));
            }
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "RegistryUnavailable"
            | "ImageInspectError"
            | "SignatureValidationFailed" => Problem::ImageError,
            "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => Problem::ContainerConfig,
            _ => return None,
        };
        return Some((problem, format!("container {name} waits with {reason}{}", tail(message))));
    }
    match ended {
        Some((reason, _, _)) if reason == "OOMKilled" && !pod_ready => {
            Some((Problem::OutOfMemory, format!("container {name} was killed because it used more memory than its limit")))
        }
        _ => None,
    }
}

/// The last 300 characters of a message, as they are the ones that say what went wrong.
fn tail(message: &str) -> String {
    let message = message.trim();
    if message.is_empty() {
        return String::new();
    }
    let skip = message.chars().count().saturating_sub(300);
    format!(": {}", message.chars().skip(skip).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pod(name: &str, container: ContainerFacts) -> PodFacts {
        PodFacts { name: name.into(), containers: vec![container], ..PodFacts::default() }
    }

    fn waiting(reason: &str) -> ContainerFacts {
        ContainerFacts { name: "collector".into(), restarts: 4, waiting: Some((reason.into(), "details".into())), last_end: None }
    }

    fn problems(pods: Vec<PodFacts>, seconds: i64) -> Vec<Problem> {
        let workload = WorkloadFacts { stalled: None, pods };
        assess(UnixMs(seconds * 1000), &workload, Grace::default()).iter().map(|finding| finding.problem).collect()
    }

    #[rstest]
    #[case("CrashLoopBackOff", Problem::CrashLoop)]
    #[case("ImagePullBackOff", Problem::ImageError)]
    #[case("ErrImageNeverPull", Problem::ImageError)]
    #[case("CreateContainerConfigError", Problem::ContainerConfig)]
    fn a_waiting_container_is_named_by_its_reason(#[case] reason: &str, #[case] problem: Problem) {
        assert_eq!(problems(vec![pod("a", waiting(reason))], 0), [problem]);
    }

    #[test]
    fn a_container_that_is_being_created_is_no_problem() {
        assert_eq!(problems(vec![pod("a", waiting("ContainerCreating"))], 5), []);
    }

    #[test]
    fn a_crash_loop_after_memory_ran_out_says_so() {
        let mut container = waiting("CrashLoopBackOff");
        container.last_end = Some(("OOMKilled".into(), 137, String::new()));
        assert_eq!(problems(vec![pod("a", container)], 0), [Problem::OutOfMemory]);
    }

    #[test]
    fn pending_and_unready_pods_get_their_grace() {
        let pending = PodFacts { name: "p".into(), unschedulable: Some("0/2 nodes".into()), ..PodFacts::default() };
        let unready = PodFacts { name: "u".into(), ..PodFacts::default() };
        assert_eq!(problems(vec![pending.clone(), unready.clone()], 14), []);
        assert_eq!(problems(vec![pending.clone(), unready.clone()], 15), [Problem::Unschedulable]);
        assert_eq!(problems(vec![pending, unready], 120), [Problem::Unschedulable, Problem::NotReady]);
    }

    #[test]
    fn pods_with_the_same_problem_make_one_finding_and_deleted_ones_none() {
        let mut gone = pod("c", waiting("CrashLoopBackOff"));
        gone.deleting = true;
        let workload =
            WorkloadFacts { stalled: Some("deadline".into()), pods: vec![pod("b", waiting("CrashLoopBackOff")), pod("a", waiting("CrashLoopBackOff")), gone] };
        let findings = assess(UnixMs(0), &workload, Grace::default());
        assert_eq!(findings[0].pods, ["a", "b"]);
        assert_eq!(findings[1].problem, Problem::RolloutStalled);
    }
}
