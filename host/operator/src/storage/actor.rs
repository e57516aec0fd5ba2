//! One LogStorage: its loop and its state. Touches the clock and, through the modules of the steps, the
//! network. Started by [`crate::manager`] while this process leads.
//!
//! Each tick goes through all steps: observe, snapshot, decide, plan, apply, record. It is level-based: it may
//! stop at any `?` and start over. A tick whose snapshot is the same as that of the last, and which changed
//! nothing, is not decided anew.

use super::build::{Inputs, map_name, objects};
use super::index::Members;
use super::keeper::Keeper;
use super::ledger::{self, Fault, Kept, Renewed};
use super::nodes::{self, Memory, Node, roster};
use super::observe::Observer;
use super::plan::queried;
use super::status::{self, Seen};
use super::valid::{Valid, validate};
use super::volumes::{self, Growth};
use super::weigh::Weigher;
use crate::conditions::{Conditions, Status};
use crate::context::Context;
use crate::ensure::{ApplyError, Ensured};
use crate::manager::{Acts, stopped_before_leading};
use crate::policies::Entry;
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
use weir_core::placement::PlacementDecision;
use weir_core::scaling::PolicyStamp;
use weir_core::snapshot::Block;
use weir_crds::LogStorage;
use weir_crds::conditions::{kind, reason};
use weir_crds::log_storage::{LogStorageStatus, PlacementDecision as DecisionStatus};

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

pub(super) struct Actor {
    pub(super) context: Arc<Context>,
    pub(super) object: ObjectRef,
    pub(super) storage: Arc<LogStorage>,
    pub(super) valid: Option<Arc<Valid>>,
    pub(super) observer: Option<Observer>,
    pub(super) memory: Memory,
    pub(super) kept: Option<Kept>,
    pub(super) ensured: Ensured,
    pub(super) trouble: Option<Fault>,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    pub(super) policy: Option<Arc<Entry>>,
    /// Who wrote `states`, in which version.
    pub(super) wrote: Option<(PolicyStamp, u32)>,
    /// What the policy returned last, by mirror.
    pub(super) states: Vec<Vec<u8>>,
    pub(super) unresolved: Option<Block>,
    /// The snapshot that was decided on last, without its time.
    pub(super) decided: Option<Digest>,
    pub(super) decision: Option<PlacementDecision>,
    pub(super) notable: Option<DecisionStatus>,
    pub(super) growth: Growth,
    pub(super) volumes_at: Option<Instant>,
    pub(super) weigher: Weigher,
    /// Nodes that the query endpoint asks.
    pub(super) queried: Vec<String>,
    pub(super) keeper: Keeper,
    pub(super) tracked: Tracked,
    pub(super) decide_now: Arc<Notify>,
}

async fn run(context: Arc<Context>, object: ObjectRef, mut spec: watch::Receiver<Arc<LogStorage>>, wake: Arc<Notify>, stop: CancellationToken) {
    let storage = spec.borrow_and_update().clone();
    let mut actor = Actor::new(context, object, storage);
    actor.configure();
    let mut ticks = actor.ticks();
    loop {
        if !actor.context.leadership.is_leader() {
            if stopped_before_leading(&actor.context, &stop).await {
                break;
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
        let measured = keeper.written.balance.as_ref().is_some_and(|balance| balance.measured);
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
            wrote: None,
            states: Vec::new(),
            unresolved: None,
            decided: None,
            decision: None,
            notable,
            growth: None,
            volumes_at: None,
            weigher: Weigher::new(measured),
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
                self.weigher.tend(&self.context, &valid, &members);
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
        self.record(&valid, &members, &nodes, now, acted).await;
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

    /// Writes the objects that should exist where they differ.
    async fn ensure(&mut self, valid: &Valid, members: &Members, nodes: &[Node]) -> Result<(), Fault> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let queried = queried(valid, &kept.ledger, nodes, &self.queried);
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
    async fn record(&mut self, valid: &Valid, members: &Members, nodes: &[Node], now: UnixMs, acted: bool) {
        let seen = Seen {
            now,
            storage: &self.storage,
            before: &self.keeper.written,
            valid,
            trouble: self.trouble.as_ref(),
            kept: self.kept.as_ref(),
            nodes,
            members,
            unresolved: self.unresolved.as_ref(),
            decision: self.decision.as_ref(),
            notable: self.notable.as_ref(),
            growth: &self.growth,
            weights: self.weigher.weights(),
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
