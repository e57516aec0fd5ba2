//! Snapshot in, decision out: who owns what, and how many nodes there are. Touches nothing by itself;
//! the policy is behind [`PlacementPolicy`].
//!
//! Two kinds of change, told apart everywhere:
//! - **failovers**: partitions without an owner, or of a node that is lost or full. They get a new one
//!   whatever the policy does: the one that it proposes, or else who has least to do.
//! - **moves**: everything else that the policy wants moved, within the churn budget.
//!
//! A policy that refuses, fails or is missing moves nothing and changes no number of nodes.

use super::guard::{ChurnLimits, PlacementClamp, PlacementGuardrail, choose, mass_loss};
use super::load::{Loads, share_out};
use super::node::NodeState;
use super::ownership::{Epoch, Move};
use super::policy::{NO_NODE, NodeBounds, PlacementInput, PlacementInvocation, PlacementOutcome, PlacementPolicy, PlacementProposal};
use crate::ids::{Digest, ObjectRef, UnixMs};
use crate::scaling::PolicyStamp;
use crate::snapshot::{Block, Mode};
use serde::{Deserialize, Serialize};

/// Version of the canonical form; written first, raised with every change of a type inside.
pub const SCHEMA: u16 = 1;

/// The whole input of one decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementSnapshot {
    /// [`SCHEMA`].
    pub schema: u16,
    /// What the policy sees of each mirror.
    pub mirrors: Vec<PlacementInput>,
    /// Epoch of the ledger that the decision is made from.
    pub epoch: Epoch,
    /// Who is asked; absent when no policy is configured or loaded.
    pub policy: Option<PolicyStamp>,
    /// Why there is no policy, where one is configured.
    pub unresolved: Option<Block>,
    /// The churn budget.
    pub limits: ChurnLimits,
    /// What is left of it now, and the guardrail that says so; see [`super::budget`].
    pub budget: (u32, PlacementGuardrail),
    /// Nodes that a person pinned.
    pub pin: Option<u32>,
    /// Enforce or dry run.
    pub mode: Mode,
    /// Changes are stopped.
    pub paused: bool,
}

impl PlacementSnapshot {
    /// Digest of the canonical bytes (postcard).
    ///
    /// # Errors
    /// Never for a snapshot that was built in memory; the encoder's signature asks for it.
    pub fn digest(&self) -> Result<Digest, postcard::Error> {
        Ok(Digest::of(&postcard::to_stdvec(self)?))
    }
}

/// What kind of decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PlacementVerdict {
    /// Partitions of lost or full nodes get new owners.
    Failover,
    /// Partitions move because the policy proposed it, or get their first owner.
    Move,
    /// The number of nodes changes, and no partition moves yet.
    Scale,
    /// The policy was followed and nothing changes.
    Steady,
    /// What is stays: the reason says why.
    Hold,
}

impl PlacementVerdict {
    /// All of them, for metrics that start at zero.
    pub const ALL: [Self; 5] = [Self::Failover, Self::Move, Self::Scale, Self::Steady, Self::Hold];

    /// The stable word, for example `Failover`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "Failover",
            Self::Move => "Move",
            Self::Scale => "Scale",
            Self::Steady => "Steady",
            Self::Hold => "Hold",
        }
    }
}

/// Stable words for decisions that no policy explains.
pub mod reason {
    /// `spec.paused` is set.
    pub const PAUSED: &str = "Paused";
    /// The object names no policy.
    pub const NO_POLICY: &str = "NoPolicy";
    /// The named policy is not loaded.
    pub const POLICY_NOT_LOADED: &str = "PolicyNotLoaded";
    /// Nodes do not answer, or their disks are full.
    pub const NODES_LOST: &str = "NodesLost";
    /// Partitions had no owner.
    pub const FIRST_OWNERS: &str = "FirstOwners";
    /// More nodes are lost at once than is believed.
    pub const MASS_LOSS: &str = "MassLoss";
    /// No node takes partitions.
    pub const NO_READY_NODE: &str = "NoReadyNode";
    /// A person pinned the number of nodes.
    pub const PINNED: &str = "Pinned";
}

/// What is decided on one mirror.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MirrorDecision {
    /// Partitions that move because the policy proposed it.
    pub moves: Vec<Move>,
    /// Partitions that had no owner, or whose owner is lost or full.
    pub failovers: Vec<Move>,
    /// Partitions that the policy wants moved and that stay for now.
    pub held_back: u32,
    /// Partitions that have no owner, or a lost or full one, and get none: nobody takes them.
    pub homeless: u32,
    /// Load over mean of the fullest node before; `None` without a ready node.
    pub before: Option<f64>,
    /// The same afterwards.
    pub after: Option<f64>,
    /// What the policy answered, when it was asked.
    pub invocation: Option<PlacementInvocation>,
}

