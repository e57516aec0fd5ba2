//! `spec.fallback`: who decides while the module keeps failing. Touches nothing.

use crate::schema;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A policy that Weir brings, for the time in which the module is not asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// Name of the policy, for example threshold or backlog.
    #[schemars(length(min = 1, max = 63))]
    pub builtin: String,

    /// Its params, which must fit its own schema: those of spec.params are not handed to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
    pub params: Option<Map<String, Value>>,
}
