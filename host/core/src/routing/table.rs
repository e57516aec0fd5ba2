//! The compiled table, its canonical bytes and its hash. Touches nothing.

use super::partition::{Record, RoutingKey};
use super::rule::Match;
use crate::ids::Digest;
use crate::placement::Map;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this form.
pub const SCHEMA: u16 = 1;

/// A compiled table. Rules that can never match are not in it, nor destinations that nothing leads to.
///
/// The canonical bytes are the JSON of this type, fields in this order, without white space; maps and
/// sets are ordered by their keys, so the order in which they were written does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Table {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Name of the RoutingTable.
    pub name: String,
    /// What decides on the partition.
    pub routing_key: RoutingKey,
    /// The first that matches counts.
    pub rules: Vec<Rule>,
    /// Destination of what no rule matches.
    pub default: String,
    /// All destinations, by `<table>.<name>`.
    pub destinations: BTreeMap<String, Destination>,
    /// Maps of the storages that destinations name.
    pub storages: BTreeMap<String, Map>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The RoutingTable that it is from.
    pub table: String,
    /// Its name there.
    pub name: String,
    /// What a record must fulfil.
    pub when: Match,
    /// Where it goes then, by its key in [`Table::destinations`].
    pub destination: String,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Destination {
    /// Where.
    pub target: Target,
    /// Percent of the records that go on, 1 to 99; `None`: all of them.
    pub sample: Option<u8>,
}

/// Kinds of destinations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// A LogStorage, by its key in [`Table::storages`].
    Storage(String),
    /// An endpoint that speaks OTLP.
    Otlp(Otlp),
    /// Nowhere: counted and dropped.
    Drop,
}

/// An endpoint that speaks OTLP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otlp {
    /// Its URL.
    pub endpoint: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Authorities to trust, as PEM in a Secret.
    pub ca: Option<SecretKey>,
    /// Name that the certificate must carry.
    pub server_name: Option<String>,
    /// Take any certificate.
    pub insecure_skip_verify: bool,
    /// Headers with their values in Secrets.
    pub headers: BTreeMap<String, SecretKey>,
}

/// Protocol of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// OTLP over HTTP.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// Name of the Secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// A table that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Not the JSON of a table.
    #[error("this is not a compiled table: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another form.
    #[error("the table has schema {0}, this build reads schema {SCHEMA}: upgrade the operator that reads it")]
    Schema(u16),
    /// A table that contradicts itself.
    #[error("the table leads to {0}, which it does not define")]
    Undefined(String),
}

impl Table {
    /// The canonical bytes.
    ///
    /// # Errors
    /// Never for a table that was built in memory; the encoder's signature asks for it.
    pub fn to_json(&self) -> Result<String, TableError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Reads a table and checks that it is whole.
    ///
    /// # Errors
    /// Bytes that are no table, another schema, names without a definition.
    pub fn from_json(text: &str) -> Result<Self, TableError> {
        let table: Self = serde_json::from_str(text)?;
        if table.schema != SCHEMA {
            return Err(TableError::Schema(table.schema));
        }
        match table.undefined() {
            Some(name) => Err(TableError::Undefined(name.clone())),
            None => Ok(table),
        }
    }

    /// A name that something leads to and nothing defines.
    fn undefined(&self) -> Option<&String> {
        let mut led_to = self.rules.iter().map(|rule| &rule.destination).chain([&self.default]);
        led_to.find(|name| !self.destinations.contains_key(*name)).or_else(|| {
            self.destinations.values().find_map(|destination| match &destination.target {
                Target::Storage(name) if !self.storages.contains_key(name) => Some(name),
                _ => None,
            })
        })
    }

    /// The digest of the canonical bytes.
    ///
    /// # Errors
    /// As [`Table::to_json`].
    pub fn digest(&self) -> Result<Digest, TableError> {
        Ok(Digest::of(self.to_json()?.as_bytes()))
    }

    /// The destination of a record, by its key in [`Table::destinations`].
    #[must_use]
    pub fn route(&self, record: &Record) -> &str {
        self.rules.iter().find(|rule| rule.when.matches(record)).map_or(self.default.as_str(), |rule| rule.destination.as_str())
    }
}
