//! One LogProcessor: its loop and its state. Touches the clock and, through the modules of the
//! steps, the network. Started by [`crate::manager`] while this process leads.
//!
//! Two things happen here. A **tick**, once per interval: observe, snapshot, decide, plan, apply,
//! record. A **pass**, when the spec or something in the cluster changed: what should exist is
//! written where it differs. Both are level-based: they may stop at any `?` and start over.

use super::decide::News;
use super::facts;
use super::measure::Measure;
use super::state::States;
use super::status::{Keeper, Trouble};
use super::{adopt, rollout, routing};
use crate::build::rollout::Rejected;
use crate::build::{Deploy, Inputs, Revision, Routing, Valid, ValidEngine, objects, validate};
use crate::context::Context;
use crate::ensure::{ApplyError, Ensured};
use crate::index::Members;
use crate::manager::{Acts, is_news, stopped_before_leading};
use crate::policies::Entry;
use crate::shell::events::EventType;
use crate::shell::metrics::{Readiness, Step, Tracked};
use crate::views::WorkloadKey;
use crate::watch::chain;
use kube::Resource as _;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use weir_core::capacity::{CapacityLearner, StartUpLearner};
use weir_core::decision::{Decision, Verdict};
use weir_core::guardrails::GuardMemory;
use weir_core::ids::ObjectRef;
use weir_core::scaling::PolicyStamp;
use weir_core::snapshot::{Block, MetricsHealth};
use weir_core::window::{Window, names};
use weir_crds::LogProcessor;
use weir_crds::conditions::{kind, reason};
use weir_crds::log_processor::LastDecision;

/// What exists when an actor starts is decided on at once, and compared with what should exist within
/// this time: shortest and longest wait, spread by name, so that many objects do not ask for
/// everything in the same second.
const FIRST_PASS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// Of very many objects, one is compared in this time on average: three requests each. More of them at a time
/// would keep a small API server busy with nothing but reads, and everything else would wait behind them.
const EACH: Duration = Duration::from_millis(20);

/// A load that rises by this factor over the mean of the seconds before is looked at again soon.
const RISE: f64 = 1.5;
/// Samples that a rise is compared with.
const BEFORE: usize = 5;
/// When a rise is looked at again, as a share of the interval.
const SOON: f64 = 0.25;
/// Groups of objects that tick together, spread over an interval.
const GROUPS: f64 = 50.0;
/// Intervals below this are short enough as they are.
const SHORT: Duration = Duration::from_millis(500);

/// First and longest wait after a pass that failed.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

pub(super) struct Actor {
    pub(super) context: Arc<Context>,
    pub(super) object: ObjectRef,
    pub(super) processor: Arc<LogProcessor>,
    pub(super) valid: Option<Arc<Valid>>,
    pub(super) trouble: Option<Trouble>,
    pub(super) measure: Option<Measure>,
    pub(super) ensured: Ensured,
    /// Backoff: failures in a row, and when to try again.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    pub(super) adopted: bool,
    /// Collectors only, so it takes no room in others.
    pub(super) config: Option<Box<rollout::Outcome>>,
    pub(super) rejected: Option<Rejected>,
    pub(super) config_due: Option<Instant>,
    /// ConfigMap that is changed in place, once those of earlier templates are gone.
    pub(super) live: Option<String>,
    /// The routing table that the spec names.
    pub(super) routing: Option<routing::Followed>,
    /// When to decide before the next tick is due.
    pub(super) early: Option<Instant>,
    pub(super) memory: Option<GuardMemory>,
    pub(super) policy: Option<Arc<Entry>>,
    pub(super) stamp: Option<PolicyStamp>,
    pub(super) states: States,
    pub(super) capacity: CapacityLearner,
    pub(super) start_up: StartUpLearner,
    pub(super) start_up_measured: bool,
    pub(super) started: HashSet<String>,
    pub(super) decision: Option<Decision>,
    /// When a policy was last asked.
    pub(super) asked: Option<Instant>,
    pub(super) notable: Option<LastDecision>,
    pub(super) unresolved: Option<Block>,
    pub(super) metrics: Option<MetricsHealth>,
    pub(super) staleness: Option<Duration>,
    pub(super) window: Option<Window>,
    pub(super) draining: Vec<String>,
    pub(super) quiet: super::drain::Quiet,
    pub(super) keeper: Keeper,
    /// When the status was computed last, from what, and what came of it.
    pub(super) glanced: Option<(Instant, u64, Readiness)>,
    pub(super) tracked: Tracked,
    pub(super) decide_now: Arc<Notify>,
}

