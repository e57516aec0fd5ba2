//! Record: status and Events of a LogProcessor. [`compute`] touches nothing; [`Keeper`] writes what
//! changed, and rates at most every 10 s and when they differ by a tenth, so a quiet object costs no requests.

use super::facts::Counts;
use crate::build::rollout::{Rejected, Step, Verdict as ConfigVerdict};
use crate::build::{ConfigHash, Valid};
use crate::conditions::{Conditions, Status, find, round, time};
use crate::context::Context;
use crate::index::Members;
use crate::shell::events::EventType;
use crate::watch::chain;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use weir_core::decision::{Decision, Verdict};
use weir_core::health::Finding;
use weir_core::ids::UnixMs;
use weir_core::scaling::{Capacity, Outcome};
use weir_core::snapshot::{Block, MetricsHealth};
use weir_core::window::{Window, names};
use weir_crds::conditions::{kind, reason};
use weir_crds::log_processor::{
    CapacityStatus, ClampStatus, ConfigStatus, DroppedState, LastDecision, LogProcessorStatus, Mode, PolicyStamp, Rates, RejectedConfig, Summary,
};
use weir_crds::names::FIELD_MANAGER;
use weir_crds::{GROUP, LogProcessor, VERSION};

/// Rates alone are written at most this often.
pub(super) const RATES: Duration = Duration::from_secs(10);
/// Share by which a rate may differ from the written one without being written.
const NEAR: f64 = 0.1;
/// A process that has just taken an object up does not write over what is known of it for this long.
const FRESH: Duration = Duration::from_secs(10);
/// How long a write may take that is under way when an actor ends.
const LAST: Duration = Duration::from_millis(500);
/// Any status is written at most this often, unless a decision acted.
const ANY: Duration = Duration::from_secs(1);

/// Something that keeps the object from being what its spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Reason of the condition Ready.
    pub(super) reason: &'static str,
    /// Message of the condition Ready.
    pub(super) message: String,
}

/// What a status is computed from.
pub(super) struct Seen<'a> {
    pub(super) now: UnixMs,
    pub(super) processor: &'a LogProcessor,
    pub(super) before: &'a LogProcessorStatus,
    pub(super) valid: Option<&'a Valid>,
    pub(super) trouble: Option<&'a Trouble>,
    pub(super) members: &'a Members,
    pub(super) counts: Counts,
    pub(super) findings: &'a [Finding],
    pub(super) metrics: Option<&'a MetricsHealth>,
    pub(super) unresolved: Option<&'a Block>,
    pub(super) decision: Option<&'a Decision>,
    pub(super) notable: Option<&'a LastDecision>,
    pub(super) window: Option<&'a Window>,
    pub(super) capacity: Capacity,
    pub(super) start_up_measured: bool,
    pub(super) config: Option<(&'a ConfigHash, &'a Step)>,
    pub(super) rejected: Option<&'a Rejected>,
    pub(super) confirmed: Option<u32>,
    pub(super) draining: &'a [String],
    /// The condition RoutingTableReady, where a table is named.
    pub(super) routing: Option<&'a (Status, &'static str, String)>,
}

