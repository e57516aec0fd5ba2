//! The tick of an [`Actor`]: observe, snapshot, decide, plan, apply, record, each by its module.

use super::actor::Actor;
use super::ask::{Asked, ask};
use super::choose::Asking;
use super::freeze::{Parts, freeze};
use super::measure::Measure;
use super::status::{self, Seen, Trouble};
use super::{adopt, drain, facts};
use crate::build::{Valid, ValidEngine};
use crate::conditions::Status;
use crate::index::Members;
use crate::quota::Namespace;
use crate::shell::events::EventType;
use crate::shell::metrics::{ObjectState, Readiness, Step};
use crate::watch::chain;
use kube::Resource as _;
use std::collections::HashSet;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::capacity::Observation;
use weir_core::decision::{Decision, Verdict};
use weir_core::guardrails::{Change, GuardMemory};
use weir_core::health::Finding;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::scaling::{Capacity, Outcome, ScalingPolicy as _};
use weir_core::snapshot::{Block, MetricsHealth, Mode};
use weir_core::trial::Arm;
use weir_core::trial::Fate;
use weir_core::window::{Window, names};
use weir_crds::conditions::reason;

/// An object whose decisions are spaced out for want of time is not told to be held before its last one is as old
/// as this.
const SPACED: Duration = Duration::from_secs(10);

impl Actor {
    /// Observe, snapshot, decide, plan, apply, record.
    #[tracing::instrument(level = "debug", skip_all, fields(object = %self.object, decision, verdict))]
    pub(super) async fn tick(&mut self, late: Duration) {
        let Some(valid) = self.valid.clone().filter(|_| self.context.leadership.is_leader()) else { return };
        let begun = Instant::now();
        let members = self.members();
        if let Some(mut measure) = self.measure.take() {
            let now = self.context.now();
            measure.observe(&self.context, &valid, now, &facts::measurable(&members)).await;
            self.learn(&valid, &members, &measure, now);
            let taken = members.autoscalers.first().cloned();
            let rival = self.trouble.as_ref().is_some_and(|trouble| trouble.reason == reason::TARGET_TAKEN);
            if members.workload.is_some() && !rival {
                let block = taken.map(|other| Block {
                    code: reason::OTHER_AUTOSCALER.to_owned(),
                    sentence: format!(
                        "{} scales the same workload: delete it, or have it scale the LogProcessor instead; until then Weir changes nothing",
                        other.title
                    ),
                });
                self.decide_and_act(&valid, &members, &mut measure, now, block).await;
            }
            self.measure = Some(measure);
            self.report_on_table(&members);
        }
        self.context.metrics.ticked(late, begun.elapsed());
    }

    fn learn(&mut self, valid: &Valid, members: &Members, measure: &Measure, now: UnixMs) {
        let mut window = self.window.take().unwrap_or_default();
        measure.intake.window_into(&mut window);
        let counts = facts::counts(members);
        if let (true, Some(accepted)) = (valid.capacity.learn, window.latest(names::ACCEPTED)) {
            let share = window
                .latest(names::QUEUE)
                .zip(window.latest(names::QUEUE_CAPACITY))
                .filter(|(_, capacity)| *capacity > 0.0)
                .map(|(queue, capacity)| queue / capacity);
            self.capacity.observe(Observation {
                ready: counts.ready.saturating_add(counts.leaving),
                accepted,
                refused: window.latest(names::REFUSED).unwrap_or(0.0),
                sent: window.latest(names::SENT),
                queue_share: share,
            });
        }
        for pod in members.pods.values().filter(|pod| pod.ready()) {
            // Pods that were ready before this process looked say little: the time is only known to
            // the second, and a node may have been away meanwhile.
            if let Some(since) = pod.facts.ready_since
                && self.started.insert(pod.uid.clone())
                && now.since(since) < 60_000
            {
                self.start_up.observe(f64::from(u32::try_from(since.since(pod.facts.created).max(0)).unwrap_or(u32::MAX)) / 1000.0);
                self.start_up_measured = true;
            }
        }
        if self.started.len() > members.pods.len().saturating_mul(2).max(64) {
            let alive: HashSet<&str> = members.pods.values().map(|pod| pod.uid.as_str()).collect();
            self.started.retain(|uid| alive.contains(uid.as_str()));
        }
        self.window = Some(window);
    }

    fn capacity(&self, valid: &Valid) -> Capacity {
        let learnt = if valid.capacity.learn { self.capacity.per_replica() } else { None };
        Capacity { per_replica: learnt.or(valid.capacity.records_per_second), learnt: learnt.is_some(), start_up: self.start_up.seconds() }
    }

