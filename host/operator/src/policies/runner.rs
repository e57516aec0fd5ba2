//! Keeps one WasmPolicy loaded: follows its source, hands changed bytes to the slot, reports.
//! Touches the network and, for `source.file`, the policy folder. One task per WasmPolicy.

use super::fetch::Oci;
use super::keep::{self, Kept};
use super::loading::{self, candidate, retry};
use super::rollout::{self, Shipped, Tried};
use super::sources::{Fetched, fetch, folder_changed};
use super::status::{self, Report};
use super::trust;
use super::{Entry, fallback, room};
use crate::context::Context;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_core::ids::{Digest, UnixMs};
use weir_core::scaling::ScalingPolicy as _;
use weir_crds::WasmPolicy;
use weir_engine::source::folder::FolderSource;
use weir_engine::verify::{Rules, Signatures, Trust};
use weir_engine::{Candidate, Ready};

/// Wait before a source is read again that could not be read for a reason that may pass.
const RETRY: Duration = Duration::from_secs(5);

/// Runs until the policy is deleted or the operator stops.
pub async fn run(context: Arc<Context>, entry: Arc<Entry>) {
    let mut spec = entry.spec.subscribe();
    let mut leadership = context.leadership.subscribe();
    let mut folder: Option<(String, FolderSource)> = None;
    let mut oci = Oci::default();
    let mut report = Report::default();
    let mut shipped: Option<Shipped> = None;
    // The opening for which the module before was looked for in the cluster.
    let mut looked: Option<UnixMs> = None;
    loop {
        let policy = spec.borrow_and_update().clone();
        report.remember(&policy);
        let (rules, fetched) = match trust::rules(&context, &policy).await {
            Ok(rules) => {
                let fetched = fetch(&context, &policy, &mut folder, &mut oci, &rules, entry.current().is_some()).await;
                (Some(rules), fetched)
            }
            // Without its rules no module is taken in, a kept one neither.
            Err(failed) => (None, failed),
        };
        let retry = matches!(fetched, Fetched::Failed { retry: true, .. });
        let pending = matches!(fetched, Fetched::Pending);
        let trust = Trust { rules: rules.clone().unwrap_or_default(), signatures: Signatures::default() };
        let loaded = load(&context, &entry, &policy, &trust.rules, fetched, (&mut report, &mut shipped));
        let Loaded { waits, mut again } = tokio::select! {
            loaded = loaded => loaded,
            // Nobody wants it any more, and the compiler may be busy with it for long.
            () = entry.stop.cancelled() => return,
            () = context.stop.cancelled() => return,
        };
        again = again.or(rollout::back(&context, &entry, &policy, &trust, &mut report).await);
        oci.judged(&policy, report.refused_for());
        if let Some(rules) = rules.as_ref().filter(|_| !pending && entry.current().is_none()) {
            again = again.or(recall(&context, &entry, &policy, rules, &mut report).await);
        }
        let again = again.map(|wait| Instant::now() + wait);
        report.fallback = fallback::fit(&context, &entry, &policy, rules.as_deref()).await;
        entry.tried.fetch_or(!pending, Ordering::Relaxed);
        if !pending {
            room::settle(&context, &entry);
        }
        let mut folder_events = folder.as_ref().map(|(_, source)| source.events());
        if let Some(events) = &mut folder_events {
            events.borrow_and_update();
        }
        // Until the source changes, only the status may have to be written.
        loop {
            report.stale = oci.stale().map(str::to_owned);
            let opening = entry.running().and_then(|running| running.opening()).map(|opening| opening.since);
            if opening.is_some() && opening != looked {
                looked = opening;
                fallback::recall(&context, &entry, &policy, &trust.rules).await;
            }
            report.breaker = fallback::tell(&entry);
            if entry.stop.is_cancelled() {
                return;
            }
            let half_open = fallback::gauge(&context, &entry, context.now());
            let written = status::write(&context, &entry, &policy, &report).await;
            tokio::select! {
                () = entry.stop.cancelled() => return,
                () = context.stop.cancelled() => return,
                changed = spec.changed() => if changed.is_err() { return } else {
                    let same = spec.borrow().metadata.generation == policy.metadata.generation;
                    // Our own status write comes back as a change of the object.
                    if same && !waits { spec.borrow_and_update(); continue } else { break }
                },
                () = entry.source_changed.notified() => break,
                () = folder_changed(&mut folder_events) => { entry.seen.lock().get_or_insert_with(Instant::now); break },
                () = oci.due() => if oci.recheck(&context, &policy).await { entry.seen.lock().get_or_insert_with(Instant::now); break },
                () = entry.users_changed.notified() => {}
                () = entry.turned.notified() => {}
                () = tokio::time::sleep(half_open.unwrap_or_default()), if half_open.is_some() => {}
                changed = leadership.changed() => if changed.is_err() { return } else if waits { break },
                () = tokio::time::sleep(rollout::LOOK), if entry.trial().is_some() => {
                    if context.leadership.is_leader() {
                        rollout::look(&context, &entry, (&policy, &trust.rules), &mut shipped, &mut report).await;
                        room::settle(&context, &entry);
                    }
                }
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now).into()), if again.is_some() => break,
                () = tokio::time::sleep(RETRY), if retry => break,
                () = tokio::time::sleep(RETRY), if !written => {}
            }
        }
    }
}

