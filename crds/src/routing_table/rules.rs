//! `spec.rules` and `spec.routingKey`: which records. Touches nothing.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Name of the rule, by which status and Events speak of it.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What a record must fulfil, all of it. Absent or empty: nothing, so every record matches.
    #[serde(default)]
    pub r#match: Match,
    /// Name of the destination.
    #[schemars(length(min = 1, max = 40))]
    pub destination: String,
}

/// What a record must fulfil.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Requirements on attributes of the resource that wrote the record, for example service.name.
    /// They are looked at once for all records of a resource, so prefer them to recordAttributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resource_attributes: Vec<Requirement>,
    /// Requirements on attributes of the record itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub record_attributes: Vec<Requirement>,
    /// Severities of the record. A record without a severity number fulfils no range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<SeverityRange>,
}

/// One requirement on an attribute. Values that are not text count in their text form: 500, true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.operator in ['In', 'NotIn', 'Prefix']) == (has(self.values) && size(self.values) > 0)")
        .message("In, NotIn and Prefix need values; Exists and DoesNotExist take none")
        .field_path(".values")
)]
pub struct Requirement {
    /// Name of the attribute.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// How the attribute relates to the values.
    pub operator: Operator,
    /// Values for In and NotIn, beginnings for Prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 1024)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub values: Vec<String>,
}

/// How an attribute relates to values: In (it is there with one of them), NotIn (it is absent or has
/// none of them), Exists, DoesNotExist, Prefix (it is there and begins with one of them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// It is there with one of the values.
    #[default]
    In,
    /// It is absent or has none of the values.
    NotIn,
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
    /// It is there and begins with one of the values.
    Prefix,
}

/// A range of severities, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.atLeast) || has(self.atMost)")
        .message("set atLeast, atMost or both")
)]
pub struct SeverityRange {
    /// The least severe: Trace, Debug, Info, Warn, Error or Fatal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Severity>,
    /// The most severe: Trace, Debug, Info, Warn, Error or Fatal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Severity>,
}

/// A severity of OpenTelemetry, each with four numbers: Trace 1 to 4, and so on to Fatal 21 to 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12.
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20.
    Error,
    /// 21 to 24.
    Fatal,
}

impl Severity {
    /// Its lowest severity number.
    #[must_use]
    pub const fn lowest(self) -> u8 {
        match self {
            Self::Trace => 1,
            Self::Debug => 5,
            Self::Info => 9,
            Self::Warn => 13,
            Self::Error => 17,
            Self::Fatal => 21,
        }
    }

    /// Its highest severity number.
    #[must_use]
    pub const fn highest(self) -> u8 {
        self.lowest() + 3
    }
}

/// Attributes whose values, joined, are hashed to the partition. An absent attribute counts as a value
/// of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.resourceAttributes) ? size(self.resourceAttributes) : 0) + (has(self.recordAttributes) ? size(self.recordAttributes) : 0) > 0")
        .message("a routing key needs at least one attribute: name resourceAttributes, recordAttributes or both")
)]
pub struct RoutingKey {
    /// Attributes of the resource. Of these alone the partition is computed once for all records of a
    /// resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resource_attributes: Vec<String>,
    /// Attributes of the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub record_attributes: Vec<String>,
}
