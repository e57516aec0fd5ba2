//! One LogStorage: its loop and its state. Touches the clock and, through the modules of the steps, the
//! network. Started by [`crate::manager`] while this process leads.
//!
//! Each tick goes through all steps: observe, snapshot, decide, plan, apply, record. It is level-based: it may
//! stop at any `?` and start over. A tick whose snapshot is the same as that of the last, and which changed
//! nothing, is not decided anew.

use super::build::{self, Inputs, map_name, objects};
use super::freeze::{Parts, freeze};
use super::ledger::{self, Fault, Kept, Renewed};
use super::nodes::{self, Memory, Node, roster};
use super::observe::Observer;
use super::status::{self, Keeper, Seen};
use super::valid::{Valid, validate};
use super::volumes::{self, Growth};
use crate::conditions::{Conditions, Status};
use crate::context::Context;
use crate::ensure::{ApplyError, Ensured};
use crate::manager::Acts;
use crate::policies::{Entry, Unresolved};
use crate::shell::events::EventType;
use crate::shell::metrics::{ObjectState, Readiness, Step, Tracked};
use crate::watch::chain;
use kube::Resource as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use weir_core::ids::{Digest, ObjectRef, UnixMs};
use weir_core::placement::{
    Ledger, Map, NodeState, PlacementDecision, PlacementOutcome, PlacementPolicy, PlacementSnapshot, PlacementVerdict, Slot, decide_placement,
};
use weir_core::scaling::{PolicyStamp, ScalingPolicy as _};
use weir_core::snapshot::{Block, Mode};
use weir_crds::LogStorage;
use weir_crds::conditions::{kind, reason};
use weir_crds::log_storage::{LogStorageStatus, PlacementDecision as DecisionStatus};
use weir_engine::{Policy, PolicyKind};

/// Ticks in one node timeout: a loss is seen at most a fifth of it late.
const TICKS: u32 = 5;
/// Shortest and longest tick.
const TICK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// How often volumes are looked at.
const VOLUMES: Duration = Duration::from_secs(60);
/// How often they are while something is under way.
const VOLUMES_SOON: Duration = Duration::from_secs(5);
/// First and longest wait after a tick that failed.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Acts for LogStorage {
    fn act(
        context: Arc<Context>,
        object: ObjectRef,
        spec: watch::Receiver<Arc<Self>>,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send {
        run(context, object, spec, wake, stop)
    }
}

struct Actor {
    context: Arc<Context>,
    object: ObjectRef,
    storage: Arc<LogStorage>,
    valid: Option<Arc<Valid>>,
    observer: Option<Observer>,
    memory: Memory,
    kept: Option<Kept>,
    ensured: Ensured,
    trouble: Option<Fault>,
    failures: u32,
    retry_at: Option<Instant>,
    policy: Option<Arc<Entry>>,
    stamp: Option<PolicyStamp>,
    /// What the policy returned last, by mirror.
    states: Vec<Vec<u8>>,
    unresolved: Option<Block>,
    /// The snapshot that was decided on last, without its time.
    decided: Option<Digest>,
    decision: Option<PlacementDecision>,
    notable: Option<DecisionStatus>,
    growth: Growth,
    volumes_at: Option<Instant>,
    /// Nodes that the query endpoint asks.
    queried: Vec<String>,
    keeper: Keeper,
    tracked: Tracked,
    decide_now: Arc<Notify>,
}

