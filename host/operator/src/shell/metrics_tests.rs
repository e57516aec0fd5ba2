use super::*;
use std::time::Duration;
use weir_core::breaker::Opening;
use weir_core::decision::Verdict;
use weir_core::guardrails::{Clamp, Guardrail};
use weir_core::health::Problem;
use weir_core::ids::{Digest, UnixMs};
use weir_core::scaling::{Failure, FailureKind, Invocation, PolicyStamp, Refusal};

fn metrics(per_object: bool) -> Arc<Metrics> {
    Metrics::new(MetricsOptions { version: "1.2.3", per_object })
}

fn decision(outcome: Outcome) -> Decision {
    Decision {
        id: "0".repeat(16),
        at: UnixMs(0),
        object: ObjectRef::new("logs", "edge"),
        snapshot: Digest::of(b""),
        policy: Some(PolicyStamp { object: ObjectRef::new("rules", "backlog"), digest: Digest::of(b""), name: "backlog".into(), version: "1.0.0".into() }),
        fallback: None,
        dropped_state: None,
        invocation: Some(Invocation { outcome, fuel: 12_345, output: String::new() }),
        verdict: Verdict::Hold,
        mode: Mode::Enforce,
        from: 2,
        proposed: None,
        to: 2,
        reason: "Trap".into(),
        sentence: "it trapped".into(),
        clamps: vec![Clamp { guardrail: Guardrail::StepUp, from: 9, to: 4 }],
    }
}

/// The lines of the exposition that start with `series`.
fn line(metrics: &Metrics, series: &str) -> Option<String> {
    let text = metrics.encode().unwrap();
    text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' '))).map(|line| line.rsplit(' ').next().unwrap().to_owned())
}

