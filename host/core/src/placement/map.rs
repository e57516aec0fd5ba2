//! The published map of a LogStorage: which node takes the records of which partition. Touches nothing.
//!
//! Written by the storage side into a ConfigMap, read by the routing side, which turns it into the
//! configuration of collectors. It says who owns a partition *now*; who owned it before, and so
//! where its older records are, stands in [`Ledger`].

use super::ledger::Ledger;
use super::ownership::Ownership;
use crate::ids::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this form.
pub const SCHEMA: u16 = 1;

/// Most partitions of a LogStorage: the map of so many, mirrored, is a tenth of what a ConfigMap holds.
pub const MAX_PARTITIONS: u32 = 10_000;

/// One exporter slot of a collector: the position of a storage node. A slot keeps its queue for as long as
/// its node is part of the LogStorage; what is queued for a node that died follows when the slot is pointed
/// at another one. Collectors name the exporter of a slot by `node`: an index means the same slot only
/// within one map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slot {
    /// The node whose position this is, by the name of its pod.
    pub node: String,
    /// The node that the slot points at: `node`, or the survivor that stands in for it.
    pub target: String,
    /// Base URL of `target` without a path or a slash at the end, for example
    /// `http://logs-a-0.logs-nodes.logging.svc:9428`.
    pub endpoint: String,
}

/// The owners of all partitions at one time.
///
/// The canonical bytes are the JSON of this type, fields in this order, without white space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Map {
    /// [`SCHEMA`].
    pub schema: u16,
    /// Rises by one with every change of this map, whatever changed.
    pub version: u64,
    /// The newest ownership epoch. A map with an older one than a map already seen is out of date
    /// and must not be followed.
    pub epoch: u64,
    /// All slots; the rest of the map refers to them by their index here.
    pub slots: Vec<Slot>,
    /// One list for each mirror, of which every record goes to each: for each partition the index of
    /// the slot that takes its records. Both lists have the same length, the number of partitions.
    pub mirrors: Vec<Vec<u32>>,
}

/// A map that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Not the JSON of a map.
    #[error("this is not a map of partitions: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another form.
    #[error("the map has schema {0}, this build reads schema {SCHEMA}: upgrade the operator that reads it")]
    Schema(u16),
    /// A map that contradicts itself.
    #[error("the map contradicts itself: {0}")]
    Inconsistent(String),
}

impl Map {
    /// The map of a ledger. `slots` are those of all nodes, in an order that does not change.
    ///
    /// # Errors
    /// A partition without an owner, or with one that has no slot.
    pub fn of(ledger: &Ledger, slots: Vec<Slot>) -> Result<Self, MapError> {
        let index: BTreeMap<&str, u32> = slots.iter().map(|slot| slot.node.as_str()).zip(0..).collect();
        let owner = |mirror: usize, ownership: &Ownership, partition: usize| {
            let node = ownership.owner(partition).ok_or_else(|| MapError::Inconsistent(format!("partition {partition} of mirror {mirror} has no owner")))?;
            index
                .get(node)
                .copied()
                .ok_or_else(|| MapError::Inconsistent(format!("partition {partition} of mirror {mirror} belongs to {node}, which has no slot")))
        };
        let owners = |(mirror, ownership): (usize, &Ownership)| (0..ownership.len()).map(|partition| owner(mirror, ownership, partition)).collect();
        let mirrors = ledger.mirrors().iter().enumerate().map(owners).collect::<Result<Vec<Vec<u32>>, MapError>>()?;
        Ok(Self { schema: SCHEMA, version: ledger.version, epoch: ledger.epoch().0, slots, mirrors })
    }

