//! Keeps one WasmPolicy loaded: follows its source, hands changed bytes to the slot, reports.
//! Touches the network and, for `source.file`, the policy folder. One task per WasmPolicy.

use super::Entry;
use super::fetch::Oci;
use super::keep::{self, Kept};
use super::rollout::{self, Shipped, Tried};
use super::status::{self, Report};
use super::trust;
use crate::context::Context;
use bytes::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_core::ids::Digest;
use weir_core::scaling::ScalingPolicy as _;
use weir_crds::WasmPolicy;
use weir_crds::wasm_policy::SourceChoice;
use weir_engine::LoadError;
use weir_engine::source::SourceError;
use weir_engine::source::builtin::builtin;
use weir_engine::source::config_map::{from_config_map, signature_key};
use weir_engine::source::folder::{FolderConfig, FolderEvent, FolderSource};
use weir_engine::verify::{Rules, Signatures, Trust};
use weir_engine::{Candidate, Limits, LoadOutcome, PolicyKind, StageTimes, Wasi};

/// Wait before a source is read again that could not be read for a reason that may pass.
const RETRY: Duration = Duration::from_secs(5);

/// Bytes of a source, or why there are none.
pub(super) enum Fetched {
    /// The bytes, the revision they have at the source, and the signatures that lie beside them.
    Bytes { bytes: Bytes, revision: Option<String>, signatures: Box<Signatures> },
    /// Nothing is known yet, or nothing new.
    Pending,
    /// None: reason and sentence.
    Failed { reason: &'static str, sentence: String, retry: bool },
}

impl Fetched {
    pub(super) fn failed(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::Failed { reason, sentence: sentence.into(), retry: false }
    }
}

/// Runs until the policy is deleted or the operator stops.
pub async fn run(context: Arc<Context>, entry: Arc<Entry>) {
    let mut spec = entry.spec.subscribe();
    let mut leadership = context.leadership.subscribe();
    let mut folder: Option<(String, FolderSource)> = None;
    let mut oci = Oci::default();
    let mut report = Report::default();
    let mut shipped: Option<Shipped> = None;
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
        let Loaded { waits, again } = load(&context, &entry, &policy, &trust.rules, fetched, (&mut report, &mut shipped)).await;
        rollout::back(&context, &entry, &policy, &trust, &mut report).await;
        let again = again.map(|wait| Instant::now() + wait);
        oci.judged(&policy, report.refused_for());
        if let Some(rules) = rules.filter(|_| !pending && entry.current().is_none()) {
            recall(&context, &entry, &policy, rules, &mut report).await;
        }
        entry.tried.fetch_or(!pending, Ordering::Relaxed);
        let mut folder_events = folder.as_ref().map(|(_, source)| source.events());
        if let Some(events) = &mut folder_events {
            events.borrow_and_update();
        }
        // Until the source changes, only the status may have to be written.
        loop {
            report.stale = oci.stale().map(str::to_owned);
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
                changed = leadership.changed() => if changed.is_err() { return } else if waits { break },
                () = tokio::time::sleep(rollout::LOOK), if entry.trial().is_some() => {
                    if context.leadership.is_leader() {
                        rollout::look(&context, &entry, &policy, &mut shipped, &mut report).await;
                    }
                }
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now).into()), if again.is_some() => break,
                () = tokio::time::sleep(RETRY), if retry => break,
                () = tokio::time::sleep(RETRY), if !written => {}
            }
        }
    }
}

impl From<SourceError> for Fetched {
    fn from(error: SourceError) -> Self {
        let error = LoadError::from(error);
        Self::failed(error.reason(), error.to_string())
    }
}

