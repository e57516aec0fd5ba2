//! `spec.replicas`, `spec.objectives` and `spec.capacityPerReplica`. Touches nothing.

use crate::Duration;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds of the replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.min <= self.max")
        .message("replicas.min is larger than replicas.max: lower min or raise max")
)]
pub struct Replicas {
    /// Fewest replicas, whatever a policy proposes. 0 lets the workload go to sleep; that needs a
    /// series that Prometheus answers, because without a replica there is nothing to scrape.
    #[serde(default = "one")]
    #[schemars(range(max = 150_000))]
    pub min: u32,

    /// Most replicas, whatever a policy proposes.
    #[schemars(range(min = 1, max = 150_000))]
    pub max: u32,

    /// Replicas by hand: this many, within min and max, while the policy goes on deciding without
    /// effect. `kubectl scale` and other autoscalers write it. Remove it to give control back:
    /// `kubectl patch lp NAME --type=merge -p '{"spec":{"replicas":{"pin":null}}}'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 150_000))]
    pub pin: Option<u32>,
}

const fn one() -> u32 {
    1
}

impl Replicas {
    /// Between two bounds, with no pin.
    #[must_use]
    pub const fn between(min: u32, max: u32) -> Self {
        Self { min, max, pin: None }
    }

    /// The pin, within the bounds.
    #[must_use]
    pub fn clamped_pin(&self) -> Option<u32> {
        self.pin.map(|pin| self.clamp(pin))
    }

    /// A number of replicas, within the bounds. `max` wins over `min`.
    #[must_use]
    pub fn clamp(&self, replicas: u32) -> u32 {
        replicas.max(self.min).min(self.max)
    }
}

impl Default for Replicas {
    fn default() -> Self {
        Self::between(1, 1)
    }
}

/// What the user wants to achieve. An absent part is no objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objectives {
    /// How old the oldest waiting record may get, for example 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')")
        .message("objectives.freshness must be longer than 0s: write for example 30s, or leave it out"))]
    pub freshness: Option<Duration>,

    /// Largest tolerated share of refused records, 0 to 1; 0.001 is one in a thousand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub refused_share: Option<f64>,

    /// Replica-hours a day that may be spent; 48 is two replicas all day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0.0")
        .message("objectives.replicaHours must be more than 0: write the replica-hours a day that may be spent, or leave it out"))]
    pub replica_hours: Option<f64>,
}

/// What one replica can process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityPerReplica {
    /// Records a second that one replica can process, as you know it from a load test. With learn,
    /// the number until enough has been measured. Absent: only what is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self > 0.0")
        .message("capacityPerReplica.recordsPerSecond must be more than 0: write what one replica can process, or leave it out to have it learnt"))]
    pub records_per_second: Option<f64>,

    /// Learn it from times when replicas were saturated. False: policies get recordsPerSecond, or
    /// none.
    #[serde(default = "yes")]
    pub learn: bool,
}

const fn yes() -> bool {
    true
}

impl Default for CapacityPerReplica {
    fn default() -> Self {
        Self { records_per_second: None, learn: yes() }
    }
}
