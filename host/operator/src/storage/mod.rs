//! One actor per LogStorage. Each step of a decision is a module of its own:
//!
//! | module | step | may touch |
//! |---|---|---|
//! | [`valid`] | | nothing: the spec as a type that later steps trust |
//! | [`engine`] | | nothing: what is particular to a store, behind a trait |
//! | [`watches`] | observe | network: what belongs to LogStorages |
//! | [`index`] | observe | nothing: pods and workloads, as the watches show them |
//! | [`observe`] | observe | network: asks every node for its metrics |
//! | [`weigh`] | observe | network: asks nodes what each partition got |
//! | [`nodes`] | observe | nothing: which nodes there are, and in which state |
//! | [`freeze`] | snapshot | nothing |
//! | [`actor`] | | its loop and its state |
//! | [`decide`] | decide, apply | the policy, on a worker thread; the network through [`ledger`] |
//! | [`plan`], [`build`] | plan | nothing: ledger and map that follow; objects that should exist |
//! | [`ledger`] | apply | network: the ConfigMap that holds ownership |
//! | [`volumes`] | apply | network: volumes grow, and go when nothing is owed |
//! | [`status`], [`keeper`] | record | network: status and Events |

mod actor;
pub mod build;
mod decide;
pub mod engine;
mod freeze;
pub mod index;
mod keeper;
mod ledger;
mod nodes;
mod observe;
mod plan;
mod status;
pub mod valid;
mod volumes;
pub(crate) mod watches;
mod weigh;
