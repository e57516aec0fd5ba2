//! The Kubernetes shell of Weir: watches, actors, writes.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`], [`context`] | options of the process, and what its tasks share |
//! | [`watch`] | follow one kind of object |
//! | [`views`], [`index`] | objects cut down to what decisions need, and who they belong to |
//! | [`build`] | desired objects of a LogProcessor, as pure functions |
//! | [`policies`] | WasmPolicies: sources, loading, users, status |
//! | [`processor`] | one actor per LogProcessor: observe, snapshot, decide, plan, apply, record |
//! | [`storage`] | one actor per LogStorage: nodes, partitions and their owners, volumes, query endpoint |
//! | [`manager`], [`ensure`] | start and stop actors; write own objects where they differ |
//! | [`shell`] | client, leader election, Events, metrics, HTTP, logs |

pub mod build;
pub mod conditions;
pub mod config;
pub mod context;
pub mod ensure;
pub mod index;
pub mod manager;
pub mod policies;
pub mod processor;
mod run;
pub mod shell;
pub mod storage;
pub mod views;
pub mod watch;

pub use config::Config;
pub use run::{Error, run};
