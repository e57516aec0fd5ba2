//! What passes the border, and as what.

use super::super::fixtures::{otlp, processor, valid_collector, valid_template, with_engine};
use super::*;
use rstest::rstest;

fn refused(spec: Value) -> String {
    validate(&processor(spec), Routing::Nowhere).unwrap_err().to_string()
}

fn otlp_engine() -> Value {
    json!({ "otelCollector": otlp() })
}

#[test]
fn a_log_processor_becomes_numbers_and_choices() {
    let valid = validate(
        &processor(json!({
            "engine": otlp_engine(),
            "replicas": { "min": 2, "max": 10, "pin": 40 },
            "objectives": { "freshness": "30s" },
            "metrics": { "interval": "500ms", "series": [
                { "name": "age", "unit": "s", "prometheus": { "query": "max(age)" } },
            ], "prometheus": { "url": "http://prometheus:9090/" } },
            "scaling": { "policyRef": { "name": "backlog" }, "guardrails": { "scaleUp": { "maxPercentPerStep": 100 } } },
        })),
        Routing::Nowhere,
    )
    .unwrap();
    assert_eq!((valid.bounds, valid.pin), (Bounds { min: 2, max: 10 }, Some(10)));
    assert_eq!(valid.objectives.freshness, Some(30.0));
    let scaling = valid.scaling.as_ref().unwrap();
    assert_eq!(scaling.policy, ObjectRef::new("team", "backlog"));
    assert_eq!((scaling.guardrails.up.max_percent_per_step, scaling.guardrails.down.stabilization_ms), (Some(100), 300_000));
    assert_eq!((valid.metrics.interval_ms, valid.metrics.window_ms, valid.metrics.staleness_ms), (500, 60_000, 10_000));
    assert_eq!(valid.metrics.scrape.as_ref().map(|scrape| (scrape.port, scrape.timeout_ms)), Some((8888, 500)));
    assert_eq!(valid.metrics.prometheus.as_ref().unwrap().url, "http://prometheus:9090");
    assert_eq!(valid.workload_key(), WorkloadKey::new(WorkloadKind::Deployment, "team", "logs-collector"));
}

#[test]
fn a_policy_of_another_namespace_keeps_it() {
    let valid = validate(
        &processor(json!({
            "engine": otlp_engine(), "replicas": { "max": 3 },
            "scaling": { "policyRef": { "name": "backlog", "namespace": "policies" }, "mode": "DryRun" },
        })),
        Routing::Nowhere,
    )
    .unwrap();
    let scaling = valid.scaling.unwrap();
    assert_eq!((scaling.policy, scaling.mode), (ObjectRef::new("policies", "backlog"), Mode::DryRun));
}

#[test]
fn a_target_keeps_its_kind_and_name() {
    let valid = validate(&with_engine(json!({ "targetRef": { "kind": "StatefulSet", "name": "vector" } })), Routing::Nowhere).unwrap();
    assert_eq!(valid.workload_key(), WorkloadKey::new(WorkloadKind::StatefulSet, "team", "vector"));
    assert_eq!(valid.metrics.scrape, None, "no port is known");
    assert!(valid.revision().is_none());
}

#[test]
fn a_template_keeps_fields_that_this_program_does_not_know() {
    let valid = valid_template(json!({ "spec": { "containers": [{ "name": "a", "image": "i", "fieldOfTheFuture": 1 }] } }));
    let ValidEngine::Template(template) = valid.engine else { panic!() };
    assert_eq!(template.pod.as_json()["containers"][0]["fieldOfTheFuture"], 1);
}

#[test]
fn the_unit_of_queues_comes_from_the_configuration() {
    let valid = valid_collector(|engine| engine["config"]["exporters"]["otlphttp"]["sending_queue"]["sizer"] = json!("items"));
    assert_eq!(valid.metrics.queue_unit, weir_intake::QueueUnit::Records);
}

#[rstest]
#[case::no_engine(json!({ "engine": {}, "replicas": { "max": 1 } }), "spec.engine: set exactly one")]
#[case::bounds(json!({ "engine": otlp_engine(), "replicas": { "min": 3, "max": 1 } }), "spec.replicas: min is larger")]
#[case::interval(json!({ "engine": otlp_engine(), "replicas": { "max": 1 }, "metrics": { "interval": "10ms" } }), "spec.metrics.interval: it must be at least 250ms")]
#[case::window(json!({ "engine": otlp_engine(), "replicas": { "max": 1 }, "metrics": { "window": "1s" } }), "spec.metrics.window")]
#[case::server(json!({ "engine": otlp_engine(), "replicas": { "max": 1 }, "metrics": { "series": [{ "name": "a", "prometheus": { "query": "1" } }] } }), "spec.metrics.prometheus")]
#[case::source(json!({ "engine": otlp_engine(), "replicas": { "max": 1 }, "metrics": { "series": [{ "name": "a" }] } }), "spec.metrics.series[a]: set exactly one of")]
#[case::scrape(json!({ "engine": { "targetRef": { "kind": "Deployment", "name": "a" } }, "replicas": { "max": 1 }, "metrics": { "series": [{ "name": "a", "scrape": { "metric": "m", "kind": "Gauge" } }] } }), "spec.metrics.scrape")]
#[case::no_containers(json!({ "engine": { "template": { "spec": { "containers": [] } } }, "replicas": { "max": 1 } }), "spec.engine.template.spec.containers: there is none")]
#[case::container(json!({ "engine": { "template": { "spec": { "containers": [{ "name": "a", "ports": [{ "containerPort": "http" }] }] } } }, "replicas": { "max": 1 } }), "spec.engine.template.spec.containers[0].ports[0].containerPort: invalid type")]
fn what_can_not_be_done_is_refused_by_its_place(#[case] spec: Value, #[case] expected: &str) {
    let error = refused(spec);
    assert!(error.starts_with(expected), "{error}");
}

#[rstest]
#[case::affinity(json!({ "affinity": { "nodeAffinity": [] } }), "spec.engine.otelCollector.affinity.nodeAffinity")]
#[case::spread(json!({ "topologySpreadConstraints": [{ "maxSkew": "one" }] }), "spec.engine.otelCollector.topologySpreadConstraints[0].maxSkew")]
#[case::security(json!({ "securityContext": { "runAsUser": "root" } }), "spec.engine.otelCollector.securityContext.runAsUser")]
#[case::volume(json!({ "queueVolume": { "volume": { "emptyDir": 3 } } }), "spec.engine.otelCollector.queueVolume.volume.emptyDir")]
fn a_mistake_in_an_open_part_is_told_by_its_place(#[case] change: Value, #[case] expected: &str) {
    let mut engine = serde_json::to_value(otlp()).unwrap();
    engine.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let error = validate(&with_engine(json!({ "otelCollector": engine })), Routing::Nowhere).unwrap_err().to_string();
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn an_object_that_no_server_made_is_refused() {
    let mut object = with_engine(otlp_engine());
    object.metadata.uid = None;
    assert!(validate(&object, Routing::Nowhere).unwrap_err().to_string().starts_with("metadata.uid"));
}
