//! Partitions and the nodes that own them. Touches nothing.
//!
//! Ownership moves, data does not: a partition has a list of owners, each from an epoch on. New
//! records go to the newest, queries ask all.
//!
//! | module | what it is |
//! |---|---|
//! | [`map`] | the owners of all partitions at one time, as the routing side reads them |

pub mod map;

pub use map::{Map, MapError, Slot};