    async fn decide_and_act(&mut self, valid: &Valid, members: &Members, measure: &mut Measure, now: UnixMs, block: Option<Block>) {
        let Asking { policy, circuit, fallback, trial } = self.resolve(valid);
        let stamp = policy.as_ref().map(|policy| policy.stamp().clone());
        self.stamp.clone_from(&stamp);
        let versions = policy.as_deref().map(|policy| policy.description().state.clone()).unwrap_or_default();
        let (state, dropped_state) = stamp.as_ref().map(|stamp| self.states.hand_to(stamp, &versions)).unwrap_or_default();
        let counts = facts::counts(members);
        let required = policy.iter().flat_map(|policy| policy.description().series.iter().filter(|need| need.required).map(|need| need.name.as_str()));
        let health = measure.health(required);
        self.staleness = measure.staleness();
        let namespace = self.context.policies.quotas.namespace(&self.object.namespace);
        let paused = valid.scaling.as_ref().is_some_and(|scaling| scaling.paused);
        let may_ask = policy.is_some() && health == MetricsHealth::Ready && block.is_none() && !paused;
        let spaced = may_ask && namespace.wait(now).is_some();
        if spaced {
            namespace.held();
            self.unresolved = Some(out_of_time(&self.object, &namespace));
        }
        let memory = self.memory.take().unwrap_or_else(|| GuardMemory::seeded(now, counts.desired, self.last_change()));
        let snapshot = freeze(
            valid,
            Parts {
                now,
                desired: counts.desired,
                ready: counts.ready,
                starting: counts.starting,
                capacity: self.capacity(valid),
                window: self.window.take().unwrap_or_default(),
                policy: stamp,
                fallback,
                unresolved: self.unresolved.clone(),
                params: policy.as_ref().map_or_else(|| "{}".to_owned(), |policy| policy.params().to_owned()),
                state,
                dropped_state,
                metrics: health.clone(),
                memory,
                block,
            },
        );
        self.metrics = Some(health);
        let Some(Asked { snapshot, decision, mut memory, took, .. }) =
            ask(&self.context, &namespace, snapshot, policy.filter(|_| !spaced), self.policy.as_deref()).await
        else {
            self.context.metrics.failed(Step::Decide);
            return;
        };
        self.context.metrics.decided(&decision, took);
        tracing::Span::current().record("decision", &decision.id).record("verdict", decision.verdict.as_str());
        // Also while no module runs: the first one is tried on what its users wait with. What a module on trial or
        // a fallback remembers, the next one need not be able to read.
        if snapshot.metrics == MetricsHealth::Ready
            && snapshot.fallback.is_none()
            && trial.as_ref().is_none_or(|on_trial| on_trial.arm == Arm::Current)
            && let Some(entry) = &self.policy
        {
            entry.slot.observe(&snapshot.input);
        }
        if let (Some(entry), Some(circuit)) = (&self.policy, &circuit) {
            self.count(entry, circuit, &decision);
        }
        if let Some(entry) = &self.policy {
            self.probe(entry, &namespace, &snapshot);
        }
        if let Some(on_trial) = trial {
            self.compare(on_trial, &namespace, &snapshot.input, &decision, took);
        }
        self.states.follow(&decision, &versions);
        self.window = Some(snapshot.input.window);
        let acted = match self.act(valid, members, measure, &decision).await {
            Ok(acted) => acted,
            Err(trouble) => {
                self.back_off(trouble);
                false
            }
        };
        if acted {
            memory.changed(decision.change());
        }
        self.memory = Some(memory);
        if decision.invocation.is_some() {
            self.asked = Some(Instant::now());
        }
        if spaced && !acted && self.asked.is_some_and(|at| at.elapsed() < SPACED) {
            // What was decided a short time ago stands.
            self.unresolved = None;
            return;
        }
        self.note(&decision, acted);
        self.decision = Some(decision);
        self.record(if acted { News::Acted } else { News::Decided });
    }

    /// The last change that the status tells of, for a process that has just started.
    fn last_change(&self) -> Option<Change> {
        let last = self.notable.as_ref().filter(|last| last.from != last.to && last.verdict != Verdict::Hold.as_str())?;
        Some(Change { at: UnixMs(last.time.0.as_millisecond()), from: last.from, to: last.to })
    }

