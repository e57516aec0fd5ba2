//! `status` of a WasmPolicy: what runs, and what became of the newest module. Touches nothing.

use crate::log_processor::status::TimeText;
use crate::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WasmPolicyStatus {
    /// metadata.generation that the status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is true of the object now, one entry per type: Ready (a module runs), LatestAccepted (it is
    /// the newest one), FallbackReady (the one of spec.fallback can be asked) and, once the module kept
    /// failing, BreakerOpen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The module that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,

    /// The module on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<OnTrial>,

    /// The newest module, when it was refused. Absent as soon as a newer one is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Candidate>,

    /// How the last trials ended, the newest first; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub history: Vec<Revision>,

    /// What the module that runs says about itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<Description>,

    /// Objects that refer to the policy and may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<u32>,

    /// Texts for the columns of `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<WasmPolicySummary>,
}

/// The module that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// sha256 of the module, as sha256:hex.
    pub digest: String,
    /// Name that the module gives itself.
    pub name: String,
    /// Version that the module gives itself.
    pub version: String,
    /// When it took over.
    #[schemars(with = "TimeText")]
    pub loaded_at: Time,
    /// What the source was at that time: resourceVersion of the ConfigMap, digest of the file, digest
    /// of the manifest in the registry, version of Weir for a policy that it brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_revision: Option<String>,
}

/// A module that does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// sha256 of the module, as sha256:hex. Absent: the bytes could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Stable word for what keeps it from running.
    pub reason: String,
    /// Sentence for what keeps it from running, and what mends it.
    pub message: String,
    /// When it was seen first.
    #[schemars(with = "TimeText")]
    pub time: Time,
}

/// A module on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnTrial {
    /// sha256 of the module, as sha256:hex: what spec.rollout.promote and abort name.
    pub digest: String,
    /// Version that the module gives itself.
    pub version: String,
    /// Percent of the objects that it decides for; 0 in a shadow.
    pub percent: u8,
    /// Number of the step, from 1 on; absent in a shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// When the shadow or step began.
    #[schemars(with = "TimeText")]
    pub since: Time,
    /// What is waited for.
    pub message: String,
    /// Calls of the module in this shadow or step.
    pub calls: u64,
    /// Those that were refusals.
    pub refusals: u64,
    /// Those that failed.
    pub failures: u64,
    /// What 99 of 100 calls took at most, in microseconds.
    pub p99_microseconds: u64,
    /// Snapshots on which both versions were asked.
    pub compared: u64,
    /// Snapshots on which only one was asked, because comparisons must not hold decisions up.
    #[serde(default)]
    pub skipped: u64,
    /// Those on which they answered differently, by kind.
    #[serde(default)]
    pub differences: Differences,
    /// The latest of them, the newest first; at most five.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub latest: Vec<Difference>,
}

/// Snapshots on which both versions answered differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Differences {
    /// The new one wants more replicas.
    #[serde(default)]
    pub more: u64,
    /// The new one wants fewer.
    #[serde(default)]
    pub fewer: u64,
    /// The new one refuses, the current one does not.
    #[serde(default)]
    pub refuses: u64,
    /// The new one fails, the current one does not.
    #[serde(default)]
    pub fails: u64,
    /// The new one answers, the current one refuses or fails.
    #[serde(default)]
    pub answers: u64,
}

/// A snapshot on which both versions answered differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Namespace and name of the object.
    pub object: String,
    /// Id of the decision.
    pub decision: String,
    /// When it was made.
    #[schemars(with = "TimeText")]
    pub time: Time,
    /// More, Fewer, Refuses, Fails or Answers: what the new one does.
    pub kind: String,
    /// What the current one answered.
    pub current: String,
    /// What the new one answered.
    pub candidate: String,
}

/// What became of a module that was on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TrialOutcome {
    /// It took over.
    Promoted,
    /// A gate failed.
    RolledBack,
    /// A person dropped it.
    Aborted,
}

impl TrialOutcome {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "Promoted",
            Self::RolledBack => "RolledBack",
            Self::Aborted => "Aborted",
        }
    }
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// sha256 of the module, as sha256:hex.
    pub digest: String,
    /// Version that the module gives itself.
    pub version: String,
    /// What became of it.
    pub outcome: TrialOutcome,
    /// The gate that failed, or why it was promoted.
    pub reason: String,
    /// The same as a sentence, with its numbers.
    pub message: String,
    /// When it ended.
    #[schemars(with = "TimeText")]
    pub time: Time,
}

/// What a module says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// One or two sentences that say what the rule does.
    pub summary: String,
    /// JSON Schema of params, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params_schema: Option<String>,
    /// Series that the policy reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub series_needed: Vec<SeriesNeeded>,
    /// Versions of the state that the policy remembers; absent: it tells none, and a new module begins
    /// without what it remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateVersions>,
}

/// Which state a module writes and can read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateVersions {
    /// Version that it writes, and reads.
    pub version: u32,
    /// Older versions that it can read as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub reads: Vec<u32>,
}

/// A series that a policy reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeriesNeeded {
    /// Name of the series.
    pub name: String,
    /// True: without it the policy is not asked, and replicas are held.
    pub required: bool,
}

/// Texts for the columns of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WasmPolicySummary {
    /// Where the module comes from, for example configmap/drain:policy.wasm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How far the trial of a new module is, for example `Canary 25%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<String>,
    /// First 12 digits of the digest of the module that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
