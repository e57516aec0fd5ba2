//! Lets a policy decide on inputs that were seen of late, before it may decide in earnest. Touches the Wasm
//! engine. Last stage of [`crate::load`]; the inputs are kept by [`crate::slot`].

use crate::call;
use crate::error::LoadError;
use crate::load::StageTimes;
use crate::policy::Policy;
use std::time::Instant;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::placement::{PlacementInput, PlacementOutcome, PlacementPolicy as _};
use weir_core::scaling::{Failure, FailureKind, Outcome, ScalingInput, ScalingPolicy as _};
use weir_core::state;

/// The input of a recent decision.
#[derive(Clone, Debug)]
pub(crate) enum Probe {
    Scaling(Box<ScalingInput>),
    Placement(Box<PlacementInput>),
}

impl From<ScalingInput> for Probe {
    fn from(input: ScalingInput) -> Self {
        Self::Scaling(Box::new(input))
    }
}

impl From<PlacementInput> for Probe {
    fn from(input: PlacementInput) -> Self {
        Self::Placement(Box::new(input))
    }
}

impl Probe {
    pub(crate) const fn now(&self) -> UnixMs {
        match self {
            Self::Scaling(input) => input.now,
            Self::Placement(input) => input.now,
        }
    }

    const fn object(&self) -> &ObjectRef {
        match self {
            Self::Scaling(input) => &input.object,
            Self::Placement(input) => &input.object,
        }
    }

    fn state(&self) -> &[u8] {
        match self {
            Self::Scaling(input) => &input.state,
            Self::Placement(input) => &input.state,
        }
    }

    fn with(&self, params: &str, state: Vec<u8>) -> Self {
        let params = params.to_owned();
        match self {
            Self::Scaling(input) => Self::Scaling(Box::new(ScalingInput { params, state, ..(**input).clone() })),
            Self::Placement(input) => Self::Placement(Box::new(PlacementInput { params, state, ..(**input).clone() })),
        }
    }
}

/// What a policy answered to a probe.
enum Answer {
    Proposal,
    Refusal,
    Failure(Failure),
}

fn ask(policy: &Policy, probe: &Probe) -> Answer {
    match probe {
        Probe::Scaling(input) => match policy.decide(input).outcome {
            Outcome::Proposal(_) => Answer::Proposal,
            Outcome::Refusal(_) => Answer::Refusal,
            Outcome::Failure(failure) => Answer::Failure(failure),
        },
        Probe::Placement(input) => match policy.place(input).outcome {
            PlacementOutcome::Proposal(_) => Answer::Proposal,
            PlacementOutcome::Refusal(_) => Answer::Refusal,
            PlacementOutcome::Failure(failure) => Answer::Failure(failure),
        },
    }
}

/// A deadline may pass because the machine is busy, so a probe that missed it gets a second chance; all
/// other limits are deterministic and would only pass again.
fn ask_unhurried(policy: &Policy, probe: &Probe) -> Answer {
    match ask(policy, probe) {
        Answer::Failure(failure) if failure.kind == FailureKind::DeadlineExceeded => ask(policy, probe),
        answer => answer,
    }
}

/// Lets a policy decide on inputs that were seen of late. A proposal and a refusal are answers; a
/// failure on any of them refuses the policy.
pub(crate) fn probe(policy: &Policy, probes: &[Probe], before: Option<&Policy>, stages: &mut StageTimes) -> Result<(), LoadError> {
    let begun = Instant::now();
    let (mut failed, mut first) = (0, None);
    let probes = as_handed(policy, probes, before);
    for probe in &probes {
        match ask_unhurried(policy, probe) {
            Answer::Proposal => {}
            Answer::Refusal => stages.refusals += 1,
            Answer::Failure(failure) => {
                failed += 1;
                first.get_or_insert_with(|| (probe.object().to_string(), call::sentence(&failure)));
            }
        }
    }
    stages.probes = probes.len();
    stages.probe = begun.elapsed();
    match first {
        None => Ok(()),
        Some((object, detail)) => Err(LoadError::ProbeFailed { failed, tried: probes.len(), object, detail }),
    }
}

/// The inputs as they would reach the policy: with its own params, and without a state, as at a first
/// decision; and once more with the state that the policy `before` remembers, where this one reads it.
fn as_handed(policy: &Policy, probes: &[Probe], before: Option<&Policy>) -> Vec<Probe> {
    let own = (&policy.stamp, &policy.description.state);
    let reads = before.is_some_and(|before| state::reads(own, (&before.stamp, before.description.state.version())));
    let fresh = probes.iter().map(|probe| probe.with(&policy.params, Vec::new()));
    let carried = probes.iter().filter(|probe| reads && !probe.state().is_empty()).map(|probe| probe.with(&policy.params, probe.state().to_vec()));
    fresh.chain(carried).collect()
}