/// Computes the status.
pub(super) fn compute(seen: &Seen<'_>) -> LogProcessorStatus {
    let workload = seen.members.workload.as_ref();
    let latest = |name: &str| seen.window.and_then(|window| window.latest(name)).map(round);
    let rates = Rates { offered: latest(names::OFFERED), accepted: latest(names::ACCEPTED), refused: latest(names::REFUSED), sent: latest(names::SENT) };
    let stamp = seen.decision.and_then(|decision| decision.policy.as_ref());
    LogProcessorStatus {
        observed_generation: seen.processor.metadata.generation,
        conditions: conditions(seen),
        replicas: Some(workload.map_or(0, |workload| workload.current)),
        ready_replicas: Some(seen.counts.ready),
        desired_replicas: Some(seen.counts.desired),
        selector: workload.map(|workload| workload.selector.text()).or_else(|| seen.before.selector.clone()),
        rates: (rates != Rates::default()).then_some(rates),
        capacity_per_replica: seen.capacity.per_replica.map(|each| CapacityStatus { records_per_second: round(each), learnt: seen.capacity.learnt }),
        start_up_seconds: seen.start_up_measured.then(|| round(seen.capacity.start_up)),
        config: config(seen),
        last_decision: seen.notable.cloned().or_else(|| seen.before.last_decision.clone()),
        summary: Some(Summary {
            rate: rates.offered.map(rate_text),
            mode: Some(mode(seen).to_owned()),
            digest: stamp.map(|stamp| stamp.digest.short()),
            last_decision: seen
                .notable
                .map(|decision| format!("{}->{} {}", decision.from, decision.to, decision.reason))
                .or_else(|| seen.before.summary.as_ref()?.last_decision.clone()),
        }),
    }
}

/// What is known of a collector's configuration; before this process has looked at it, what was known.
fn config(seen: &Seen<'_>) -> Option<ConfigStatus> {
    seen.valid.and_then(Valid::revision)?;
    let Some((desired, step)) = seen.config else { return seen.before.config.clone() };
    let rejected = step.rejected.as_ref().or(seen.rejected);
    Some(ConfigStatus {
        desired: Some(desired.to_string()),
        running: seen.members.workload.as_ref().and_then(|workload| workload.config_hash.clone()),
        confirmed_replicas: seen.confirmed,
        rejected: rejected.map(|rejected| RejectedConfig { hash: rejected.hash.to_string(), message: rejected.message.clone() }),
    })
}

fn conditions(seen: &Seen<'_>) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    let mut conditions = Conditions::new(&seen.before.conditions, seen.now, seen.processor.metadata.generation);
    let (ready, why, message) = readiness(seen);
    conditions.set(kind::READY, ready, why, &message);
    if let Some((status, why, message)) = seen.routing {
        conditions.set(kind::ROUTING_TABLE_READY, *status, why, message);
    }
    if seen.valid.is_none() {
        return conditions.finish();
    }
    match seen.metrics {
        Some(MetricsHealth::Ready) => {
            let measured = seen.valid.is_some_and(|valid| valid.metrics.scrape.is_some() || valid.metrics.prometheus.is_some());
            let message = if measured { "the series are complete and fresh" } else { "spec.metrics asks for nothing to be measured" };
            conditions.set(kind::METRICS_READY, Status::True, reason::AS_EXPECTED, message);
        }
        Some(MetricsHealth::NotReady { reason, sentence }) => {
            conditions.set(kind::METRICS_READY, unless_starting(reason), reason, &format!("{sentence}; the replicas are held"))
        }
        None => conditions.set(kind::METRICS_READY, Status::Unknown, reason::STARTING, "nothing was measured yet"),
    }
    let (status, why, message) = policy(seen);
    conditions.set(kind::POLICY_READY, status, &why, &message);
    let (status, why, message) = scaling(seen);
    conditions.set(kind::SCALING_ACTIVE, status, &why, &message);
    match seen.findings.first() {
        Some(finding) => {
            let more = if finding.pods.len() > 1 { format!(" ({} pods in all)", finding.pods.len()) } else { String::new() };
            conditions.set(kind::HEALTHY, Status::False, finding.problem.as_str(), &format!("{}{more}", finding.sentence));
        }
        None => conditions.set(kind::HEALTHY, Status::True, reason::AS_EXPECTED, "no replica is stuck"),
    }
    if let (None, Some(_)) = (seen.config, seen.valid.and_then(Valid::revision)) {
        // Not looked at yet by this process: what is known stands.
        for known in [kind::CONFIG_ACCEPTED, kind::CONFIG_CONFIRMED].iter().filter_map(|kind| find(&seen.before.conditions, kind)) {
            conditions.keep(known);
        }
    }
    if let Some((_, step)) = seen.config {
        let mut add = |kind: &str, verdict: &ConfigVerdict| {
            conditions.set(kind, verdict.status, verdict.reason, &verdict.message);
        };
        let notices = seen.valid.map_or(&[][..], |valid| &valid.notices);
        let advice = notices.iter().map(|notice| format!("; {}: {}", notice.code, notice.message)).collect::<String>();
        let accepted = ConfigVerdict { message: format!("{}{advice}", step.accepted.message), ..step.accepted.clone() };
        add(kind::CONFIG_ACCEPTED, &accepted);
        add(kind::CONFIG_CONFIRMED, &step.confirmed);
    }
    if let Some((status, message)) = seen.valid.and_then(|valid| objectives(valid, seen.window, seen.counts)) {
        let why = if status == Status::False { reason::OBJECTIVE_MISSED } else { reason::AS_EXPECTED };
        conditions.set(kind::OBJECTIVES_MET, status, why, &message);
    }
    conditions.finish()
}

