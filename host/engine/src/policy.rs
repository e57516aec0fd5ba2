//! A loaded policy: compiled, described, its params checked. Deciding touches the Wasm engine and
//! nothing else. Made by [`crate::load`]; called by whoever decides, through
//! [`weir_core::scaling::ScalingPolicy`].

use crate::abi::{self, placement};
use crate::call::{self, Called, Runtime};
use crate::compiled::Compiled;
use crate::config::Limits;
use crate::description::Description;
use crate::kind::PolicyKind;
use crate::wasi::Wasi;
use std::fmt;
use std::sync::Arc;
use weir_core::ids::Digest;
use weir_core::placement::{PlacementInput, PlacementInvocation, PlacementOutcome, PlacementPolicy, PlacementProposal};
use weir_core::scaling::{Failure, FailureKind, Invocation, Outcome, PolicyStamp, Proposal, Rationale, Refusal, ScalingInput, ScalingPolicy};

/// A policy that is ready to decide. Shared by reference; its code goes when the last holder goes.
pub struct Policy {
    pub(crate) stamp: PolicyStamp,
    pub(crate) description: Description,
    pub(crate) params: String,
    pub(crate) limits: Limits,
    pub(crate) wasi: Wasi,
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) runtime: Arc<Runtime>,
}

impl Policy {
    /// What it decides on.
    #[must_use]
    pub fn kind(&self) -> PolicyKind {
        self.compiled.kind
    }

    /// What the policy says about itself.
    #[must_use]
    pub const fn description(&self) -> &Description {
        &self.description
    }

    /// Its params as canonical JSON: what belongs into `ScalingInput::params` of each decision.
    #[must_use]
    pub fn params(&self) -> &str {
        &self.params
    }

    /// Its limits, after the operator's ceiling.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether it may import WASI.
    #[must_use]
    pub const fn wasi(&self) -> Wasi {
        self.wasi
    }

    /// The interfaces of WASI that it imports, in the component's order; none for most.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        self.compiled.imports.names()
    }

    /// Bytes of the component, uncompressed.
    #[must_use]
    pub fn component_bytes(&self) -> u64 {
        self.compiled.component_bytes
    }

    /// Bytes of its machine code and what belongs to it, in memory as long as anybody holds a policy of
    /// these bytes.
    #[must_use]
    pub fn compiled_bytes(&self) -> u64 {
        let image = self.compiled.pre.component().image_range();
        image.end.addr().saturating_sub(image.start.addr()) as u64
    }

    pub(crate) fn judge(&self, result: Result<abi::DecideResult, Failure>) -> Outcome {
        match result {
            Err(failure) => Outcome::Failure(self.named(failure)),
            Ok((Err(refusal),)) => {
                let refusal = Refusal::from(refusal);
                match refusal.check() {
                    Ok(()) => Outcome::Refusal(refusal),
                    Err(problem) => Outcome::Failure(invalid(problem)),
                }
            }
            Ok((Ok(proposal),)) => {
                let proposal = Proposal::from(proposal);
                match self.within_limits(&proposal.rationale, &proposal.state).and_then(|()| proposal.check().map_err(invalid)) {
                    Ok(()) => Outcome::Proposal(proposal),
                    Err(failure) => Outcome::Failure(failure),
                }
            }
        }
    }

    fn judge_placement(&self, input: &PlacementInput, result: Result<placement::DecideResult, Failure>) -> PlacementOutcome {
        match result {
            Err(failure) => PlacementOutcome::Failure(self.named(failure)),
            Ok((Err(refusal),)) => {
                let refusal = Refusal::from(refusal);
                match refusal.check() {
                    Ok(()) => PlacementOutcome::Refusal(refusal),
                    Err(problem) => PlacementOutcome::Failure(invalid(problem)),
                }
            }
            Ok((Ok(proposal),)) => {
                let proposal = PlacementProposal::from(proposal);
                match self.within_limits(&proposal.rationale, &proposal.state).and_then(|()| proposal.check(input).map_err(invalid)) {
                    Ok(()) => PlacementOutcome::Proposal(proposal),
                    Err(failure) => PlacementOutcome::Failure(failure),
                }
            }
        }
    }

    /// A failure that names the limits which a large result has passed.
    fn named(&self, failure: Failure) -> Failure {
        if failure.kind != FailureKind::ResultTooLarge {
            return failure;
        }
        let (result, state) = (self.limits.result_bytes, self.limits.state_bytes);
        let message = format!("{}, by limits.resultBytes ({result}) and limits.stateBytes ({state})", failure.message);
        Failure { kind: failure.kind, message: call::shorten(&message, 1024) }
    }

    fn within_limits(&self, rationale: &Rationale, state: &[u8]) -> Result<(), Failure> {
        let (state, most) = (state.len() as u64, self.limits.state_bytes);
        if state > most {
            return Err(Failure {
                kind: FailureKind::StateTooLarge,
                message: format!("returned {state} bytes of state where limits.stateBytes allows {most}"),
            });
        }
        let (size, most) = (state + rationale_bytes(rationale), self.limits.result_bytes);
        if size > most {
            let message = format!("returned {size} bytes of rationale and state where limits.resultBytes allows {most}");
            return Err(Failure { kind: FailureKind::ResultTooLarge, message });
        }
        Ok(())
    }
}

