//! What the server admits and fills in.

use crate::{create, log_processor, log_storage, merged, namespace, wasm_policy};
use rstest::rstest;
use serde_json::{Value, json};
use weir_crds::log_processor::EngineChoice;
use weir_crds::{LogProcessor, LogStorage, WasmPolicy};

#[test]
fn the_least_log_processor_gets_the_defaults_that_the_types_have() {
    let namespace = namespace("least");
    let stored = create(namespace.kubectl(), &merged(log_processor(), json!({ "spec": { "scaling": { "policyRef": { "name": "rule" } } } })));
    assert_eq!(
        stored["spec"],
        json!({
            "engine": { "otelCollector": {
                "image": "otelcol:1", "config": {}, "configCheck": "Validate", "maxConnectionAge": "30s",
                "metricsPort": 8888, "terminationGracePeriodSeconds": 300,
            } },
            "replicas": { "min": 1, "max": 10 },
            "capacityPerReplica": { "learn": true },
            "metrics": {
                "interval": "1s", "window": "1m", "maxMissingShare": 0.2,
                "scrape": { "enabled": true, "path": "/metrics", "scheme": "http" },
            },
            "scaling": {
                "policyRef": { "name": "rule" }, "mode": "Enforce", "paused": false,
                "guardrails": {
                    "scaleUp": { "stabilizationWindow": "0s", "cooldown": "0s" },
                    "scaleDown": { "stabilizationWindow": "5m", "cooldown": "0s" },
                },
            },
        })
    );
    // The defaults of the server are those of the types.
    let parsed: LogProcessor = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed.spec).unwrap(), stored["spec"]);
    assert!(matches!(parsed.spec.engine.choice(), Some(EngineChoice::OtelCollector(_))));
}

#[test]
fn defaults_fill_the_gaps_of_what_is_written_in_part() {
    let namespace = namespace("part");
    let stored = create(
        namespace.kubectl(),
        &merged(
            log_processor(),
            json!({ "spec": {
            "metrics": { "interval": "250ms" },
            "scaling": { "policyRef": { "name": "rule" }, "guardrails": { "scaleDown": { "maxReplicasPerStep": 2 } } },
        } }),
        ),
    );
    assert_eq!(stored["spec"]["metrics"]["window"], "1m");
    assert_eq!(stored["spec"]["metrics"]["scrape"]["path"], "/metrics");
    assert_eq!(stored["spec"]["scaling"]["guardrails"]["scaleDown"], json!({ "maxReplicasPerStep": 2, "stabilizationWindow": "5m", "cooldown": "0s" }));
}

#[test]
fn the_least_log_storage_gets_the_defaults_that_the_types_have() {
    let namespace = namespace("lst");
    let stored = create(namespace.kubectl(), &log_storage());
    assert_eq!(
        stored["spec"],
        json!({
            "engine": { "victoriaLogs": { "image": "victoria-logs:1", "port": 9428, "query": { "replicas": 2 } } },
            "nodes": { "min": 2, "max": 8 }, "volume": { "size": "10Gi" },
            "partitions": 64, "mirrors": 1, "retention": "7d",
            "placement": { "guardrails": { "maxMovesPerStep": 16, "maxMovesPerHour": 64, "minInterval": "1m" } },
            "failover": { "nodeTimeout": "15s", "quarantine": { "losses": 3, "window": "10m", "time": "15m" } },
            "mode": "Enforce", "paused": false,
        })
    );
    let parsed: LogStorage = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed.spec).unwrap(), stored["spec"]);
}

#[test]
fn the_least_wasm_policy_gets_the_defaults_that_the_types_have() {
    let namespace = namespace("wp");
    let stored = create(namespace.kubectl(), &wasm_policy());
    let parsed: WasmPolicy = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed.spec).unwrap(), stored["spec"]);
    assert_eq!(parsed.spec.limits, weir_crds::wasm_policy::Limits::default());
}

