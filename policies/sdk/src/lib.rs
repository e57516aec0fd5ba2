//! Write a policy for Weir as an ordinary Rust function.
//!
//! A scaling policy answers one question: how many replicas? A placement policy ([`placement`]) says which
//! node of a store owns which partition. Either is a pure function of what it is handed,
//! so it is tested with `cargo test` like any other function and needs no cluster and no Wasm for
//! that. This crate does the rest: it reads params and state, describes the policy to the host, and
//! exports the component's interface (`wit/`) when compiled for `wasm32-unknown-unknown`.
//!
//! ```
//! use weir_policy::prelude::*;
//!
//! weir_policy::params! {
//!     /// What a user may set.
//!     pub struct Params {
//!         /// Spare capacity as a share of the load.
//!         #[range(0.0..=10.0)]
//!         headroom: f64 = 0.2,
//!     }
//! }
//!
//! weir_policy::scaling! {
//!     name: "simple",
//!     summary: "As many replicas as the load of the last 10 s needs.",
//!     params: Params,
//!     state: (),
//!     series: { "offered": required },
//!     decide: decide,
//! }
//!
//! fn decide(input: &Input, params: &Params, _: ()) -> Result<Proposal, Refusal> {
//!     let capacity = input.capacity_or(None)?;
//!     let load = input.series("offered")?.mean(10.0).ok_or_else(Refusal::not_enough_samples)?;
//!     let replicas = replicas_for(load * (1.0 + params.headroom), capacity);
//!     Ok(Proposal::replicas(replicas).because("FollowsLoad", format!("{} records/s are offered.", short(load))))
//! }
//!
//! # fn main() {
//! let input = weir_policy::testing::input().capacity(100.0).series("offered", &[900.0; 10]).build();
//! assert_eq!(decide(&input, &Params::default(), ()).unwrap().replicas, 11);
//! # }
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`input`] | what a policy is handed |
//! | [`window`] | measured series and what can be asked of them: mean, max, percentile, slope, rate |
//! | [`proposal`] | what a policy answers |
//! | [`params`] | typed params, and their JSON Schema from the same few lines |
//! | [`state`] | typed, versioned, bounded state from one decision to the next |
//! | [`policy`] | the trait behind [`scaling!`], and a whole call from bytes to bytes |
//! | [`placement`] | the same for placement policies; they need the feature `placement` |
//! | [`testing`] | inputs for tests, made in one line |
//! | `bindings` | the component's interface, generated from `wit/`; in Wasm only |
//! | `memory` | an allocator for one call; in Wasm only |

// The macros name this crate as its users see it; inside the crate itself that name is this one.
extern crate self as weir_policy;

#[cfg(all(target_arch = "wasm32", not(feature = "placement")))]
pub mod bindings;
#[cfg(all(target_arch = "wasm32", feature = "placement"))]
#[path = "bindings/placement.rs"]
pub mod bindings;
pub mod input;
mod macros;
#[cfg(target_arch = "wasm32")]
mod memory;
pub mod params;
pub mod placement;
pub mod policy;
pub mod proposal;
pub mod state;
pub mod testing;
pub mod window;

#[doc(hidden)]
pub use serde;

/// What nearly every policy uses.
pub mod prelude {
    pub use crate::input::{Capacity, Input, Objectives, Replicas};
    pub use crate::policy::{Description, ScalingPolicy, SeriesNeed};
    pub use crate::proposal::{MAX_REPLICAS, Proposal, Refusal, replicas_for, short};
    pub use crate::state::State;
    pub use crate::window::{Column, Window};
}
