//! What the end-to-end tests and the demo share: an operator as a process or as pods, a Prometheus
//! that says what a test wants, a log platform on real nodes, and watches.

pub mod exposer;
pub mod http;
pub mod machine;
pub mod manifests;
pub mod observer;
pub mod operator;
pub mod plane;
pub mod platform;
pub mod prometheus;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::PathBuf;
use weir_cluster::{Cluster, Kubectl, TestNamespace};

pub use exposer::Exposer;
pub use observer::Observer;
pub use operator::Operator;
pub use plane::Plane;
pub use prometheus::{Answer, Prometheus, Values};

/// Folder of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program that the workspace builds.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    // Tests lie one folder below the programs.
    let near = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    near.with_context(|| format!("there is no {name} near {}: run `make build` first", this.display()))
}

/// Bytes of a built policy, for example `threshold` or `fixtures/traps`.
///
/// # Errors
/// It has not been built.
pub fn component(name: &str) -> Result<Vec<u8>> {
    let path = repository().join("policies/target/components").join(format!("{name}.wasm"));
    std::fs::read(&path).with_context(|| format!("{} is missing: run `make policies` first", path.display()))
}

/// Applies the CRDs and waits until they are served.
///
/// # Errors
/// The API server refuses them.
pub fn apply_crds(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.apply(&weir_crds::yaml()?)?;
    crds_served(&kubectl)
}

/// Waits until all CRDs that were applied are served.
///
/// # Errors
/// Not within 30 s.
pub fn crds_served(kubectl: &Kubectl) -> Result<()> {
    let names = weir_crds::crds().into_iter().filter_map(|crd| Some(format!("crd/{}", crd.metadata.name?)));
    let arguments = ["wait", "--for=condition=Established", "--timeout=30s"].map(str::to_owned).into_iter().chain(names);
    kubectl.run(arguments).map(drop)
}

/// A ConfigMap that holds a component under `policy.wasm`.
#[must_use]
pub fn config_map(name: &str, component: &[u8]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
        "binaryData": { "policy.wasm": base64::engine::general_purpose::STANDARD.encode(component) },
    })
}

/// Creates or replaces a ConfigMap that holds a component under `policy.wasm`.
///
/// # Errors
/// kubectl fails.
pub fn ship(namespace: &TestNamespace, name: &str, bytes: &[u8]) -> Result<()> {
    namespace.kubectl().apply(&config_map(name, bytes).to_string()).map(drop)
}

/// A WasmPolicy.
#[must_use]
pub fn wasm_policy(name: &str, source: Value, params: Value) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "WasmPolicy", "metadata": { "name": name },
        "spec": { "kind": "Scaling", "source": source, "params": params },
    })
}

/// A LogProcessor of plain pods whose offered load a Prometheus tells, one record a second per
/// replica and no patience on the way down, so that tests see what they ask for.
#[must_use]
pub fn processor(name: &str, prometheus: &str, policy: &str, max: u32) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": name },
        "spec": {
            "engine": { "template": { "spec": { "containers": [{ "name": "main", "image": "weir.local/busybox:test", "imagePullPolicy": "Never", "args": ["-c", "sleep 100000"] }] } } },
            "replicas": { "min": 1, "max": max },
            "capacityPerReplica": { "recordsPerSecond": 100, "learn": false },
            "metrics": {
                "interval": "250ms", "window": "5s", "staleness": "2s", "scrape": { "enabled": false },
                "prometheus": { "url": prometheus },
                "series": [{ "name": "offered", "unit": "records/s", "prometheus": { "query": "offered" } }],
            },
            "scaling": { "policyRef": { "name": policy }, "guardrails": { "scaleDown": { "stabilizationWindow": "1s" } } },
        },
    })
}

/// The condition of a type, as `status/reason/message`.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Option<(String, String, String)> {
    let all = object.pointer("/status/conditions")?.as_array()?;
    let found = all.iter().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind))?;
    let field = |name: &str| found.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((field("status"), field("reason"), field("message")))
}
