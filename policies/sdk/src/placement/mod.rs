//! Write a placement policy: which node of a store owns which partition? Touches nothing.
//!
//! ```
//! use weir_policy::placement::prelude::*;
//!
//! weir_policy::placement! {
//!     name: "stay",
//!     summary: "Leaves every partition where it is.",
//!     params: (),
//!     decide: decide,
//! }
//!
//! fn decide(input: &Input, _: &(), _: ()) -> Result<Placement, Refusal> {
//!     Ok(Placement::owners(input.bounds.count, input.partitions.owners.clone()).because("Stays", "Nothing moves."))
//! }
//!
//! # fn main() {
//! let input = weir_policy::placement::testing::input().nodes(&["a", "b"]).spread(8, 2).build();
//! assert_eq!(decide(&input, &(), ()).unwrap().owners, input.partitions.owners);
//! # }
//! ```

pub mod testing;

use crate::params::{self, Params};
use crate::proposal::{Number, Refusal, add_number, cut};
use crate::state::{self, State};

/// What nearly every placement policy uses.
pub mod prelude {
    pub use super::{Bounds, Description, Input, NO_NODE, Node, NodeState, Nodes, Partitions, Placement, PlacementPolicy};
    pub use crate::proposal::{Refusal, short};
    pub use crate::state::State;
}

/// Stands for a partition without an owner, or for which there is no wish.
pub const NO_NODE: u32 = u32::MAX;

/// What may be done with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// It has not answered yet.
    Starting,
    /// It answers: it may be given partitions. No other node may.
    Ready,
    /// It answers and is meant to go: what it owns should move.
    Cordoned,
    /// It has not answered for a moment: it keeps what it owns.
    Silent,
    /// It is given up: the host gives what it owns to others, with or without a proposal.
    Lost,
    /// It came and went too often and is given nothing for a while.
    Quarantined,
    /// Its disk takes no more: the host gives what it owns to others, with or without a proposal.
    Full,
}

/// How many nodes there are and may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Nodes that should run now.
    pub count: u32,
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

/// The nodes as columns of the same length, sorted by name.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// Their names.
    pub names: Vec<String>,
    /// Index into `zone_names` of each.
    pub zones: Vec<u32>,
    /// One without a name where no zones are configured.
    pub zone_names: Vec<String>,
    /// What may be done with each.
    pub states: Vec<NodeState>,
    /// How much each can carry, in proportion to the others; positive and finite.
    pub capacities: Vec<f64>,
    /// Share of each disk that is used, 0 to 1; NaN where it is not known.
    pub fills: Vec<f64>,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a str,
    /// Index of its zone.
    pub zone: u32,
    /// What may be done with it.
    pub state: NodeState,
    /// How much it can carry.
    pub capacity: f64,
    /// Share of its disk that is used, NaN when it is not known.
    pub fill: f64,
}

impl Nodes {
    /// The nodes, one by one.
    pub fn each(&self) -> impl Iterator<Item = Node<'_>> {
        let columns = self.names.iter().zip(&self.zones).zip(&self.states).zip(&self.capacities).zip(&self.fills);
        columns.map(|((((name, zone), state), capacity), fill)| Node { name, zone: *zone, state: *state, capacity: *capacity, fill: *fill })
    }
}

/// The partitions as columns of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Partitions {
    /// Index of the node that owns each; [`NO_NODE`] for none.
    pub owners: Vec<u32>,
    /// Load of each in proportion to the others; not negative, finite.
    pub weights: Vec<f64>,
}

/// Everything that a decision about one mirror may depend on, besides params and state.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Unix milliseconds of this decision.
    pub now: i64,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Which mirror, from 0 on.
    pub mirror: u32,
    /// How many nodes there are and may be.
    pub bounds: Bounds,
    /// The nodes.
    pub nodes: Nodes,
    /// The partitions.
    pub partitions: Partitions,
    /// Most partitions that may move now, those without an owner and of lost or full nodes not counted.
    pub max_moves: u32,
}

/// What a policy says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Short name of the rule.
    pub name: &'static str,
    /// Version of the rule.
    pub version: &'static str,
    /// One or two sentences that say what it does.
    pub summary: &'static str,
}

/// Who should own what, why, and what the policy wants to remember.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Placement<S = ()> {
    /// Wanted nodes. The host clamps them to its bounds.
    pub nodes: u32,
    /// Index of the node that should own each partition.
    pub owners: Vec<u32>,
    /// Stable CamelCase word for machines.
    pub code: String,
    /// One sentence for people.
    pub sentence: String,
    /// The numbers that decided.
    pub numbers: Vec<Number>,
    /// What the next decision on this mirror is handed.
    pub state: S,
}

impl Placement {
    /// That many nodes and these owners. Say why with [`because`](Self::because).
    pub fn owners(nodes: u32, owners: Vec<u32>) -> Self {
        Self { nodes, owners, code: "Proposed".into(), sentence: String::new(), numbers: Vec::new(), state: () }
    }

    /// The same, remembering `state` for the next decision.
    pub fn remember<S>(self, state: S) -> Placement<S> {
        Placement { nodes: self.nodes, owners: self.owners, code: self.code, sentence: self.sentence, numbers: self.numbers, state }
    }
}

impl<S> Placement<S> {
    /// Says why; see [`Proposal::because`](crate::proposal::Proposal::because).
    pub fn because(mut self, code: &str, sentence: impl Into<String>) -> Self {
        self.code = code.into();
        self.sentence = cut(sentence.into());
        self
    }

    /// Adds a number that took part; see [`Proposal::number`](crate::proposal::Proposal::number).
    pub fn number(mut self, name: &str, value: f64, unit: &str) -> Self {
        add_number(&mut self.numbers, name, value, unit);
        self
    }

    /// The number of that name, for tests.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.numbers.iter().find(|number| number.name == name).map(|number| number.value)
    }
}

/// A placement policy.
pub trait PlacementPolicy {
    /// What a user may set.
    type Params: Params;
    /// What it remembers.
    type State: State;

    /// What it says about itself.
    fn describe() -> Description;

    /// Who owns what? Depends on the arguments and on nothing else.
    ///
    /// # Errors
    /// A refusal: the host holds what is.
    fn decide(input: &Input, params: &Self::Params, state: Self::State) -> Result<Placement<Self::State>, Refusal>;
}

/// A whole call as the component makes it: params as JSON, state as bytes.
///
/// # Errors
/// The policy's refusal, or `InvalidParams`, `StateTooLarge`, `StateNotEncodable`.
pub fn call<P: PlacementPolicy>(input: &Input, params: &str, state: &[u8]) -> Result<Placement<Vec<u8>>, Refusal> {
    let params: P::Params = params::parse(params)?;
    let Placement { nodes, owners, code, sentence, numbers, state } = P::decide(input, &params, state::decode(state))?;
    Ok(Placement { nodes, owners, code, sentence, numbers, state: state::encode(&state)? })
}
