//! RoutingTable: which records go where, as ordered rules.
//!
//! The spec is split as it reads: [`rules`] which records, [`destination`] where to; [`status`] is what
//! the operator reports.

pub mod destination;
pub mod rules;
pub mod status;

pub use destination::{Destination, DestinationChoice, Drop, Header, Otlp, OtlpProtocol, Sample, StorageRef};
pub use rules::{Match, Operator, Requirement, RoutingKey, Rule, Severity, SeverityRange};
pub use status::{AppliedTable, RoutingTableStatus, RoutingTableSummary};

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the user declares.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "RoutingTable",
    plural = "routingtables",
    shortname = "rt",
    category = "weir",
    namespaced,
    status = "RoutingTableStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A RoutingTable says which log records go where. Weir compiles it to collector configuration, rolls that out to every LogProcessor that names the table, confirms it replica by replica, and keeps the last good table when a new one can't be used.",
    label("app.kubernetes.io/name", "weir"),
    printcolumn(name = "Rules", type_ = "integer", json_path = ".status.rules", description = "Rules in the compiled table, those of its parts included"),
    printcolumn(name = "Version", type_ = "integer", json_path = ".status.applied.version", description = "Version of the compiled table"),
    printcolumn(name = "Hash", type_ = "string", json_path = ".status.applied.hash", description = "Hash of the compiled table"),
    printcolumn(
        name = "Confirmed", type_ = "string", json_path = ".status.summary.confirmed",
        description = "Replicas that say themselves that they run it, of all that should"
    ),
    printcolumn(
        name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Reason of the condition Ready"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Warnings", type_ = "string", json_path = ".status.warnings[*]", priority = 1,
        description = "Rules that never match, and what else is likely a mistake"
    ),
    validation = Rule::new("size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes part of the names of ConfigMaps and of components in collectors: use at most 52 characters of a-z, 0-9 and -, starting with a letter and ending with a letter or digit")
)]
#[x_kube(
    validation = Rule::new("has(self.parentRef) != has(self.default)")
        .message("set exactly one of default (the destination of records that no rule matches) and parentRef (the table that this one is a part of, which has the default)"),
    validation = Rule::new("!(has(self.parentRef) && has(self.routingKey))")
        .message("routingKey belongs to the table that parentRef names: remove it here")
        .field_path(".routingKey"),
    validation = Rule::new("!has(self.rules) || self.rules.all(r, self.destinations.exists(d, d.name == r.destination))")
        .message("a rule leads to a destination that is not defined: add it to destinations, or correct the rule's destination")
        .field_path(".rules"),
    validation = Rule::new("!has(self.default) || self.destinations.exists(d, d.name == self.default)")
        .message("default is a destination that is not defined: add it to destinations, or correct default")
        .field_path(".default")
)]
pub struct RoutingTableSpec {
    /// Where records can go.
    #[schemars(length(min = 1, max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub destinations: Vec<Destination>,

    /// Rules in order: a record goes to the destination of the first rule that it matches, and to no
    /// other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<rules::Rule>,

    /// Name of the destination of records that no rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    pub default: Option<String>,

    /// Attributes whose values decide on the partition, and so on the storage node, of a record.
    /// Absent: the resource attribute service.name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<RoutingKey>,

    /// The table that this one is a part of: its rules come before those of that table, so that a
    /// team keeps the rules for its own streams in an object of its own. Of several parts, the rules
    /// of the one that was created first come first; of those created in the same second, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_ref: Option<RoutingTableRef>,
}

/// Name of a RoutingTable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingTableRef {
    /// Name of the RoutingTable, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