/// What a load asks for next.
#[derive(Default)]
struct Loaded {
    /// A standby waits for the leader's verdict.
    waits: bool,
    /// The same has to be looked at again after this time.
    again: Option<Duration>,
}

impl Loaded {
    const WAITS: Self = Self { waits: true, again: None };
}

/// Loads what was fetched.
#[tracing::instrument(level = "debug", skip_all, fields(policy = %entry.object))]
async fn load(
    context: &Context,
    entry: &Entry,
    policy: &WasmPolicy,
    rules: &[Rules],
    fetched: Fetched,
    (report, shipped): (&mut Report, &mut Option<Shipped>),
) -> Loaded {
    let spec = policy;
    let seen = entry.seen.lock().take();
    entry.awaits_room.store(false, Ordering::Relaxed);
    let now = context.now();
    let (bytes, revision, signatures) = match fetched {
        Fetched::Pending => return Loaded::default(),
        Fetched::Failed { reason, sentence, .. } => {
            context.metrics.policy_rejected(reason);
            report.refused(now, None, reason, &sentence);
            return Loaded::default();
        }
        Fetched::Bytes { bytes, revision, signatures } => (bytes, revision, signatures),
    };
    // Only a leader has snapshots of decisions to try a module on. A standby goes on with what it
    // has until the status says that the leader runs the same revision.
    let status = policy.status.as_ref();
    let leader_runs = status.and_then(|status| status.running.as_ref()).is_some_and(|running| running.source_revision == revision);
    if !context.leadership.is_leader() && entry.current().is_some() && !leader_runs {
        return Loaded::WAITS;
    }
    // What a leader refused is not taken in by a process that has no snapshots to try it on.
    let of_bytes = Digest::of(&bytes);
    let rejected = status.and_then(|status| status.rejected.as_ref()).filter(|rejected| rejected.digest.as_deref() == Some(of_bytes.to_string().as_str()));
    if let Some(rejected) = rejected
        && rejected.reason == "ProbeFailed"
        && entry.slot.probe_count() == 0
        && status.and_then(|status| status.observed_generation) == policy.metadata.generation
    {
        report.refused(now, Some(of_bytes), &rejected.reason, &rejected.message);
        return Loaded::WAITS;
    }
    let digest = match policy.spec.digest.as_deref().map(str::parse::<Digest>).transpose() {
        Ok(digest) => digest,
        Err(error) => {
            report.refused(now, None, "InvalidSpec", &format!("spec.digest: {error}"));
            return Loaded::default();
        }
    };
    let candidate = Candidate { bytes: bytes.clone(), digest, ..candidate(entry, policy) };
    let trust = Trust { rules: rules.to_vec(), signatures: *signatures };
    let kept = Kept { bytes: bytes.clone(), params: candidate.params.clone(), signatures: trust.signatures.clone() };
    if !room::is_there(context, entry, report) {
        return Loaded::default();
    }
    let (tried, stages) = if let Some((wanted, plan)) = &rollout::plan(spec) {
        let (mut tried, stages) = rollout::try_out(context, entry, (spec, (wanted, plan)), &candidate, &trust, report).await;
        if let Tried::Recall(new) = tried {
            if let Some(again) = recall(context, entry, spec, rules, report).await {
                return Loaded { waits: false, again: Some(again) };
            }
            if !context.leadership.is_leader() && entry.current().is_some() {
                return Loaded::WAITS;
            }
            tried = rollout::judge_prepared(context, entry, (spec, (wanted, plan)), Ok(Ready::New(new)), report);
        }
        (tried, stages)
    } else {
        rollout::end(entry, report);
        let prepared = loading::prepare(context, entry, &candidate, &trust).await;
        let tried = match prepared.result {
            Ok(Ready::New(policy)) => Tried::Take(policy),
            Ok(Ready::Same(policy)) => Tried::Same(policy),
            Err(error) => Tried::Refused(error),
        };
        (tried, prepared.stages)
    };
    match tried {
        Tried::Take(policy) => {
            if !room::make(context, entry, &policy, true, report) {
                return Loaded::default();
            }
            let was_good = entry.take_over(&policy, rules);
            let took = seen.map_or(stages.total, |seen| seen.elapsed());
            context.metrics.policy_swapped(Some(took));
            tracing::info!(policy = %entry.object, digest = %policy.stamp().digest, took_ms = took.as_secs_f64() * 1e3, probes = stages.probes, "policy loaded");
            report.accepted(context.now(), &policy, revision);
            keep::keep(context, spec, &policy.stamp().digest, &kept, was_good).await;
        }
        Tried::Same(policy) => {
            if let Some(running) = entry.running() {
                running.verified(rules);
            }
            report.unchanged(context.now(), &policy, revision);
            // A module that runs may have been signed since.
            if kept.signatures != Signatures::default() {
                keep::keep(context, spec, &policy.stamp().digest, &kept, true).await;
            }
        }
        Tried::Refused(error) => {
            context.metrics.policy_rejected(error.reason());
            tracing::warn!(policy = %entry.object, reason = error.reason(), %error, "policy refused, the last good one goes on");
            report.refused(context.now(), Some(of_bytes), error.reason(), &error.to_string());
            return Loaded { waits: false, again: retry(report, &error) };
        }
        Tried::OnTrial => *shipped = Some(Shipped { kept, revision }),
        Tried::NotNow(again) => return Loaded { waits: false, again },
        Tried::Recall(_) => {
            let digest = rollout::ran(spec).map_or_else(String::new, |digest| digest.to_string());
            let sentence = format!(
                "{digest} ran before and no copy of it can be had, so this module can't be tried beside it: ship {digest} again, or write the digest of this one into spec.rollout.promote"
            );
            report.refused(now, Some(of_bytes), "LastGoodMissing", &sentence);
        }
    }
    report.retries = 0;
    Loaded::default()
}

