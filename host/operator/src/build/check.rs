//! The collector's own check of a configuration, as a Job, and what its end says. Touches nothing;
//! called by the actor of a LogProcessor.
//!
//! The Job runs `validate` in the same image, with the same environment, on the ConfigMap that the
//! workload would get. Its verdict is read from the pod's termination message, so no right to read
//! logs is needed. Only exit code 1 is a verdict on the configuration: whatever else ends the pod
//! (no image, no memory, no time, an eviction) says nothing about it.

use super::names::{LABEL_CONFIG_CHECK, check_job_name};
use super::objects::{Object, ObjectKind, object};
use super::pod::{CONTAINER, check_spec};
use super::valid::Valid;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::json;
use weir_crds::names;

/// Seconds that a check may take, an image pull included.
const DEADLINE_SECONDS: u32 = 120;
/// Seconds that a finished Job is kept; one that was inconclusive is tried again after that.
const KEEP_SECONDS: u32 = 300;
/// Exit code of a collector that refuses its configuration.
const REFUSED: i32 = 1;
/// Longest message that is passed on.
const LONGEST: usize = 1_000;

/// What is known of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CheckOutcome {
    /// There is no Job.
    #[default]
    None,
    /// It is under way.
    Running {
        /// Why its pod does not start, if it does not.
        waiting: Option<String>,
    },
    /// The collector takes the configuration.
    Accepted,
    /// The collector refuses it, in its own words.
    Rejected(String),
    /// It ended without a verdict.
    Inconclusive(String),
}

/// The Job that checks what the spec asks for; `None` for other engines.
#[must_use]
pub fn validation_job(valid: &Valid, operator_version: &str) -> Option<Object> {
    let revision = valid.revision()?;
    let owner = &valid.owner;
    // Its pod has none of the labels by which replicas are known.
    let labels = json!({
        LABEL_CONFIG_CHECK: owner.name,
        names::LABEL_PART_OF: names::PART_OF,
        names::LABEL_MANAGED_BY: names::MANAGED_BY,
    });
    let body = json!({
        "metadata": {
            "labels": { LABEL_CONFIG_CHECK: owner.name },
            "annotations": {
                names::ANNOTATION_CONFIG_HASH: revision.hash().as_ref(),
                super::names::ANNOTATION_OPERATOR_VERSION: operator_version,
            },
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": { "metadata": { "labels": labels }, "spec": check_spec(owner, revision) },
        },
    });
    Some(object(ObjectKind::Job, owner, check_job_name(&owner.name, revision.hash()), body))
}

/// What the Job and its pod say.
#[must_use]
pub fn check_outcome(job: &Job, pod: Option<&Pod>) -> CheckOutcome {
    let container = pod.and_then(|pod| {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        statuses.iter().find(|status| status.name == CONTAINER)
    });
    if let Some(end) = container.and_then(|container| container.state.as_ref()?.terminated.as_ref()) {
        let message = shortened(end.message.as_deref().unwrap_or_default());
        let reason = end.reason.as_deref().unwrap_or_default();
        return match end.exit_code {
            0 => CheckOutcome::Accepted,
            // A collector that was killed ends with another code; one that could not be started too.
            REFUSED => CheckOutcome::Rejected(if message.is_empty() { "the collector gave no reason".to_owned() } else { message }),
            code => CheckOutcome::Inconclusive(format!("the check ended with exit code {code} ({reason}) {message}").trim_end().to_owned()),
        };
    }
    let status = job.status.clone().unwrap_or_default();
    let condition = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.clone().find(|condition| condition.type_ == kind && condition.status == "True")
    };
    if condition("Complete").is_some() {
        return CheckOutcome::Accepted;
    }
    // The Job's controller may have deleted the pod already: then there is a failure and no verdict.
    if let Some(failed) = condition("Failed") {
        let reason = failed.reason.as_deref().unwrap_or_default();
        let message = failed.message.as_deref().unwrap_or_default();
        return CheckOutcome::Inconclusive(format!("{reason}: {message}"));
    }
    CheckOutcome::Running { waiting: container.and_then(waiting).or_else(|| pod.and_then(unschedulable)) }
}

fn waiting(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|reason| !["ContainerCreating", "PodInitializing"].contains(reason))?;
    Some(format!("{reason} {}", waiting.message.as_deref().unwrap_or_default()).trim_end().to_owned())
}

fn unschedulable(pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
    Some(format!("{} {}", scheduled.reason.as_deref().unwrap_or_default(), scheduled.message.as_deref().unwrap_or_default()))
}

/// The end of a message, where the collector says what is wrong, on one line.
fn shortened(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let line = words.join(" ");
    let surplus = line.chars().count().saturating_sub(LONGEST);
    if surplus == 0 { line } else { format!("…{}", line.chars().skip(surplus).collect::<String>()) }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