/// One decision, with everything that explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementDecision {
    /// Name of the decision: the first 16 hex digits of the snapshot's digest.
    pub id: String,
    /// When it was made.
    pub at: UnixMs,
    /// The object it is about.
    pub object: ObjectRef,
    /// Digest of the snapshot that it was made from.
    pub snapshot: Digest,
    /// Epoch of the ledger that it was made from.
    pub epoch: Epoch,
    /// Who was asked, if anyone.
    pub policy: Option<PolicyStamp>,
    /// What kind of decision it is.
    pub verdict: PlacementVerdict,
    /// Enforce or dry run.
    pub mode: Mode,
    /// Nodes of each mirror before.
    pub nodes_from: u32,
    /// Nodes of each mirror decided.
    pub nodes_to: u32,
    /// By mirror.
    pub mirrors: Vec<MirrorDecision>,
    /// Stable word for why.
    pub reason: String,
    /// One sentence for why.
    pub sentence: String,
    /// Guardrails that changed the proposal.
    pub clamps: Vec<PlacementClamp>,
}

impl PlacementDecision {
    /// Partitions that move because the policy proposed it, over all mirrors.
    #[must_use]
    pub fn moves(&self) -> u32 {
        count(self.mirrors.iter().map(|mirror| mirror.moves.len()))
    }

    /// Partitions that had no owner, or whose owner is lost or full, over all mirrors.
    #[must_use]
    pub fn failovers(&self) -> u32 {
        count(self.mirrors.iter().map(|mirror| mirror.failovers.len()))
    }

    /// Partitions that the policy wants moved and that stay for now, over all mirrors.
    #[must_use]
    pub fn held_back(&self) -> u32 {
        self.mirrors.iter().fold(0, |sum, mirror| sum.saturating_add(mirror.held_back))
    }

    /// Load over mean of the fullest node of all mirrors, before and afterwards.
    #[must_use]
    pub fn balance(&self) -> (Option<f64>, Option<f64>) {
        let highest = |of: fn(&MirrorDecision) -> Option<f64>| self.mirrors.iter().filter_map(of).max_by(f64::total_cmp);
        (highest(|mirror| mirror.before), highest(|mirror| mirror.after))
    }

    /// What is to be granted, by mirror: in a dry run only what has no owner at all.
    #[must_use]
    pub fn grants(&self) -> Vec<Vec<Move>> {
        let takes_effect = |change: &&Move| self.mode == Mode::Enforce || change.from.is_none();
        let of = |mirror: &MirrorDecision| mirror.failovers.iter().chain(&mirror.moves).filter(takes_effect).cloned().collect();
        self.mirrors.iter().map(of).collect()
    }

    /// Nodes of each mirror that should run from now on.
    #[must_use]
    pub const fn nodes(&self) -> u32 {
        match self.mode {
            Mode::Enforce => self.nodes_to,
            Mode::DryRun => self.nodes_from,
        }
    }
}

fn count(lengths: impl Iterator<Item = usize>) -> u32 {
    u32::try_from(lengths.sum::<usize>()).unwrap_or(u32::MAX)
}

/// Decides.
///
/// # Errors
/// Only when the snapshot can't be encoded, which no snapshot built in memory is.
pub fn decide_placement(snapshot: &PlacementSnapshot, policy: Option<&dyn PlacementPolicy>) -> Result<PlacementDecision, postcard::Error> {
    let digest = snapshot.digest()?;
    let mut clamps = Vec::new();
    let mut left = snapshot.budget.0;
    let mut mirrors = Vec::with_capacity(snapshot.mirrors.len());
    for input in &snapshot.mirrors {
        let asked = policy.filter(|_| !snapshot.paused);
        let invocation = asked.map(|policy| policy.place(input));
        let mirror = decide_mirror(snapshot, input, invocation, &mut left, &mut clamps);
        mirrors.push(mirror);
    }
    let first = snapshot.mirrors.first();
    let bounds = first.map(|input| input.bounds).unwrap_or_default();
    let nodes_to = nodes(snapshot, &mirrors, &mut clamps);
    let mut decision = PlacementDecision {
        id: digest.to_string().trim_start_matches("sha256:").chars().take(16).collect(),
        at: first.map(|input| input.now).unwrap_or_default(),
        object: first.map_or_else(|| ObjectRef::new("", ""), |input| input.object.clone()),
        snapshot: digest,
        epoch: snapshot.epoch,
        policy: snapshot.policy.clone(),
        verdict: PlacementVerdict::Steady,
        mode: snapshot.mode,
        nodes_from: bounds.count,
        nodes_to,
        mirrors,
        reason: String::new(),
        sentence: String::new(),
        clamps,
    };
    (decision.verdict, decision.reason, decision.sentence) = super::explain::explain(snapshot, &decision);
    Ok(decision)
}

fn proposal(invocation: Option<&PlacementInvocation>) -> Option<&PlacementProposal> {
    match &invocation?.outcome {
        PlacementOutcome::Proposal(proposal) => Some(proposal),
        _ => None,
    }
}

