//! Decide and apply: asks the policy when something has changed, and makes the decision true. Touches the
//! policy, on a worker thread, and the network through [`super::ledger`].

use super::actor::Actor;
use super::freeze::{Parts, freeze};
use super::ledger::{self, Fault};
use super::nodes::Node;
use super::plan::next;
use super::status;
use super::valid::Valid;
use crate::context::Context;
use crate::policies::{Entry, Unresolved};
use crate::shell::events::EventType;
use crate::shell::metrics::Step;
use kube::Resource as _;
use std::sync::Arc;
use weir_core::ids::{Digest, UnixMs};
use weir_core::placement::{PlacementDecision, PlacementOutcome, PlacementPolicy, PlacementSnapshot, PlacementVerdict, decide_placement};
use weir_core::scaling::{PolicyStamp, ScalingPolicy as _};
use weir_core::snapshot::{Block, Mode};
use weir_core::state;
use weir_crds::conditions::reason;
use weir_engine::{Policy, PolicyKind, thread_time};

impl Actor {
    /// Decides when something has changed, and writes what comes of it. True: owners or nodes were changed.
    pub(super) async fn decide(&mut self, valid: &Valid, nodes: &[Node], now: UnixMs) -> Result<bool, Fault> {
        let Some(kept) = self.kept.clone() else { return Ok(false) };
        let policy = self.resolve(valid);
        let stamp = policy.as_ref().map(|policy| policy.stamp().clone());
        let versions = policy.as_ref().map(|policy| policy.description().state.clone()).unwrap_or_default();
        let readable = |reader: &PolicyStamp| self.wrote.as_ref().is_some_and(|(writer, version)| state::reads((reader, &versions), (writer, *version)));
        if !stamp.as_ref().is_some_and(readable) {
            self.states.clear();
        }
        let parts = Parts {
            now,
            policy: stamp,
            unresolved: self.unresolved.clone(),
            params: policy.as_ref().map_or_else(|| "{}".to_owned(), |policy| policy.params().to_owned()),
            weights: self.weigher.weights(),
            states: &self.states,
        };
        let snapshot = freeze(valid, &kept.ledger, nodes, parts);
        let timeless = timeless(&snapshot);
        if timeless.is_some() && timeless == self.decided {
            return self.apply(valid, nodes, now, None).await;
        }
        let Some((snapshot, decision)) = ask(&self.context, &self.object.namespace, snapshot, policy).await else {
            self.context.metrics.failed(Step::Decide);
            return Ok(false);
        };
        self.context.metrics.placed(&decision);
        if let Some(entry) = &self.policy {
            snapshot.mirrors.iter().for_each(|input| entry.slot.observe_placement(input));
        }
        self.remember(&decision, versions.version());
        let acted = self.apply(valid, nodes, now, Some(&decision)).await?;
        self.note(&decision, acted);
        self.decision = Some(decision);
        // What was made true changes the next snapshot; what was not is the same until something else changes.
        self.decided = timeless.filter(|_| !acted);
        Ok(acted)
    }

    /// The policy that decides now.
    fn resolve(&mut self, valid: &Valid) -> Option<Arc<Policy>> {
        self.unresolved = None;
        let block = |code: &str, sentence: String| Some(Block { code: code.to_owned(), sentence });
        let found = valid.policy.as_ref().map(|reference| self.context.policies.resolve(reference, &self.object.namespace));
        let entry = match found {
            Some(Ok(entry)) => Some(entry),
            Some(Err(why)) => {
                let code = if matches!(why, Unresolved::NotFound(_)) { reason::POLICY_NOT_FOUND } else { reason::POLICY_NOT_ALLOWED };
                self.unresolved = block(code, why.sentence("spec.placement.policyRef"));
                None
            }
            None => None,
        };
        let same = |held: &Arc<Entry>| entry.as_ref().is_some_and(|entry| Arc::ptr_eq(held, entry));
        if let Some(held) = self.policy.take_if(|held| !same(held)) {
            held.leave(&self.object);
        }
        let entry = entry?;
        if self.policy.is_none() {
            entry.join(&self.object, &self.decide_now);
            self.policy = Some(entry.clone());
        }
        let current = entry.current();
        match &current {
            None if entry.is_starting() => self.unresolved = block(reason::STARTING, format!("WasmPolicy {} is being loaded", entry.object)),
            None => self.unresolved = block(reason::POLICY_NOT_READY, format!("WasmPolicy {} has no module that runs: see its conditions", entry.object)),
            Some(policy) if policy.kind() != PolicyKind::Placement => {
                let sentence = format!("WasmPolicy {} is of kind Scaling: name one of kind Placement in spec.placement.policyRef", entry.object);
                self.unresolved = block(reason::WRONG_KIND, sentence);
                return None;
            }
            Some(_) => {}
        }
        current
    }

