//! The ledger of owners: the one truth about ownership. Touches nothing.
//!
//! It only grows at its end: every decision that gives partitions other owners takes the next **epoch**, in
//! which each partition gets at most one owner, and none can be added to an epoch that has passed. So two
//! nodes never own a partition in the same epoch, and who has seen an epoch follows nothing older. An owner of
//! before stays listed until nothing of what it stored has to be kept any more.

use super::ownership::{Epoch, Holds, Move, Ownership, Tenure};
use crate::ids::UnixMs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of the canonical form.
pub const SCHEMA: u16 = 1;

/// How much later than its time a record may be stored: what waited in a collector's queue. The stores
/// that Weir runs delete by whole days, which is as much again.
const LATE_MS: i64 = 86_400_000;

/// A node to which the records go that wait in the queues for a lost one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StandIn {
    /// The lost node.
    pub slot: String,
    /// The node that stands in for it.
    pub target: String,
    /// Since when.
    pub from: UnixMs,
    /// Until when; `None`: it does now.
    pub until: Option<UnixMs>,
}

/// Records that are older than this have not to be kept.
fn keep_after(now: UnixMs, retention_ms: i64) -> UnixMs {
    now.plus(retention_ms.saturating_add(LATE_MS).saturating_neg())
}

/// A decision was made from another epoch than the ledger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("owners were decided on from epoch {}, and the ledger is at epoch {}: decide again", from.0, at.0)]
pub struct StaleEpoch {
    /// What the decision was made from.
    pub from: Epoch,
    /// What the ledger has.
    pub at: Epoch,
}

/// A ledger that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Not the JSON of a ledger.
    #[error("this is not a ledger of owners: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another form.
    #[error("the ledger has schema {0}, this build reads schema {SCHEMA}: run the version of Weir that wrote it")]
    Schema(u16),
    /// A ledger that contradicts itself.
    #[error("the ledger contradicts itself: {0}")]
    Inconsistent(String),
}

/// Ownership of all mirrors, and what was moved of late.
///
/// The canonical bytes are the JSON of this type, fields in this order, without white space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    schema: u16,
    /// Rises by one with every map that is made from it; see [`super::Map::version`].
    pub version: u64,
    epoch: Epoch,
    /// Nodes of each mirror that should run.
    pub nodes: u32,
    /// When a ledger of before was lost, so that nobody knows what nodes hold from the time until then.
    lost_at: Option<UnixMs>,
    /// When how many partitions were moved because a policy proposed it, within the last hour and the
    /// newest in any case.
    pub(super) moved: Vec<(UnixMs, u32)>,
    mirrors: Vec<Ownership>,
    stand_ins: Vec<StandIn>,
}

impl Ledger {
    /// No partition has an owner yet.
    #[must_use]
    pub fn new(partitions: usize, mirrors: usize) -> Self {
        let empty = Ownership { nodes: Vec::new(), partitions: vec![Vec::new(); partitions] };
        Self { schema: SCHEMA, version: 0, epoch: Epoch(0), nodes: 0, lost_at: None, moved: Vec::new(), mirrors: vec![empty; mirrors], stand_ins: Vec::new() }
    }

    /// The ledger that follows one which is lost: with the epoch and version that its readers have seen, so
    /// that they don't take what comes for something older. No partition has an owner, and until
    /// retention has passed nothing is known of what nodes hold.
    #[must_use]
    pub fn after_loss(mut self, now: UnixMs, version: u64, epoch: Epoch) -> Self {
        (self.version, self.epoch, self.lost_at) = (version, epoch, Some(now));
        self
    }

    /// True while it is not known what nodes hold from the time of a ledger that was lost.
    #[must_use]
    pub const fn is_blind(&self) -> bool {
        self.lost_at.is_some()
    }

    /// The newest epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The owners of each mirror.
    #[must_use]
    pub fn mirrors(&self) -> &[Ownership] {
        &self.mirrors
    }

    /// Gives partitions other owners, all in one new epoch; `moves` by mirror. What would change nothing
    /// is left out, and without a change there is no new epoch. A clock that goes backwards makes no
    /// tenure begin before the one ahead of it.
    ///
    /// # Errors
    /// The moves were decided on from another epoch: nothing is changed.
    pub fn grant(&mut self, from: Epoch, now: UnixMs, moves: &[Vec<Move>]) -> Result<Epoch, StaleEpoch> {
        if from != self.epoch {
            return Err(StaleEpoch { from, at: self.epoch });
        }
        let epoch = self.epoch.next();
        for (ownership, moves) in self.mirrors.iter_mut().zip(moves) {
            for change in moves {
                let Ok(at) = usize::try_from(change.partition) else { continue };
                if ownership.owner(at) == Some(change.to.as_str()) {
                    continue;
                }
                let node = ownership.index_of(&change.to);
                let Some(tenures) = ownership.partitions.get_mut(at) else { continue };
                let last = tenures.last().copied();
                if last.is_none_or(|last| last.epoch < epoch) {
                    tenures.push(Tenure { node, epoch, from: last.map_or(now, |last| now.max(last.from)) });
                    self.epoch = epoch;
                }
            }
        }
        Ok(self.epoch)
    }

