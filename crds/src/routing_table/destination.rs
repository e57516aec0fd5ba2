//! `spec.destinations`: where records can go. Touches nothing.

use crate::{SecretKeyRef, Tls};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One destination: exactly one of storageRef, otlp and drop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.storageRef) ? 1 : 0) + (has(self.otlp) ? 1 : 0) + (has(self.drop) ? 1 : 0) == 1")
        .message("set exactly one of storageRef (a LogStorage), otlp (an endpoint outside) and drop (records are counted and dropped)"),
    validation = Rule::new("!(has(self.drop) && has(self.sample))")
        .message("sample has no effect on a destination that drops everything: remove it")
        .field_path(".sample")
)]
pub struct Destination {
    /// Name of the destination, by which rules refer to it.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// A LogStorage: each record goes to the node that owns its partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_ref: Option<StorageRef>,
    /// An endpoint that speaks OTLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
    /// Nowhere: records are counted in the collector's own metrics
    /// (otelcol_processor_filter_logs.filtered) and dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<Drop>,
    /// A share of the records goes on, the rest is counted and dropped. Absent: all go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
}

/// The kind of destination that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationChoice<'a> {
    /// A LogStorage.
    Storage(&'a StorageRef),
    /// An endpoint that speaks OTLP.
    Otlp(&'a Otlp),
    /// Nowhere.
    Drop,
}

impl Destination {
    /// The one that is set; `None` when there is none or more than one, which the API server
    /// admits only where the CRD is older than this program.
    #[must_use]
    pub const fn choice(&self) -> Option<DestinationChoice<'_>> {
        match (&self.storage_ref, &self.otlp, &self.drop) {
            (Some(storage), None, None) => Some(DestinationChoice::Storage(storage)),
            (None, Some(otlp), None) => Some(DestinationChoice::Otlp(otlp)),
            (None, None, Some(_)) => Some(DestinationChoice::Drop),
            _ => None,
        }
    }
}

/// Name of a LogStorage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageRef {
    /// Name of the LogStorage, in the namespace of the RoutingTable.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Records are counted and dropped. There is nothing to set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drop {}

/// A share of records. Which ones follows from their content alone, so a record that is sent twice
/// is kept twice or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Percent of the records that go on.
    #[schemars(range(min = 1, max = 99))]
    pub percent: u8,
}

/// An endpoint that speaks OTLP, behind a queue that is tried again without end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.tls) && self.endpoint.startsWith('http://'))")
        .message("otlp.tls has no effect with an endpoint of http://: write https://, or remove tls")
        .field_path(".tls")
)]
pub struct Otlp {
    /// Base URL of the endpoint, for example https://otlp.example.com:4318; with protocol Http
    /// /v1/logs is added.
    #[x_kube(validation = Rule::new("self.matches('^https?://[^/\\\\s?#]+(/[^\\\\s?#]*)?$')")
        .message("otlp.endpoint must be a URL with http:// or https://, a host, and neither spaces, ? nor #"))]
    #[schemars(length(min = 1, max = 1024))]
    pub endpoint: String,
    /// Http (OTLP over HTTP with protobuf) or Grpc.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// How an https endpoint is verified. Absent: with the authorities of the collector's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Headers whose values are in Secrets. The collectors get them as environment variables; the
    /// operator never reads them. A changed Secret is taken up when a replica starts anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
}

/// Protocol of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OtlpProtocol {
    /// OTLP over HTTP.
    #[default]
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// A header with its value in a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name of the header, for example Authorization.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// Where its value is.
    pub secret_key_ref: SecretKeyRef,
}
