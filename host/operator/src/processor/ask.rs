//! Decide: the calls of policies, the one that counts and those beside it. Touches the Wasm engine, threads
//! and the clock; part of the tick.

use super::actor::Actor;
use super::choose::OnTrial;
use crate::context::Context;
use crate::policies::trial::Compared;
use crate::policies::{Circuit, Entry};
use crate::quota::{Namespace, QUICK};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;
use weir_core::breaker::Turn;
use weir_core::decision::{Decision, decide};
use weir_core::guardrails::GuardMemory;
use weir_core::ids::ObjectRef;
use weir_core::scaling::{Outcome, ScalingInput, ScalingPolicy};
use weir_core::snapshot::{MetricsHealth, Snapshot};
use weir_core::trial::Arm;
use weir_engine::{Policy, thread_time};

/// A decision that was made.
pub(super) struct Asked {
    pub(super) snapshot: Snapshot,
    pub(super) decision: Decision,
    pub(super) memory: GuardMemory,
    pub(super) took: Duration,
    /// Processor time of it.
    used: Duration,
}

/// Decides. A policy may run until its deadline, and must not hold up others: unless it is known to be
/// quick, and so are all of the namespace, it waits for a place among those that decide on threads for
/// blocking work, where namespaces take turns.
#[tracing::instrument(name = "decide", level = "debug", skip_all)]
pub(super) async fn ask(context: &Context, namespace: &Namespace, snapshot: Snapshot, policy: Option<Arc<Policy>>, entry: Option<&Entry>) -> Option<Asked> {
    let decided = |snapshot: Snapshot, policy: Option<Arc<Policy>>| {
        let (begun, computed) = (Instant::now(), thread_time());
        let decided = decide(&snapshot, policy.as_deref().map(|policy| policy as &dyn ScalingPolicy));
        let used = thread_time().saturating_sub(computed);
        decided.ok().map(|(decision, memory)| Asked { snapshot, decision, memory, took: begun.elapsed(), used })
    };
    let Some(entry) = entry.filter(|_| policy.is_some()) else { return decided(snapshot, policy) };
    let inline = entry.quick.is_trusted() && namespace.quick().is_trusted();
    let asked = if inline {
        decided(snapshot, policy)
    } else {
        let place = context.pool.enter(&snapshot.input.object.namespace).await;
        let decided = move || {
            let asked = decided(snapshot, policy);
            drop(place);
            asked
        };
        tokio::task::spawn_blocking(decided).await.ok()?
    }?;
    if asked.decision.invocation.is_some() {
        entry.quick.took(asked.used);
        // A slow one that was expected does not tell on the others.
        if inline || asked.used < QUICK {
            namespace.quick().took(asked.used);
        }
        namespace.spend(asked.used);
    }
    Some(asked)
}

/// A call beside the live path.
struct Beside {
    policy: Arc<Policy>,
    namespace: Arc<Namespace>,
    /// What it remembers of the object.
    state: Vec<u8>,
    /// Takes what it remembers from now on.
    keep: Box<dyn FnOnce(&Outcome) + Send>,
    place: OwnedSemaphorePermit,
}

impl Beside {
    /// Asks on the snapshot's input, with the params and the state of the one that is asked. Blocks.
    fn ask(self, input: &ScalingInput) -> (Outcome, Duration) {
        let input = ScalingInput { params: self.policy.params().to_owned(), state: self.state, ..input.clone() };
        let (begun, computed) = (Instant::now(), thread_time());
        let outcome = self.policy.decide(&input).outcome;
        let took = begun.elapsed();
        self.namespace.spend(thread_time().saturating_sub(computed));
        drop(self.place);
        (self.keep)(&outcome);
        (outcome, took)
    }
}

impl Actor {
    fn beside(&self, policy: &Arc<Policy>, namespace: &Arc<Namespace>, place: OwnedSemaphorePermit) -> Beside {
        let (stamp, versions) = (policy.stamp(), &policy.description().state);
        let (state, keep) = (self.states.hand_beside(stamp, versions), self.states.keeper_beside(stamp.clone(), versions.clone()));
        Beside { policy: policy.clone(), namespace: namespace.clone(), state, keep: Box::new(keep), place }
    }