fn readiness(seen: &Seen<'_>) -> (Status, &'static str, String) {
    if let Some(trouble) = seen.trouble {
        return (Status::False, trouble.reason, trouble.message.clone());
    }
    if let Some((_, step)) = seen.config
        && step.accepted.status == Status::False
    {
        return (Status::False, step.accepted.reason, step.accepted.message.clone());
    }
    if let Some((Status::False, why, message)) = seen.routing {
        return (Status::False, *why, message.clone());
    }
    let Counts { desired, ready, .. } = seen.counts;
    if let Some(finding) = seen.findings.first() {
        return (Status::False, reason::DEGRADED, format!("{ready} of {desired} replicas are ready: {}", finding.sentence));
    }
    if seen.members.workload.is_none() {
        let waits = seen.config.map_or("the workload is being created", |(_, step)| step.accepted.message.as_str());
        return (Status::False, reason::PROGRESSING, waits.to_owned());
    }
    if ready < desired {
        return (Status::False, reason::PROGRESSING, format!("{ready} of {desired} replicas are ready"));
    }
    if let Some(MetricsHealth::NotReady { reason: why, sentence }) = seen.metrics {
        let why = if why == reason::STARTING { reason::PROGRESSING } else { reason::METRICS_NOT_READY };
        return (Status::False, why, sentence.clone());
    }
    let (status, _, message) = policy(seen);
    if status == Status::False && seen.valid.is_some_and(|valid| valid.scaling.is_some()) {
        return (Status::False, reason::POLICY_NOT_READY, message);
    }
    (Status::True, reason::AS_EXPECTED, format!("{ready} replicas are ready"))
}

/// What has just been taken up is not known to be wrong.
fn unless_starting(why: &str) -> Status {
    if why == reason::STARTING { Status::Unknown } else { Status::False }
}

fn policy(seen: &Seen<'_>) -> (Status, String, String) {
    let Some(scaling) = seen.valid.and_then(|valid| valid.scaling.as_ref()) else {
        return (Status::False, reason::NO_POLICY.to_owned(), "spec.scaling is absent: only min, max and pin count".to_owned());
    };
    if let Some(why) = seen.unresolved {
        return (unless_starting(&why.code), why.code.clone(), why.sentence.clone());
    }
    let outcome = seen.decision.and_then(|decision| decision.invocation.as_ref()).map(|invocation| &invocation.outcome);
    match outcome {
        Some(Outcome::Failure(failure)) => (Status::False, failure.kind.as_str().to_owned(), format!("{}; the replicas are held", failure.message)),
        Some(Outcome::Refusal(refusal)) => {
            (Status::True, reason::POLICY_REFUSED.to_owned(), format!("{}: {}; the replicas are held", refusal.code, refusal.sentence))
        }
        Some(Outcome::Proposal(_)) => match seen.decision.and_then(|decision| decision.fallback.as_ref()) {
            Some(fallback) => {
                (Status::True, reason::FALLBACK_DECIDES.to_owned(), format!("a fallback of {} proposes the replicas: {}", scaling.policy, fallback.sentence))
            }
            None => (Status::True, reason::AS_EXPECTED.to_owned(), format!("{} proposes the replicas", scaling.policy)),
        },
        None if seen.decision.is_some() => (Status::True, reason::AS_EXPECTED.to_owned(), format!("{} is loaded", scaling.policy)),
        None => (Status::Unknown, reason::STARTING.to_owned(), "no decision was made yet".to_owned()),
    }
}

