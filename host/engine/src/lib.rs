//! Runs policies: compiles, verifies, probes, limits and swaps WebAssembly components, and watches
//! where they come from.
//!
//! A policy is a component that imports nothing (`wit/`), or WASI where its object allows
//! that, which is a virtual world then. Every call runs in a fresh
//! instance with bounds on fuel, time, memory and on what it returns, and the same bytes in give the
//! same bytes and the same fuel out.
//!
//! ```no_run
//! # async fn example(input: weir_core::scaling::ScalingInput) -> Result<(), Box<dyn std::error::Error>> {
//! use weir_core::{ids::ObjectRef, scaling::ScalingPolicy as _};
//! use weir_engine::{Candidate, Engine, EngineConfig, Limits, PolicyKind, PolicySlot, Wasi, source};
//!
//! let engine = Engine::new(EngineConfig::default())?;
//! let slot = PolicySlot::new(engine);
//! let report = slot.load(&Candidate {
//!     object: ObjectRef::new("logging", "threshold"),
//!     kind: PolicyKind::Scaling,
//!     bytes: source::builtin::builtin("threshold")?,
//!     digest: None,
//!     params: serde_json::Value::Null,
//!     limits: Limits::default(),
//!     wasi: Wasi::Deny,
//! }).await;
//! if let Some(policy) = slot.current() {
//!     let invocation = policy.decide(&input);
//!     slot.observe(&input);
//! }
//! # Ok(()) }
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`kind`] | what a policy decides on |
//! | [`config`] | limits of one call, and how the engine is set up |
//! | [`engine`] | the engine of a process: pool, queue of the compiler, compiled code in use |
//! | [`compiler`] | this process or a child process compiles |
//! | [`load`] | from bytes to a policy, stage by stage |
//! | [`unpack`] | gzip and zstd, bounded |
//! | [`error`] | why a policy was refused, for people and for conditions |
//! | [`description`] | what a policy says about itself |
//! | [`policy`] | a loaded policy: decides |
//! | [`wasi`] | the virtual world for components that import WASI |
//! | [`slot`] | the running policy of one object, exchanged without losing a decision |
//! | [`source`] | built in, ConfigMap, folder, registry |
//! | [`verify`] | who signed a module |

mod abi;
mod admission;
pub mod cache;
mod call;
mod compile;
mod compiled;
pub mod compiler;
mod complexity;
pub mod config;
pub mod description;
pub mod engine;
pub mod error;
mod inspect;
mod kept;
pub mod kind;
pub mod load;
mod meter;
pub mod policy;
mod probe;
mod queue;
mod refit;
mod runtime;
mod schema;
pub mod slot;
pub mod source;
mod ticker;
pub mod unpack;
pub mod verify;
pub mod wasi;

#[cfg(test)]
#[path = "../tests/common/fuzz.rs"]
mod fuzz;
#[cfg(test)]
mod schema_fuzz;

pub use call::thread_time;
pub use compiler::{Compiler, Program};
pub use config::{CacheConfig, EngineConfig, Limits};
pub use description::{Description, SeriesNeed};
pub use engine::{CompiledFrom, Engine};
pub use error::LoadError;
pub use kept::Kept;
pub use kind::PolicyKind;
pub use load::{Candidate, Loading, StageTimes};
pub use policy::Policy;
pub use runtime::EngineError;
pub use schema::canonical;
pub use slot::{LoadOutcome, LoadReport, PolicySlot, Prepared, Ready};
pub use wasi::Wasi;
