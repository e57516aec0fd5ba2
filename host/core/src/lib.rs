//! The pure part of Weir.
//!
//! One decision flows through seven steps: observe, **snapshot, decide, guard, plan**, apply, record.
//! This crate holds the four in the middle. It has no async, no Kubernetes client, no clock, no random
//! numbers, no environment and no global state: `now` is an argument, and the same snapshot gives
//! the same decision in the operator, in the simulator and in a replay.
//!
//! | module | step | what it is |
//! |---|---|---|
//! | [`errors`] | | an error with its causes as text |
//! | [`ids`] | | names, digests and times |
//! | [`window`] | snapshot | measured series as columns |
//! | [`scaling`] | decide | what a scaling policy is given and what it answers |
//! | [`state`] | decide | what a policy remembers, and which module may read it |
//! | [`guardrails`] | guard | bounds that no policy passes, each clamp named |
//! | [`snapshot`] | snapshot | everything a decision depends on, as canonical bytes with a digest |
//! | [`decision`] | decide, guard | snapshot in, decision out |
//! | [`capacity`] | snapshot | what one replica can process, learnt from what it did |
//! | [`drain`] | plan | which replicas go first, and when they may |
//! | [`placement`] | decide, guard, plan | partitions, their owners by epoch, and the map that collectors follow |
//! | [`routing`] | plan | rules of several owners, compiled to one table with a hash |
//! | [`breaker`] | | when a module that fails is not asked any more, and when it is asked again |
//! | [`quota`] | | what one namespace may have of the operator |
//! | [`turns`] | | a queue in which owners take turns |
//! | [`trial`] | | a new version of a policy on trial: who decides, what is counted, what is next |
//! | [`health`] | observe | what is wrong with a workload, judged from plain facts |

pub mod breaker;
pub mod capacity;
pub mod decision;
pub mod drain;
pub mod errors;
pub mod guardrails;
pub mod health;
pub mod ids;
pub mod placement;
pub mod quota;
pub mod routing;
pub mod scaling;
pub mod snapshot;
pub mod state;
pub mod trial;
pub mod turns;
pub mod window;