fn scaling(seen: &Seen<'_>) -> (Status, String, String) {
    let spec = seen.valid.and_then(|valid| valid.scaling.as_ref());
    let Some(decision) = seen.decision else { return (Status::Unknown, reason::STARTING.to_owned(), "no decision was made yet".to_owned()) };
    let because = |why: &str, message: String| (Status::False, why.to_owned(), message);
    match decision.verdict {
        Verdict::Pinned => because(reason::PINNED, decision.sentence.clone()),
        Verdict::Hold if decision.reason == reason::PAUSED => because(reason::PAUSED, decision.sentence.clone()),
        _ if spec.is_none() => because(reason::NO_POLICY, decision.sentence.clone()),
        Verdict::Hold if decision.reason == reason::STARTING => (Status::Unknown, reason::STARTING.to_owned(), decision.sentence.clone()),
        Verdict::Hold if decision.invocation.is_none() && matches!(seen.metrics, Some(MetricsHealth::NotReady { .. })) => {
            because(reason::METRICS_NOT_READY, decision.sentence.clone())
        }
        Verdict::Hold => because(&decision.reason, decision.sentence.clone()),
        _ if spec.is_some_and(|spec| spec.mode == weir_core::snapshot::Mode::DryRun) => {
            because(reason::DRY_RUN, "spec.scaling.mode is DryRun: decisions are recorded and change nothing".to_owned())
        }
        Verdict::Scale | Verdict::Steady if !seen.draining.is_empty() => (
            Status::True,
            "Draining".to_owned(),
            format!(
                "waiting for {} replicas to empty their queues before they go, {} first",
                seen.draining.len(),
                seen.draining.first().map_or("", String::as_str)
            ),
        ),
        Verdict::Scale | Verdict::Steady => (Status::True, reason::AS_EXPECTED.to_owned(), "decisions set the replicas".to_owned()),
    }
}

/// Whether the objectives are kept; `None`: there are none, or nothing is measured.
pub(super) fn objectives(valid: &Valid, window: Option<&Window>, counts: Counts) -> Option<(Status, String)> {
    let (wanted, window) = (valid.objectives, window?);
    let mut missed = Vec::new();
    let mut known = false;
    if let (Some(limit), Some(age)) = (wanted.freshness, waiting(window)) {
        known = true;
        if age > limit {
            missed.push(format!(
                "freshness: the oldest waiting record is about {} s old, {limit} s are allowed",
                if age > 1e6 { "unboundedly many".to_owned() } else { round(age).to_string() }
            ));
        }
    }
    if let (Some(limit), Some(refused), Some(offered)) = (wanted.refused_share, mean(window, names::REFUSED), mean(window, names::OFFERED)) {
        known = true;
        let share = if offered > 0.0 { refused / offered } else { 0.0 };
        if share > limit {
            missed.push(format!("refusedShare: {} of the records of the window were refused, {limit} is allowed", round(share)));
        }
    }
    if let Some(limit) = wanted.replica_hours {
        known = true;
        let pace = f64::from(counts.desired) * 24.0;
        if pace > limit {
            missed.push(format!("replicaHours: {} replicas spend {pace} a day, {limit} are allowed", counts.desired));
        }
    }
    if !known {
        return None;
    }
    Some(if missed.is_empty() { (Status::True, "all objectives are kept".to_owned()) } else { (Status::False, missed.join("; ")) })
}

