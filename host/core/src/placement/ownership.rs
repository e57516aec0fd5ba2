//! Who owns which partition of one mirror, and who did. Touches nothing; changed only through
//! [`super::ledger`].

use crate::ids::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Number of a round of ownership changes, from 1 on; 0 before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// An owner from an epoch on, until the next one. Written as `[node, epoch, from]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, Epoch, UnixMs)", into = "(u32, Epoch, UnixMs)")]
pub(super) struct Tenure {
    /// Index into the names of the ownership.
    pub(super) node: u32,
    pub(super) epoch: Epoch,
    pub(super) from: UnixMs,
}

impl From<(u32, Epoch, UnixMs)> for Tenure {
    fn from((node, epoch, from): (u32, Epoch, UnixMs)) -> Self {
        Self { node, epoch, from }
    }
}

impl From<Tenure> for (u32, Epoch, UnixMs) {
    fn from(tenure: Tenure) -> Self {
        (tenure.node, tenure.epoch, tenure.from)
    }
}

/// A partition that gets another owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Which one.
    pub partition: u32,
    /// Its owner before; `None` when it had none.
    pub from: Option<String>,
    /// Its owner from now on.
    pub to: String,
}

/// One owner of a partition, present or former.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// Its name.
    pub node: &'a str,
    /// The epoch in which it became the owner.
    pub epoch: Epoch,
    /// When that was.
    pub from: UnixMs,
    /// When the next one followed it; `None` for the present owner.
    pub until: Option<UnixMs>,
}

/// What a node is needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Partitions that it owns.
    pub owned: u32,
    /// Partitions that it owned before and of which it holds records that are still to be kept.
    pub former: u32,
    /// Lost nodes whose queued records went to it, and are still to be kept.
    pub stood_in: u32,
}

impl Holds {
    /// True when nothing that the node holds has to be kept: it may be removed with its volume.
    #[must_use]
    pub fn nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The owners of one mirror.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    pub(super) nodes: Vec<String>,
    /// By partition, the present owner last.
    pub(super) partitions: Vec<Vec<Tenure>>,
}

impl Ownership {
    pub(super) fn name(&self, tenure: &Tenure) -> Option<&str> {
        self.nodes.get(usize::try_from(tenure.node).ok()?).map(String::as_str)
    }

    /// Number of partitions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.partitions.len()
    }

    /// True without any partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.partitions.is_empty()
    }

    /// The present owner of a partition.
    #[must_use]
    pub fn owner(&self, partition: usize) -> Option<&str> {
        self.partitions.get(partition)?.last().and_then(|tenure| self.name(tenure))
    }

    /// All owners of a partition, the oldest first.
    pub fn owners(&self, partition: usize) -> impl Iterator<Item = Owner<'_>> {
        let tenures = self.partitions.get(partition).map_or(&[][..], Vec::as_slice);
        tenures.iter().enumerate().filter_map(|(at, tenure)| {
            let until = tenures.get(at.saturating_add(1)).map(|next| next.from);
            Some(Owner { node: self.name(tenure)?, epoch: tenure.epoch, from: tenure.from, until })
        })
    }

    pub(super) fn count<'a>(&'a self, all: &mut BTreeMap<&'a str, Holds>) {
        for partition in 0..self.len() {
            let mut former: Vec<&str> = Vec::new();
            for owner in self.owners(partition) {
                if owner.until.is_none() {
                    let holds = all.entry(owner.node).or_default();
                    holds.owned = holds.owned.saturating_add(1);
                } else if !former.contains(&owner.node) {
                    former.push(owner.node);
                }
            }
            for node in former {
                let holds = all.entry(node).or_default();
                holds.former = holds.former.saturating_add(1);
            }
        }
    }

    /// Owners that are listed, of all partitions together.
    #[must_use]
    pub fn tenures(&self) -> usize {
        self.partitions.iter().map(Vec::len).sum()
    }

    pub(super) fn index_of(&mut self, node: &str) -> u32 {
        let known = self.nodes.iter().position(|known| known == node);
        let at = known.unwrap_or_else(|| {
            self.nodes.push(node.to_owned());
            self.nodes.len().saturating_sub(1)
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Removes former owners whose time has passed retention, and names that nothing refers to any more.
    pub(super) fn trim(&mut self, keep_after: UnixMs) -> usize {
        let before = self.tenures();
        for tenures in &mut self.partitions {
            // Ends ascend, because beginnings do: what has passed stands in front.
            let passed = tenures.iter().skip(1).take_while(|next| next.from < keep_after).count();
            tenures.drain(..passed);
        }
        let removed = before.saturating_sub(self.tenures());
        if removed > 0 {
            self.forget_names();
        }
        removed
    }

    fn forget_names(&mut self) {
        let mut kept: BTreeMap<u32, u32> = BTreeMap::new();
        let mut names = Vec::new();
        for tenure in self.partitions.iter_mut().flatten() {
            let next = u32::try_from(kept.len()).unwrap_or(u32::MAX);
            let index = *kept.entry(tenure.node).or_insert_with(|| {
                names.extend(usize::try_from(tenure.node).ok().and_then(|at| self.nodes.get(at)).cloned());
                next
            });
            tenure.node = index;
        }
        self.nodes = names;
    }
}