impl Acts for LogProcessor {
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

/// The futures of the steps are boxed: kept inside this one, which every object holds all the time, they
/// would take 12 kB of each.
async fn run(context: Arc<Context>, object: ObjectRef, mut spec: watch::Receiver<Arc<LogProcessor>>, wake: Arc<Notify>, stop: CancellationToken) {
    let processor = spec.borrow_and_update().clone();
    let mut actor = Actor::new(context, object, processor);
    Box::pin(actor.configure()).await;
    let mut ticks = actor.ticks();
    let mut pass_due = true;
    if actor.exists() {
        let wait = if actor.was_observed() {
            let count = u32::try_from(actor.context.index.read().len()).unwrap_or(u32::MAX);
            let longest = FIRST_PASS.1.max(EACH * count);
            FIRST_PASS.0 + (longest - FIRST_PASS.0).mul_f64(share(&actor.object))
        } else {
            FIRST_PASS.0.mul_f64(share(&actor.object))
        };
        actor.retry_at = Some(Instant::now() + wait);
        pass_due = false;
    }
    loop {
        if !actor.context.leadership.is_leader() {
            // Nothing is decided or written; what is known stays, and the newest spec is taken up after it.
            if stopped_before_leading(&actor.context, &stop).await {
                break;
            }
            continue;
        }
        if pass_due {
            pass_due = false;
            if actor.processor.metadata.deletion_timestamp.is_some() {
                if Box::pin(actor.release()).await {
                    break;
                }
            } else {
                Box::pin(actor.pass()).await;
            }
        }
        actor.refresh(&spec);
        let retry = actor.next_look();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = spec.changed() => {
                if changed.is_err() { break }
                actor.processor = spec.borrow_and_update().clone();
                let interval = actor.interval();
                Box::pin(actor.configure()).await;
                if actor.interval() != interval { ticks = actor.ticks(); }
                pass_due = true;
            }
            () = actor.decide_now.notified() => {
                // The grid moves: still one decision per interval, none twice.
                ticks.reset();
                Box::pin(actor.tick(Duration::ZERO)).await;
            }
            due = ticks.tick() => {
                let late = Instant::now().saturating_duration_since(due.into_std());
                Box::pin(actor.tick(late)).await;
                actor.early = actor.rises().then(|| Instant::now() + actor.interval().mul_f64(SOON));
            }
            () = sleep_until(actor.early) => {
                actor.early = None;
                Box::pin(actor.tick(Duration::ZERO)).await;
            }
            () = wake.notified() => pass_due = true,
            () = routing::changed(&mut actor.routing) => {
                actor.configure().await;
                pass_due = true;
            }
            () = sleep_until(retry) => pass_due = true,
            () = actor.keeper.written() => {}
        }
    }
    Box::pin(actor.keeper.finish()).await;
    actor.leave_policy();
    actor.leave_table();
    actor.context.index.write().unregister(&actor.object);
}

