//! `spec.placement` and `spec.failover`: who decides on the owners of partitions, within which
//! limits, and what becomes of a node that fails. Touches nothing.

use crate::{Duration, PolicyRef};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who decides which node owns which partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    /// The WasmPolicy of kind Placement that proposes the owners, for example one with source
    /// builtin balanced. Absent: nobody; partitions stay where they are, and those without an owner or of a lost
    /// node go to the nodes that have least to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<PolicyRef>,

    /// Limits that hold whatever the policy proposes. Each one that changed a proposal is named in
    /// the decision.
    #[serde(default)]
    pub guardrails: PlacementGuardrails,
}

/// The churn budget: how much may move. Partitions of a lost node do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlacementGuardrails {
    /// Most partitions that change their owner in one decision. 0: none ever does.
    #[serde(default = "moves_per_step")]
    #[schemars(range(max = 10_000))]
    pub max_moves_per_step: u32,

    /// Most partitions that change their owner within any hour.
    #[serde(default = "moves_per_hour")]
    #[schemars(range(max = 1_000_000))]
    pub max_moves_per_hour: u32,

    /// How long after a decision that moved partitions the next one may. At most 24h.
    #[serde(default = "min_interval")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("minInterval can be 24h at most: shorten it"))]
    pub min_interval: Duration,
}

/// The default 64 partitions can move a quarter at once.
const fn moves_per_step() -> u32 {
    16
}

/// Every partition of the default 64 once, which a scale-out from one node to many needs.
const fn moves_per_hour() -> u32 {
    64
}

/// Long enough for a map to be confirmed by the collectors before the next.
const fn min_interval() -> Duration {
    Duration::from_secs(60)
}

impl Default for PlacementGuardrails {
    fn default() -> Self {
        Self { max_moves_per_step: moves_per_step(), max_moves_per_hour: moves_per_hour(), min_interval: min_interval() }
    }
}

/// What becomes of a node that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// How long a node may be silent until it counts as lost and its partitions get new owners. At least 1s.
    #[serde(default = "node_timeout")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("failover.nodeTimeout must be from 1s to 24h: shorter than a second would take a slow answer for a loss"))]
    pub node_timeout: Duration,

    /// When a node that comes and goes is given nothing for a while.
    #[serde(default)]
    pub quarantine: Quarantine,
}

const fn node_timeout() -> Duration {
    Duration::from_secs(15)
}

impl Default for Failover {
    fn default() -> Self {
        Self { node_timeout: node_timeout(), quarantine: Quarantine::default() }
    }
}

/// When a node that comes and goes is given nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// Losses within window after which a node is quarantined when it returns. 0: never.
    #[serde(default = "losses")]
    #[schemars(range(max = 100))]
    pub losses: u32,

    /// How far back losses count. At most 24h.
    #[serde(default = "window")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("failover.quarantine.window can be 24h at most: shorten it"))]
    pub window: Duration,

    /// How long a quarantined node must have been there without a break until it is given partitions
    /// again. At most 24h.
    #[serde(default = "time")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("failover.quarantine.time can be 24h at most: shorten it"))]
    pub time: Duration,
}

const fn losses() -> u32 {
    3
}

const fn window() -> Duration {
    Duration::from_secs(600)
}

const fn time() -> Duration {
    Duration::from_secs(900)
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { losses: losses(), window: window(), time: time() }
    }
}