async fn folder_changed(events: &mut Option<tokio::sync::watch::Receiver<FolderEvent>>) {
    match events {
        Some(events) => {
            if events.changed().await.is_err() {
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

async fn fetch(context: &Context, policy: &WasmPolicy, folder: &mut Option<(String, FolderSource)>, oci: &mut Oci, rules: &[Rules], running: bool) -> Fetched {
    let choice = policy.spec.source.choice();
    if !matches!(choice, Some(SourceChoice::File(_))) {
        *folder = None;
    }
    if !matches!(choice, Some(SourceChoice::Oci(_))) {
        oci.reset();
    }
    match choice {
        None => Fetched::failed("InvalidSpec", "set exactly one of spec.source.configMap, file, oci and builtin"),
        Some(SourceChoice::Builtin(wanted)) => match builtin(&wanted.name) {
            Ok(bytes) => Fetched::Bytes { bytes, revision: Some(format!("weir {}", env!("CARGO_PKG_VERSION"))), signatures: Box::default() },
            Err(error) => Fetched::from(error),
        },
        Some(SourceChoice::ConfigMap(wanted)) => config_map(context, policy, &wanted.name, &wanted.key).await,
        Some(SourceChoice::Oci(source)) => oci.fetch(context, policy, source, rules, running).await,
        Some(SourceChoice::File(file)) => from_folder(context, &file.path, folder),
    }
}

async fn config_map(context: &Context, policy: &WasmPolicy, name: &str, key: &str) -> Fetched {
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    let map = match api.get_opt(name).await {
        Ok(Some(map)) => map,
        Ok(None) => {
            return Fetched::failed(
                "SourceNotFound",
                format!("there is no ConfigMap {name} in namespace {namespace}: `kubectl create configmap {name} --from-file={key}=policy.wasm`"),
            );
        }
        Err(error) => {
            return Fetched::Failed {
                reason: "SourceUnreadable",
                sentence: format!("ConfigMap {name} can't be read: {}", crate::watch::chain(&error)),
                retry: true,
            };
        }
    };
    let beside = signature_key(key);
    let (mut binary_data, revision) = (map.binary_data.unwrap_or_default(), map.metadata.resource_version);
    let signature = binary_data.remove(&beside).map(|data| data.0).or_else(|| Some(map.data.as_ref()?.get(&beside)?.clone().into_bytes()));
    let signatures = Box::new(Signatures { detached: signature.map(Bytes::from), artifact: None });
    let binary = binary_data.remove(key).map(|data| Bytes::from(data.0));
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str);
    match from_config_map(name, key, binary, text) {
        Ok(bytes) => Fetched::Bytes { bytes, revision, signatures },
        Err(error) => Fetched::from(error),
    }
}

fn from_folder(context: &Context, path: &str, folder: &mut Option<(String, FolderSource)>) -> Fetched {
    let Some(root) = &context.config.policy_dir else {
        return Fetched::failed("SourceRefused", "this operator reads no policies from files: start it with --policy-dir, or use a ConfigMap");
    };
    if folder.as_ref().is_none_or(|(watched, _)| watched != path) {
        let config = FolderConfig { root: root.clone(), path: PathBuf::from(path), max_bytes: context.policies.max_component_bytes() };
        match FolderSource::watch(config) {
            Ok(source) => *folder = Some((path.to_owned(), source)),
            Err(error) => {
                *folder = None;
                let error = LoadError::from(error);
                return Fetched::Failed { reason: error.reason(), sentence: error.to_string(), retry: true };
            }
        }
    }
    let Some((_, source)) = folder else { return Fetched::Pending };
    let event = source.events().borrow().clone();
    match event {
        FolderEvent::Pending => Fetched::Pending,
        FolderEvent::Bytes { bytes, shipped, signature } => {
            Fetched::Bytes { bytes, revision: Some(shipped.short()), signatures: Box::new(Signatures { detached: signature, artifact: None }) }
        }
        FolderEvent::Failed(error) => Fetched::from(error),
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

/// A candidate of the spec, without bytes.
pub(super) fn candidate(entry: &Entry, policy: &WasmPolicy) -> Candidate {
    let params = policy.spec.params.clone().map_or(serde_json::Value::Null, serde_json::Value::Object);
    let kind = kind(policy.spec.kind);
    Candidate { object: entry.object.clone(), kind, bytes: Bytes::new(), digest: None, params, limits: limits(policy), wasi: wasi(policy) }
}

/// The kind of a spec as the engine names it.
pub(super) const fn kind(kind: weir_crds::wasm_policy::PolicyKind) -> PolicyKind {
    match kind {
        weir_crds::wasm_policy::PolicyKind::Scaling => PolicyKind::Scaling,
        weir_crds::wasm_policy::PolicyKind::Placement => PolicyKind::Placement,
    }
}

/// Loads what was fetched.
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
    let mut begun = Instant::now();
    let (outcome, stages) = if let Some(plan) = rollout::plan(spec) {
        let mut tried = rollout::try_out(context, entry, (spec, &plan), &candidate, &trust, report).await;
        if matches!(tried, Tried::Recall) {
            recall(context, entry, spec, rules.to_vec(), report).await;
            if !context.leadership.is_leader() && entry.current().is_some() {
                return Loaded::WAITS;
            }
            begun = Instant::now();
            tried = rollout::try_out(context, entry, (spec, &plan), &candidate, &trust, report).await;
        }
        let outcome = match tried {
            Tried::Take(policy) => {
                let previous = entry.slot.swap(policy.clone()).map(|old| old.stamp().clone());
                LoadOutcome::Swapped { policy, previous }
            }
            Tried::Same(policy) => LoadOutcome::Unchanged { policy },
            Tried::Refused(error) => LoadOutcome::Refused { error, kept: None },
            Tried::OnTrial => {
                *shipped = Some(Shipped { kept, revision });
                return Loaded::default();
            }
            Tried::NotNow(again) => return Loaded { waits: false, again },
            Tried::Recall => {
                let digest = rollout::ran(spec).map_or_else(String::new, |digest| digest.to_string());
                let sentence = format!(
                    "{digest} ran before and no copy of it can be had, so this module can't be tried beside it: ship {digest} again, or write the digest of this one into spec.rollout.promote"
                );
                report.refused(now, Some(of_bytes), "LastGoodMissing", &sentence);
                return Loaded::default();
            }
        };
        (outcome, StageTimes { total: begun.elapsed(), ..StageTimes::default() })
    } else {
        rollout::end(entry, report);
        let loaded = entry.slot.load_signed(&candidate, &trust).await;
        (loaded.outcome, loaded.stages)
    };
    match outcome {
        LoadOutcome::Swapped { policy, .. } => {
            entry.swapped();
            let took = seen.map_or(stages.total, |seen| seen.elapsed());
            context.metrics.policy_compiled(stages.compile);
            context.metrics.policy_swapped(took);
            tracing::info!(policy = %entry.object, digest = %policy.stamp().digest, took_ms = took.as_secs_f64() * 1e3, probes = stages.probes, "policy loaded");
            report.accepted(context.now(), &policy, revision);
            keep::keep(context, spec, &policy.stamp().digest, &kept).await;
        }
        LoadOutcome::Unchanged { policy } => {
            report.unchanged(context.now(), &policy, revision);
            // A module that runs may have been signed since.
            if kept.signatures != Signatures::default() {
                keep::keep(context, spec, &policy.stamp().digest, &kept).await;
            }
        }
        LoadOutcome::Refused { error, .. } => {
            context.metrics.policy_rejected(error.reason());
            tracing::warn!(policy = %entry.object, reason = error.reason(), %error, "policy refused, the last good one goes on");
            report.refused(context.now(), Some(of_bytes), error.reason(), &error.to_string());
        }
    }
    Loaded::default()
}

/// Goes on with the module that ran last, when nothing runs: this process has just started, and the
/// source is broken or holds a module that is refused.
async fn recall(context: &Context, entry: &Entry, policy: &WasmPolicy, rules: Vec<Rules>, report: &mut Report) {
    let Some(running) = policy.status.as_ref().and_then(|status| status.running.as_ref()) else { return };
    let Ok(digest) = running.digest.parse::<Digest>() else { return };
    let Some(Kept { bytes, params, signatures }) = keep::recall(context, policy, keep::Which::LastGood).await else { return };
    let candidate = Candidate { bytes, digest: Some(digest), params, ..candidate(entry, policy) };
    match entry.slot.load_signed(&candidate, &Trust { rules, signatures }).await.outcome {
        LoadOutcome::Swapped { policy, .. } | LoadOutcome::Unchanged { policy } => {
            entry.swapped();
            tracing::info!(policy = %entry.object, %digest, "the source gives no module that can run: the last good one goes on, from the copy in the cluster");
            report.recalled(context.now(), &policy, running.source_revision.clone());
        }
        LoadOutcome::Refused { error, .. } => {
            tracing::warn!(policy = %entry.object, %digest, %error, "the kept copy of the last good module can't be used");
        }
    }
}

/// What the spec grants of WASI, in the engine's terms.
fn wasi(policy: &WasmPolicy) -> Wasi {
    match policy.spec.wasi {
        weir_crds::wasm_policy::Wasi::Deny => Wasi::Deny,
        weir_crds::wasm_policy::Wasi::Deterministic => Wasi::Deterministic,
    }
}

/// Limits of the spec in the engine's terms; the engine puts its ceiling over them.
fn limits(policy: &WasmPolicy) -> Limits {
    let spec = policy.spec.limits;
    Limits {
        fuel: spec.fuel,
        deadline: spec.deadline.as_std(),
        memory_bytes: spec.memory.get(),
        table_elements: spec.table_elements,
        result_bytes: u64::from(spec.result_bytes),
        state_bytes: u64::from(spec.state_bytes),
        ..Limits::default()
    }
}
