//! The trait behind [`scaling!`](crate::scaling), and a whole call from bytes to bytes. Touches nothing.

use crate::input::Input;
use crate::params::{self, Params};
use crate::proposal::{Proposal, Refusal};
use crate::state::{self, State};

/// A series that a policy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesNeed {
    /// For example `offered`.
    pub name: &'static str,
    /// Without it the policy is not asked at all.
    pub required: bool,
}

impl SeriesNeed {
    /// The policy can't decide without it.
    #[must_use]
    pub const fn required(name: &'static str) -> Self {
        Self { name, required: true }
    }

    /// The policy copes without it.
    #[must_use]
    pub const fn optional(name: &'static str) -> Self {
        Self { name, required: false }
    }
}

/// What a policy says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Short name of the rule.
    pub name: &'static str,
    /// Version of the rule.
    pub version: &'static str,
    /// One or two sentences that say what it does.
    pub summary: &'static str,
    /// The series that it reads.
    pub series: &'static [SeriesNeed],
}

/// A scaling policy.
pub trait ScalingPolicy {
    /// What a user may set.
    type Params: Params;
    /// What it remembers.
    type State: State;

    /// What it says about itself.
    fn describe() -> Description;

    /// How many replicas? Depends on the arguments and on nothing else.
    ///
    /// # Errors
    /// A refusal: the host holds what is.
    fn decide(input: &Input, params: &Self::Params, state: Self::State) -> Result<Proposal<Self::State>, Refusal>;
}

/// A whole call as the component makes it: params as JSON, state as bytes.
///
/// # Errors
/// The policy's refusal, or `InvalidParams`, `StateTooLarge`, `StateNotEncodable`.
pub fn call<P: ScalingPolicy>(input: &Input, params: &str, state: &[u8]) -> Result<Proposal<Vec<u8>>, Refusal> {
    let params: P::Params = params::parse(params)?;
    let Proposal { replicas, code, sentence, numbers, state } = P::decide(input, &params, state::decode(state))?;
    Ok(Proposal { replicas, code, sentence, numbers, state: state::encode(&state)? })
}