/// A number from 0 to 1 that an object always has.
fn share(object: &ObjectRef) -> f64 {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    object.hash(&mut hasher);
    f64::from(u16::try_from(hasher.finish() % 1000).unwrap_or(0)) / 1000.0
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Actor {
    fn new(context: Arc<Context>, object: ObjectRef, processor: Arc<LogProcessor>) -> Self {
        let keeper = Keeper::new(&processor);
        let tracked = context.metrics.track("LogProcessor", &object);
        let rejected = processor
            .status
            .as_ref()
            .and_then(|status| status.config.as_ref()?.rejected.as_ref())
            .and_then(|rejected| Some(Rejected { hash: rejected.hash.parse().ok()?, message: rejected.message.clone() }));
        let notable = processor.status.as_ref().and_then(|status| status.last_decision.clone());
        Self {
            context,
            object,
            processor,
            valid: None,
            trouble: None,
            measure: None,
            ensured: Ensured::default(),
            failures: 0,
            retry_at: None,
            adopted: false,
            config: None,
            rejected,
            config_due: None,
            live: None,
            routing: None,
            early: None,
            memory: None,
            policy: None,
            stamp: None,
            states: States::default(),
            capacity: CapacityLearner::default(),
            start_up: StartUpLearner::default(),
            start_up_measured: false,
            started: HashSet::new(),
            decision: None,
            asked: None,
            notable,
            unresolved: None,
            metrics: None,
            staleness: None,
            window: None,
            draining: Vec::new(),
            quiet: super::drain::Quiet::default(),
            keeper,
            glanced: None,
            tracked,
            decide_now: Arc::default(),
        }
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.valid.as_ref().map_or(1000, |valid| u64::from(valid.metrics.interval_ms)))
    }

    /// Ticks at the object's interval, shifted by its name so that not all objects tick at once: in one
    /// of [`GROUPS`] groups, whose members tick together, because waking up costs as much as a decision.
    fn ticks(&self) -> tokio::time::Interval {
        let (interval, start) = (self.interval(), self.context.start);
        let group = interval.mul_f64((share(&self.object) * GROUPS).floor() / GROUPS);
        let passed = (start.elapsed().as_secs_f64() - group.as_secs_f64()) / interval.as_secs_f64();
        let mut ticks = tokio::time::interval_at((start + group + interval.mul_f64((passed.floor() + 1.0).max(0.0))).into(), interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    }

    /// True when there is a workload to decide on, whatever else is still to be written.
    fn exists(&self) -> bool {
        self.trouble.is_none() && self.processor.metadata.deletion_timestamp.is_none() && self.members().workload.is_some()
    }

    /// True when what the spec asks for was there when it was last looked at.
    fn was_observed(&self) -> bool {
        self.processor.status.as_ref().is_some_and(|status| {
            status.observed_generation == self.processor.metadata.generation
                && status.conditions.iter().any(|condition| condition.type_ == kind::READY && condition.status == "True")
        })
    }

    /// True when the newest sample tells of a rise that nothing has come of yet. A surge that began
    /// shortly before a scrape is only a small part of what that scrape measured: waiting for the next one
    /// would cost a whole interval, and a look in between measures the surge alone.
    fn rises(&self) -> bool {
        let steady = self.decision.as_ref().is_some_and(|decision| decision.verdict == Verdict::Steady);
        let Some(offered) = self.window.as_ref().and_then(|window| window.get(names::OFFERED)).filter(|_| steady && self.interval() >= SHORT) else {
            return false;
        };
        let mut known = offered.values.iter().rev().copied().filter(|value| value.is_finite());
        let Some(newest) = known.next() else { return false };
        let (sum, count) = known.take(BEFORE).fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
        count > 0 && newest > 0.0 && newest >= RISE * sum / f64::from(count)
    }

    /// Takes a newer copy of the same spec, so that each object is held once.
    fn refresh(&mut self, spec: &watch::Receiver<Arc<LogProcessor>>) {
        let newest = spec.borrow();
        if !Arc::ptr_eq(&newest, &self.processor) && !is_news(self.processor.meta(), newest.meta()) {
            self.processor = newest.clone();
        }
    }

    fn next_look(&self) -> Option<Instant> {
        self.retry_at.into_iter().chain(self.config_due).min()
    }

    /// Takes the spec in.
    async fn configure(&mut self) {
        let before = self.valid.take();
        (self.failures, self.retry_at, self.config_due) = (0, None, None);
        let running = self.follow_table().await;
        let routed = self.routing.as_ref().and_then(|followed| followed.routed.clone());
        let routing = match (&routed, &running, &self.routing) {
            (Some(routed), ..) => Routing::Table(routed),
            (None, Some(running), _) => Routing::Held(running),
            (None, None, Some(followed)) => {
                self.trouble = Some(Trouble { reason: followed.said.1, message: followed.said.2.clone() });
                self.record(News::Changed);
                return;
            }
            (None, None, None) => Routing::Nowhere,
        };
        match validate(&self.processor, routing) {
            Err(invalid) => {
                self.trouble = Some(Trouble { reason: reason::INVALID_SPEC, message: invalid.to_string() });
                // What is measured and decided rests on a spec that can be read.
                self.measure = None;
            }
            Ok(valid) => {
                self.trouble = None;
                if self.measure.is_none() || before.as_ref().is_none_or(|before| before.metrics != valid.metrics) {
                    self.measure = match Measure::new(&self.context, &valid).await {
                        Ok(measure) => Some(measure),
                        Err(fault) => {
                            self.trouble = Some(Trouble { reason: reason::INVALID_SPEC, message: format!("spec.metrics: {fault}") });
                            self.retry_at = Some(Instant::now() + BACKOFF.1);
                            None
                        }
                    };
                }
                if let ValidEngine::Target(key) = &valid.engine {
                    self.adopted = false;
                    // One that was adopted before need not be looked for.
                    let mut index = self.context.index.write();
                    let known = index.workload(key).filter(|known| known.labels.get(weir_crds::names::LABEL_PROCESSOR) == Some(self.object.name.as_str()));
                    if let Some(known) = known {
                        index.register(&self.object, key.clone(), Some(adopt::selector(&known)));
                    }
                } else {
                    self.context.index.write().register(&self.object, valid.workload_key(), None);
                }
                if self.keeper.written.observed_generation != self.processor.metadata.generation {
                    for notice in &valid.notices {
                        self.context.events.publish(self.processor.object_ref(&()), EventType::Warning, notice.code, "Validate", &notice.message);
                    }
                }
                self.valid = Some(Arc::new(valid));
            }
        }
        if self.trouble.is_some() {
            self.record(News::Changed);
        }
    }

    pub(super) fn members(&self) -> Arc<Members> {
        self.context.index.read().members(&self.object)
    }

    /// Writes what should exist where it differs.
    async fn pass(&mut self) {
        let Some(valid) = self.valid.clone() else { return };
        if self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.retry_at = None;
        let result = match &valid.engine {
            ValidEngine::Target(key) => self.adopt(&valid, key).await,
            _ => self.own(&valid, None).await,
        };
        let result = match result {
            Ok(()) => self.let_strays_go(&valid).await,
            failed => failed,
        };
        match result {
            Ok(()) => {
                self.failures = 0;
                if self.measure.is_some() {
                    self.trouble = None;
                }
            }
            Err(trouble) => self.back_off(trouble),
        }
        self.record(News::Changed);
    }

    pub(super) fn back_off(&mut self, trouble: Trouble) {
        self.context.metrics.failed(Step::Apply);
        let wait = BACKOFF.0.saturating_mul(1 << self.failures.min(6)).min(BACKOFF.1);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + wait);
        if self.trouble.as_ref() != Some(&trouble) {
            tracing::warn!(object = %self.object, reason = trouble.reason, message = trouble.message, "this pass failed and is tried again");
        }
        self.trouble = Some(trouble);
    }

    /// An adopted workload: find it, see that nobody else scales it, mark it.
    async fn adopt(&mut self, valid: &Valid, key: &WorkloadKey) -> Result<(), Trouble> {
        if self.adopted && self.members().workload.is_some() {
            return Ok(());
        }
        let failed = |error: kube::Error| Trouble { reason: reason::APPLY_FAILED, message: format!("{key}: {}", chain(&error)) };
        let found = adopt::find(&self.context, key).await.map_err(failed)?;
        let view = found.ok_or_else(|| Trouble {
            reason: reason::TARGET_NOT_FOUND,
            message: format!("there is no {key} in namespace {}: create it or correct spec.engine.targetRef", key.namespace),
        })?;
        self.context.index.write().register(&self.object, key.clone(), Some(adopt::selector(&view)));
        let rival = self.context.index.read().rival(&self.object);
        if let Some(rival) = rival {
            return Err(Trouble {
                reason: reason::TARGET_TAKEN,
                message: format!("{key} is scaled by LogProcessor {} already: delete one of the two", rival.name),
            });
        }
        adopt::set_finalizer(&self.context, &self.processor, true).await.map_err(failed)?;
        adopt::write(&self.context, valid, None).await.map_err(failed)?;
        self.adopted = true;
        Ok(())
    }

    /// A workload that the spec referred to before it was changed is released with the replicas that it has.
    async fn let_strays_go(&self, valid: &Valid) -> Result<(), Trouble> {
        let strays = self.context.index.read().strays(&self.object, &valid.workload_key());
        let ours = self.object.to_string();
        for stray in strays.iter().filter(|stray| stray.annotations.get(weir_crds::names::ANNOTATION_SCALED_BY) == Some(ours.as_str())) {
            let failed = |error: kube::Error| Trouble { reason: reason::APPLY_FAILED, message: format!("{} can't be released: {}", stray.key, chain(&error)) };
            adopt::release(&self.context, &stray.key).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Lets an adopted workload go. True: done.
    async fn release(&mut self) -> bool {
        let target = self.valid.as_ref().and_then(|valid| if let ValidEngine::Target(key) = &valid.engine { Some(key.clone()) } else { None });
        let released = match &target {
            Some(key) if self.context.index.read().rival(&self.object).is_none() => adopt::release(&self.context, key).await,
            _ => Ok(()),
        };
        let result = match released {
            Ok(()) => adopt::set_finalizer(&self.context, &self.processor, false).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => true,
            Err(error) => {
                self.back_off(Trouble { reason: reason::APPLY_FAILED, message: format!("the workload can't be released: {}", chain(&error)) });
                false
            }
        }
    }

    /// Own objects. `replicas` are those to write; `None`: those that are.
    pub(super) async fn own(&mut self, valid: &Valid, replicas: Option<u32>) -> Result<(), Trouble> {
        let members = self.members();
        self.ensured.drifted(&self.object.namespace, members.workload.as_deref(), &self.context.index.read());
        let current = members.workload.as_ref().map(|workload| workload.replicas);
        let replicas = replicas.or(current).unwrap_or_else(|| valid.pin.unwrap_or(valid.bounds.min));
        let agent_image = self.context.config.agent_image.clone();
        let now = self.context.now();
        let inputs = |deploy: Deploy<'_>, outcome: Option<&rollout::Outcome>| {
            let inputs = Inputs {
                replicas,
                deploy,
                last_good: outcome.and_then(|outcome| outcome.step.last_good.as_ref()),
                rolled_back: outcome.and_then(|outcome| outcome.step.rolled_back.as_ref()),
                given_at: rollout::given_at(&members, outcome.and_then(|outcome| outcome.step.deploy.as_ref()), now),
                agent_image: agent_image.as_deref(),
                operator_version: env!("CARGO_PKG_VERSION"),
            };
            objects(valid, &inputs)
        };
        let uid = &valid.owner.uid;
        let desired = match &valid.engine {
            ValidEngine::Collector(revision) => {
                if self.config_is_due(revision, &members) {
                    // The candidate must be readable before anything can check or run it.
                    if let Some(map) = inputs(Deploy::Keep, None).config_map {
                        self.ensured.ensure(&self.context, uid, &map).await.map_err(trouble)?;
                    }
                    let findings = facts::health(self.context.now(), &members);
                    let intake = self.measure.as_ref().map(|measure| &measure.intake);
                    let known = rollout::Known {
                        valid,
                        revision,
                        members: &members,
                        findings: &findings,
                        intake,
                        rejected: self.rejected.as_ref(),
                        before: self.config.as_deref(),
                    };
                    let outcome = rollout::run(&self.context, &known, &mut self.ensured).await.map_err(trouble)?;
                    self.rejected.clone_from(&outcome.step.rejected);
                    self.config_due = outcome.look_again.map(|wait| Instant::now() + wait);
                    self.config = Some(Box::new(outcome));
                }
                let outcome = self.config.as_deref();
                let deploy = match outcome.map(|outcome| (outcome.step.deploy.as_ref(), outcome.earlier.as_ref())) {
                    Some((Some(hash), _)) if hash == revision.hash() => Deploy::Desired,
                    Some((Some(_), Some(earlier))) => Deploy::Earlier(earlier),
                    _ => Deploy::Keep,
                };
                inputs(deploy, outcome)
            }
            _ => inputs(Deploy::Desired, None),
        };
        // Written before it is checked for drift, and again only when content or generation differ.
        for object in desired.in_order() {
            self.ensured.ensure(&self.context, uid, object).await.map_err(trouble)?;
        }
        for (kind, name) in &desired.absent {
            self.ensured.remove(&self.context, &valid.owner.namespace, uid, *kind, name).await.map_err(trouble)?;
        }
        if let (Some(live), Some(template), Some(outcome)) = (&desired.live, &desired.template, &self.config) {
            let live = (live.name.as_str(), template);
            rollout::in_place(&self.context, &valid.owner, &members, outcome, live, &mut self.live).await.map_err(trouble)?;
        }
        Ok(())
    }

    /// Whether the configuration has to be looked at: it is under way, or something speaks against it.
    fn config_is_due(&self, revision: &Revision, members: &Members) -> bool {
        let Some(outcome) = self.config.as_ref().filter(|outcome| outcome.desired == *revision.hash()) else { return true };
        let running = members.workload.as_ref().and_then(|workload| workload.config_hash.as_deref());
        let settled = outcome.at_rest
            && outcome
                .step
                .deploy
                .as_ref()
                .is_some_and(|hash| hash == revision.hash() && running == Some(hash.as_ref()) && outcome.step.last_good.as_ref() == Some(hash));
        let kept_back = outcome.at_rest && self.rejected.as_ref().is_some_and(|rejected| rejected.hash == *revision.hash());
        !(settled || kept_back) || members.workload.is_none()
    }
}

fn trouble(error: ApplyError) -> Trouble {
    let reason = if matches!(error, ApplyError::NameTaken { .. }) { reason::NAME_TAKEN } else { reason::APPLY_FAILED };
    Trouble { reason, message: error.to_string() }
}
