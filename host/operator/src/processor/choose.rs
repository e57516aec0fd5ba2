//! Decide, before: who is asked about an object now. Touches nothing; part of the tick.

use super::actor::Actor;
use crate::build::Valid;
use crate::policies::trial::Trial;
use crate::policies::{Chosen, Circuit, Entry, Unresolved};
use std::sync::Arc;
use weir_core::snapshot::{Block, Fallback};
use weir_core::trial::Arm;
use weir_crds::conditions::reason;
use weir_engine::{Policy, PolicyKind};

/// Who is asked.
#[derive(Default)]
pub(super) struct Asking {
    /// Who decides; `None`: nobody, and `unresolved` of the actor says why where a policy is named.
    pub(super) policy: Option<Arc<Policy>>,
    /// The breaker that its answers count for; a module on trial has gates instead.
    pub(super) circuit: Option<Arc<Circuit>>,
    /// Set when it is a fallback.
    pub(super) fallback: Option<Fallback>,
    /// The trial that its answers count for.
    pub(super) trial: Option<OnTrial>,
}

/// A trial in which an object takes part.
pub(super) struct OnTrial {
    pub(super) trial: Arc<Trial>,
    /// Which version decides for the object.
    pub(super) arm: Arm,
    /// The other version, for comparison; `None`: it keeps failing, or a fallback decides.
    pub(super) other: Option<Arc<Policy>>,
}

impl Asking {
    fn of(entry: &Entry, chosen: Chosen, trial: Option<(Arc<Trial>, Arm)>) -> Result<Self, Block> {
        if let Some((trial, Arm::Candidate)) = trial {
            let other = if let Chosen::Module(circuit) = chosen { Some(circuit.policy.clone()) } else { None };
            let policy = Some(trial.policy.clone());
            return Ok(Self { policy, trial: Some(OnTrial { trial, arm: Arm::Candidate, other }), ..Self::default() });
        }
        let (circuit, fallback) = match chosen {
            Chosen::Module(circuit) => (circuit, None),
            Chosen::Fallback(circuit, why) => (circuit, Some(why)),
            Chosen::Nobody(why) => return Err(Block { code: reason::BREAKER_OPEN.to_owned(), sentence: format!("WasmPolicy {}: {why}", entry.object) }),
        };
        let trial = trial.map(|(trial, arm)| {
            let other = fallback.is_none().then(|| trial.policy.clone());
            OnTrial { trial, arm, other }
        });
        Ok(Self { policy: Some(circuit.policy.clone()), circuit: Some(circuit), fallback, trial })
    }
}

impl Actor {
    pub(super) fn leave_policy(&mut self) {
        if let Some(entry) = self.policy.take() {
            entry.leave(&self.object);
        }
    }

    /// Who is asked now, after taking note of which policy it is.
    pub(super) fn resolve(&mut self, valid: &Valid) -> Asking {
        self.unresolved = None;
        let Some(scaling) = &valid.scaling else {
            self.leave_policy();
            return Asking::default();
        };
        let reference = weir_crds::PolicyRef { name: scaling.policy.name.clone(), namespace: Some(scaling.policy.namespace.clone()) };
        let entry = match self.context.policies.resolve(&reference, &self.object.namespace) {
            Ok(entry) => entry,
            Err(why) => {
                self.leave_policy();
                let code = if matches!(why, Unresolved::NotFound(_)) { reason::POLICY_NOT_FOUND } else { reason::POLICY_NOT_ALLOWED };
                self.unresolved = Some(Block { code: code.to_owned(), sentence: why.sentence("spec.scaling.policyRef") });
                return Asking::default();
            }
        };
        if self.policy.as_ref().is_none_or(|held| !Arc::ptr_eq(held, &entry)) {
            self.leave_policy();
            entry.join(&self.object, &self.decide_now);
            self.policy = Some(entry.clone());
        }
        let Some(chosen) = entry.choose() else {
            let (code, sentence) = if entry.is_starting() {
                (reason::STARTING, format!("WasmPolicy {} is being loaded", scaling.policy))
            } else {
                (reason::POLICY_NOT_READY, format!("WasmPolicy {} has no module that runs: see its conditions", scaling.policy))
            };
            self.unresolved = Some(Block { code: code.to_owned(), sentence });
            return Asking::default();
        };
        let trial = entry.trial().map(|trial| {
            let arm = trial.arm(&self.object);
            (trial, arm)
        });
        let asking = Asking::of(&entry, chosen, trial).and_then(|asking| match &asking.policy {
            Some(policy) if policy.kind() != PolicyKind::Scaling => {
                let sentence = format!("WasmPolicy {} is not of kind Scaling: name one that is in spec.scaling.policyRef", entry.object);
                Err(Block { code: reason::WRONG_KIND.to_owned(), sentence })
            }
            _ => Ok(asking),
        });
        asking.unwrap_or_else(|why| {
            self.unresolved = Some(why);
            Asking::default()
        })
    }
}