fn invalid(problem: String) -> Failure {
    Failure { kind: FailureKind::InvalidProposal, message: call::shorten(&problem, 1024) }
}

/// Bytes that the host takes at most to hold a result, before it is measured exactly. More than the
/// limits say, so that a state that grows past its limit is named as that and not as a large result;
/// and because a number takes more in the host than its text has.
pub(crate) const fn allowance(limits: &Limits) -> u64 {
    limits.result_bytes.saturating_add(limits.state_bytes).saturating_add(8 << 10)
}

fn rationale_bytes(rationale: &Rationale) -> u64 {
    let numbers = rationale.numbers.iter().map(|number| number.name.len() + number.unit.len() + 8);
    (rationale.code.len() + rationale.sentence.len() + numbers.sum::<usize>()) as u64
}

impl ScalingPolicy for Policy {
    fn stamp(&self) -> &PolicyStamp {
        &self.stamp
    }

    /// One call in a fresh instance. Computes for at most `limits.deadline` and some milliseconds; blocks
    /// the thread for that long, and for as long as all instances of the pool are busy.
    fn decide(&self, input: &ScalingInput) -> Invocation {
        let columns = abi::columns(input);
        let params: abi::DecideParams<'_> = (abi::input(input, &columns),);
        let seed = || input.digest().unwrap_or_else(|_| Digest::of(b""));
        let callee = self.compiled.at(&self.runtime, input.now, seed);
        let Called { result, fuel, output } = call::call(callee, &self.compiled.decide, params, &self.limits, allowance(&self.limits));
        Invocation { outcome: self.judge(result), fuel, output }
    }
}

/// Fuel that a placement policy has for each partition besides its limit, which has to do for a hundred partitions
/// and for ten thousand: twice what `balanced` takes for them on five hundred nodes (`tests/placement.rs`).
pub const FUEL_FOR_PARTITION: u64 = 20_000;

impl PlacementPolicy for Policy {
    /// As [`ScalingPolicy::decide`]; the result may hold one owner for each partition besides, and each gives
    /// [`FUEL_FOR_PARTITION`] on top of the limit.
    fn place(&self, input: &PlacementInput) -> PlacementInvocation {
        let columns = placement::columns(input);
        let params: placement::DecideParams<'_> = (placement::input(input, &columns),);
        let seed = || input.digest().unwrap_or_else(|_| Digest::of(b""));
        let callee = self.compiled.at(&self.runtime, input.now, seed);
        let owners = (input.partitions.owners.len() * size_of::<u32>()) as u64;
        let allowance = allowance(&self.limits).saturating_add(owners);
        let fuel = self.limits.fuel.saturating_add(FUEL_FOR_PARTITION.saturating_mul(input.partitions.owners.len() as u64));
        let limits = Limits { fuel, ..self.limits.clone() };
        let Called { result, fuel, output } = call::call(callee, &self.compiled.decide, params, &limits, allowance);
        PlacementInvocation { outcome: self.judge_placement(input, result), fuel, output }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("stamp", &self.stamp).field("params", &self.params).field("limits", &self.limits).finish_non_exhaustive()
    }
}