    /// True when it says something else than `other`, whatever their versions are.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        (self.epoch, &self.slots, &self.mirrors) != (other.epoch, &other.slots, &other.mirrors)
    }

    /// Number of partitions.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.mirrors.first().map_or(0, Vec::len)
    }

    /// The slot that takes the records of `partition` in `mirror`.
    #[must_use]
    pub fn slot(&self, mirror: usize, partition: usize) -> Option<&Slot> {
        let index = *self.mirrors.get(mirror)?.get(partition)?;
        self.slots.get(usize::try_from(index).ok()?)
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// Never for a map that was built in memory; the encoder's signature asks for it.
    pub fn to_json(&self) -> Result<String, MapError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Reads a map and checks that it is whole.
    ///
    /// # Errors
    /// Bytes that are no map, another schema, an index without a slot, mirrors of unequal length.
    pub fn from_json(text: &str) -> Result<Self, MapError> {
        let map: Self = serde_json::from_str(text)?;
        if map.schema != SCHEMA {
            return Err(MapError::Schema(map.schema));
        }
        map.check()?;
        Ok(map)
    }

    fn check(&self) -> Result<(), MapError> {
        let wrong = |why: String| Err(MapError::Inconsistent(why));
        if self.partitions() == 0 {
            return wrong("it has no partitions".to_owned());
        }
        for (mirror, owners) in self.mirrors.iter().enumerate() {
            if owners.len() != self.partitions() {
                return wrong(format!("mirror {mirror} has {} partitions and mirror 0 has {}", owners.len(), self.partitions()));
            }
            if let Some(partition) = owners.iter().position(|&slot| usize::try_from(slot).map_or(true, |slot| slot >= self.slots.len())) {
                return wrong(format!("partition {partition} of mirror {mirror} names a slot that does not exist; there are {}", self.slots.len()));
            }
        }
        Ok(())
    }

    /// The digest of the canonical bytes, by which collectors confirm which map they follow.
    ///
    /// # Errors
    /// As [`Map::to_json`].
    pub fn digest(&self) -> Result<Digest, MapError> {
        Ok(Digest::of(self.to_json()?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UnixMs;
    use crate::placement::{Epoch, Move};
    use rstest::rstest;

    fn map() -> Map {
        let slot = |node: &str| Slot { node: node.into(), target: node.into(), endpoint: format!("http://{node}.logs-nodes.logging.svc:9428") };
        Map { schema: SCHEMA, version: 3, epoch: 2, slots: vec![slot("logs-a-0"), slot("logs-b-0")], mirrors: vec![vec![0, 1, 0, 1]] }
    }

    #[test]
    fn a_map_is_read_back_from_its_canonical_bytes() {
        let text = map().to_json().unwrap();
        assert!(text.starts_with(r#"{"schema":1,"version":3,"epoch":2,"slots":[{"node":"logs-a-0","target":"logs-a-0","endpoint":"http"#), "{text}");
        assert_eq!(Map::from_json(&text).unwrap(), map());
        assert_eq!(map().slot(0, 1).map(|slot| slot.node.as_str()), Some("logs-b-0"));
        assert_eq!((map().slot(0, 4), map().slot(1, 0)), (None, None));
    }

    #[rstest]
    #[case(|map: &mut Map| map.schema = 2, "upgrade the operator")]
    #[case(|map: &mut Map| map.mirrors.clear(), "no partitions")]
    #[case(|map: &mut Map| map.mirrors.push(vec![0]), "mirror 1 has 1 partitions and mirror 0 has 4")]
    #[case(|map: &mut Map| map.mirrors[0][2] = 2, "partition 2 of mirror 0 names a slot that does not exist")]
    fn a_map_that_is_not_whole_is_refused(#[case] spoil: fn(&mut Map), #[case] words: &str) {
        let mut spoilt = map();
        spoil(&mut spoilt);
        let error = Map::from_json(&spoilt.to_json().unwrap()).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_ledger_becomes_a_map_when_every_partition_has_an_owner_with_a_slot() {
        let mut ledger = Ledger::new(2, 1);
        let slots = map().slots;
        let moves = |nodes: [&str; 2]| vec![nodes.iter().zip(0..).map(|(node, partition)| Move { partition, from: None, to: (*node).to_owned() }).collect()];
        assert!(Map::of(&ledger, slots.clone()).unwrap_err().to_string().contains("partition 0 of mirror 0 has no owner"));
        ledger.grant(Epoch(0), UnixMs(0), &moves(["logs-b-0", "logs-a-0"])).unwrap();
        ledger.version = 7;
        let made = Map::of(&ledger, slots.clone()).unwrap();
        assert_eq!((made.version, made.epoch, &made.mirrors), (7, 1, &vec![vec![1, 0]]));
        ledger.grant(Epoch(1), UnixMs(0), &moves(["logs-c-0", "logs-a-0"])).unwrap();
        assert!(Map::of(&ledger, slots).unwrap_err().to_string().contains("belongs to logs-c-0, which has no slot"));
    }

    #[test]
    fn text_that_is_no_map_is_refused() {
        for text in ["", "{}", r#"{"schema":1,"version":1,"epoch":1,"slots":[],"mirrors":[],"extra":0}"#] {
            assert!(matches!(Map::from_json(text), Err(MapError::Malformed(_))), "{text}");
        }
    }
}
