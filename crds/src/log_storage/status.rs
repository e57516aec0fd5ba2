//! `status` of a LogStorage: what the operator reports. Touches nothing.
//!
//! It changes only when something changes that a person would act on, so numbers in it are rounded
//! by whoever writes them. The whole map is in a ConfigMap, not here.

use crate::log_processor::status::TimeText;
use crate::log_processor::{Mode, PolicyStamp};
use crate::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStorageStatus {
    /// metadata.generation that the status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is true of the object now, one entry per type: Ready, NodesReady (every node answers),
    /// Reachable (every record that is to be kept can be queried), Balanced (no node has much more to do
    /// than the mean), PlacementAccepted (the policy is loaded and its proposals make sense),
    /// PlacementActive (decisions change owners) and VolumesGrown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Nodes that should run, all mirrors together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_nodes: Option<u32>,

    /// Nodes that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_nodes: Option<u32>,

    /// Label selector of the nodes' pods, as text, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Where to query: host and port of the Service over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_endpoint: Option<String>,

    /// The nodes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2000))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub nodes: Vec<NodeStatus>,

    /// The map of partitions that is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<MapStatus>,

    /// How evenly the load is spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceStatus>,

    /// The last decision that changed something or, held back, would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<PlacementDecision>,

    /// Texts for the columns of `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<LogStorageSummary>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name of its pod.
    pub name: String,
    /// Zone that it runs in; absent without spec.zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Ready, Starting (has not answered yet), Cordoned (is given nothing new and may go when nothing
    /// that it holds is still to be kept), Silent (does not answer, and is not given up yet), Lost,
    /// Quarantined (came and went too often) or Full (its disk takes no more).
    pub state: String,
    /// Free bytes of its disk, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_free_bytes: Option<u64>,
    /// Partitions that it owns.
    pub partitions: u32,
    /// Partitions that it owned before, and of which it holds records that are still to be kept.
    #[serde(default)]
    pub former_partitions: u32,
    /// Its share of the load: 1 is the mean of all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// The map of partitions that is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MapStatus {
    /// Rises by one with every change of the map.
    pub version: u64,
    /// Rises by one with every decision that gives partitions other owners. Two nodes never own a
    /// partition in the same epoch.
    pub epoch: u64,
    /// sha256 of the map's bytes, as sha256:hex.
    pub hash: String,
    /// Name of the ConfigMap that holds it.
    pub config_map: String,
}

/// How evenly the load is spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BalanceStatus {
    /// Load of the fullest node over the mean of all, each by its capacity; 1 is perfect.
    pub max_over_mean: f64,
    /// Partitions that changed their owner within the last hour, those of lost nodes not counted.
    pub moves_last_hour: u32,
    /// True when the partitions' weights are measured, false when all count alike.
    pub measured: bool,
}

/// One decision, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementDecision {
    /// Name of the decision in the decision log.
    pub id: String,
    /// When it was made.
    #[schemars(with = "TimeText")]
    pub time: Time,
    /// Kind of the decision: Move, Failover, Scale, Steady or Hold.
    pub verdict: String,
    /// Nodes of each mirror before.
    pub nodes_from: u32,
    /// Nodes of each mirror decided.
    pub nodes_to: u32,
    /// Partitions that change their owner because the policy proposed it.
    pub moves: u32,
    /// Partitions that change their owner because they had none or theirs was lost.
    pub failovers: u32,
    /// Partitions that the policy wanted to move and that stay for now.
    #[serde(default)]
    pub held_back: u32,
    /// Load of the fullest node over the mean, before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// The same after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// Stable word for why.
    pub reason: String,
    /// Sentence for why.
    pub message: String,
    /// Digest of the snapshot that it was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The policy that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStamp>,
    /// Guardrails that changed the proposal: StepBudget, HourBudget, MinInterval, TargetNotReady,
    /// History, MinNodes, MaxNodes, NodePin, MassLoss, Unmeasured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub clamps: Vec<String>,
    /// Enforce when it took effect, DryRun when it was only recorded.
    pub mode: Mode,
}

/// Texts for the columns of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogStorageSummary {
    /// Ready and desired nodes, for example 5/6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// Load of the fullest node over the mean, for example 1.03.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<String>,
    /// Who decides on owners now: Enforce, DryRun, Paused, Held (the policy or measurements stand in
    /// the way) or Manual (no policy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The last decision, for example 12 moves 1.31->1.04.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<String>,
}