/// Goes on with the module that ran last, when nothing runs: this process has just started, and the
/// source is broken or holds a module that is refused. With a time: it can be tried again then.
async fn recall(context: &Context, entry: &Entry, policy: &WasmPolicy, rules: &[Rules], report: &mut Report) -> Option<Duration> {
    let running = policy.status.as_ref()?.running.as_ref()?;
    let digest = running.digest.parse::<Digest>().ok()?;
    if context.policies.quotas.room(&entry.object.namespace, &entry.place).is_err() {
        return None;
    }
    let Kept { bytes, params, signatures } = keep::recall(context, policy, keep::Which::LastGood).await?;
    let candidate = Candidate { bytes, digest: Some(digest), params, ..candidate(entry, policy) };
    let trust = Trust { rules: rules.to_vec(), signatures };
    match loading::prepare(context, entry, &candidate, &trust).await.result {
        Ok(Ready::New(policy) | Ready::Same(policy)) => {
            if !room::make(context, entry, &policy, true, report) {
                return None;
            }
            entry.take_over(&policy, rules);
            context.metrics.policy_swapped(None);
            tracing::info!(policy = %entry.object, %digest, "the source gives no module that can run: the last good one goes on, from the copy in the cluster");
            report.recalled(context.now(), &policy, running.source_revision.clone());
            None
        }
        Err(error) => {
            tracing::warn!(policy = %entry.object, %digest, %error, "the kept copy of the last good module can't be used");
            retry(report, &error)
        }
    }
}
