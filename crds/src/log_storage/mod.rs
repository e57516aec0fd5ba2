//! LogStorage: nodes that store logs, and which of them owns which partition.
//!
//! The spec is split as it reads: [`engine`] what runs, [`nodes`] how many, where and on which
//! volumes, [`placement`] who decides on partitions, within which limits, and what becomes of a node
//! that fails; [`status`] is what the operator reports.

pub mod engine;
pub mod nodes;
pub mod placement;
pub mod retention;
pub mod status;

pub use engine::{QueryEndpoint, StorageEngine, StorageEngineChoice, VictoriaLogs};
pub use nodes::{Nodes, Volume};
pub use placement::{Failover, Placement, PlacementGuardrails, Quarantine};
pub use retention::{ParseRetentionError, Retention};
pub use status::{BalanceStatus, LogStorageStatus, LogStorageSummary, MapStatus, NodeStatus, PlacementDecision};

use crate::log_processor::Mode;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What the user declares.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "LogStorage",
    plural = "logstorages",
    shortname = "lst",
    category = "weir",
    namespaced,
    status = "LogStorageStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A LogStorage is a set of nodes that store logs. The space of routing keys is cut into partitions, each owned by one node; Weir decides by a policy and within guardrails which, moves ownership and never data, and gives the partitions of a lost node new owners.",
    label("app.kubernetes.io/name", "weir"),
    scale(
        spec_replicas_path = ".spec.nodes.pin",
        status_replicas_path = ".status.desiredNodes",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.summary.nodes", description = "Nodes that are ready, and nodes that should run"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".spec.partitions", description = "Partitions of the space of routing keys"),
    printcolumn(
        name = "Balance", type_ = "string", json_path = ".status.summary.balance",
        description = "Load of the fullest node over the mean of all"
    ),
    printcolumn(name = "Map", type_ = "integer", json_path = ".status.map.version", description = "Version of the map of partitions"),
    printcolumn(
        name = "Policy", type_ = "string", json_path = ".spec.placement.policyRef.name",
        description = "WasmPolicy that proposes the owners"
    ),
    printcolumn(
        name = "Mode", type_ = "string", json_path = ".status.summary.mode",
        description = "Who decides on owners now: Enforce, DryRun, Paused, Held or Manual"
    ),
    printcolumn(
        name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Reason of the condition Ready"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.map.epoch", priority = 1, description = "Newest epoch of ownership"),
    printcolumn(
        name = "Last decision", type_ = "string", json_path = ".status.summary.lastDecision", priority = 1,
        description = "Last decision that changed something or would have"
    ),
    printcolumn(name = "Retention", type_ = "string", json_path = ".spec.retention", priority = 1, description = "How long records are kept"),
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes part of the names of StatefulSets, Services and their pods: use at most 40 characters of a-z, 0-9 and -, starting with a letter and ending with a letter or digit")
)]
#[x_kube(
    validation = Rule::new("self.mirrors < 2 || (has(self.zones) && size(self.zones) >= 2)")
        .message("mirrors: 2 keeps each copy in zones of its own: list at least two zones, or set mirrors to 1")
        .field_path(".zones"),
    validation = Rule::new("!has(self.zones) || self.nodes.min * self.mirrors >= size(self.zones)")
        .message("nodes.min leaves a zone without a node: raise nodes.min, or list fewer zones")
        .field_path(".nodes.min"),
    validation = Rule::new("has(self.zones) == has(oldSelf.zones)")
        .message("zones can't be introduced or taken away later, because each has a StatefulSet of its own whose volumes don't move: create a second LogStorage")
        .field_path(".zones")
)]
pub struct LogStorageSpec {
    /// What runs: exactly one engine.
    #[x_kube(validation = Rule::new("has(self.victoriaLogs)")
        .message("set exactly one engine; victoriaLogs (Weir runs VictoriaLogs) is the one there is"))]
    pub engine: StorageEngine,

    /// How many nodes each mirror may have.
    pub nodes: Nodes,

    /// Zones in which nodes run, by the label topology.kubernetes.io/zone of the Kubernetes nodes, for
    /// example [eu-1a, eu-1b]. Nodes are spread evenly over them; with two mirrors the first, third and
    /// so on belong to one, the others to the other. Zones can be added at the end. Absent: nodes run
    /// anywhere, spread over zones and Kubernetes nodes as far as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(
        validation = Rule::new("self.all(zone, self.exists_one(other, other == zone))")
            .message("a zone is listed twice: list each once"),
        validation = Rule::new("oldSelf.all(zone, self.indexOf(zone) == oldSelf.indexOf(zone))")
            .message("zones can only be added at the end, because nodes with their records live in those that are listed: put them back, in their order")
    )]
    pub zones: Option<Vec<String>>,

    /// The volume of each node.
    pub volume: Volume,

    /// Partitions that the space of routing keys is cut into. More of them balance more finely; ten or
    /// more for each node is plenty. Can't be changed later.
    #[serde(default = "partitions")]
    #[schemars(range(min = 1, max = 10_000))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("partitions can't be changed, because nearly every record would belong to another one: create a second LogStorage with the number that you want, and route to that"))]
    pub partitions: u32,

    /// Copies of every record: 1, or 2 in zones of their own. With one, a node that dies takes along
    /// what it had acknowledged and not yet written to its volume (VictoriaLogs: up to 5 s).
    #[serde(default = "mirrors")]
    #[schemars(range(min = 1, max = 2))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("mirrors can't be changed, because the second copy would lack what was stored before: create a second LogStorage with the mirrors that you want, and route to that"))]
    pub mirrors: u32,

    /// How long records are kept, as the engine's own flag (VictoriaLogs: -retentionPeriod), in days,
    /// weeks or years, for example 7d, 2w or 1y. A node is not removed while it holds records that are
    /// still to be kept.
    #[serde(default = "retention_default")]
    pub retention: Retention,

    /// Who decides which node owns which partition, and within which limits.
    #[serde(default)]
    pub placement: Placement,

    /// What becomes of a node that fails.
    #[serde(default)]
    pub failover: Failover,

    /// Enforce: decisions take effect. DryRun: decisions are recorded and change nothing; only
    /// partitions that no node owns are given one.
    #[serde(default)]
    pub mode: Mode,

    /// True: nothing changes owners or the number of nodes, not even the loss of a node; measuring
    /// goes on.
    #[serde(default)]
    pub paused: bool,
}

const fn partitions() -> u32 {
    64
}

const fn mirrors() -> u32 {
    1
}

/// The default of VictoriaLogs.
fn retention_default() -> Retention {
    Retention::days(7)
}
