//! Who decides for the users of a WasmPolicy: its module, or, while that keeps failing, a fallback. Touches
//! nothing; the actors choose and report answers here, the policy's runner fits the fallbacks.
//!
//! Each module has a breaker of its own ([`weir_core::breaker`]), a fallback too: the first whose breaker is
//! closed decides. A new module, or the same with other params or limits, begins with a closed one.

use parking_lot::Mutex;
use std::sync::Arc;
use weir_core::breaker::{Answer, Breaker, Opening, State, Turn};
use weir_core::ids::{Digest, UnixMs};
use weir_core::scaling::{Outcome, ScalingPolicy as _};
use weir_core::snapshot::Fallback;
use weir_engine::Policy;
use weir_engine::verify::Rules;

/// Most characters of a failure's message that are told while a breaker is open.
const WORDS: usize = 400;

/// A module and its breaker.
pub struct Circuit {
    /// The module.
    pub policy: Arc<Policy>,
    breaker: Mutex<Breaker>,
    /// What its last failure said, cut to [`WORDS`].
    last_words: Mutex<String>,
    /// What its signature was checked with.
    rules: Mutex<Vec<Rules>>,
}

impl Circuit {
    /// A module that has not been asked yet.
    #[must_use]
    pub fn new(policy: Arc<Policy>, rules: &[Rules]) -> Arc<Self> {
        Arc::new(Self { policy, breaker: Mutex::default(), last_words: Mutex::default(), rules: Mutex::new(rules.to_vec()) })
    }

    /// Whether it is asked.
    #[must_use]
    pub fn state(&self, now: UnixMs) -> State {
        self.breaker.lock().state(now)
    }

    /// Why it is not closed.
    #[must_use]
    pub fn opening(&self) -> Option<Opening> {
        self.breaker.lock().opening().copied()
    }

    /// Its signature was checked again.
    pub(super) fn verified(&self, rules: &[Rules]) {
        *self.rules.lock() = rules.to_vec();
    }

    /// Whether its signature was checked with these.
    pub(super) fn is_verified(&self, rules: &[Rules]) -> bool {
        *self.rules.lock() == rules
    }

    fn is_proven(&self) -> bool {
        self.breaker.lock().is_proven()
    }

    /// Takes in what it answered to a decision.
    pub fn answered(&self, outcome: &Outcome, now: UnixMs) -> Option<Turn> {
        self.listen(outcome);
        self.breaker.lock().answered(Answer::of(outcome), now)
    }

    /// Takes in what it answered to a probe.
    pub fn probed(&self, outcome: &Outcome, now: UnixMs) -> Option<Turn> {
        self.listen(outcome);
        self.breaker.lock().probed(Answer::of(outcome), now)
    }

    fn listen(&self, outcome: &Outcome) {
        if let Outcome::Failure(failure) = outcome {
            *self.last_words.lock() = failure.message.chars().take(WORDS).collect();
        }
    }

    /// What it did, for people.
    fn told(&self, opening: &Opening) -> String {
        let Opening { calls, failures, last, .. } = opening;
        let words = self.last_words.lock();
        format!("{failures} of {calls} calls of module {} failed within a minute, the last one with {}: {words}", self.digest().short(), last.as_str())
    }

    fn probe(&self, now: UnixMs) -> bool {
        self.breaker.lock().probe(now)
    }

    pub(super) fn digest(&self) -> Digest {
        self.policy.stamp().digest
    }

    fn is_as(&self, other: &Policy) -> bool {
        self.policy.stamp().digest == other.stamp().digest
            && self.policy.params() == other.params()
            && self.policy.limits() == other.limits()
            && self.policy.wasi() == other.wasi()
    }
}

/// Who may take over.
#[derive(Default)]
pub(super) struct Fallbacks {
    /// The last good module before the one that runs.
    pub(super) previous: Option<Arc<Circuit>>,
    /// That of `spec.fallback`.
    pub(super) builtin: Option<Arc<Circuit>>,
}

impl Fallbacks {
    /// In the order in which they are asked.
    fn all(&self) -> impl Iterator<Item = &Arc<Circuit>> {
        self.previous.iter().chain(&self.builtin)
    }

    /// Puts a fitted policy in; the breaker stays when nothing about it has changed.
    pub(super) fn fit(place: &mut Option<Arc<Circuit>>, fitted: Arc<Policy>) {
        if place.as_ref().is_none_or(|known| !known.is_as(&fitted)) {
            let rules = place.as_ref().map(|known| known.rules.lock().clone()).unwrap_or_default();
            *place = Some(Circuit::new(fitted, &rules));
        }
    }

    /// Another module takes over from `before`, which becomes the one to go back to if it was good.
    pub(super) fn took_over(&mut self, before: Option<Arc<Circuit>>, new: &Policy) {
        let good = before.filter(|before| before.is_proven());
        let good = [good, self.previous.take()].into_iter().flatten();
        self.previous = good.into_iter().find(|circuit| circuit.digest() != new.stamp().digest);
    }
}

/// Who decides.
pub enum Chosen {
    /// The module, as long as it answers.
    Module(Arc<Circuit>),
    /// A fallback, and why.
    Fallback(Arc<Circuit>, Fallback),
    /// Nobody, and why.
    Nobody(String),
}

/// Chooses who decides now.
pub(super) fn choose(running: &Arc<Circuit>, fallbacks: &Fallbacks) -> Chosen {
    let Some(opening) = running.opening() else { return Chosen::Module(running.clone()) };
    match fallbacks.all().find(|circuit| circuit.opening().is_none()) {
        Some(circuit) => Chosen::Fallback(circuit.clone(), Fallback { instead_of: running.digest(), sentence: running.told(&opening) }),
        None => {
            let tried = fallbacks.all().count();
            let none = if tried == 0 { "there is no fallback (see spec.fallback of the WasmPolicy)" } else { "its fallbacks fail too" };
            Chosen::Nobody(format!("{}; {none}, so the replicas are held", running.told(&opening)))
        }
    }
}

/// The first of those that are not closed which may be probed now: its probe has begun.
pub(super) fn probe(running: &Arc<Circuit>, fallbacks: &Fallbacks, now: UnixMs) -> Option<Arc<Circuit>> {
    // While the module answers, nobody waits for its fallbacks.
    running.opening()?;
    std::iter::once(running).chain(fallbacks.all()).find(|circuit| circuit.probe(now)).cloned()
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
