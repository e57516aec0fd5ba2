//! The check's Job, and what its ends mean.

use super::super::fixtures::{valid_collector, valid_template};
use super::*;
use rstest::rstest;
use serde_json::{Value, json};

#[test]
fn the_job_runs_the_collectors_own_check_once_and_is_no_replica() {
    let valid = valid_collector(|engine| engine["resources"] = json!({ "limits": { "memory": "1Gi" }, "requests": { "cpu": "2" } }));
    let job = validation_job(&valid, "1").unwrap();
    assert_eq!(job.name, format!("logs-check-{}", valid.revision().unwrap().hash()));
    let parsed: Job = serde_json::from_value(job.json).unwrap();
    let spec = parsed.spec.unwrap();
    assert_eq!((spec.backoff_limit, spec.active_deadline_seconds, spec.ttl_seconds_after_finished), (Some(0), Some(120), Some(300)));
    let labels = spec.template.metadata.unwrap().labels.unwrap();
    assert_eq!(labels[LABEL_CONFIG_CHECK], "logs");
    assert!(!labels.contains_key(names::LABEL_PROCESSOR));
    let pod = spec.template.spec.unwrap();
    let container = &pod.containers[0];
    assert_eq!(container.args.as_ref().unwrap(), &["validate", "--config=/etc/otelcol/config.yaml"]);
    assert_eq!(container.termination_message_policy.as_deref(), Some("FallbackToLogsOnError"));
    let resources = container.resources.as_ref().unwrap();
    assert_eq!(resources.requests.as_ref().unwrap()["cpu"].0, "10m");
    assert_eq!(resources.limits.as_ref().unwrap()["memory"].0, "1Gi");
    assert_eq!(pod.restart_policy.as_deref(), Some("Never"));
}

#[test]
fn other_engines_have_no_check() {
    assert!(validation_job(&valid_template(json!({ "spec": { "containers": [{ "name": "a", "image": "i" }] } })), "1").is_none());
}

fn outcome(job: Value, pod: Option<Value>) -> CheckOutcome {
    let job: Job = serde_json::from_value(json!({ "metadata": {}, "status": job })).unwrap();
    let pod: Option<Pod> = pod.map(|status| serde_json::from_value(json!({ "metadata": {}, "status": status })).unwrap());
    check_outcome(&job, pod.as_ref())
}

fn ended(code: i32, reason: &str, message: &str) -> Value {
    json!({ "containerStatuses": [{
        "name": "collector", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": code, "reason": reason, "message": message } },
    }] })
}

#[rstest]
#[case::accepted(ended(0, "Completed", ""), CheckOutcome::Accepted)]
#[case::refused(ended(1, "Error", "Error: unknown type:\n  \"foo\"\n"), CheckOutcome::Rejected("Error: unknown type: \"foo\"".into()))]
#[case::refused_silently(ended(1, "Error", ""), CheckOutcome::Rejected("the collector gave no reason".into()))]
#[case::killed(ended(137, "OOMKilled", ""), CheckOutcome::Inconclusive("the check ended with exit code 137 (OOMKilled)".into()))]
#[case::not_started(ended(128, "StartError", "no such file"), CheckOutcome::Inconclusive("the check ended with exit code 128 (StartError) no such file".into()))]
fn the_end_of_the_pod_is_the_verdict(#[case] pod: Value, #[case] expected: CheckOutcome) {
    assert_eq!(outcome(json!({}), Some(pod)), expected);
}

#[test]
fn a_pod_that_does_not_start_says_why() {
    let pod = json!({ "containerStatuses": [{
        "name": "collector", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": "ImagePullBackOff", "message": "not found" } },
    }] });
    assert_eq!(outcome(json!({ "active": 1 }), Some(pod)), CheckOutcome::Running { waiting: Some("ImagePullBackOff not found".into()) });
    assert_eq!(outcome(json!({}), None), CheckOutcome::Running { waiting: None });
}

#[test]
fn a_job_whose_pod_is_gone_has_no_verdict_unless_it_succeeded() {
    let condition = |kind: &str| json!({ "conditions": [{ "type": kind, "status": "True", "reason": "DeadlineExceeded", "message": "too long" }] });
    assert_eq!(outcome(condition("Failed"), None), CheckOutcome::Inconclusive("DeadlineExceeded: too long".into()));
    assert_eq!(outcome(condition("Complete"), None), CheckOutcome::Accepted);
}

#[test]
fn of_a_long_message_the_end_is_kept() {
    let CheckOutcome::Rejected(message) = outcome(json!({}), Some(ended(1, "Error", &format!("{} the cause", "word ".repeat(500))))) else { panic!() };
    assert!(message.chars().count() <= 1_001 && message.ends_with("the cause"));
}
