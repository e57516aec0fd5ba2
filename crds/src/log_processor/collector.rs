//! `spec.engine.otelCollector`: OpenTelemetry Collectors that Weir runs. Touches nothing.

use crate::{Duration, Opaque, pod, schema};
use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, PodSecurityContext, ResourceRequirements, SecurityContext, Toleration, TopologySpreadConstraint, Volume,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// OpenTelemetry Collectors that Weir runs as a Deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OtelCollector {
    /// Image of the collector, for example otel/opentelemetry-collector-contrib:0.149.0.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    // `kubectl explain` shows the doc of the enum for an optional one.
    /// When the node pulls the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets of the namespace with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod::image_pull_secrets")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// The collector's configuration, as its own documentation describes it: receivers, processors,
    /// exporters, extensions, connectors and service. References such as ${env:NAME} are the
    /// collector's to resolve. Weir adds what it needs to run and measure replicas: the telemetry
    /// endpoint on metricsPort, maxConnectionAge, and the hash that confirms what a replica runs.
    #[schemars(schema_with = "schema::free_form")]
    pub config: Map<String, Value>,

    /// Validate: a changed configuration is tried with the collector's own `validate` before it is
    /// rolled out, and one that is refused changes nothing. Skip: it is rolled out unseen.
    #[serde(default)]
    pub config_check: ConfigCheck,

    /// Arguments for the collector, in addition to --config.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,

    /// Environment variables, as in a container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod::env")]
    pub env: Vec<EnvVar>,

    /// Compute resources, as in a container. Set a memory limit and the collector's memory_limiter
    /// below it, so that a full replica refuses records rather than dying with them.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pod::read_resources")]
    #[schemars(schema_with = "pod::resources")]
    pub resources: Option<ResourceRequirements>,

    /// Ports of the Service in addition to those that Weir derives from the receivers of config.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ports: Vec<ServicePort>,

    /// Port on which the collector serves its own metrics.
    #[serde(default = "metrics_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub metrics_port: u16,

    /// How long a gRPC connection to a receiver may last. Senders then connect again and find the
    /// replicas that were added since; without it, OTLP over gRPC sticks to those it knew at first.
    /// 0s leaves the collector's own setting. A value written in config wins.
    #[serde(default = "max_connection_age")]
    pub max_connection_age: Duration,

    /// Where persistent queues live. Absent: no volume; queues are in memory, and what is in them
    /// when a replica dies is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_volume: Option<QueueVolume>,

    /// How long a replica that leaves may take to empty its queue, in seconds.
    #[serde(default = "termination_grace_period_seconds")]
    #[schemars(range(min = 1, max = 86400))]
    pub termination_grace_period_seconds: u32,

    /// ServiceAccount that the pods run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,

    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Where pods may or should run, as `kubectl explain pod.spec.affinity` describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Opaque<Affinity>>,

    /// How pods spread over zones and nodes, as `kubectl explain
    /// pod.spec.topologySpreadConstraints` describes it; a constraint without labelSelector counts
    /// the pods of this LogProcessor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub topology_spread_constraints: Vec<Opaque<TopologySpreadConstraint>>,

    /// Annotations of the pods, in addition to those that Weir sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,

    /// Labels of the pods, in addition to those that Weir sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,

    /// Security context of the container, as `kubectl explain pod.spec.containers.securityContext`
    /// describes it. Absent: not root, no privileges, read-only root filesystem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Opaque<SecurityContext>>,

    /// Security context of the pod, as `kubectl explain pod.spec.securityContext` describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<Opaque<PodSecurityContext>>,
}

impl OtelCollector {
    /// Collectors of an image with a configuration, and the defaults for all else.
    #[must_use]
    pub fn new(image: impl Into<String>, config: Map<String, Value>) -> Self {
        Self { image: image.into(), config, ..Self::default() }
    }
}

impl Default for OtelCollector {
    fn default() -> Self {
        Self {
            image: String::new(),
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            config: Map::new(),
            config_check: ConfigCheck::default(),
            args: Vec::new(),
            env: Vec::new(),
            resources: None,
            ports: Vec::new(),
            metrics_port: metrics_port(),
            max_connection_age: max_connection_age(),
            queue_volume: None,
            termination_grace_period_seconds: termination_grace_period_seconds(),
            service_account_name: None,
            priority_class_name: None,
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            pod_annotations: BTreeMap::new(),
            pod_labels: BTreeMap::new(),
            security_context: None,
            pod_security_context: None,
        }
    }
}

/// The port that a collector serves its metrics on unless it is told otherwise.
const fn metrics_port() -> u16 {
    8888
}

const fn max_connection_age() -> Duration {
    Duration::from_secs(30)
}

/// Long enough to drain a queue of some minutes, and below the patience of common node upgrades.
const fn termination_grace_period_seconds() -> u32 {
    300
}

/// When the node pulls the image: Always, IfNotPresent or Never. Absent: IfNotPresent, or Always
/// for the tag latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At each start.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Not at all.
    Never,
}

impl ImagePullPolicy {
    /// The word as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Whether a configuration is tried before it is rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConfigCheck {
    /// The collector's own `validate` must accept it.
    #[default]
    Validate,
    /// It is rolled out unseen; replicas that don't come up still stop the rollout.
    Skip,
}

/// A port of the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Name of the port.
    #[schemars(length(min = 1, max = 15), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Port of the Service and of the pods.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Protocol of the port: TCP or UDP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// Protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The word as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// A volume for persistent queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.sizeLimit) != has(self.volume)")
        .message("set exactly one of sizeLimit (a folder on the node, gone with the pod) and volume (a volume source of your own)")
)]
pub struct QueueVolume {
    /// A folder on the node of at most this size, for example 2Gi. It outlives a crash of the
    /// collector, not the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[0-9]+(\\.[0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$"))]
    pub size_limit: Option<String>,

    /// A volume as in `kubectl explain pod.spec.volumes`, without its name: for example ephemeral
    /// with a volumeClaimTemplate, which gives each replica a disk of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Opaque<Volume>>,

    /// Where the volume is mounted: the folder that file_storage in config has to name.
    #[serde(default = "mount_path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/.+"))]
    pub mount_path: String,
}

fn mount_path() -> String {
    "/var/lib/otelcol".to_owned()
}