    /// Counts for a trial, and asks the other version about the same snapshot, beside the live path:
    /// where there is no place for that at once, or no time in the namespace's quota, it is left out.
    pub(super) fn compare(&self, on_trial: OnTrial, namespace: &Arc<Namespace>, input: &ScalingInput, decision: &Decision, took: Duration) {
        let Some(live) = decision.invocation.as_ref().map(|invocation| invocation.outcome.clone()) else { return };
        let OnTrial { trial, arm, other } = on_trial;
        if arm == Arm::Candidate {
            trial.decided(&live, took);
        }
        trial.fares(&self.object, super::decide::fate(&input.window));
        let other = other.filter(|_| namespace.wait(decision.at).is_none());
        let Some((other, place)) = other.and_then(|other| Some((other, self.context.beside.clone().try_acquire_owned().ok()?))) else {
            trial.skipped();
            return;
        };
        let beside = self.beside(&other, namespace, place);
        let (object, at, id, metrics, input) = (self.object.clone(), decision.at, decision.id.clone(), self.context.metrics.clone(), input.clone());
        tokio::task::spawn_blocking(move || {
            let (outcome, asked) = beside.ask(&input);
            let candidate_decides = arm == Arm::Candidate;
            let (current, candidate) = if candidate_decides { (&outcome, (&live, took)) } else { (&live, (&outcome, asked)) };
            if let Some(kind) = trial.compared(&Compared { object: &object, at, decision: &id, current, candidate }, candidate_decides) {
                metrics.policy_differs(kind.as_str());
            }
        });
    }

    /// Tells the breaker what was answered.
    pub(super) fn count(&self, entry: &Entry, circuit: &Circuit, decision: &Decision) {
        let Some(invocation) = &decision.invocation else { return };
        let Some(Turn::Opened(opening)) = circuit.answered(&invocation.outcome, decision.at) else { return };
        let digest = circuit.policy.stamp().digest;
        tracing::warn!(policy = %entry.object, %digest, calls = opening.calls, failures = opening.failures, last = opening.last.as_str(), "this module keeps failing and is not asked any more");
        if decision.fallback.is_none() {
            self.context.metrics.breaker_opened(&entry.object);
        }
        entry.breaker_turned();
    }

    /// Asks a module that keeps failing about a snapshot that could be decided on, when it is time to.
    pub(super) fn probe(&self, entry: &Arc<Entry>, namespace: &Arc<Namespace>, snapshot: &Snapshot) {
        let decidable = snapshot.metrics == MetricsHealth::Ready && !snapshot.paused && snapshot.block.is_none();
        if !decidable || entry.running().is_none_or(|running| running.opening().is_none()) || namespace.wait(snapshot.input.now).is_some() {
            return;
        }
        let Ok(place) = self.context.beside.clone().try_acquire_owned() else { return };
        let Some(circuit) = entry.probe(snapshot.input.now) else { return };
        let beside = self.beside(&circuit.policy, namespace, place);
        let (context, entry, input) = (self.context.clone(), entry.clone(), snapshot.input.clone());
        tokio::task::spawn_blocking(move || {
            let (outcome, _) = beside.ask(&input);
            let turn = circuit.probed(&outcome, context.now());
            tell_probe(&entry, &circuit, &input.object, &outcome, turn);
            if turn.is_some() {
                entry.breaker_turned();
            }
            if turn == Some(Turn::Closed) {
                entry.wake_users();
            }
        });
    }
}

fn tell_probe(entry: &Entry, circuit: &Circuit, object: &ObjectRef, outcome: &Outcome, turn: Option<Turn>) {
    let digest = circuit.policy.stamp().digest;
    let answered = !matches!(outcome, Outcome::Failure(_));
    tracing::info!(policy = %entry.object, %digest, %object, answered, ?turn, "a module that kept failing was asked beside its fallback");
}
