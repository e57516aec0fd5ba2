//! Snapshot in, decision out: asks the policy, then guards its proposal. Touches nothing by itself;
//! the policy is behind [`ScalingPolicy`].
//!
//! The order of precedence, first match holds what is:
//! 1. `paused`, a block (another autoscaler), metrics that can't be decided on, no policy;
//! 2. a policy that refuses or fails;
//! 3. otherwise the guarded proposal.
//!
//! A pin stands above the policy but not above `min` and `max`; the policy is still asked, so the
//! record says what it would have done. Holding still means staying inside `min` and `max`.

use crate::guardrails::{Change, Clamp, GuardMemory, Guardrail, guard, within};
use crate::ids::{Digest, ObjectRef, UnixMs};
use crate::scaling::{Invocation, Outcome, PolicyStamp, Rationale, ScalingPolicy};
use crate::snapshot::{Fallback, MetricsHealth, Mode, Snapshot, SnapshotError};
use crate::state::DroppedState;
use serde::{Deserialize, Serialize};

/// What kind of decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The replicas change because the policy proposed it.
    Scale,
    /// The policy was followed and nothing changes.
    Steady,
    /// What is stays: the reason says why.
    Hold,
    /// A pin decides.
    Pinned,
}

impl Verdict {
    /// The stable word, for example `Hold`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scale => "Scale",
            Self::Steady => "Steady",
            Self::Hold => "Hold",
            Self::Pinned => "Pinned",
        }
    }
}

/// Stable words for decisions that no policy explains.
pub mod reason {
    /// `spec.scaling.paused` is set.
    pub const PAUSED: &str = "Paused";
    /// A pin decides.
    pub const PINNED: &str = "Pinned";
    /// The object names no policy.
    pub const NO_POLICY: &str = "NoPolicy";
    /// The named policy is not loaded.
    pub const POLICY_NOT_LOADED: &str = "PolicyNotLoaded";
}

/// One decision, with everything that explains it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Name of the decision: the first 16 hex digits of the snapshot's digest.
    pub id: String,
    /// When it was made.
    pub at: UnixMs,
    /// The object it is about.
    pub object: ObjectRef,
    /// Digest of the snapshot that it was made from.
    pub snapshot: Digest,
    /// Who was asked, if anyone.
    pub policy: Option<PolicyStamp>,
    /// Set when that was a fallback, with why.
    pub fallback: Option<Fallback>,
    /// The state of another module that the policy can't read: it began without.
    pub dropped_state: Option<DroppedState>,
    /// What the policy answered, when it was asked.
    pub invocation: Option<Invocation>,
    /// What kind of decision it is.
    pub verdict: Verdict,
    /// Enforce or dry run.
    pub mode: Mode,
    /// Replicas before.
    pub from: u32,
    /// What the policy proposed, before the guardrails.
    pub proposed: Option<u32>,
    /// Replicas decided.
    pub to: u32,
    /// Stable word for why.
    pub reason: String,
    /// One sentence for why.
    pub sentence: String,
    /// Guardrails that changed the proposal.
    pub clamps: Vec<Clamp>,
}

impl Decision {
    /// True when the workload has to be changed.
    #[must_use]
    pub fn acts(&self) -> bool {
        self.to != self.from && self.mode == Mode::Enforce
    }

    /// The change that the decision asks for.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        self.acts().then_some(Change { at: self.at, from: self.from, to: self.to })
    }

    /// The policy's explanation, when it proposed something.
    #[must_use]
    pub fn rationale(&self) -> Option<&Rationale> {
        match self.invocation.as_ref()?.outcome {
            Outcome::Proposal(ref proposal) => Some(&proposal.rationale),
            _ => None,
        }
    }
}

struct Draft {
    verdict: Verdict,
    to: u32,
    proposed: Option<u32>,
    reason: String,
    sentence: String,
    clamps: Vec<Clamp>,
}

