//! A loaded policy: compiled, described, its params checked. Deciding touches the Wasm engine and
//! nothing else. Made by [`crate::load`]; called by whoever decides, through
//! [`weir_core::scaling::ScalingPolicy`].

use crate::abi;
use crate::call::{self, Called, Runtime};
use crate::compiled::Compiled;
use crate::config::Limits;
use crate::description::Description;
use crate::wasi::Wasi;
use std::fmt;
use std::sync::Arc;
use weir_core::ids::Digest;
use weir_core::scaling::{Failure, FailureKind, Invocation, Outcome, PolicyStamp, Proposal, Refusal, ScalingInput, ScalingPolicy};

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
        let failed = |kind, message: String| Outcome::Failure(Failure { kind, message: call::shorten(&message, 1024) });
        match result {
            Err(Failure { kind: FailureKind::ResultTooLarge, message }) => {
                let (result, state) = (self.limits.result_bytes, self.limits.state_bytes);
                failed(FailureKind::ResultTooLarge, format!("{message}, by limits.resultBytes ({result}) and limits.stateBytes ({state})"))
            }
            Err(failure) => Outcome::Failure(failure),
            Ok((Err(refusal),)) => {
                let refusal = Refusal::from(refusal);
                match refusal.check() {
                    Ok(()) => Outcome::Refusal(refusal),
                    Err(problem) => failed(FailureKind::InvalidProposal, problem),
                }
            }
            Ok((Ok(proposal),)) => {
                let proposal = Proposal::from(proposal);
                let (state, most) = (proposal.state.len() as u64, self.limits.state_bytes);
                if state > most {
                    return failed(FailureKind::StateTooLarge, format!("returned {state} bytes of state where limits.stateBytes allows {most}"));
                }
                let (size, most) = (state + rationale_bytes(&proposal), self.limits.result_bytes);
                if size > most {
                    let message = format!("returned {size} bytes of rationale and state where limits.resultBytes allows {most}");
                    return failed(FailureKind::ResultTooLarge, message);
                }
                match proposal.check() {
                    Ok(()) => Outcome::Proposal(proposal),
                    Err(problem) => failed(FailureKind::InvalidProposal, problem),
                }
            }
        }
    }
}

/// Bytes that the host takes at most to hold a result, before it is measured exactly. More than the
/// limits say, so that a state that grows past its limit is named as that and not as a large result;
/// and because a number takes more in the host than its text has.
pub(crate) const fn allowance(limits: &Limits) -> u64 {
    limits.result_bytes.saturating_add(limits.state_bytes).saturating_add(8 << 10)
}

fn rationale_bytes(proposal: &Proposal) -> u64 {
    let rationale = &proposal.rationale;
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

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("stamp", &self.stamp).field("params", &self.params).field("limits", &self.limits).finish_non_exhaustive()
    }
}
