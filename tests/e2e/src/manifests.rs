//! What the platform consists of, as manifests: VictoriaLogs stores, and a gateway of OpenTelemetry
//! Collectors that splits records over two stores by a hash.

use serde_json::{Value, json};

/// Port of OTLP over gRPC.
pub const OTLP: u16 = 4317;
/// Port of the collectors' own metrics.
pub const METRICS: u16 = 8888;
/// Port of VictoriaLogs.
pub const STORE: u16 = 9428;

/// A VictoriaLogs that keeps its records on one node's disk, so that they outlive its pod.
#[must_use]
pub fn store(namespace: &str, name: &str, node: &str) -> Value {
    let labels = json!({ "app": name });
    json!({ "apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "selector": labels, "ports": [{ "name": "http", "port": STORE }] },
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
            "spec": {
                "replicas": 1, "strategy": { "type": "Recreate" }, "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": {
                    "nodeSelector": { "kubernetes.io/hostname": node },
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 20,
                    "containers": [{
                        "name": "store", "image": "weir.local/victorialogs:test", "imagePullPolicy": "Never",
                        "args": ["-storageDataPath=/data", "-retentionPeriod=30d"],
                        "ports": [{ "containerPort": STORE }],
                        "readinessProbe": { "httpGet": { "path": "/health", "port": STORE }, "periodSeconds": 1 },
                        "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
                        "volumeMounts": [{ "name": "data", "mountPath": "/data" }],
                    }],
                    "volumes": [{ "name": "data", "hostPath": { "path": format!("/var/lib/weir-stores/{namespace}/{name}"), "type": "DirectoryOrCreate" } }],
                } },
            },
        },
    ] })
}

/// A collector's configuration: OTLP in, a hash of the stream decides between two stores, each
/// behind a queue on disk that is tried again without end.
#[must_use]
pub fn collector_config([low, high]: [&str; 2]) -> Value {
    let exporter = |store: &str| {
        json!({
            "logs_endpoint": format!("http://{store}:{STORE}/insert/opentelemetry/v1/logs"),
            "headers": { "VL-Stream-Fields": "service.name" },
            "compression": "none", "timeout": "5s",
            "sending_queue": { "storage": "file_storage", "queue_size": 5000, "num_consumers": 2 },
            "retry_on_failure": { "initial_interval": "300ms", "max_interval": "2s", "max_elapsed_time": "0s" },
        })
    };
    let hash = r#"FNV(attributes["service.name"])"#;
    json!({
        "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": "0.0.0.0:4317" }, "http": { "endpoint": "0.0.0.0:4318" } } } },
        "processors": {
            "memory_limiter": { "check_interval": "1s", "limit_mib": 256 },
            "transform": { "log_statements": [{ "context": "resource", "statements": [
                format!(r#"set(attributes["weir.partition"], {hash} - ({hash} / 16) * 16)"#),
                r#"set(attributes["weir.partition"], attributes["weir.partition"] + 16) where attributes["weir.partition"] < 0"#,
            ] }] },
            "batch": { "timeout": "200ms", "send_batch_size": 512 },
        },
        "connectors": { "routing": {
            "default_pipelines": ["logs/low"],
            "table": [{ "context": "resource", "condition": r#"attributes["weir.partition"] >= 8"#, "pipelines": ["logs/high"] }],
        } },
        "exporters": { "otlphttp/low": exporter(low), "otlphttp/high": exporter(high) },
        "extensions": { "health_check": { "endpoint": "0.0.0.0:13133" }, "file_storage": { "directory": "/var/lib/otelcol" } },
        "service": {
            "extensions": ["health_check", "file_storage"],
            "pipelines": {
                "logs/in": { "receivers": ["otlp"], "processors": ["memory_limiter", "transform", "batch"], "exporters": ["routing"] },
                "logs/low": { "receivers": ["routing"], "exporters": ["otlphttp/low"] },
                "logs/high": { "receivers": ["routing"], "exporters": ["otlphttp/high"] },
            },
        },
    })
}

/// A LogProcessor of collectors with that configuration, measured every second. A replica declares
/// 500 records/s: little, so that a small machine can show much.
#[must_use]
pub fn gateway(name: &str, stores: [&str; 2], policy: &str, max: u32) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": name },
        "spec": {
            "engine": { "otelCollector": {
                "image": "weir.local/otelcol:test", "imagePullPolicy": "Never",
                "config": collector_config(stores),
                "maxConnectionAge": "5s",
                "queueVolume": { "sizeLimit": "256Mi", "mountPath": "/var/lib/otelcol" },
                "terminationGracePeriodSeconds": 90,
                "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
            } },
            "replicas": { "min": 1, "max": max },
            "capacityPerReplica": { "recordsPerSecond": 500, "learn": false },
            "metrics": { "interval": "1s", "window": "20s", "staleness": "4s" },
            "scaling": { "policyRef": { "name": policy }, "guardrails": { "scaleDown": { "stabilizationWindow": "5s" } } },
        },
    })
}

/// Puts the fields of `more` into `object`, object by object; anything else is replaced, and `null` removes.
pub fn merge(object: &mut Value, more: Value) {
    match (object, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (name, value) in more {
                if value.is_null() {
                    fields.remove(&name);
                } else {
                    merge(fields.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (object, more) => *object = more,
    }
}