fn decide_mirror(
    snapshot: &PlacementSnapshot,
    input: &PlacementInput,
    invocation: Option<PlacementInvocation>,
    left: &mut u32,
    clamps: &mut Vec<PlacementClamp>,
) -> MirrorDecision {
    let (nodes, partitions) = (&input.nodes, &input.partitions);
    let mass_loss = mass_loss(nodes);
    let wanted = proposal(invocation.as_ref()).filter(|proposal| proposal.check(input).is_ok());
    let wish = |at: usize| wanted.and_then(|proposal| proposal.owners.get(at)).copied().filter(|&owner| owner != NO_NODE);
    let takes = |node: u32| usize::try_from(node).is_ok_and(|node| nodes.takes(node));

    let (mut adopted, mut homeless, mut wishes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut not_ready, mut believed) = (0_u32, 0_u32);
    for (at, &owner) in partitions.owners.iter().enumerate() {
        let Ok(partition) = u32::try_from(at) else { continue };
        let state = usize::try_from(owner).ok().and_then(|node| nodes.state(node));
        match (state.is_none_or(NodeState::forfeits), wish(at)) {
            (true, _) if mass_loss && owner != NO_NODE => believed = believed.saturating_add(1),
            (true, Some(target)) if takes(target) => adopted.push((partition, target)),
            (true, _) => homeless.push(partition),
            (false, Some(target)) if target != owner && takes(target) => wishes.push((partition, target)),
            (false, Some(target)) if target != owner => not_ready = not_ready.saturating_add(1),
            (false, _) => {}
        }
    }
    let mut clamp = |guardrail, from: u32, to: u32| {
        if from != to {
            clamps.push(PlacementClamp { guardrail, from, to });
        }
    };
    let wished = count([wishes.len()].into_iter());
    clamp(PlacementGuardrail::TargetNotReady, wished.saturating_add(not_ready), wished);
    clamp(PlacementGuardrail::MassLoss, believed, 0);
    let (budget, by) = if mass_loss { (0, PlacementGuardrail::MassLoss) } else { (*left, snapshot.budget.1) };
    let moved = choose(wishes, budget, nodes, partitions);
    let made = count([moved.len()].into_iter());
    clamp(by, wished, made);
    *left = left.saturating_sub(made);
    if snapshot.paused {
        adopted.clear();
        homeless.clear();
    }

    // What nobody asked for a home for goes to who has least, with what has been given away counted.
    let mut owners = partitions.owners.clone();
    let mut set = |changes: &[(u32, u32)]| {
        for (partition, node) in changes {
            if let Some(owner) = usize::try_from(*partition).ok().and_then(|at| owners.get_mut(at)) {
                *owner = *node;
            }
        }
        owners.clone()
    };
    set(&moved);
    let known = set(&adopted);
    let (shared, nowhere): (Vec<_>, Vec<_>) = share_out(&homeless, &known, nodes, &partitions.weights).into_iter().partition(|(_, node)| *node != NO_NODE);
    let after = set(&shared);
    adopted.extend(shared);
    adopted.sort_unstable();
    let named = |changes: &[(u32, u32)]| changes.iter().filter_map(|change| name(input, *change)).collect();
    let balance = |owners: &[u32]| Loads::of(owners, &partitions.weights, nodes.len()).max_over_mean(nodes, partitions);
    MirrorDecision {
        moves: named(&moved),
        failovers: named(&adopted),
        held_back: wished.saturating_add(not_ready).saturating_sub(made),
        homeless: count([nowhere.len()].into_iter()).saturating_add(believed),
        before: balance(&partitions.owners),
        after: balance(&after),
        invocation,
    }
}

fn name(input: &PlacementInput, (partition, node): (u32, u32)) -> Option<Move> {
    let names = |node: u32| usize::try_from(node).ok().and_then(|node| input.nodes.names.get(node)).cloned();
    let owner = usize::try_from(partition).ok().and_then(|at| input.partitions.owners.get(at)).copied();
    Some(Move { partition, from: owner.and_then(names), to: names(node)? })
}

/// How many nodes each mirror should have: what the policy wants of the mirror that wants most, within
/// the bounds; the pin stands above the policy and not above the bounds.
fn nodes(snapshot: &PlacementSnapshot, mirrors: &[MirrorDecision], clamps: &mut Vec<PlacementClamp>) -> u32 {
    let bounds = snapshot.mirrors.first().map(|input| input.bounds).unwrap_or_default();
    if snapshot.paused {
        return bounds.count;
    }
    let proposed = mirrors.iter().filter_map(|mirror| proposal(mirror.invocation.as_ref())).map(|proposal| proposal.nodes).max();
    let mut to = proposed.unwrap_or(bounds.count);
    let mut clamp = |guardrail, limit: fn(u32, NodeBounds, Option<u32>) -> u32| {
        let limit = limit(to, bounds, snapshot.pin);
        if limit != to {
            clamps.push(PlacementClamp { guardrail, from: to, to: limit });
            to = limit;
        }
    };
    clamp(PlacementGuardrail::NodePin, |to, _, pin| pin.unwrap_or(to));
    clamp(PlacementGuardrail::MinNodes, |to, bounds, _| to.max(bounds.min));
    clamp(PlacementGuardrail::MaxNodes, |to, bounds, _| to.min(bounds.max));
    to
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
