//! `spec.engine` of a LogStorage: what runs. Touches nothing.
//!
//! On the wire it is an object with one field for each engine, of which one is set; in Rust,
//! [`StorageEngine::choice`] turns it into an enum once, and later steps match on that.

use crate::log_processor::ImagePullPolicy;
use crate::{Opaque, pod};
use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, ResourceRequirements, Toleration};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exactly one engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageEngine {
    /// Weir runs VictoriaLogs: StatefulSets of storage nodes, and a query endpoint over all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub victoria_logs: Option<VictoriaLogs>,
}

/// The engine that is set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StorageEngineChoice<'a> {
    /// VictoriaLogs.
    VictoriaLogs(&'a VictoriaLogs),
}

impl StorageEngine {
    /// The engine that is set; `None` when none is, which the API server does not admit.
    #[must_use]
    pub fn choice(&self) -> Option<StorageEngineChoice<'_>> {
        self.victoria_logs.as_ref().map(StorageEngineChoice::VictoriaLogs)
    }
}

/// VictoriaLogs that Weir runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct VictoriaLogs {
    /// Image of VictoriaLogs, for example victoriametrics/victoria-logs:v1.36.1. It runs the storage
    /// nodes and the query endpoint.
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

    /// Flags of the storage nodes in addition to those that Weir sets, for example
    /// -inmemoryDataFlushInterval=1s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("!self.exists(flag, flag.matches('^--?(storageDataPath|httpListenAddr|retentionPeriod|storageNode)(=|$)'))")
        .message("-storageDataPath, -httpListenAddr, -retentionPeriod and -storageNode are set by Weir: take them out of args, and use port and spec.retention"))]
    pub args: Vec<String>,

    /// Compute resources of a storage node, as in a container.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pod::read_resources")]
    #[schemars(schema_with = "pod::resources")]
    pub resources: Option<ResourceRequirements>,

    /// Port on which nodes and the query endpoint listen, for records, queries and metrics.
    #[serde(default = "port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// The query endpoint over all nodes.
    #[serde(default)]
    pub query: QueryEndpoint,

    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,

    /// Labels that a Kubernetes node must have, in addition to the zone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Where pods may or should run, as `kubectl explain pod.spec.affinity` describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Opaque<Affinity>>,
}

/// The port that VictoriaLogs listens on unless it is told otherwise.
const fn port() -> u16 {
    9428
}

/// The query endpoint: VictoriaLogs that ask all storage nodes and put the answers together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueryEndpoint {
    /// How many of them run.
    #[serde(default = "query_replicas")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: u32,

    /// Compute resources of one of them, as in a container.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "pod::read_resources")]
    #[schemars(schema_with = "pod::resources")]
    pub resources: Option<ResourceRequirements>,
}

/// One can be restarted while the other answers.
const fn query_replicas() -> u32 {
    2
}

impl Default for QueryEndpoint {
    fn default() -> Self {
        Self { replicas: query_replicas(), resources: None }
    }
}