    /// Makes the decision true. True: the replicas were changed.
    #[tracing::instrument(name = "apply", level = "debug", skip_all)]
    async fn act(&mut self, valid: &Valid, members: &Members, measure: &Measure, decision: &Decision) -> Result<bool, Trouble> {
        let wanted = if decision.mode == Mode::Enforce { decision.to } else { decision.from };
        let asked = members.workload.as_ref().map_or(0, |workload| workload.replicas);
        if let ValidEngine::Collector(revision) = &valid.engine {
            if decision.verdict == Verdict::Hold && decision.reason == reason::PAUSED {
                return Ok(false);
            }
            let ms = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let limits = drain::Limits {
                patience_ms: ms(revision.max_connection_age_ms().saturating_mul(2).max(10_000)),
                batch_ms: ms(revision.facts().batch_ms.saturating_add(1000)),
            };
            let plan = drain::plan_for(decision.at, members, &measure.intake, (asked, wanted), &mut self.quiet, limits);
            self.draining.clone_from(&plan.waiting);
            let failed = |error: kube::Error| Trouble { reason: reason::APPLY_FAILED, message: format!("pods can't be labelled: {}", chain(&error)) };
            if let Some(to) = drain::carry_out(&self.context, &self.object.namespace, decision.at, &plan).await.map_err(failed)? {
                self.own(valid, Some(to)).await?;
            }
            return Ok(decision.acts());
        }
        if !decision.acts() || asked == wanted {
            return Ok(false);
        }
        if matches!(valid.engine, ValidEngine::Target(_)) {
            if !self.context.leadership.is_leader() {
                return Ok(false);
            }
            let failed = |error: kube::Error| Trouble { reason: reason::APPLY_FAILED, message: format!("{}: {}", valid.workload_key(), chain(&error)) };
            adopt::write(&self.context, valid, Some(wanted)).await.map_err(failed)?;
        } else {
            self.own(valid, Some(wanted)).await?;
        }
        Ok(true)
    }

    /// Remembers decisions that people look for: changes, and what held one back.
    fn note(&mut self, decision: &Decision, acted: bool) {
        let last = self.notable.as_ref();
        let news = last.is_none_or(|last| last.verdict != decision.verdict.as_str() || last.reason != decision.reason || last.to != decision.to);
        let would = decision.mode == Mode::DryRun && decision.from != decision.to;
        let holds = |verdict: &str| verdict == Verdict::Hold.as_str() || verdict == Verdict::Pinned.as_str();
        // What is held, and that it is not held any more.
        let held = decision.reason != reason::STARTING && (holds(decision.verdict.as_str()) || last.is_some_and(|last| holds(&last.verdict)));
        // Said once, though it is true of each decision until the policy proposes something.
        let dropped =
            decision.dropped_state.as_ref().filter(|dropped| self.decision.as_ref().and_then(|before| before.dropped_state.as_ref()) != Some(*dropped));
        if let (Some(dropped), Some(stamp)) = (dropped, &decision.policy) {
            tracing::debug!(object = %self.object, policy = %stamp.object, version = dropped.version, writer = dropped.writer, "{}", dropped.sentence());
            self.context.metrics.state_dropped(&stamp.object);
        }
        if acted || dropped.is_some() || (news && (would || held)) {
            self.notable = Some(status::last_decision(decision));
        }
        if acted {
            let policy = decision.policy.as_ref().map_or_else(String::new, |stamp| format!(" by {} {}", stamp.object, stamp.digest.short()));
            let instead = decision.fallback.as_ref().map_or_else(String::new, |fallback| format!(" as fallback ({})", fallback.sentence));
            let clamps: Vec<&str> = decision.clamps.iter().map(|clamp| clamp.guardrail.as_str()).collect();
            let clamped = if clamps.is_empty() { String::new() } else { format!(", clamped by {}", clamps.join(", ")) };
            let note = format!(
                "{} to {} replicas{policy}{instead}: {} ({}){clamped}; decision {}",
                decision.from, decision.to, decision.reason, decision.sentence, decision.id
            );
            tracing::info!(object = %self.object, from = decision.from, to = decision.to, reason = decision.reason, decision = decision.id, "scaled");
            self.context.events.publish(self.processor.object_ref(&()), EventType::Normal, "Scaled", "Scale", &note);
        }
    }

    /// Status, gauges.
    #[tracing::instrument(level = "debug", skip_all)]
    pub(super) fn record(&mut self, news: News) {
        let members = self.members();
        let now = self.context.now();
        let counts = facts::counts(&members);
        let findings: Vec<Finding> = facts::health(now, &members);
        if news == News::Changed {
            // At a tick what was measured is not here until its end.
            self.report_on_table(&members);
        }
        let glance = self.glance(&members, counts, &findings);
        let ready = match &self.glanced {
            Some((at, known, ready)) if news == News::Decided && !self.keeper.is_lost() && at.elapsed() < status::RATES && *known == glance => *ready,
            _ => self.renew_status(now, &members, counts, &findings, (glance, news)),
        };
        self.tracked.set(&ObjectState {
            ready,
            desired: counts.desired,
            ready_replicas: counts.ready,
            staleness: self.staleness.take(),
            problem: findings.first().map(|finding| finding.problem),
        });
    }