/// Decides. Returns the decision and what the guardrails remember after it. A change is remembered
/// by the caller once it was made: `memory.changed(decision.change())`.
///
/// # Errors
/// Only when the snapshot can't be encoded, which no snapshot built in memory is.
pub fn decide(snapshot: &Snapshot, policy: Option<&dyn ScalingPolicy>) -> Result<(Decision, GuardMemory), SnapshotError> {
    let digest = snapshot.digest()?;
    let input = &snapshot.input;
    let mut memory = snapshot.memory.clone();
    let mut invocation = None;
    let draft = match stopped(snapshot, policy.is_some()) {
        Some(draft) => draft,
        None => match policy {
            Some(policy) => {
                let called = policy.decide(input);
                let draft = follow(snapshot, &called, &mut memory);
                invocation = Some(called);
                draft
            }
            None => hold(snapshot, reason::POLICY_NOT_LOADED, "the policy is not loaded"),
        },
    };
    let draft = pinned(snapshot, draft);
    let mut id = hex::encode(digest.as_bytes());
    id.truncate(16);
    let decision = Decision {
        id,
        at: input.now,
        object: input.object.clone(),
        snapshot: digest,
        policy: snapshot.policy.clone(),
        fallback: snapshot.fallback.clone(),
        dropped_state: snapshot.dropped_state.clone(),
        invocation,
        verdict: draft.verdict,
        mode: snapshot.mode,
        from: input.replicas.desired,
        proposed: draft.proposed,
        to: draft.to,
        reason: draft.reason,
        sentence: draft.sentence,
        clamps: draft.clamps,
    };
    Ok((decision, memory))
}

/// What is decided before any policy is asked.
fn stopped(snapshot: &Snapshot, loaded: bool) -> Option<Draft> {
    if snapshot.paused {
        return Some(as_is(snapshot, reason::PAUSED, "changes are paused by spec.scaling.paused"));
    }
    if let Some(block) = &snapshot.block {
        return Some(as_is(snapshot, &block.code, &block.sentence));
    }
    if let Some(why) = &snapshot.unresolved {
        return Some(hold(snapshot, &why.code, &why.sentence));
    }
    if snapshot.policy.is_none() {
        return Some(hold(snapshot, reason::NO_POLICY, "the object names no policy, so only min, max and pin count"));
    }
    if !loaded {
        return Some(hold(snapshot, reason::POLICY_NOT_LOADED, "the policy has no version that runs yet"));
    }
    match &snapshot.metrics {
        MetricsHealth::Ready => None,
        MetricsHealth::NotReady { reason, sentence } => Some(hold(snapshot, reason, sentence)),
    }
}

/// Exactly what is, even outside of the bounds: somebody said not to touch it.
fn as_is(snapshot: &Snapshot, reason: &str, sentence: &str) -> Draft {
    Draft {
        verdict: Verdict::Hold,
        to: snapshot.input.replicas.desired,
        proposed: None,
        reason: reason.to_owned(),
        sentence: sentence.to_owned(),
        clamps: Vec::new(),
    }
}

/// What is, within the bounds that the user declared.
fn hold(snapshot: &Snapshot, reason: &str, sentence: &str) -> Draft {
    let mut draft = as_is(snapshot, reason, sentence);
    bound(snapshot, &mut draft);
    draft
}

fn bound(snapshot: &Snapshot, draft: &mut Draft) {
    let replicas = snapshot.input.replicas;
    let bounded = within(draft.to, replicas.min, replicas.max);
    if bounded != draft.to {
        let guardrail = if bounded > draft.to { Guardrail::Min } else { Guardrail::Max };
        draft.clamps.push(Clamp { guardrail, from: draft.to, to: bounded });
        draft.to = bounded;
    }
}

fn follow(snapshot: &Snapshot, called: &Invocation, memory: &mut GuardMemory) -> Draft {
    let replicas = snapshot.input.replicas;
    match &called.outcome {
        Outcome::Refusal(refusal) => hold(snapshot, &refusal.code, &refusal.sentence),
        Outcome::Failure(failure) => hold(snapshot, failure.kind.as_str(), &failure.message),
        Outcome::Proposal(proposal) => {
            let bounds = (replicas.min, replicas.max);
            let (to, clamps) = guard(snapshot.input.now, replicas.desired, proposal.replicas, bounds, &snapshot.guardrails, memory);
            Draft {
                verdict: if to == replicas.desired { Verdict::Steady } else { Verdict::Scale },
                to,
                proposed: Some(proposal.replicas),
                reason: proposal.rationale.code.clone(),
                sentence: proposal.rationale.sentence.clone(),
                clamps,
            }
        }
    }
}

/// A pin replaces what the policy wants; pause and blocks stand above it.
fn pinned(snapshot: &Snapshot, draft: Draft) -> Draft {
    let Some(pin) = snapshot.pin.filter(|_| !snapshot.paused && snapshot.block.is_none()) else { return draft };
    let would = draft.proposed.map_or_else(|| draft.sentence.clone(), |proposed| format!("the policy proposes {proposed}: {}", draft.sentence));
    let mut pinned = Draft {
        verdict: Verdict::Pinned,
        to: pin,
        proposed: draft.proposed,
        reason: reason::PINNED.to_owned(),
        sentence: format!("pinned to {pin} by spec.replicas.pin; {would}"),
        clamps: Vec::new(),
    };
    bound(snapshot, &mut pinned);
    pinned
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
