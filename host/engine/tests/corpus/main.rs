//! The hostile corpus: components that want to crash the host, hang it, fill its memory or fool it.
//! Each ends in an outcome that has a name, in bounded time and memory, and another policy of the same
//! engine decides right after it as ever. Run with `--nocapture` to see what each took.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod compiling;
mod linking;
mod running;

use bytes::Bytes;
use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use weir_core::scaling::{Outcome, ScalingPolicy};
use weir_engine::{Candidate, Limits, Policy};

/// How a component has to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// Not loaded, for one of these reasons.
    Refused(&'static [&'static str]),
    /// Loaded, and each decision fails in one of these ways.
    Fails(&'static [&'static str]),
    /// It is harmless after all.
    Decides,
}

/// One hostile component.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) end: End,
    pub(crate) limits: Limits,
    /// Longest time for loading and deciding twice.
    pub(crate) within: Duration,
    /// Most KiB by which the process may grow meanwhile.
    pub(crate) grows: u64,
}

impl Case {
    /// A component that has to end in that way, within bounds that fit what only runs.
    pub(crate) fn new(name: impl Into<String>, bytes: Bytes, end: End) -> Self {
        // A call ends at its deadline of 50 ms, or ten times that on the clock; there are five of them.
        Self { name: name.into(), bytes, end, limits: Limits::default(), within: Duration::from_secs(8), grows: 48 << 10 }
    }

    /// The same within the bounds of what is expensive to compile.
    #[must_use]
    pub(crate) fn compiling(self, within: Duration, mebibytes: u64) -> Self {
        Self { within, grows: mebibytes << 10, ..self }
    }
}

/// One case after the other: they measure the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A policy that nobody has anything against.
fn neighbour() -> Arc<Policy> {
    static GOOD: OnceLock<Arc<Policy>> = OnceLock::new();
    Arc::clone(GOOD.get_or_init(|| common::Guest { replicas: 5, ..common::Guest::default() }.load()))
}

/// Takes each case through its life and says everything that was not as it has to be.
#[track_caller]
pub(crate) fn all(cases: impl IntoIterator<Item = Case>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let neighbour = neighbour();
    let wrong: Vec<String> = cases.into_iter().filter_map(|case| wrong(&case, &neighbour)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn wrong(case: &Case, neighbour: &Policy) -> Option<String> {
    let (begun, before) = (Instant::now(), reset_peak());
    let ended = live(case);
    let (took, grown) = (begun.elapsed(), peak().saturating_sub(before));
    let said = match &ended {
        Ok(ended) | Err(ended) => ended.clone(),
    };
    println!("{:<64} {:>7.1} ms {:>7} KiB  {said}", case.name, took.as_secs_f64() * 1e3, grown);
    let other = neighbour.decide(&common::input()).outcome;
    let problem = if ended.is_err() {
        format!("ended otherwise than {:?}: {said}", case.end)
    } else if took > case.within {
        format!("took {took:?}, more than {:?}", case.within)
    } else if grown > case.grows {
        format!("grew the process by {grown} KiB, more than {}", case.grows)
    } else if !matches!(&other, Outcome::Proposal(proposal) if proposal.replicas == 5) {
        format!("harmed another policy: {other:?}")
    } else {
        return None;
    };
    Some(format!("{}: {problem}", case.name))
}

/// Loads and decides twice. What happened, as an error when it is not what has to happen.
fn live(case: &Case) -> Result<String, String> {
    let candidate = Candidate { limits: case.limits.clone(), ..common::wasi::granted(&case.bytes) };
    let policy = match common::engine().load_blocking(&candidate, &[]).result {
        Ok(policy) => policy,
        Err(error) => {
            let said = format!("{}: {error}", error.reason());
            return if matches!(case.end, End::Refused(reasons) if reasons.contains(&error.reason())) { Ok(said) } else { Err(said) };
        }
    };
    let invocation = policy.decide(&common::input());
    let said = match &invocation.outcome {
        Outcome::Failure(failure) => format!("{}: {}", failure.kind.as_str(), failure.message),
        other => format!("{other:?}").chars().take(100).collect(),
    };
    let fits = match (&invocation.outcome, case.end) {
        (Outcome::Failure(failure), End::Fails(kinds)) => kinds.contains(&failure.kind.as_str()),
        (Outcome::Proposal(_) | Outcome::Refusal(_), End::Decides) => true,
        _ => false,
    };
    // A deadline is the one thing that is not the same each time.
    let timed = matches!(&invocation.outcome, Outcome::Failure(failure) if failure.kind.as_str() == "DeadlineExceeded");
    let again = policy.decide(&common::input());
    let timed = timed || matches!(&again.outcome, Outcome::Failure(failure) if failure.kind.as_str() == "DeadlineExceeded");
    if fits && !timed && again != invocation {
        return Err(format!("{said}, and then something else"));
    }
    if fits { Ok(said) } else { Err(said) }
}

/// The most resident memory that the process had, in KiB, since it was reset.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn reset_peak() -> u64 {
    // Resets the high-water mark (proc_pid_clear_refs(5)).
    fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}