    /// All that a status tells besides numbers that only have to be right every [`status::RATES`], as one
    /// number: while it stays the same, a tick does not compute the status anew.
    fn glance(&self, members: &Arc<Members>, counts: facts::Counts, findings: &[Finding]) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        if let Some(decision) = &self.decision {
            (decision.verdict, &decision.reason, decision.from, decision.to, decision.clamps.len()).hash(&mut hasher);
            let outcome = decision.invocation.as_ref().map(|invocation| &invocation.outcome);
            match outcome {
                Some(Outcome::Refusal(refusal)) => (1_u8, &refusal.code).hash(&mut hasher),
                Some(Outcome::Failure(failure)) => (2_u8, failure.kind).hash(&mut hasher),
                Some(Outcome::Proposal(_)) => 3_u8.hash(&mut hasher),
                None => 4_u8.hash(&mut hasher),
            }
        }
        let metrics = self.metrics.as_ref().map(|metrics| if let MetricsHealth::NotReady { reason, .. } = metrics { reason.as_str() } else { "" });
        let objectives = self.valid.as_ref().and_then(|valid| status::objectives(valid, self.window.as_ref(), counts));
        (
            Arc::as_ptr(members) as usize,
            findings.len(),
            metrics,
            self.unresolved.as_ref().map(|why| &why.code),
            self.stamp.as_ref(),
            self.draining.len(),
            objectives.map(|(kept, _)| kept == Status::True),
            self.trouble.as_ref().map(|trouble| (trouble.reason, &trouble.message)),
            self.config.as_ref().map(|config| (config.step.accepted.reason, config.step.confirmed.reason, config.confirmed)),
            self.routing.as_ref().map(|followed| &followed.said.2),
        )
            .hash(&mut hasher);
        hasher.finish()
    }

    fn renew_status(&mut self, now: UnixMs, members: &Members, counts: facts::Counts, findings: &[Finding], (glance, news): (u64, News)) -> Readiness {
        let config =
            self.valid.as_ref().and_then(|valid| valid.revision()).zip(self.config.as_ref()).map(|(revision, outcome)| (revision.hash(), &outcome.step));
        let capacity = self.valid.as_ref().map(|valid| self.capacity(valid)).unwrap_or_default();
        let computed = status::compute(&Seen {
            now,
            processor: &self.processor,
            before: &self.keeper.written,
            valid: self.valid.as_deref(),
            trouble: self.trouble.as_ref(),
            members,
            counts,
            findings,
            metrics: self.metrics.as_ref(),
            unresolved: self.unresolved.as_ref(),
            decision: self.decision.as_ref(),
            notable: self.notable.as_ref(),
            window: self.window.as_ref(),
            capacity,
            start_up_measured: self.start_up_measured,
            config,
            rejected: self.rejected.as_ref(),
            confirmed: self.config.as_ref().and_then(|outcome| outcome.confirmed),
            draining: &self.draining,
            routing: self.routing.as_ref().map(|followed| &followed.said),
        });
        let ready = match computed.conditions.first().map(|condition| condition.status.as_str()) {
            Some("True") => Readiness::True,
            Some("False") => Readiness::False,
            _ => Readiness::Unknown,
        };
        let told = self.keeper.write(&self.context, &self.processor, computed, news == News::Acted);
        self.glanced = told.then(|| (Instant::now(), glance, ready));
        ready
    }
}

/// Why a status is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Something else than a decision happened.
    Changed,
    /// A decision was made that changed nothing.
    Decided,
    /// A decision changed the replicas.
    Acted,
}

/// Why an object is held whose namespace has used up its time.
fn out_of_time(object: &ObjectRef, namespace: &Namespace) -> Block {
    let sentence = format!(
        "policy calls on objects of namespace {} have used up their processor time ({} ms of each second): have policies that compute less, measure less often, or have the operator's --namespace-quota-for raised",
        object.namespace,
        namespace.quota().decision_us / 1000
    );
    Block { code: reason::QUOTA_EXCEEDED.to_owned(), sentence }
}

/// How the records of an object fare.
pub(super) fn fate(window: &Window) -> Fate {
    let share = window.latest(names::REFUSED).zip(window.latest(names::OFFERED));
    Fate {
        refused_share: share.map(|(refused, offered)| if offered > 0.0 { refused / offered } else { 0.0 }),
        age_s: status::waiting(window).map(|age| age.min(86_400.0)),
    }
}
