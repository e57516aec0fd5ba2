//! One actor per LogStorage. Each step of a decision is a module of its own:
//!
//! | module | step | may touch |
//! |---|---|---|
//! | [`valid`] | | nothing: the spec as a type that later steps trust |
//! | [`engine`] | | nothing: what is particular to a store, behind a trait |
//! | [`index`] | observe | nothing: pods and workloads, as the watches show them |
//! | [`observe`] | observe | network: asks every node for its metrics |
//! | [`nodes`] | observe | nothing: which nodes there are, and in which state |
//! | [`freeze`] | snapshot | nothing |
//! | [`actor`] | decide | its loop and its state; the policy, on a worker thread |
//! | [`build`] | plan | nothing: objects that should exist |
//! | [`ledger`] | apply | network: the ConfigMap that holds ownership |
//! | [`volumes`] | apply | network: volumes grow, and go when nothing is owed |
//! | [`status`] | record | network: status and Events |

mod actor;
pub mod build;
pub mod engine;
mod freeze;
pub mod index;
mod ledger;
mod nodes;
mod observe;
mod status;
pub mod valid;
mod volumes;
