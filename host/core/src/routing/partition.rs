//! The partition of a record. Touches nothing.
//!
//! Collectors compute it with OTTL: `FNV` (FNV-1a of 64 bits, read as a signed number) of
//! `Concat([…], "/")`, and the remainder by integer division. This is the same in Rust, so that a
//! plan, a test or a person can say where a record is.

use super::rule::Scope;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `Concat` of the collector writes for an attribute that is absent.
const ABSENT: &str = "<nil>";
/// Between two values of a key.
const BETWEEN: &str = "/";

/// What routing looks at in a record. Values are in their text form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Attributes of its resource.
    pub resource: BTreeMap<String, String>,
    /// Its own attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its severity number, 1 to 24; `None`: it has none.
    pub severity: Option<u8>,
}

impl Record {
    /// The value of an attribute.
    #[must_use]
    pub fn attribute(&self, scope: Scope, key: &str) -> Option<&str> {
        let all = match scope {
            Scope::Resource => &self.resource,
            Scope::Record => &self.attributes,
        };
        all.get(key).map(String::as_str)
    }
}

/// Attributes whose values are hashed to the partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoutingKey {
    /// Attributes of the resource, first.
    pub resource: Vec<String>,
    /// Attributes of the record, after them.
    pub record: Vec<String>,
}

impl Default for RoutingKey {
    /// The service that wrote the record.
    fn default() -> Self {
        Self { resource: vec!["service.name".to_owned()], record: Vec::new() }
    }
}

impl RoutingKey {
    /// The partition of a record, of so many; 0 when there are none.
    #[must_use]
    pub fn partition(&self, record: &Record, partitions: u32) -> u32 {
        let of = |scope: Scope| move |key: &String| record.attribute(scope, key).unwrap_or(ABSENT);
        let values: Vec<&str> = self.resource.iter().map(of(Scope::Resource)).chain(self.record.iter().map(of(Scope::Record))).collect();
        let hash = fnv1a(values.join(BETWEEN).as_bytes());
        let remainder = hash.cast_signed().checked_rem_euclid(i64::from(partitions)).unwrap_or(0);
        u32::try_from(remainder).unwrap_or(0)
    }
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv).
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_published_test_vectors() {
        for (text, hash) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)] {
            assert_eq!(fnv1a(text.as_bytes()), hash, "{text}");
        }
    }
}