/// Seconds that the newest record will have waited; `None`: not measured. Little's law: what waits, over
/// what leaves a second.
pub(super) fn waiting(window: &Window) -> Option<f64> {
    let (backlog, sent) = window.latest(names::BACKLOG).zip(window.latest(names::SENT))?;
    Some(if backlog <= 0.0 { 0.0 } else { backlog / sent.max(1e-9) })
}

fn mean(window: &Window, name: &str) -> Option<f64> {
    let values: Vec<f64> = window.get(name)?.values.iter().copied().filter(|value| value.is_finite()).collect();
    if values.is_empty() { None } else { Some(values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX))) }
}

fn mode(seen: &Seen<'_>) -> &'static str {
    let Some(valid) = seen.valid else { return "Held" };
    let Some(scaling) = &valid.scaling else { return if valid.pin.is_some() { "Pinned" } else { "Manual" } };
    match seen.decision.map(|decision| decision.verdict) {
        _ if scaling.paused => "Paused",
        Some(Verdict::Pinned) => "Pinned",
        Some(Verdict::Hold) => "Held",
        _ if scaling.mode == weir_core::snapshot::Mode::DryRun => "DryRun",
        _ => "Enforce",
    }
}

fn rate_text(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{}M/s", trim(rate / 1e6)),
        rate if rate >= 1e3 => format!("{}k/s", trim(rate / 1e3)),
        rate => format!("{}/s", trim(rate)),
    }
}

