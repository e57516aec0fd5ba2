//! `status` of a LogProcessor: what the operator reports. Touches nothing.
//!
//! It changes only when something changes that a person would act on, so numbers in it are rounded
//! by whoever writes them. Whole decisions are in the decision log, not here.

use super::scaling::Mode;
use crate::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogProcessorStatus {
    /// metadata.generation that the status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is true of the object now, one entry per type: Ready, MetricsReady, PolicyReady,
    /// ScalingActive, Healthy and, with otelCollector, ConfigAccepted and ConfigConfirmed; with
    /// objectives, ObjectivesMet; with routingTableRef, RoutingTableReady.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// Replicas that exist, as the scale subresource reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,

    /// Replicas that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<u32>,

    /// Replicas that should run: the last decision, the pin, or what the workload asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<u32>,

    /// Label selector of the pods, as text, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// What is measured, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,

    /// What one replica can process, as policies see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_per_replica: Option<CapacityStatus>,

    /// Seconds from a changed replica count to a ready replica, measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_up_seconds: Option<f64>,

    /// Which configuration should run, runs, and was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigStatus>,

    /// The last decision that changed the replicas or, held back, would have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<LastDecision>,

    /// Texts for the columns of `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// Records a second over all replicas, rounded to two digits or so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// What senders tried to hand over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offered: Option<f64>,
    /// What the receivers took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<f64>,
    /// What the receivers refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<f64>,
    /// What the exporters delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<f64>,
}

/// What one replica can process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacityStatus {
    /// Records a second.
    pub records_per_second: f64,
    /// True when it was learnt from measurements, false when it was declared.
    pub learnt: bool,
}

/// Configurations by their sha256, hex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// What the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// What replicas have been given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Replicas whose own metrics confirm that they run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_replicas: Option<u32>,
    /// What was refused last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<RejectedConfig>,
}

/// A configuration that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedConfig {
    /// Its sha256, hex.
    pub hash: String,
    /// What the collector said.
    pub message: String,
}

/// One decision, in short; `weir decisions` has all of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastDecision {
    /// Name of the decision in the decision log.
    pub id: String,
    /// When it was made.
    #[schemars(with = "TimeText")]
    pub time: Time,
    /// Kind of the decision: Scale, Steady, Hold or Pinned.
    pub verdict: String,
    /// Replicas before.
    pub from: u32,
    /// Replicas decided.
    pub to: u32,
    /// What the policy proposed, before the guardrails. Absent: it was not asked, or did not propose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<u32>,
    /// Stable word for why.
    pub reason: String,
    /// Sentence for why.
    pub message: String,
    /// Digest of the snapshot that it was computed from, and can be computed from again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The policy that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStamp>,
    /// Set when that was a fallback: what the module did that should have been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// The state of another module that the policy was not handed, because it can't read it: it began without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_state: Option<DroppedState>,
    /// Guardrails that changed the proposal, in the order in which they did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub clamps: Vec<ClampStatus>,
    /// Enforce when it took effect, DryRun when it was only recorded.
    pub mode: Mode,
}

/// Exactly which policy was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStamp {
    /// Name of the WasmPolicy.
    pub name: String,
    /// Namespace of the WasmPolicy.
    pub namespace: String,
    /// sha256 of the module, as sha256:hex.
    pub digest: String,
    /// Version that the module gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A state that no module was handed any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DroppedState {
    /// Version of the state; 0: its module told none.
    pub version: u32,
    /// Name and version of the rule that wrote it.
    pub writer: String,
    /// sha256 of the module that wrote it, as sha256:hex.
    pub digest: String,
}

/// One guardrail that changed a proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClampStatus {
    /// Which one: Min, Max, StabilizationUp, StabilizationDown, Cooldown, StepUp, StepDown, RateUp, RateDown.
    pub guardrail: String,
    /// Replicas asked for before it.
    pub from: u32,
    /// Replicas left after it.
    pub to: u32,
}

/// Texts for the columns of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Records offered a second, for example 12.4k/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Who decides on the replicas now: Enforce, DryRun, Paused, Pinned, Held (metrics, policy or
    /// another autoscaler stand in the way) or Manual (no policy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// First 12 digits of the digest of the policy that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The last decision, for example 4->6 AboveCapacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<String>,
}

/// How [`Time`] looks in a schema.
pub(crate) struct TimeText;

impl JsonSchema for TimeText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}
