//! The Kubernetes shell of Weir: watches, actors, writes.
//!
//! | module | what it is |
//! |---|---|
//! | [`config`], [`context`] | options of the process, and what its tasks share |
//! | [`watch`] | follow one kind of object |
//! | [`views`], [`index`] | objects cut down to what decisions need, and who they belong to |
//! | [`build`] | desired objects of a LogProcessor, as pure functions |
//! | [`policies`] | WasmPolicies: sources, loading, users, status |
//! | [`quota`], [`pool`] | what a namespace may have, and places for slow policy calls in which namespaces take turns |
//! | [`processor`] | one actor per LogProcessor: observe, snapshot, decide, plan, apply, record |
//! | [`storage`] | one actor per LogStorage: nodes, partitions and their owners, volumes, query endpoint |
//! | [`manager`], [`ensure`] | start and stop actors; write own objects where they differ |
//! | [`routing`] | RoutingTables: compiled, kept, handed to the LogProcessors that name them |
//! | [`shell`] | client, leader election, Events, metrics, HTTP, logs |

pub mod build;
pub mod conditions;
pub mod config;
pub mod context;
pub mod ensure;
mod groups;
pub mod index;
pub mod labels;
pub mod manager;
pub mod policies;
pub mod pool;
pub mod processor;
pub mod quota;
pub mod routing;
mod run;
pub mod shell;
pub mod storage;
pub mod views;
pub mod watch;

pub use config::Config;
pub use run::{Error, run};
