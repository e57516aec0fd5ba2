//! Partitions of the space of routing keys, and the nodes that own them. Touches nothing.
//!
//! Ownership moves, data does not: a partition has a list of owners, each from an epoch on. New
//! records go to the newest, queries ask all, and an owner of before is dropped when nothing that it
//! stored has to be kept any more.
//!
//! | module | step | what it is |
//! |---|---|---|
//! | [`node`] | observe | whether a node answers, and what follows from that |
//! | [`weights`] | observe | what partitions weigh, from the bytes that were stored of late |
//! | [`policy`] | decide | what a placement policy is given and what it answers |
//! | [`load`] | decide | loads of nodes, and who takes what nobody owns |
//! | [`guard`] | guard | the churn budget, each clamp named |
//! | [`decision`], `explain` | decide, guard | snapshot in, decision out, and why |
//! | [`ledger`], [`ownership`] | plan | the owners of all partitions, present and former, by epoch |
//! | [`map`] | plan | the owners of all partitions at one time, as the routing side reads them |

pub mod decision;
mod explain;
pub mod guard;
pub mod ledger;
pub mod load;
pub mod map;
pub mod node;
pub mod ownership;
pub mod policy;
pub mod weights;

pub use decision::{MirrorDecision, PlacementDecision, PlacementSnapshot, PlacementVerdict, decide_placement};
pub use guard::{ChurnLimits, PlacementClamp, PlacementGuardrail, budget};
pub use ledger::{Ledger, LedgerError, StaleEpoch, StandIn};
pub use load::Loads;
pub use map::{Map, MapError, Slot};
pub use node::{FailoverRules, Liveness, NodeState, Sight};
pub use ownership::{Epoch, Holds, Move, Owner, Ownership};
pub use policy::{
    NO_NODE, NodeBounds, NodeColumns, PartitionColumns, PlacementInput, PlacementInvocation, PlacementOutcome, PlacementPolicy, PlacementProposal,
};
pub use weights::Weighing;