async fn run(context: Arc<Context>, object: ObjectRef, mut spec: watch::Receiver<Arc<LogStorage>>, wake: Arc<Notify>, stop: CancellationToken) {
    let storage = spec.borrow_and_update().clone();
    let mut actor = Actor::new(context, object, storage);
    actor.configure();
    let mut ticks = actor.ticks();
    loop {
        if !actor.context.leadership.is_leader() {
            let leadership = actor.context.leadership.clone();
            tokio::select! {
                () = stop.cancelled() => break,
                () = async {
                    // What is told may be a moment behind what is true.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    leadership.wait_for_leadership().await;
                } => {}
            }
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = spec.changed() => {
                if changed.is_err() { break }
                actor.storage = spec.borrow_and_update().clone();
                actor.configure();
                ticks = actor.ticks();
            }
            // What a watch shows is looked at with the next tick: a rollout shows hundreds of changes.
            () = wake.notified() => actor.touched(),
            () = actor.decide_now.notified() => actor.tick().await,
            _ = ticks.tick() => actor.tick().await,
        }
    }
    if let Some(entry) = actor.policy.take() {
        entry.leave(&actor.object);
    }
}

impl Actor {
    fn new(context: Arc<Context>, object: ObjectRef, storage: Arc<LogStorage>) -> Self {
        let keeper = Keeper::new(&storage);
        let tracked = context.metrics.track("LogStorage", &object);
        let notable = storage.status.as_ref().and_then(|status| status.last_decision.clone());
        Self {
            context,
            object,
            storage,
            valid: None,
            observer: None,
            memory: Memory::default(),
            kept: None,
            ensured: Ensured::default(),
            trouble: None,
            failures: 0,
            retry_at: None,
            policy: None,
            stamp: None,
            states: Vec::new(),
            unresolved: None,
            decided: None,
            decision: None,
            notable,
            growth: None,
            volumes_at: None,
            queried: Vec::new(),
            keeper,
            tracked,
            decide_now: Arc::default(),
        }
    }

    fn tick_length(&self) -> Duration {
        let timeout = self.valid.as_ref().map_or(0, |valid| valid.failover.node_timeout_ms);
        (Duration::from_millis(u64::try_from(timeout).unwrap_or(0)) / TICKS).clamp(TICK.0, TICK.1)
    }

    fn ticks(&self) -> tokio::time::Interval {
        let mut ticks = tokio::time::interval(self.tick_length());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Takes the spec in.
    fn configure(&mut self) {
        (self.failures, self.retry_at, self.volumes_at) = (0, None, None);
        match validate(&self.storage) {
            Ok(valid) => {
                self.trouble = None;
                self.valid = Some(Arc::new(valid));
                self.observer = self.valid.as_ref().map(|valid| Observer::new(valid, self.tick_length()));
            }
            Err(invalid) => {
                self.valid = None;
                self.trouble = Some(Fault { reason: reason::INVALID_SPEC, message: invalid.to_string() });
                tracing::error!(object = %self.object, error = %invalid, "this LogStorage can't be run");
            }
        }
    }

    /// Something of ours was changed, perhaps by somebody else.
    fn touched(&mut self) {
        let index = self.context.storages.read();
        self.ensured.outdated(|kind, name| index.own_mark(kind, &self.object.namespace, name));
    }

    /// Observe, snapshot, decide, plan, apply, record.
    #[tracing::instrument(level = "debug", skip_all, fields(object = %self.object))]
    async fn tick(&mut self) {
        let Some(valid) = self.valid.clone() else { return self.record_invalid().await };
        if !self.context.leadership.is_leader() || self.storage.metadata.deletion_timestamp.is_some() || self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let begun = Instant::now();
        let now = self.context.now();
        let members = self.context.storages.read().members(&self.object);
        let mut acted = false;
        let mut nodes = Vec::new();
        let result = match self.load(&valid, now).await {
            Err(fault) => Err(fault),
            Ok(()) => {
                let answers = match &mut self.observer {
                    Some(observer) => observer.ask(&self.context, &valid, &members).await,
                    None => nodes::Answers::new(),
                };
                if let Some(kept) = &self.kept {
                    nodes = roster(now, &valid, &kept.ledger, &members, &answers, &mut self.memory);
                }
                match self.decide(&valid, &nodes, now).await {
                    Ok(changed) => {
                        acted = changed;
                        self.ensure(&valid, &members, &nodes).await
                    }
                    failed => failed.map(drop),
                }
            }
        };
        match result {
            Ok(()) => (self.failures, self.trouble) = (0, None),
            Err(fault) => self.back_off(fault),
        }
        self.record(&valid, &nodes, now, acted).await;
        self.context.metrics.ticked(Duration::ZERO, begun.elapsed());
    }

    fn back_off(&mut self, fault: Fault) {
        self.context.metrics.failed(Step::Apply);
        let wait = BACKOFF.0.saturating_mul(1 << self.failures.min(6)).min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + wait);
        if self.trouble.as_ref() != Some(&fault) {
            tracing::warn!(object = %self.object, reason = fault.reason, message = fault.message, "this tick failed and is tried again");
        }
        self.trouble = Some(fault);
    }

