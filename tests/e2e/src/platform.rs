//! A log platform on real nodes: the images, and the operator as a pod with the rights that
//! `deploy/kustomize` gives it.

use crate::{crds_served, http, program, repository};
use anyhow::{Context as _, Result};
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use weir_cluster::{Cluster, Image, Kubectl, Level, Options, images, wait_until};

/// Where the operator runs.
pub const OPERATOR_NAMESPACE: &str = "weir-system";
const OPERATOR_PODS: &str = "app.kubernetes.io/name=weir,app.kubernetes.io/component=operator";

/// Two nodes with the operator, shared by all tests of a process; it ends with the process.
///
/// # Errors
/// When it can't be started; then every call gives the same error.
pub fn shared_platform() -> Result<(&'static Cluster, InCluster)> {
    static PLATFORM: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let started = PLATFORM.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    let cluster = started.as_ref().map_err(|message| anyhow::anyhow!("{message}"))?;
    Ok((cluster, InCluster::of(cluster)))
}

fn start() -> Result<Cluster> {
    let level = Level::Nodes(2);
    let cluster = match Cluster::from_env(level)? {
        Some(given) => given,
        None => Cluster::start(Options::nodes(2))?,
    };
    load_images(&cluster)?;
    install(&cluster)?;
    Ok(cluster)
}

/// Puts the images of Weir, the collector and the store on every node.
///
/// # Errors
/// A program has not been built, or a node refuses an image.
pub fn load_images(cluster: &Cluster) -> Result<()> {
    cluster.load(Image::Otelcol)?;
    cluster.load(Image::VictoriaLogs)?;
    cluster.load_program(images::WEIR, &program("weir")?)
}

/// Installs the operator as `kubectl apply -k deploy/kustomize` does, with the image of this build,
/// and waits until it is ready.
///
/// # Errors
/// The manifests are refused, or the operator does not get ready; the error shows its log.
pub fn install(cluster: &Cluster) -> Result<InCluster> {
    let kubectl = cluster.kubectl();
    let folder = repository().join("deploy/kustomize");
    let rendered = kubectl.run([std::ffi::OsStr::new("kustomize"), folder.as_os_str()])?;
    let mut items = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(&rendered) {
        let mut object = Value::deserialize(document)?;
        if object.get("kind").and_then(Value::as_str) == Some("Deployment") {
            use_this_build(&mut object).context("the Deployment of the operator is not as expected")?;
        }
        items.push(object);
    }
    // The namespace and the definitions are there before what needs them.
    let (first, rest): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|object| matches!(object.get("kind").and_then(Value::as_str), Some("Namespace" | "CustomResourceDefinition")));
    for items in [first, rest] {
        kubectl.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    }
    crds_served(&kubectl)?;
    let operator = InCluster::of(cluster);
    operator.wait_ready()?;
    Ok(operator)
}

fn use_this_build(deployment: &mut Value) -> Option<()> {
    let container = deployment.pointer_mut("/spec/template/spec/containers/0")?.as_object_mut()?;
    container.insert("image".to_owned(), json!(images::WEIR));
    container.insert("args".to_owned(), json!(["operator", "--log=info,weir_operator=debug", "--log-format=text"]));
    for variable in container.get_mut("env")?.as_array_mut()? {
        if variable.get("name")?.as_str()? == "WEIR_AGENT_IMAGE" {
            *variable.get_mut("value")? = json!(images::WEIR);
        }
    }
    Some(())
}

/// The operator as pods.
#[derive(Clone, Debug)]
pub struct InCluster {
    kubectl: Kubectl,
}

impl InCluster {
    fn of(cluster: &Cluster) -> Self {
        Self { kubectl: cluster.kubectl().in_namespace(OPERATOR_NAMESPACE) }
    }

    fn wait_ready(&self) -> Result<()> {
        let ready = self.kubectl.run(["rollout", "status", "deploy/weir", "--timeout=60s"]);
        ready.with_context(|| format!("{}\n{}", self.kubectl.run(["describe", "pods"]).unwrap_or_default(), self.log())).map(drop)
    }

    /// The last lines that each of its pods has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.kubectl.run(["logs", "--selector", OPERATOR_PODS, "--prefix", "--tail=150"]).unwrap_or_else(|error| format!("no log: {error:#}"))
    }

    /// Everything that its pods have logged.
    ///
    /// # Errors
    /// kubectl fails.
    pub fn whole_log(&self) -> Result<String> {
        self.kubectl.run(["logs", "--selector", OPERATOR_PODS, "--prefix", "--tail=-1"])
    }

    /// Sum over its pods of the samples of a metric whose labels contain `with`.
    ///
    /// # Errors
    /// A pod does not answer.
    pub fn metric(&self, name: &str, with: &str) -> Result<f64> {
        let addresses = self.kubectl.run(["get", "pods", "--selector", OPERATOR_PODS, "-o", "jsonpath={.items[*].status.podIP}"])?;
        let mut sum = 0.0;
        for address in addresses.split_whitespace() {
            let address: SocketAddr = format!("{address}:8080").parse()?;
            sum += http::sum(&http::get(address, "/metrics")?.1, name, with).unwrap_or(0.0);
        }
        Ok(sum)
    }
}

/// Address of a Service that this machine reaches.
///
/// # Errors
/// There is no such Service within 30 s.
pub fn cluster_ip(kubectl: &Kubectl, service: &str) -> Result<String> {
    wait_until(format!("the Service {service}"), Duration::from_secs(30), || {
        let address = kubectl.run(["get", "service", service, "-o", "jsonpath={.spec.clusterIP}"])?;
        Ok((!address.is_empty()).then_some(address))
    })
}

/// Waits until all replicas of Deployments are available.
///
/// # Errors
/// Not within 90 s; the error shows the pods.
pub fn rolled_out(kubectl: &Kubectl, deployments: &[&str]) -> Result<()> {
    for name in deployments {
        let done = kubectl.run(["rollout", "status", &format!("deploy/{name}"), "--timeout=90s"]);
        done.with_context(|| kubectl.run(["describe", "pods"]).unwrap_or_default())?;
    }
    Ok(())
}
