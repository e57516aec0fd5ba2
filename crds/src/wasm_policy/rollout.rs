//! `spec.rollout`: how a new module gets into use. Touches nothing.

use crate::Duration;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a new module gets into use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Immediate: it takes over as soon as it is verified and has been tried on recent snapshots.
    /// Shadow: it runs beside the current one on the same snapshots first, without effect, and what it
    /// would have decided otherwise is counted. Canary: it decides for a growing share of the objects.
    #[serde(default)]
    pub strategy: Strategy,

    /// Canary: percent of the objects in each step. The same objects stay in as the share grows.
    #[serde(default = "steps")]
    #[schemars(length(min = 1, max = 10), inner(range(min = 1, max = 100)))]
    #[x_kube(validation = Rule::new("self.all(step, self.indexOf(step) == self.lastIndexOf(step)) && self.isSorted()")
        .message("rollout.steps must grow, each step once: write for example [5, 25, 50]"))]
    pub steps: Vec<u8>,

    /// How long a shadow, or each step of a canary, lasts at least. 0s to 7 days.
    #[serde(default = "bake")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('168h')").message("rollout.bake must be at most 168h: write for example 10m"))]
    pub bake: Duration,

    /// Decisions of the new module in a shadow or step at least.
    #[serde(default = "min_decisions")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub min_decisions: u32,

    /// Automatic: at the end of the trial it takes over by itself. Manual: it waits for `promote`.
    #[serde(default)]
    pub promotion: Promotion,

    /// What must hold. A gate that fails ends the trial at once, whatever the promotion is.
    #[serde(default)]
    pub gates: Gates,

    /// How long after a rollback no other new module is tried. The module that was rolled back is not
    /// tried again at all until `promote` names it.
    #[serde(default = "cooldown")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('168h')").message("rollout.cooldown must be at most 168h: write for example 10m"))]
    pub cooldown: Duration,

    /// Digest of a module to take into use now, without waiting for the end of its trial: a person's
    /// word. Counts for this digest only, so it may stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("rollout.promote is a digest: copy it from status.candidate.digest"))]
    #[schemars(length(max = 128))]
    pub promote: Option<String>,

    /// Digest of a module to drop: a person's word. Counts for this digest only, so it may stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("rollout.abort is a digest: copy it from status.candidate.digest"))]
    #[schemars(length(max = 128))]
    pub abort: Option<String>,
}

/// Which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Strategy {
    /// At once.
    #[default]
    Immediate,
    /// Beside the current one first.
    Shadow,
    /// For a share of the objects first.
    Canary,
}

impl Strategy {
    /// The word as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "Immediate",
            Self::Shadow => "Shadow",
            Self::Canary => "Canary",
        }
    }
}

/// Who ends a trial that went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Promotion {
    /// Weir.
    #[default]
    Automatic,
    /// A person.
    Manual,
}

/// Limits that end a trial. Shares are from 0 to 1, written as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// Share of the new module's calls that may fail: traps, limits, invalid proposals.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub failure_share: f64,

    /// Share of the new module's calls that may be refusals, above that of the current one.
    #[serde(default = "refusal_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub refusal_share: f64,

    /// Share of the snapshots on which both may decide differently. Absent: no gate, since a new rule
    /// is often meant to differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub disagreement_share: Option<f64>,

    /// What 99 of 100 calls of the new module may take. Absent: limits.deadline alone counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,

    /// By how much the share of refused records may rise where the new module decides, beyond what it
    /// does elsewhere.
    #[serde(default = "refused_records_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub refused_records_share: f64,

    /// By how much the age of waiting records may rise where the new module decides, beyond what it does
    /// elsewhere.
    #[serde(default = "freshness")]
    pub freshness: Duration,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            failure_share: 0.0,
            refusal_share: refusal_share(),
            disagreement_share: None,
            latency: None,
            refused_records_share: refused_records_share(),
            freshness: freshness(),
        }
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            steps: steps(),
            bake: bake(),
            min_decisions: min_decisions(),
            promotion: Promotion::default(),
            gates: Gates::default(),
            cooldown: cooldown(),
            promote: None,
            abort: None,
        }
    }
}

fn steps() -> Vec<u8> {
    vec![5, 25, 50]
}

const fn bake() -> Duration {
    Duration::from_millis(600_000)
}

const fn min_decisions() -> u32 {
    100
}

const fn cooldown() -> Duration {
    Duration::from_millis(600_000)
}

const fn refusal_share() -> f64 {
    0.05
}

const fn refused_records_share() -> f64 {
    0.01
}

const fn freshness() -> Duration {
    Duration::from_millis(30_000)
}
