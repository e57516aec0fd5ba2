//! `spec.scaling`: who decides on the replicas, and within which limits. Touches nothing.

use crate::{Duration, PolicyRef};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who decides on the replicas, and within which limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scaling {
    /// The WasmPolicy that proposes the replicas.
    pub policy_ref: PolicyRef,

    /// Limits that hold whatever the policy proposes. Each one that changed a proposal is named in
    /// the decision.
    #[serde(default)]
    pub guardrails: Guardrails,

    /// Enforce: decisions change the replicas. DryRun: decisions are recorded and change nothing.
    #[serde(default)]
    pub mode: Mode,

    /// True: nothing changes the replicas and nothing is asked to; measuring goes on.
    #[serde(default)]
    pub paused: bool,
}

/// Whether decisions take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// Decisions change the replicas.
    #[default]
    Enforce,
    /// Decisions are recorded and change nothing.
    DryRun,
}

impl Mode {
    /// The word as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "Enforce",
            Self::DryRun => "DryRun",
        }
    }
}

/// Limits on changes, by direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Guardrails {
    /// Limits on adding replicas.
    #[serde(default)]
    pub scale_up: ScaleUp,
    /// Limits on taking replicas away.
    #[serde(default)]
    pub scale_down: ScaleDown,
}

/// The limits of one direction, without saying which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectionGuardrails {
    /// Most replicas in one step.
    pub max_replicas_per_step: Option<u32>,
    /// Most percent of the replicas in one step.
    pub max_percent_per_step: Option<u32>,
    /// Most replicas within any minute.
    pub max_replicas_per_minute: Option<u32>,
    /// Most percent of the replicas within any minute.
    pub max_percent_per_minute: Option<u32>,
    /// How long a change must have been asked for.
    pub stabilization_window: Duration,
    /// How long after the last change in either direction nothing changes in this one.
    pub cooldown: Duration,
}

/// Two types that differ in a default: the schema of each carries its own, so `kubectl get -o yaml`
/// shows what holds.
macro_rules! direction {
    ($name:ident, $doc:literal, $stabilization:literal, $default:expr) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// Most replicas in one step. 0: never in this direction. Where a percentage is given
            /// too, the larger of the two counts, so a percentage stays useful at small numbers.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(max = 150_000))]
            pub max_replicas_per_step: Option<u32>,

            /// Most percent of the present replicas in one step, rounded up.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(max = 100_000))]
            pub max_percent_per_step: Option<u32>,

            /// Most replicas within any minute. Where a percentage is given too, the larger counts.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(max = 150_000))]
            pub max_replicas_per_minute: Option<u32>,

            /// Most percent within any minute of the replicas at its start, rounded up.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(range(max = 100_000))]
            pub max_percent_per_minute: Option<u32>,

            /// A change in this direction must have been asked for by every decision of this time.
            /// 0s: at once. At most 24h.
            #[serde(default = $stabilization)]
            #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("stabilizationWindow can be 24h at most: shorten it"))]
            pub stabilization_window: Duration,

            /// How long after the last change in either direction nothing changes in this one. At
            /// most 24h.
            #[serde(default)]
            #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("cooldown can be 24h at most: shorten it"))]
            pub cooldown: Duration,
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    max_replicas_per_step: None,
                    max_percent_per_step: None,
                    max_replicas_per_minute: None,
                    max_percent_per_minute: None,
                    stabilization_window: $default,
                    cooldown: Duration::ZERO,
                }
            }
        }

        impl From<$name> for DirectionGuardrails {
            fn from(limits: $name) -> Self {
                Self {
                    max_replicas_per_step: limits.max_replicas_per_step,
                    max_percent_per_step: limits.max_percent_per_step,
                    max_replicas_per_minute: limits.max_replicas_per_minute,
                    max_percent_per_minute: limits.max_percent_per_minute,
                    stabilization_window: limits.stabilization_window,
                    cooldown: limits.cooldown,
                }
            }
        }
    };
}

direction!(ScaleUp, "Limits on adding replicas.", "at_once", at_once());
direction!(ScaleDown, "Limits on taking replicas away.", "five_minutes", five_minutes());

const fn at_once() -> Duration {
    Duration::ZERO
}

/// The default of the HorizontalPodAutoscaler for scaling down.
const fn five_minutes() -> Duration {
    Duration::from_secs(300)
}