    fn remember(&mut self, decision: &PlacementDecision, version: u32) {
        self.states.resize(decision.mirrors.len(), Vec::new());
        for (state, mirror) in self.states.iter_mut().zip(&decision.mirrors) {
            if let Some(PlacementOutcome::Proposal(proposal)) = mirror.invocation.as_ref().map(|invocation| &invocation.outcome) {
                state.clone_from(&proposal.state);
                self.wrote = decision.policy.clone().map(|stamp| (stamp, version));
            }
        }
    }

    /// Writes the ledger that a decision leads to, and the map that follows from it. Without a decision only
    /// what time and nodes have changed.
    #[tracing::instrument(name = "apply", level = "debug", skip_all)]
    async fn apply(&mut self, valid: &Valid, nodes: &[Node], now: UnixMs, decision: Option<&PlacementDecision>) -> Result<bool, Fault> {
        let Some(kept) = self.kept.take() else { return Ok(false) };
        let (ledger, map) = next(valid, &kept, nodes, now, decision);
        if ledger == kept.ledger && map == kept.map {
            self.kept = Some(kept);
            return Ok(false);
        }
        let changed = (ledger.epoch(), ledger.nodes) != (kept.ledger.epoch(), kept.ledger.nodes);
        match ledger::write(&self.context, valid, &kept, ledger, map).await {
            Ok(kept) => {
                self.kept = Some(kept);
                Ok(changed)
            }
            Err(fault) => {
                // What the API server has now is read again before anything is decided.
                self.decided = None;
                Err(fault)
            }
        }
    }

    /// Remembers decisions that people look for, and tells of changes.
    fn note(&mut self, decision: &PlacementDecision, acted: bool) {
        let wishes = decision.moves() > 0 || decision.failovers() > 0 || decision.nodes_from != decision.nodes_to;
        let held = decision.verdict == PlacementVerdict::Hold && decision.reason != reason::STARTING && decision.reason != reason::NO_POLICY;
        let news = self.notable.as_ref().is_none_or(|last| last.verdict != decision.verdict.as_str() || last.reason != decision.reason);
        if acted || (news && (held || (wishes && decision.mode == Mode::DryRun))) {
            self.notable = Some(status::in_status(decision));
        }
        if acted {
            let by = decision.policy.as_ref().map_or_else(String::new, |stamp| format!(" by {} {}", stamp.object, stamp.digest.short()));
            let (word, event) = match decision.verdict {
                PlacementVerdict::Failover => ("FailedOver", EventType::Warning),
                PlacementVerdict::Scale => ("NodesScaled", EventType::Normal),
                _ => ("PartitionsMoved", EventType::Normal),
            };
            let epoch = self.kept.as_ref().map_or(0, |kept| kept.ledger.epoch().0);
            let note = format!("{}{by}: {}; epoch {epoch}, decision {}", decision.reason, decision.sentence, decision.id);
            tracing::info!(object = %self.object, verdict = decision.verdict.as_str(), epoch, decision = decision.id, "placed");
            self.context.events.publish(self.storage.object_ref(&()), event, word, "Place", &note);
        }
    }
}

/// Digest of a snapshot without its time: whether anything has changed that a decision may depend on.
fn timeless(snapshot: &PlacementSnapshot) -> Option<Digest> {
    let mut snapshot = snapshot.clone();
    snapshot.mirrors.iter_mut().for_each(|input| input.now = UnixMs(0));
    snapshot.digest().ok()
}

/// Decides, on a thread for blocking work: a policy may run until its deadline.
async fn ask(context: &Context, namespace: &str, snapshot: PlacementSnapshot, policy: Option<Arc<Policy>>) -> Option<(PlacementSnapshot, PlacementDecision)> {
    let place = context.pool.enter(namespace).await;
    let namespace = context.policies.quotas.namespace(namespace);
    let decide = move || {
        let computed = thread_time();
        let decided = decide_placement(&snapshot, policy.as_deref().map(|policy| policy as &dyn PlacementPolicy));
        namespace.spend(thread_time().saturating_sub(computed));
        drop(place);
        decided.ok().map(|decision| (snapshot, decision))
    };
    tokio::task::spawn_blocking(decide).await.ok()?
}
