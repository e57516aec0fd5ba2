//! What a placement policy is given and what it answers: `wit/placement.wit` as Rust types. Touches
//! nothing.
//!
//! [`PlacementPolicy`] is the border to whatever runs the rule: the Wasm engine, or a plain function in
//! tests.

use super::node::NodeState;
use crate::ids::{Digest, ObjectRef, UnixMs};
use crate::scaling::{Failure, Rationale, Refusal};
use serde::{Deserialize, Serialize};

/// How many nodes there are and may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBounds {
    /// Nodes that should run now.
    pub count: u32,
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// The nodes of one mirror as columns of the same length, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeColumns {
    /// Names of their pods.
    pub names: Vec<String>,
    /// Index into `zone_names` of each.
    pub zones: Vec<u32>,
    /// Names of the zones; one without a name where none are configured.
    pub zone_names: Vec<String>,
    /// What may be done with each.
    pub states: Vec<NodeState>,
    /// How much each can carry, in proportion to the others; positive and finite.
    pub capacities: Vec<f64>,
    /// Share of each disk that is used, 0 to 1; NaN where it is not known.
    pub fills: Vec<f64>,
}

impl NodeColumns {
    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// True without any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// State of a node; `None` for an index without one.
    #[must_use]
    pub fn state(&self, node: usize) -> Option<NodeState> {
        self.states.get(node).copied()
    }

    /// True when the node may be given partitions.
    #[must_use]
    pub fn takes(&self, node: usize) -> bool {
        self.state(node).is_some_and(NodeState::takes)
    }

    /// The node of that name. Names are sorted.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.names.binary_search_by(|known| known.as_str().cmp(name)).ok()
    }
}

/// Stands for a partition without an owner, or whose owner is no node any more.
pub const NO_NODE: u32 = u32::MAX;

/// The partitions of one mirror as columns of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionColumns {
    /// Index of the node that owns each, [`NO_NODE`] for none.
    pub owners: Vec<u32>,
    /// Load of each in proportion to the others; not negative, finite.
    pub weights: Vec<f64>,
}

/// Everything that a policy sees at one decision about one mirror.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementInput {
    /// The time of the decision.
    pub now: UnixMs,
    /// The LogStorage that is decided on.
    pub object: ObjectRef,
    /// Which of its mirrors, from 0 on.
    pub mirror: u32,
    /// How many nodes the mirror has and may have.
    pub bounds: NodeBounds,
    /// The nodes.
    pub nodes: NodeColumns,
    /// The partitions.
    pub partitions: PartitionColumns,
    /// Most partitions that may move now, those without an owner and of lost or full nodes not counted.
    pub max_moves: u32,
    /// Params of the policy, a JSON object in canonical form (`{}` when there are none).
    pub params: String,
    /// The bytes that the policy returned as state at its last decision on this mirror.
    pub state: Vec<u8>,
}

impl PlacementInput {
    /// Digest of the canonical bytes; see [`crate::scaling::ScalingInput::digest`].
    ///
    /// # Errors
    /// Never for an input that was built in memory; the encoder's signature asks for it.
    pub fn digest(&self) -> Result<Digest, postcard::Error> {
        Ok(Digest::of(&postcard::to_stdvec(self)?))
    }
}

/// What a policy wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementProposal {
    /// Wanted nodes, before the guardrails.
    pub nodes: u32,
    /// Index of the node that should own each partition; [`NO_NODE`]: no wish.
    pub owners: Vec<u32>,
    /// Why.
    pub rationale: Rationale,
    /// Bytes for the next decision on this mirror.
    pub state: Vec<u8>,
}

/// Nodes beyond which a proposal is taken for a fault: the largest number of nodes that Kubernetes
/// supports in one cluster (kubernetes.io, "Considerations for large clusters").
pub const MAX_SENSIBLE_NODES: u32 = 5_000;

impl PlacementProposal {
    /// Checks what a type can't say.
    ///
    /// # Errors
    /// A sentence that names the part that is wrong.
    pub fn check(&self, input: &PlacementInput) -> Result<(), String> {
        if self.nodes > MAX_SENSIBLE_NODES {
            return Err(format!("proposes {} nodes, more than the {MAX_SENSIBLE_NODES} that a cluster can have", self.nodes));
        }
        let (wanted, given) = (input.partitions.owners.len(), self.owners.len());
        if wanted != given {
            return Err(format!("proposes owners of {given} partitions where there are {wanted}"));
        }
        let count = input.nodes.len();
        let beyond = self.owners.iter().position(|&owner| owner != NO_NODE && usize::try_from(owner).map_or(true, |owner| owner >= count));
        if let Some(partition) = beyond {
            return Err(format!("proposes an owner of partition {partition} that is none of the {count} nodes"));
        }
        self.rationale.check()
    }
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PlacementOutcome {
    /// The policy proposes.
    Proposal(PlacementProposal),
    /// The policy refuses.
    Refusal(Refusal),
    /// The call failed.
    Failure(Failure),
}

/// One call of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacementInvocation {
    /// What came of it.
    pub outcome: PlacementOutcome,
    /// Fuel that the call used: deterministic, the same on every machine.
    pub fuel: u64,
    /// See [`crate::scaling::Invocation::output`].
    pub output: String,
}

/// Something that decides on owners: a loaded component, or a function in a test.
pub trait PlacementPolicy {
    /// Asks the policy. Pure but for its running time: the result depends on `input` alone.
    fn place(&self, input: &PlacementInput) -> PlacementInvocation;
}