#[rstest]
#[case::template(json!({ "engine": { "otelCollector": null, "template": {
    "metadata": { "labels": { "a": "b" } },
    "spec": { "containers": [{ "name": "vector", "image": "vector", "resources": { "limits": { "cpu": 1 } } }] },
} } }))]
#[case::target_ref(json!({ "engine": { "otelCollector": null, "targetRef": { "kind": "StatefulSet", "name": "vector" } } }))]
#[case::everything_of_a_collector(json!({ "engine": { "otelCollector": {
    "config": { "receivers": { "otlp": { "protocols": { "grpc": {} } } }, "service": { "pipelines": {} } },
    "args": ["--feature-gates=+x"], "imagePullPolicy": "Never", "imagePullSecrets": [{ "name": "registry" }],
    "env": [{ "name": "NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }, { "name": "A", "value": "b" }],
    "resources": { "requests": { "cpu": "500m", "memory": "256Mi" }, "limits": { "cpu": 1, "memory": 1_073_741_824 } },
    "ports": [{ "name": "syslog", "port": 5514, "protocol": "UDP" }], "metricsPort": 9999, "maxConnectionAge": "0s",
    "queueVolume": { "volume": { "ephemeral": { "volumeClaimTemplate": { "spec": { "accessModes": ["ReadWriteOnce"] } } } } },
    "tolerations": [{ "key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60 }],
    "affinity": { "nodeAffinity": {} }, "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }],
    "podAnnotations": { "a": "b" }, "podLabels": { "a": "b" }, "nodeSelector": { "a": "b" },
    "securityContext": { "runAsNonRoot": true }, "podSecurityContext": { "fsGroup": 1 },
    "serviceAccountName": "gateway", "priorityClassName": "high", "terminationGracePeriodSeconds": 600, "configCheck": "Skip",
} } }))]
#[case::asleep_with_prometheus(json!({ "replicas": { "min": 0 }, "metrics": {
    "prometheus": { "url": "http://prometheus:9090", "headers": { "X-Scope-OrgID": "a" }, "basicAuthSecretRef": { "name": "a" } },
    "series": [{ "name": "expected", "prometheus": { "query": "sum(x)" } }],
} }))]
#[case::a_pin_beyond_the_bounds(json!({ "replicas": { "min": 2, "pin": 99 } }))]
#[case::scraped_series(json!({ "metrics": { "scrape": { "scheme": "https", "tls": { "insecureSkipVerify": true } }, "series": [
    { "name": "age", "unit": "s", "scrape": { "metric": "queue_age_seconds", "matchLabels": { "a": "b" }, "kind": "Gauge", "aggregate": "Max" } },
] } }))]
#[case::objectives(json!({ "objectives": { "freshness": "30s", "refusedShare": 0, "replicaHours": 48 }, "capacityPerReplica": { "recordsPerSecond": 12000 } }))]
#[case::a_long_window(json!({ "metrics": { "interval": "1s", "window": "1h" } }))]
fn a_spec_is_admitted_and_reads_back(#[case] spec: Value) {
    let namespace = namespace("ok");
    let stored = create(namespace.kubectl(), &merged(log_processor(), json!({ "spec": spec })));
    let parsed: LogProcessor = serde_json::from_value(stored).unwrap();
    assert!(parsed.spec.engine.choice().is_some());
    if let Some(EngineChoice::Template(template)) = parsed.spec.engine.choice() {
        assert_eq!(template.spec.parse().unwrap().containers[0].name, "vector");
    }
}

#[rstest]
#[case::config_map(json!({ "source": { "builtin": null, "configMap": { "name": "rules" } } }), "configmap/rules:policy.wasm")]
#[case::file(json!({ "source": { "builtin": null, "file": { "path": "team-a/drain.wasm" } } }), "file/team-a/drain.wasm")]
#[case::limits(json!({ "limits": { "memory": 1_048_576, "deadline": "10s", "fuel": 1000 } }), "builtin/threshold")]
#[case::the_rest(json!({
    "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "params": { "any": ["thing", 1, { "x": null }] }, "allowedNamespaces": {},
}), "builtin/threshold")]
fn a_policy_is_admitted_and_reads_back(#[case] spec: Value, #[case] source: &str) {
    let namespace = namespace("wp-ok");
    let stored = create(namespace.kubectl(), &merged(wasm_policy(), json!({ "spec": spec })));
    let parsed: WasmPolicy = serde_json::from_value(stored).unwrap();
    assert_eq!(parsed.spec.source.choice().unwrap().to_string(), source);
}

#[test]
fn a_server_side_apply_replaces_the_configuration_as_a_whole() {
    let namespace = namespace("atomic");
    let with = |config: Value| merged(log_processor(), json!({ "spec": { "engine": { "otelCollector": { "config": config } } } }));
    create(namespace.kubectl(), &with(json!({ "receivers": { "otlp": { "grpc": { "endpoint": "a" }, "http": {} } } })));
    let less = json!({ "receivers": { "otlp": { "grpc": {} } } });
    let mut object = log_processor();
    object["spec"]["engine"]["otelCollector"]["config"] = less.clone();
    assert_eq!(create(namespace.kubectl(), &object)["spec"]["engine"]["otelCollector"]["config"], less);
}
