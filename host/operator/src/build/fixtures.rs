//! LogProcessors for the tests of this module.

use super::valid::{Owner, Routing, Valid, validate};
use serde_json::{Value, json};
use weir_crds::LogProcessor;
use weir_crds::log_processor::OtelCollector;

/// Hash of [`otlp`].
pub(super) const OTLP_HASH: &str = "d453a94f75c6";

/// Collectors as most people run them: OTLP in, a stored queue, OTLP out.
pub(super) fn otlp_config() -> Value {
    json!({
        "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": "0.0.0.0:4317" }, "http": null } } },
        "processors": { "memory_limiter": { "check_interval": "1s", "limit_percentage": 80 }, "batch": { "timeout": "5s" } },
        "exporters": { "otlphttp": {
            "endpoint": "http://victoria-logs:9428/insert/opentelemetry",
            "sending_queue": { "storage": "file_storage" },
        } },
        "extensions": { "file_storage": { "directory": "/var/lib/otelcol" }, "health_check": null },
        "service": {
            "extensions": ["file_storage", "health_check"],
            "pipelines": { "logs": { "receivers": ["otlp"], "processors": ["memory_limiter", "batch"], "exporters": ["otlphttp"] } },
        },
    })
}

pub(super) fn collector(json: Value) -> OtelCollector {
    serde_json::from_value(json).unwrap()
}

pub(super) fn otlp() -> OtelCollector {
    collector(json!({
        "image": "example/otelcol:1",
        "config": otlp_config(),
        "queueVolume": { "sizeLimit": "2Gi" },
    }))
}

pub(super) fn owner() -> Owner {
    Owner { namespace: "team".into(), name: "logs".into(), uid: "7f6b".into(), generation: 3 }
}

/// A LogProcessor as the API server would hand it out.
pub(super) fn processor(spec: Value) -> LogProcessor {
    serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor",
        "metadata": { "namespace": "team", "name": "logs", "uid": "7f6b", "generation": 3 },
        "spec": spec,
    }))
    .unwrap()
}

pub(super) fn with_engine(engine: Value) -> LogProcessor {
    processor(json!({ "engine": engine, "replicas": { "min": 1, "max": 10 } }))
}

pub(super) fn valid_collector(change: impl FnOnce(&mut Value)) -> Valid {
    let mut engine = serde_json::to_value(otlp()).unwrap();
    change(&mut engine);
    validate(&with_engine(json!({ "otelCollector": engine })), Routing::Nowhere).unwrap()
}

pub(super) fn valid_template(template: Value) -> Valid {
    validate(&with_engine(json!({ "template": template })), Routing::Nowhere).unwrap()
}