    /// Removes former owners and stand-ins of whose records none has to be kept any more, and says how
    /// many. Without a known retention nothing ever passes.
    pub fn trim(&mut self, now: UnixMs, retention_ms: Option<i64>) -> usize {
        let Some(retention_ms) = retention_ms else { return 0 };
        let before = self.stand_ins.len();
        let keep_after = keep_after(now, retention_ms);
        self.lost_at = self.lost_at.filter(|at| *at >= keep_after);
        self.stand_ins.retain(|stand_in| stand_in.until.is_none_or(|until| until >= keep_after));
        let stood_in = before.saturating_sub(self.stand_ins.len());
        self.mirrors.iter_mut().map(|ownership| ownership.trim(keep_after)).sum::<usize>().saturating_add(stood_in)
    }

    /// What each node is needed for, over all mirrors. Nodes that are not listed are needed for nothing.
    #[must_use]
    pub fn holds(&self) -> BTreeMap<&str, Holds> {
        let mut all = BTreeMap::new();
        for ownership in &self.mirrors {
            ownership.count(&mut all);
        }
        for stand_in in &self.stand_ins {
            let holds = all.entry(stand_in.target.as_str()).or_default();
            holds.stood_in = holds.stood_in.saturating_add(1);
        }
        all
    }

    /// Points the slot of a node at another one, or with `None` back at itself. False: it did already.
    pub fn point(&mut self, now: UnixMs, slot: &str, target: Option<&str>) -> bool {
        let open = self.stand_ins.iter_mut().find(|stand_in| stand_in.slot == slot && stand_in.until.is_none());
        if open.as_ref().map(|stand_in| stand_in.target.as_str()) == target {
            return false;
        }
        if let Some(open) = open {
            open.until = Some(now.max(open.from));
        }
        let stand_in = |target: &str| StandIn { slot: slot.to_owned(), target: target.to_owned(), from: now, until: None };
        self.stand_ins.extend(target.map(stand_in));
        true
    }

    /// The node that the slot of a node points at now.
    #[must_use]
    pub fn target<'a>(&'a self, slot: &'a str) -> &'a str {
        let open = self.stand_ins.iter().find(|stand_in| stand_in.slot == slot && stand_in.until.is_none());
        open.map_or(slot, |stand_in| stand_in.target.as_str())
    }

    /// How often a node was lost, as far as what went elsewhere meanwhile is still kept.
    #[must_use]
    pub fn losses(&self, node: &str) -> usize {
        self.stand_ins.iter().filter(|stand_in| stand_in.slot == node).count()
    }

    /// The node that should stand in for a lost one: of those that `can`, the one that follows it in most
    /// partitions, of equal ones the first by name.
    #[must_use]
    pub fn stand_in_for(&self, mirror: usize, lost: &str, can: impl Fn(&str) -> bool) -> Option<String> {
        let ownership = self.mirrors.get(mirror)?;
        let mut followers: BTreeMap<&str, u32> = BTreeMap::new();
        for partition in 0..ownership.len() {
            let Some(present) = ownership.owner(partition).filter(|present| can(present)) else { continue };
            let followed = ownership.owners(partition).any(|owner| owner.until.is_some() && owner.node == lost);
            let count = followers.entry(present).or_default();
            *count = count.saturating_add(u32::from(followed));
        }
        // Of equal ones `max_by_key` takes the last.
        followers.into_iter().rev().max_by_key(|(_, count)| *count).map(|(node, _)| node.to_owned())
    }

    /// Remembers that so many partitions were moved by a policy's wish.
    pub fn moved(&mut self, now: UnixMs, count: u32) {
        if count > 0 {
            self.moved.retain(|(at, _)| *at <= now && now.since(*at) < super::guard::HOUR_MS);
            self.moved.push((now, count));
        }
    }

    /// Partitions moved by a policy's wish within the last hour. Times of a clock that was ahead count.
    #[must_use]
    pub fn moves_last_hour(&self, now: UnixMs) -> u32 {
        self.moved.iter().filter(|(at, _)| now.since(*at) < super::guard::HOUR_MS).fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// Never for a ledger that was built in memory; the encoder's signature asks for it.
    pub fn to_json(&self) -> Result<String, LedgerError> {
        Ok(serde_json::to_string(self)?)
    }

    /// Reads a ledger and checks that it is whole.
    ///
    /// # Errors
    /// Bytes that are no ledger, another schema, owners without a name, epochs that do not ascend.
    pub fn from_json(text: &str) -> Result<Self, LedgerError> {
        let ledger: Self = serde_json::from_str(text)?;
        if ledger.schema != SCHEMA {
            return Err(LedgerError::Schema(ledger.schema));
        }
        ledger.check().map_err(LedgerError::Inconsistent)?;
        Ok(ledger)
    }

    fn check(&self) -> Result<(), String> {
        let partitions = self.mirrors.first().map_or(0, Ownership::len);
        for (mirror, ownership) in self.mirrors.iter().enumerate() {
            if ownership.len() != partitions {
                return Err(format!("mirror {mirror} has {} partitions and mirror 0 has {partitions}", ownership.len()));
            }
            for (partition, tenures) in ownership.partitions.iter().enumerate() {
                if tenures.iter().any(|tenure| ownership.name(tenure).is_none()) {
                    return Err(format!("partition {partition} of mirror {mirror} has an owner without a name"));
                }
                if !tenures.is_sorted_by(|one, next| one.epoch < next.epoch && one.from <= next.from) {
                    return Err(format!("the epochs of partition {partition} of mirror {mirror} do not ascend"));
                }
                if tenures.last().is_some_and(|last| last.epoch > self.epoch) {
                    return Err(format!("partition {partition} of mirror {mirror} has an owner in an epoch that has not begun"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
