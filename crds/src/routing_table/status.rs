//! `status` of a RoutingTable: which table is used, and who runs it. Touches nothing.

use crate::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingTableStatus {
    /// metadata.generation that the status was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// What is true of the object now, one entry per type: Ready, Compiled (the newest spec and the
    /// newest maps of its storages are the table that is used) and Confirmed (every replica of every
    /// LogProcessor that names it runs it).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The table that is used: the newest one that could be compiled. It was written down before the
    /// first collector got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<AppliedTable>,

    /// Rules of that table, those of its parts included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u32>,

    /// LogProcessors that name the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<u32>,

    /// Replicas of these LogProcessors, all of which should run the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<u32>,

    /// Replicas whose own metrics confirm that they run it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_replicas: Option<u32>,

    /// What is likely a mistake: rules that never match because an earlier one takes what they would,
    /// destinations that no rule leads to. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub warnings: Vec<String>,

    /// Texts for the columns of `kubectl get`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<RoutingTableSummary>,
}

/// A compiled table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedTable {
    /// Rises by one with every change of the compiled table, whatever changed.
    #[schemars(range(min = 1))]
    pub version: u64,
    /// First 12 hex digits of the sha256 of its canonical bytes, which do not contain the version.
    pub hash: String,
    /// ConfigMap that holds these bytes.
    pub config_map: String,
}

/// Texts for the columns of `kubectl get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingTableSummary {
    /// Confirmed and desired replicas, for example 19/20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<String>,
}
