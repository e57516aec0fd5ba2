//! Fuzzing of everything that crosses the border of the engine. Each target runs for some seconds with
//! the other tests, and for as long as `WEIR_FUZZ_SECONDS` says: see `common/fuzz.rs`.
//!
//! | target | what is arbitrary |
//! |---|---|
//! | `bytes` | what a ConfigMap, a file or a registry gives: packed, cut off, anything |
//! | `unpack` | gzip and zstd data |
//! | `components` | built-in policies with damages in any place |
//! | `modules` | a policy's code, valid and senseless (wasm-smith), with the virtual world to call |
//! | `nested` | components inside a policy, valid and senseless |
//! | `answers` | the bytes of an answer, as they lie in the guest's memory |
//! | `world` | calls of the virtual world with any arguments in any order |
//! | `params` | params against a schema |
//!
//! The schema itself is fuzzed where it is read, in `src/schema.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod code;
mod data;

use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir_core::scaling::{Invocation, Outcome, ScalingInput, ScalingPolicy};
use weir_engine::{Candidate, Limits, LoadError, Policy};

/// Limits that end every call soon, so that there is time for many.
fn limits() -> Limits {
    Limits { fuel: 1_000_000, deadline: Duration::from_millis(20), memory_bytes: 4 << 20, ..Limits::default() }
}

/// A call ends at ten times its deadline on the clock; a load makes up to three. And the machine is busy.
const LOAD: Duration = Duration::from_secs(20);

/// What a decision may take, whatever it is given.
const DECISION: Duration = Duration::from_secs(5);

/// Loads, lets it decide when it loads, and makes sure that a neighbour goes on.
fn live(bytes: &[u8]) -> Result<Invocation, LoadError> {
    let candidate = Candidate { limits: limits(), ..common::wasi::granted(&bytes.to_vec().into()) };
    let loaded = common::engine().load_blocking(&candidate, &[]).result;
    let answer = loaded.map(|policy| policy.decide(input()));
    if let Err(error) = &answer {
        assert!(!matches!(error, LoadError::Internal(_)), "{error}");
        assert!(error.to_string().len() < 20_000, "{} bytes of error", error.to_string().len());
    }
    neighbour_decides();
    answer
}

fn input() -> &'static ScalingInput {
    static INPUT: OnceLock<ScalingInput> = OnceLock::new();
    INPUT.get_or_init(common::input)
}

fn neighbour_decides() {
    static GOOD: OnceLock<Arc<Policy>> = OnceLock::new();
    let good = GOOD.get_or_init(|| common::Guest { replicas: 5, ..common::Guest::default() }.load());
    let outcome = good.decide(input()).outcome;
    assert!(matches!(&outcome, Outcome::Proposal(proposal) if proposal.replicas == 5), "{outcome:?}");
}

/// What holds for every answer, whatever a policy does.
fn check(invocation: &Invocation, limits: &Limits) {
    assert!(invocation.fuel <= limits.fuel, "{invocation:?}");
    assert!(invocation.output.len() <= weir_core::scaling::MAX_OUTPUT_BYTES);
    match &invocation.outcome {
        Outcome::Proposal(proposal) => {
            proposal.check().unwrap();
            assert!(proposal.state.len() as u64 <= limits.state_bytes);
        }
        Outcome::Refusal(refusal) => refusal.check().unwrap(),
        Outcome::Failure(failure) => {
            assert!(failure.message.len() <= 1100, "{} bytes: {}", failure.message.len(), failure.message);
            // A fault of the host is never the guest's to cause.
            assert_ne!(failure.kind.as_str(), "Host", "{}", failure.message);
        }
    }
}