fn trim(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A decision as it stands in status.
pub(super) fn last_decision(decision: &Decision) -> LastDecision {
    LastDecision {
        id: decision.id.clone(),
        time: time(decision.at),
        verdict: decision.verdict.as_str().to_owned(),
        from: decision.from,
        to: decision.to,
        proposed: decision.proposed,
        reason: decision.reason.clone(),
        message: decision.sentence.clone(),
        snapshot: Some(decision.snapshot.to_string()),
        policy: decision.policy.as_ref().map(|stamp| PolicyStamp {
            name: stamp.object.name.clone(),
            namespace: stamp.object.namespace.clone(),
            digest: stamp.digest.to_string(),
            version: Some(stamp.version.clone()),
        }),
        fallback: decision.fallback.as_ref().map(|fallback| fallback.sentence.clone()),
        dropped_state: decision.dropped_state.as_ref().map(|dropped| DroppedState {
            version: dropped.version,
            writer: dropped.writer.clone(),
            digest: dropped.digest.to_string(),
        }),
        clamps: decision.clamps.iter().map(|clamp| ClampStatus { guardrail: clamp.guardrail.as_str().to_owned(), from: clamp.from, to: clamp.to }).collect(),
        mode: if decision.mode == weir_core::snapshot::Mode::DryRun { Mode::DryRun } else { Mode::Enforce },
    }
}

/// Writes statuses, and Events for conditions that turned. Decisions do not wait for it: one write is
/// under way at a time, and what came meanwhile is written after it.
pub(super) struct Keeper {
    /// As the API server has it, or will when the write under way succeeds.
    pub(super) written: LogProcessorStatus,
    flight: Option<Box<Flight>>,
    /// What came while a write was under way.
    next: Option<Box<(Arc<LogProcessor>, LogProcessorStatus)>>,
    /// The last write failed: what the API server has is not known.
    lost: bool,
    last: Option<Instant>,
    last_rates: Option<Instant>,
    made: Instant,
}

struct Flight {
    context: Arc<Context>,
    processor: Arc<LogProcessor>,
    before: LogProcessorStatus,
    task: JoinHandle<Result<(), kube::Error>>,
}

impl Keeper {
    /// Starts from what the API server has.
    pub(super) fn new(processor: &LogProcessor) -> Self {
        let written = processor.status.clone().unwrap_or_default();
        Self { written, flight: None, next: None, lost: false, last: None, last_rates: None, made: Instant::now() }
    }

    /// Begins to write `status` when it differs and is due. False: it differs, and has to be offered again.
    pub(super) fn write(&mut self, context: &Arc<Context>, processor: &Arc<LogProcessor>, mut status: LogProcessorStatus, acted: bool) -> bool {
        let waited = |since: Option<Instant>, span: Duration| since.is_none_or(|since| since.elapsed() >= span);
        keep_rates_quiet(&mut status, &self.written);
        if !waited(self.last_rates, RATES) && !acted {
            status.rates = self.written.rates;
            status.capacity_per_replica = self.written.capacity_per_replica;
            status.start_up_seconds = self.written.start_up_seconds;
            if let (Some(summary), Some(before)) = (&mut status.summary, &self.written.summary) {
                summary.rate.clone_from(&before.rate);
            }
            keep_numbers_quiet(&mut status, &self.written);
        }
        let starts = status.conditions.iter().any(|condition| condition.reason == reason::STARTING);
        if starts
            && !acted
            && !self.written.conditions.is_empty()
            && self.made.elapsed() < FRESH
            && status.observed_generation == self.written.observed_generation
        {
            return false;
        }
        if status == self.written && !self.lost {
            return true;
        }
        if (!acted && !waited(self.last, ANY)) || !context.leadership.is_leader() {
            return false;
        }
        if self.flight.is_some() {
            self.next = Some(Box::new((processor.clone(), status)));
        } else {
            self.begin(context.clone(), processor.clone(), status);
        }
        true
    }

    fn begin(&mut self, context: Arc<Context>, processor: Arc<LogProcessor>, status: LogProcessorStatus) {
        let now = Instant::now();
        if status.rates != self.written.rates || self.last_rates.is_none_or(|last| last.elapsed() >= RATES) {
            self.last_rates = Some(now);
        }
        self.last = Some(now);
        let name = processor.metadata.name.clone().unwrap_or_default();
        let api: Api<LogProcessor> = Api::namespaced(context.client.clone(), processor.metadata.namespace.as_deref().unwrap_or_default());
        let patch = serde_json::json!({
            "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "LogProcessor", "metadata": { "name": name }, "status": status,
        });
        let task = tokio::spawn(async move { api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await.map(drop) });
        let before = std::mem::replace(&mut self.written, status);
        self.flight = Some(Box::new(Flight { context, processor, before, task }));
    }

    /// True when the last write failed.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// Ends when the write under way has ended, and begins the next; never, when none is under way.
    pub(super) async fn written(&mut self) {
        let Some(flight) = &mut self.flight else { return std::future::pending().await };
        let answer = (&mut flight.task).await;
        let Some(flight) = self.flight.take() else { return };
        let Flight { context, processor, before, .. } = *flight;
        self.lost = match answer {
            Ok(Ok(())) => {
                announce(&context, &processor, &before, &self.written);
                false
            }
            // It is gone, and so is its status.
            Ok(Err(kube::Error::Api(error))) if error.code == 404 => false,
            Ok(Err(error)) => {
                context.metrics.apply_failed("LogProcessor", &error);
                tracing::debug!(object = processor.metadata.name, error = %chain(&error), "the status could not be written and is tried again");
                // What turned has not been told of.
                self.written = before;
                true
            }
            Err(_) => true,
        };
        if let Some((processor, status)) = self.next.take().map(|next| *next)
            && context.leadership.is_leader()
        {
            self.begin(context, processor, status);
        }
    }

    /// Waits a moment for the write under way and gives it up then: whoever leads next writes it anew, and
    /// a handover of thousands of objects must not wait for a busy server.
    pub(super) async fn finish(&mut self) {
        self.next = None;
        if self.flight.is_some()
            && tokio::time::timeout(LAST, self.written()).await.is_err()
            && let Some(flight) = self.flight.take()
        {
            flight.task.abort();
        }
    }
}

/// A rate that is within a tenth of the written one is no news: a load that wavers costs no requests.
fn keep_rates_quiet(status: &mut LogProcessorStatus, written: &LogProcessorStatus) {
    let near = |new: &mut Option<f64>, old: Option<f64>| {
        if let (Some(value), Some(known)) = (*new, old)
            && (value - known).abs() <= NEAR * value.abs().max(known.abs())
        {
            *new = old;
        }
    };
    if let (Some(rates), Some(known)) = (&mut status.rates, &written.rates) {
        near(&mut rates.offered, known.offered);
        near(&mut rates.accepted, known.accepted);
        near(&mut rates.refused, known.refused);
        near(&mut rates.sent, known.sent);
        if rates.offered == known.offered
            && let (Some(summary), Some(before)) = (&mut status.summary, &written.summary)
        {
            summary.rate.clone_from(&before.rate);
        }
    }
    if let (Some(capacity), Some(known)) = (&mut status.capacity_per_replica, &written.capacity_per_replica)
        && capacity.learnt == known.learnt
        && (capacity.records_per_second - known.records_per_second).abs() <= NEAR * known.records_per_second
    {
        capacity.records_per_second = known.records_per_second;
    }
    near(&mut status.start_up_seconds, written.start_up_seconds);
}

/// A message whose condition did not turn may carry numbers that change every second: it waits as
/// rates do.
fn keep_numbers_quiet(status: &mut LogProcessorStatus, written: &LogProcessorStatus) {
    for condition in &mut status.conditions {
        if let Some(before) = written.conditions.iter().find(|before| before.type_ == condition.type_)
            && before.status == condition.status
            && before.reason == condition.reason
        {
            condition.message.clone_from(&before.message);
        }
    }
}

/// Says once what turned.
fn announce(context: &Context, processor: &LogProcessor, before: &LogProcessorStatus, after: &LogProcessorStatus) {
    for condition in &after.conditions {
        let known = before.conditions.iter().find(|known| known.type_ == condition.type_);
        let same = known.is_some_and(|known| known.status == condition.status && known.reason == condition.reason);
        // Good news is only news after bad news.
        let first_good = condition.status == "True" && known.is_none_or(|known| known.status != "False");
        if same || first_good || condition.status == "Unknown" || condition.reason == reason::PROGRESSING || condition.reason == reason::ROLLING_OUT {
            continue;
        }
        // A policy that refuses has been asked and has answered.
        let refused = condition.type_ == kind::SCALING_ACTIVE
            && after.conditions.iter().any(|other| other.type_ == kind::POLICY_READY && other.reason == reason::POLICY_REFUSED);
        let wanted = [reason::PAUSED, reason::PINNED, reason::DRY_RUN, reason::NO_POLICY].contains(&condition.reason.as_str());
        let bad = condition.status == "False" && !wanted && !refused;
        // Ready sums the others up: only what no other condition says is said here.
        if condition.type_ == kind::READY
            && bad
            && ![reason::INVALID_SPEC, reason::APPLY_FAILED, reason::TARGET_NOT_FOUND, reason::TARGET_TAKEN, reason::NAME_TAKEN]
                .contains(&condition.reason.as_str())
        {
            continue;
        }
        let event = if bad { EventType::Warning } else { EventType::Normal };
        let word = if condition.status == "True" { format!("{}{}", condition.type_, "Again") } else { condition.reason.clone() };
        context.events.publish(processor.object_ref(&()), event, &word, "Observe", &condition.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(12_437.0, 12_000.0, "12k/s")]
    #[case(0.0, 0.0, "0/s")]
    #[case(999.0, 1000.0, "1k/s")]
    #[case(0.123, 0.12, "0.1/s")]
    #[case(1_260_000.0, 1_300_000.0, "1.3M/s")]
    fn rates_are_rounded_to_what_people_act_on(#[case] rate: f64, #[case] rounded: f64, #[case] text: &str) {
        assert!((round(rate) - rounded).abs() < 1e-9);
        assert_eq!(rate_text(round(rate)), text);
    }
}
