//! What Weir would write, judged by a real API server: it takes every object with all of its fields,
//! and what it makes of them still covers what was asked for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use rstest::rstest;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use weir_cluster::{Level, TestNamespace, shared};
use weir_crds::LogProcessor;
use weir_operator::build::{ConfigHash, Deploy, Inputs, Object, Routing, Valid, adoption_patch, covers, objects, validate, validation_job};

fn valid(namespace: &str, engine: Value) -> Valid {
    let processor: LogProcessor = serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor",
        "metadata": { "namespace": namespace, "name": "logs", "uid": "00000000-0000-0000-0000-000000000001" },
        "spec": { "engine": engine, "replicas": { "min": 1, "max": 10 } },
    }))
    .unwrap();
    validate(&processor, Routing::Nowhere).unwrap()
}

/// Server-side apply as the operator makes it, without effect unless asked for; the object as the
/// server would store it. Unknown fields are refused.
fn apply(namespace: &TestNamespace, body: &Value, dry_run: bool) -> Value {
    let mut command = namespace.kubectl().command();
    command.args(["apply", "--server-side", "--field-manager=weir", "--force-conflicts", "--validate=strict"]);
    command.args(dry_run.then_some("--dry-run=server")).args(["-o", "json", "-f", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(body.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !errors.contains("Warning"), "{errors}\n{body:#}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pipeline(receiver: Value) -> Value {
    json!({
        "receivers": { "otlp": receiver },
        "exporters": { "otlphttp": { "endpoint": "http://store", "sending_queue": { "storage": "file_storage" } } },
        "extensions": { "file_storage": { "directory": "/var/lib/otelcol" }, "health_check": {} },
        "service": {
            "extensions": ["file_storage", "health_check"],
            "pipelines": { "logs": { "receivers": ["otlp"], "exporters": ["otlphttp"] } },
        },
    })
}

fn plain() -> Value {
    json!({ "otelCollector": { "image": "example/otelcol:1", "config": pipeline(json!({ "protocols": { "grpc": null, "http": null } })) } })
}

fn everything() -> Value {
    json!({ "otelCollector": {
        "image": "example/otelcol:1", "imagePullPolicy": "IfNotPresent", "imagePullSecrets": [{ "name": "registry" }],
        "config": pipeline(json!({ "protocols": { "grpc": { "endpoint": "${env:POD_IP}:4317" } } })),
        "args": ["--feature-gates=a"],
        "env": [
            { "name": "A", "value": "1" }, { "name": "EMPTY", "value": "" },
            { "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
            { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k", "optional": true } } },
        ],
        "resources": { "limits": { "cpu": 1, "memory": "1024Mi" }, "requests": { "cpu": 0.25, "memory": "512Mi" } },
        "ports": [{ "name": "syslog", "port": 514, "protocol": "UDP" }, { "name": "metrics", "port": 8888 }],
        "queueVolume": { "sizeLimit": "2048Mi" },
        "terminationGracePeriodSeconds": 120,
        "serviceAccountName": "collector", "priorityClassName": "system-cluster-critical",
        "nodeSelector": { "disk": "fast" },
        "tolerations": [{ "key": "a", "operator": "Exists" }, { "key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute", "tolerationSeconds": 0 }],
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1, "podAffinityTerm": { "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "a": "b" } } },
        }] } },
        "topologySpreadConstraints": [
            { "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule" },
            { "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 2, "whenUnsatisfiable": "ScheduleAnyway" },
        ],
        "podAnnotations": { "a": "b" }, "podLabels": { "team": "a" },
        "podSecurityContext": { "runAsUser": 10001, "fsGroup": 10001 },
        "securityContext": { "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] } },
    } })
}

fn own_disk() -> Value {
    let mut engine = plain();
    engine["otelCollector"]["queueVolume"] = json!({ "volume": { "ephemeral": { "volumeClaimTemplate": { "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } },
    } } } } });
    engine
}

fn template() -> Value {
    json!({ "template": {
        "metadata": { "labels": { "team": "a" } },
        "spec": {
            "hostNetwork": false,
            "containers": [{
                "name": "vector", "image": "example/vector:1", "command": [],
                "ports": [{ "containerPort": 6000 }, { "containerPort": 53, "protocol": "UDP" }, { "containerPort": 53 }],
                "resources": { "limits": { "cpu": 0.5, "memory": "1Gi" } },
                "livenessProbe": { "httpGet": { "port": 8686, "path": "/health" }, "failureThreshold": 5 },
            }],
            "volumes": [{ "name": "buffer", "emptyDir": { "sizeLimit": 1_073_741_824 } }],
        },
    } })
}

#[rstest]
#[case::collectors_with_defaults(plain())]
#[case::collectors_with_every_option(everything())]
#[case::collectors_with_disks_of_their_own(own_disk())]
#[case::a_template(template())]
fn the_api_server_takes_every_object_and_keeps_what_was_asked_for(#[case] engine: Value, #[values(None, Some("example/weir:1"))] agent_image: Option<&str>) {
    let cluster = shared(Level::ControlPlane).unwrap();
    let namespace = TestNamespace::create(cluster, "build").unwrap();
    let valid = valid(namespace.name(), engine);
    let good: ConfigHash = "0123456789ab".parse().unwrap();
    let inputs =
        Inputs { replicas: 3, deploy: Deploy::Desired, last_good: Some(&good), rolled_back: None, given_at: 1_000, agent_image, operator_version: "1.2.3" };
    let desired = objects(&valid, &inputs);
    let job = validation_job(&valid, "1.2.3");
    let all: Vec<&Object> = desired.in_order().chain(&job).collect();
    assert!(all.len() >= 3);
    for object in all {
        let stored = apply(&namespace, &object.json, true);
        assert!(covers(&stored, &object.json), "asked for: {:#}\nstored: {stored:#}", object.json);
    }
}

#[test]
fn adopting_a_workload_changes_its_replicas_and_nothing_else() {
    let cluster = shared(Level::ControlPlane).unwrap();
    let namespace = TestNamespace::create(cluster, "adopt").unwrap();
    let theirs = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "vector", "namespace": namespace.name() },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": "vector" } },
            "template": {
                "metadata": { "labels": { "app": "vector" } },
                "spec": { "containers": [{ "name": "vector", "image": "example/vector:1" }] },
            },
        },
    });
    namespace.kubectl().apply(&theirs.to_string()).unwrap();
    let valid = valid(namespace.name(), json!({ "targetRef": { "kind": "Deployment", "name": "vector" } }));
    let patch = adoption_patch(&valid, Some(4)).unwrap();
    let adopted = apply(&namespace, &patch, false);
    assert!(covers(&adopted, &patch));
    let mut expected = theirs;
    expected["spec"]["replicas"] = json!(4);
    assert!(covers(&adopted, &expected));
}