#[test]
fn a_decision_is_counted_with_its_clamps_its_failure_and_its_fuel() {
    let metrics = metrics(false);
    metrics.decided(&decision(Outcome::Failure(Failure { kind: FailureKind::Trap, message: String::new() })), Duration::from_micros(7));
    metrics.decided(&decision(Outcome::Refusal(Refusal { code: "TooFew".into(), sentence: String::new() })), Duration::from_micros(9));
    let value = |series: &str| line(&metrics, series);
    assert_eq!(value(r#"weir_decisions_total{verdict="Hold",mode="Enforce"}"#).as_deref(), Some("2"));
    assert_eq!(value(r#"weir_decisions_total{verdict="Scale",mode="DryRun"}"#).as_deref(), Some("0"));
    assert_eq!(value(r#"weir_clamps_total{guardrail="StepUp"}"#).as_deref(), Some("2"));
    assert_eq!(value(r#"weir_policy_failures_total{policy_namespace="rules",policy="backlog",kind="Trap"}"#).as_deref(), Some("1"));
    assert_eq!(value(r#"weir_policy_failures_total{policy_namespace="rules",policy="backlog",kind="Host"}"#).as_deref(), Some("0"));
    assert_eq!(value(r#"weir_policy_refusals_total{policy_namespace="rules",policy="backlog"}"#).as_deref(), Some("1"));
    assert_eq!(value(r#"weir_policy_fuel_count{policy_namespace="rules",policy="backlog"}"#).as_deref(), Some("2"));
    assert_eq!(value("weir_decision_duration_seconds_count").as_deref(), Some("2"));
    assert_eq!(value(r#"weir_build_info{version="1.2.3"}"#).as_deref(), Some("1"));
}

#[test]
fn a_compilation_counts_once_with_what_came_of_it() {
    let metrics = metrics(false);
    let took = |compiled, compile| StageTimes { compiled, compile: Duration::from_millis(compile), ..StageTimes::default() };
    metrics.policy_loaded(&took(CompiledFrom::Compiler, 30), None);
    metrics.policy_loaded(&took(CompiledFrom::Disk, 1), None);
    metrics.policy_loaded(&took(CompiledFrom::Memory, 0), None);
    metrics.policy_loaded(&took(CompiledFrom::Compiler, 0), Some(&LoadError::CoreModule));
    metrics.policy_loaded(&took(CompiledFrom::Compiler, 30), Some(&LoadError::InvalidParams { problems: Vec::new() }));
    metrics.policy_loaded(&took(CompiledFrom::Compiler, 60_000), Some(&LoadError::CompileTimedOut { after: Duration::from_secs(60) }));
    metrics.policy_loaded(&took(CompiledFrom::Compiler, 0), Some(&LoadError::CompileQueueFull { waiting: 256 }));
    let value = |series: &str| line(&metrics, series);
    assert_eq!(value(r#"weir_policy_compilations_total{outcome="Compiled"}"#).as_deref(), Some("2"), "good params or not, it was compiled");
    assert_eq!(value(r#"weir_policy_compilations_total{outcome="CompileTimedOut"}"#).as_deref(), Some("1"));
    assert_eq!(value(r#"weir_policy_compilations_total{outcome="CompileQueueFull"}"#).as_deref(), Some("1"));
    assert_eq!(value(r#"weir_policy_compilations_total{outcome="CompilerCrashed"}"#).as_deref(), Some("0"));
    assert_eq!(value("weir_policy_compile_duration_seconds_count").as_deref(), Some("3"));
    assert_eq!(value("weir_policy_compile_wait_seconds_count").as_deref(), Some("4"));
}

#[test]
fn the_series_of_a_deleted_policy_go() {
    let metrics = metrics(false);
    metrics.decided(&decision(Outcome::Failure(Failure { kind: FailureKind::Trap, message: String::new() })), Duration::ZERO);
    let policy = ObjectRef::new("rules", "backlog");
    let opening = Opening { since: UnixMs(0), calls: 5, failures: 5, last: FailureKind::Trap, pause_ms: 30_000, paused: UnixMs(0) };
    metrics.breaker(&policy, &State::Open(opening));
    metrics.breaker_opened(&policy);
    let labels = r#"{policy_namespace="rules",policy="backlog"}"#;
    assert_eq!(line(&metrics, &format!("weir_policy_breaker_state{labels}")).as_deref(), Some("2"));
    assert_eq!(line(&metrics, &format!("weir_policy_breaker_openings_total{labels}")).as_deref(), Some("1"));
    assert_eq!(line(&metrics, &format!("weir_policy_fallback_decisions_total{labels}")).as_deref(), Some("0"));
    metrics.policy_gone(&policy);
    metrics.state_dropped(&ObjectRef::new("rules", "backlog"));
    assert_eq!(line(&metrics, r#"weir_policy_states_dropped_total{policy_namespace="rules",policy="backlog"}"#).as_deref(), Some("1"));
    metrics.policy_gone(&ObjectRef::new("rules", "backlog"));
    assert!(!metrics.encode().unwrap().contains("backlog"));
}

#[test]
fn objects_are_summed_up_and_leave_nothing_behind() {
    let metrics = metrics(false);
    let object = ObjectRef::new("logs", "edge");
    let mut first = metrics.track("LogProcessor", &object);
    let mut second = metrics.track("LogProcessor", &ObjectRef::new("logs", "core"));
    first.set(&ObjectState { ready: Readiness::True, desired: 4, ready_replicas: 3, staleness: Some(Duration::from_millis(400)), problem: None });
    second.set(&ObjectState { ready: Readiness::False, desired: 2, ready_replicas: 0, staleness: None, problem: Some(Problem::CrashLoop) });
    first.set(&ObjectState { ready: Readiness::True, desired: 6, ready_replicas: 4, staleness: Some(Duration::from_millis(500)), problem: None });
    let value = |series: &str| line(&metrics, series);
    assert_eq!(value(r#"weir_objects{kind="LogProcessor",ready="True"}"#).as_deref(), Some("1"));
    assert_eq!(value(r#"weir_objects{kind="LogProcessor",ready="Unknown"}"#).as_deref(), Some("0"));
    assert_eq!(value(r#"weir_replicas{kind="LogProcessor",state="desired"}"#).as_deref(), Some("8"));
    assert_eq!(value(r#"weir_unhealthy{kind="LogProcessor",problem="CrashLoop"}"#).as_deref(), Some("1"));
    assert_eq!(value("weir_metrics_staleness_seconds_count").as_deref(), Some("2"));
    assert!(!metrics.encode().unwrap().contains("weir_object_"), "no series per object by default");
    drop((first, second));
    assert_eq!(value(r#"weir_objects{kind="LogProcessor",ready="True"}"#).as_deref(), Some("0"));
    assert_eq!(value(r#"weir_replicas{kind="LogProcessor",state="ready"}"#).as_deref(), Some("0"));
    assert_eq!(value(r#"weir_unhealthy{kind="LogProcessor",problem="CrashLoop"}"#).as_deref(), Some("0"));
}

#[test]
fn series_per_object_exist_when_asked_for_and_as_long_as_the_object() {
    let metrics = metrics(true);
    let mut tracked = metrics.track("LogProcessor", &ObjectRef::new("logs", "edge"));
    tracked.set(&ObjectState { desired: 5, ..ObjectState::default() });
    let series = r#"weir_object_replicas{kind="LogProcessor",object_namespace="logs",object="edge",state="desired"}"#;
    assert_eq!(line(&metrics, series).as_deref(), Some("5"));
    drop(tracked);
    assert_eq!(line(&metrics, series), None);
}

#[test]
fn the_exposition_ends_as_open_metrics_asks_and_every_name_has_the_prefix() {
    let text = metrics(true).encode().unwrap();
    assert!(text.ends_with("# EOF\n"));
    for line in text.lines().filter(|line| *line != "# EOF") {
        let name = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).or_else(|| line.strip_prefix("# UNIT ")).unwrap_or(line);
        assert!(name.starts_with("weir_"), "{line}");
    }
}

#[test]
fn a_decision_is_counted_in_far_less_time_than_it_takes() {
    let metrics = metrics(false);
    let decision = decision(Outcome::Refusal(Refusal { code: "TooFew".into(), sentence: String::new() }));
    let start = std::time::Instant::now();
    for _ in 0..100_000 {
        metrics.decided(&decision, Duration::from_micros(8));
    }
    let each = start.elapsed() / 100_000;
    println!("one decision counted in {each:?}");
    assert!(each < Duration::from_micros(20), "{each:?}");
}