    /// Reads the ledger, at first and when somebody else has changed it; what they wrote is put back.
    async fn load(&mut self, valid: &Valid, now: UnixMs) -> Result<(), Fault> {
        let Some(kept) = &mut self.kept else {
            let kept = ledger::read(&self.context, valid, &self.storage, now).await?;
            if kept.ledger.is_blind() && kept.map.is_none() {
                let note = format!(
                    "ConfigMap {} is gone: partitions get owners anew from epoch {} on, and no node is removed until retention has passed",
                    map_name(&self.object.name),
                    kept.ledger.epoch().next().0
                );
                self.context.events.publish(self.storage.object_ref(&()), EventType::Warning, reason::MAP_LOST, "Place", &note);
            }
            self.kept = Some(kept);
            return Ok(());
        };
        let seen = self.context.storages.read().own_mark("ConfigMap", &self.object.namespace, &map_name(&self.object.name));
        if kept.is_outdated(seen) && kept.renew(&self.context, valid).await? == Renewed::Changed {
            let (ledger, map) = (kept.ledger.clone(), kept.map.clone());
            self.kept = Some(ledger::write(&self.context, valid, kept, ledger, map).await?);
            let note = format!("ConfigMap {} was changed or deleted by somebody else and is put back as it was", map_name(&self.object.name));
            self.context.events.publish(self.storage.object_ref(&()), EventType::Warning, "MapRestored", "Place", &note);
        }
        Ok(())
    }

