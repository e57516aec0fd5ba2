//! Routing tables: rules of several owners in, one canonical table out. Touches nothing.
//!
//! ```text
//! Source (a RoutingTable) ┐
//! Sources of its parts    ├─ compile ─▶ Table ─▶ configuration of collectors (weir-operator)
//! maps of its storages    ┘
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`rule`] | what a record must fulfil, and when one rule takes all that another would |
//! | [`table`] | the compiled table, its canonical bytes and its hash |
//! | [`mod@compile`] | from sources to a table, with what is refused and what is warned about |
//! | [`partition`] | the partition of a record |

pub mod compile;
pub mod partition;
pub mod rule;
pub mod table;

pub use compile::{Compiled, Found, Outcome, Reason, Refusal, Source, Warning, Way, Wish, compile};
pub use partition::{Record, RoutingKey};
pub use rule::{Match, Requirement, Scope, SeverityRange, Test};
pub use table::{Destination, Otlp, Protocol, Rule, SecretKey, Table, TableError, Target};

#[cfg(test)]
mod tests;
