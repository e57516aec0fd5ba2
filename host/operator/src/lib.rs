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
//! | [`routing`] | RoutingTables: compiled, kept, handed to the LogProcessors that name them |
//! | [`shell`] | client, leader election, Events, metrics, HTTP, logs |

pub mod build;
pub mod conditions;
pub mod config;
pub mod context;
pub mod index;
pub mod policies;
pub mod processor;
pub mod routing;
mod run;
pub mod shell;
pub mod views;
pub mod watch;

pub use config::Config;
pub use run::{Error, run};
