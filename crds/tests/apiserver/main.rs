//! The API as a real API server serves it: what it admits, what it fills in, what it refuses and
//! with which words, and what kubectl makes of it.
//!
//! The server is the one that `WEIR_KUBECONFIG` or `WEIR_CLUSTER` names, else one is started (see
//! tests/cluster).

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

mod admitted;
mod kubectl;
mod refused;
mod routing_table;

use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;
use weir_cluster::{Cluster, Kubectl, Level, TestNamespace, shared, wait_until};

/// A namespace on a server that has the definitions.
fn namespace(prefix: &str) -> TestNamespace {
    TestNamespace::create(cluster(), prefix).unwrap()
}

fn cluster() -> &'static Cluster {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    let cluster = shared(Level::ControlPlane).unwrap();
    INSTALLED.get_or_init(|| {
        let kubectl = cluster.kubectl();
        kubectl.apply(&weir_crds::yaml().unwrap()).unwrap();
        let names: Vec<String> = weir_crds::crds().into_iter().map(|crd| format!("crd/{}", crd.metadata.name.unwrap())).collect();
        let wait = ["wait", "--for=condition=Established", "--timeout=30s"].map(str::to_owned);
        kubectl.run(wait.into_iter().chain(names)).unwrap();
        // Established says that the names are taken; the endpoints follow within a moment.
        wait_until("the endpoints of weir.dev", Duration::from_secs(30), || kubectl.run(["get", "weir"]).map(Some)).unwrap();
    });
    cluster
}

/// The least that a LogProcessor needs.
fn log_processor() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "LogProcessor",
        "metadata": { "name": "gateway" },
        "spec": {
            "engine": { "otelCollector": { "image": "otelcol:1", "config": {} } },
            "replicas": { "max": 10 },
        },
    })
}

/// The least that a LogStorage needs.
fn log_storage() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "LogStorage",
        "metadata": { "name": "logs" },
        "spec": {
            "engine": { "victoriaLogs": { "image": "victoria-logs:1" } },
            "nodes": { "min": 2, "max": 8 },
            "volume": { "size": "10Gi" },
        },
    })
}

/// The least that a WasmPolicy needs.
fn wasm_policy() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "WasmPolicy",
        "metadata": { "name": "rule" },
        "spec": { "kind": "Scaling", "source": { "builtin": { "name": "threshold" } } },
    })
}

/// The least that a RoutingTable needs.
fn routing_table() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "RoutingTable",
        "metadata": { "name": "base" },
        "spec": { "destinations": [{ "name": "main", "storageRef": { "name": "logs" } }], "default": "main" },
    })
}

/// RFC 7386.
fn merged(mut base: Value, patch: Value) -> Value {
    match (&mut base, patch) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    fields.remove(&key);
                } else {
                    let before = fields.remove(&key).unwrap_or(Value::Null);
                    let before = if change.is_object() && !before.is_object() { json!({}) } else { before };
                    fields.insert(key, merged(before, change));
                }
            }
            base
        }
        (_, patch) => patch,
    }
}

/// Creates and reads back.
fn create(kubectl: &Kubectl, object: &Value) -> Value {
    kubectl.apply(&object.to_string()).unwrap();
    get(kubectl, object)
}

fn get(kubectl: &Kubectl, object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap();
    kubectl.json(["get", kind, object["metadata"]["name"].as_str().unwrap()]).unwrap()
}

/// What the server says when it refuses; nothing is stored.
fn refusal(object: &Value) -> String {
    match cluster().kubectl().apply(&object.to_string()) {
        Ok(_) => panic!("admitted: {object:#}"),
        Err(error) => format!("{error:#}"),
    }
}