    /// Decides when something has changed, and writes what comes of it. True: owners or nodes were changed.
    async fn decide(&mut self, valid: &Valid, nodes: &[Node], now: UnixMs) -> Result<bool, Fault> {
        let Some(kept) = self.kept.clone() else { return Ok(false) };
        let policy = self.resolve(valid);
        let stamp = policy.as_ref().map(|policy| policy.stamp().clone());
        if stamp != self.stamp {
            // Another module must not read what this one wrote.
            self.states.clear();
            self.stamp.clone_from(&stamp);
        }
        let parts = Parts {
            now,
            policy: stamp,
            unresolved: self.unresolved.clone(),
            params: policy.as_ref().map_or_else(|| "{}".to_owned(), |policy| policy.params().to_owned()),
            states: &self.states,
        };
        let snapshot = freeze(valid, &kept.ledger, nodes, parts);
        let timeless = timeless(&snapshot);
        if timeless.is_some() && timeless == self.decided {
            return self.apply(valid, nodes, now, None).await;
        }
        let Some((snapshot, decision)) = ask(&self.context, snapshot, policy).await else {
            self.context.metrics.failed(Step::Decide);
            return Ok(false);
        };
        self.context.metrics.placed(&decision);
        if let Some(entry) = &self.policy {
            snapshot.mirrors.iter().for_each(|input| entry.slot.observe_placement(input));
        }
        self.remember(&decision);
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

    fn remember(&mut self, decision: &PlacementDecision) {
        self.states.resize(decision.mirrors.len(), Vec::new());
        for (state, mirror) in self.states.iter_mut().zip(&decision.mirrors) {
            if let Some(PlacementOutcome::Proposal(proposal)) = mirror.invocation.as_ref().map(|invocation| &invocation.outcome) {
                state.clone_from(&proposal.state);
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

    /// Writes the objects that should exist where they differ.
    async fn ensure(&mut self, valid: &Valid, members: &super::index::Members, nodes: &[Node]) -> Result<(), Fault> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let queried = queried(valid, nodes, &self.queried);
        let inputs = Inputs {
            replicas: nodes::replicas(valid, &kept.ledger, members),
            claim_sizes: valid.groups.iter().map(|group| members.sets.get(&group.name).and_then(|set| set.claim_size.clone())).collect(),
            queried: queried.clone(),
        };
        let fault = |error: ApplyError| {
            let reason = if matches!(error, ApplyError::NameTaken { .. }) { reason::NAME_TAKEN } else { reason::APPLY_FAILED };
            Fault { reason, message: error.to_string() }
        };
        for object in objects(valid, &inputs) {
            self.ensured.ensure(&self.context, &valid.uid, &object).await.map_err(fault)?;
        }
        self.queried = queried;
        if self.volumes_at.is_none_or(|at| at <= Instant::now()) {
            let failed = |error: kube::Error| Fault { reason: reason::APPLY_FAILED, message: format!("volumes can't be looked after: {}", chain(&error)) };
            self.growth = volumes::tend(&self.context, valid, &kept.ledger, members).await.map_err(failed)?;
            self.volumes_at = Some(Instant::now() + if self.growth.is_some() { VOLUMES_SOON } else { VOLUMES });
        }
        Ok(())
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

    /// Says what is wrong with a spec that can't be read.
    async fn record_invalid(&mut self) {
        let Some(trouble) = &self.trouble else { return };
        let before = self.keeper.written.clone();
        let mut conditions = Conditions::new(&before.conditions, self.context.now(), self.storage.metadata.generation);
        conditions.set(kind::READY, Status::False, trouble.reason, &trouble.message);
        let status = LogStorageStatus { observed_generation: self.storage.metadata.generation, conditions: conditions.finish(), ..before.clone() };
        self.tracked.set(&ObjectState { ready: Readiness::False, ..ObjectState::default() });
        self.keeper.write(&self.context, &self.storage, status, false).await;
    }

    /// Status, gauges.
    async fn record(&mut self, valid: &Valid, nodes: &[Node], now: UnixMs, acted: bool) {
        let seen = Seen {
            now,
            storage: &self.storage,
            before: &self.keeper.written,
            valid,
            trouble: self.trouble.as_ref(),
            kept: self.kept.as_ref(),
            nodes,
            unresolved: self.unresolved.as_ref(),
            decision: self.decision.as_ref(),
            notable: self.notable.as_ref(),
            growth: &self.growth,
        };
        let computed = status::compute(&seen);
        let ready = match computed.conditions.first().map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::True,
            Some("False") => Readiness::False,
            _ => Readiness::Unknown,
        };
        self.tracked.set(&ObjectState {
            ready,
            desired: computed.desired_nodes.unwrap_or(0),
            ready_replicas: computed.ready_nodes.unwrap_or(0),
            ..ObjectState::default()
        });
        self.keeper.write(&self.context, &self.storage, computed, acted).await;
    }
}

/// Digest of a snapshot without its time: whether anything has changed that a decision may depend on.
fn timeless(snapshot: &PlacementSnapshot) -> Option<Digest> {
    let mut snapshot = snapshot.clone();
    snapshot.mirrors.iter_mut().for_each(|input| input.now = UnixMs(0));
    snapshot.digest().ok()
}

/// The ledger and the map that follow.
fn next(valid: &Valid, kept: &Kept, nodes: &[Node], now: UnixMs, decision: Option<&PlacementDecision>) -> (Ledger, Option<Map>) {
    let mut ledger = kept.ledger.clone();
    if let Some(decision) = decision
        && ledger.grant(decision.epoch, now, &decision.grants()).is_ok()
    {
        let moves = if decision.mode == Mode::Enforce { decision.moves() } else { 0 };
        ledger.moved(now, moves);
        ledger.nodes = decision.nodes();
    }
    if !valid.paused {
        point_slots(&mut ledger, nodes, now);
    }
    ledger.trim(now, Some(valid.retention.0));
    let made = Map::of(&ledger, slots(valid, kept, &ledger, nodes)).ok();
    let map = match (made, &kept.map) {
        (Some(mut made), Some(known)) if !made.differs(known) => {
            made.version = known.version;
            Some(made)
        }
        (Some(mut made), _) => {
            ledger.version = ledger.version.saturating_add(1);
            made.version = ledger.version;
            Some(made)
        }
        (None, known) => known.clone(),
    };
    (ledger, map)
}

/// The slot of a lost node that owns nothing any more points at another one, so that what is queued for it
/// follows; when it is back, or who stood in is lost too, it is pointed anew.
fn point_slots(ledger: &mut Ledger, nodes: &[Node], now: UnixMs) {
    let takes = |name: &str| nodes.iter().any(|node| node.name == name && node.state.takes());
    let holds = ledger.holds().into_iter().map(|(name, holds)| (name.to_owned(), holds.owned)).collect::<std::collections::BTreeMap<String, u32>>();
    for node in nodes {
        let gone = node.state == NodeState::Lost && holds.get(&node.name).is_none_or(|owned| *owned == 0) && !node.holds.nothing();
        let target = ledger.target(&node.name).to_owned();
        if gone && (target == node.name || !takes(&target)) {
            if let Some(stand_in) = ledger.stand_in_for(node.mirror, &node.name, takes) {
                ledger.point(now, &node.name, Some(&stand_in));
            }
        } else if !gone && target != node.name && node.state != NodeState::Silent {
            ledger.point(now, &node.name, None);
        }
    }
}

/// Slots of all nodes that have ever been there, in the order of the map before, new ones at the end.
fn slots(valid: &Valid, kept: &Kept, ledger: &Ledger, nodes: &[Node]) -> Vec<Slot> {
    let holds = ledger.holds();
    let place = |name: &str| kept.map.as_ref().and_then(|map| map.slots.iter().position(|slot| slot.node == name)).unwrap_or(usize::MAX);
    let mut named: Vec<&Node> = nodes.iter().filter(|node| node.state != NodeState::Starting || holds.contains_key(node.name.as_str())).collect();
    named.sort_by_key(|node| (place(&node.name), node.ordinal, node.group));
    let slot = |node: &&Node| {
        let target = ledger.target(&node.name).to_owned();
        Slot { node: node.name.clone(), endpoint: format!("http://{}", build::node_address(valid, &target)), target }
    };
    named.iter().map(slot).collect()
}

/// Nodes that the query endpoint asks: those of one mirror that are not lost, of the mirror that misses fewest.
/// VictoriaLogs answers only when all answer, so a lost node is left out, and the condition Reachable tells.
fn queried(valid: &Valid, nodes: &[Node], before: &[String]) -> Vec<String> {
    let missing = |mirror: &usize| nodes.iter().filter(|node| node.mirror == *mirror && node.state == NodeState::Lost && !node.holds.nothing()).count();
    let Some(mirror) = (0..valid.mirrors).min_by_key(missing) else { return before.to_vec() };
    let there = |node: &&Node| node.mirror == mirror && !matches!(node.state, NodeState::Lost | NodeState::Starting);
    let names: Vec<String> = nodes.iter().filter(there).map(|node| node.name.clone()).collect();
    if names.is_empty() { before.to_vec() } else { names }
}

/// Decides, on a thread for blocking work: a policy may run until its deadline.
async fn ask(context: &Context, snapshot: PlacementSnapshot, policy: Option<Arc<Policy>>) -> Option<(PlacementSnapshot, PlacementDecision)> {
    let _place = context.decisions.acquire().await.ok()?;
    let decide = move || {
        let decided = decide_placement(&snapshot, policy.as_deref().map(|policy| policy as &dyn PlacementPolicy));
        decided.ok().map(|decision| (snapshot, decision))
    };
    tokio::task::spawn_blocking(decide).await.ok()?
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
