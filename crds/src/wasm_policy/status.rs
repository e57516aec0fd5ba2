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

    /// What is true of the object now, one entry per type: Ready (a module runs) and LatestAccepted
    /// (it is the newest one).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The module that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,

    /// A module that is being verified and tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,

    /// The newest module, when it was refused. Absent as soon as a newer one is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Candidate>,

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
    /// What the source was at that time: resourceVersion of the ConfigMap, time of the file, version
    /// of Weir for a policy that it brings.
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
    /// First 12 digits of the digest of the module that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}
