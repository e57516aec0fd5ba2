//! What all loads of modules have in common: the candidate that a spec describes, what is told of the
//! stages, and when a refused module is tried again. Touches the Wasm engine. Called by [`super::runner`]
//! and [`super::rollout`].

use super::Entry;
use super::fetch::jitter;
use super::status::Report;
use crate::context::Context;
use bytes::Bytes;
use std::time::Duration;
use weir_crds::WasmPolicy;
use weir_engine::verify::Trust;
use weir_engine::{Candidate, Limits, LoadError, PolicyKind, Prepared, StageTimes, Wasi};

/// Wait before a module is loaded again whose compiler was not left to finish, the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A candidate of the spec, without bytes.
pub(super) fn candidate(entry: &Entry, policy: &WasmPolicy) -> Candidate {
    let params = policy.spec.params.clone().map_or(serde_json::Value::Null, serde_json::Value::Object);
    let kind = kind(policy.spec.kind);
    Candidate { object: entry.object.clone(), kind, bytes: Bytes::new(), digest: None, params, limits: limits(policy.spec.limits), wasi: wasi(policy) }
}

/// The kind of a spec as the engine names it.
pub(super) const fn kind(kind: weir_crds::wasm_policy::PolicyKind) -> PolicyKind {
    match kind {
        weir_crds::wasm_policy::PolicyKind::Scaling => PolicyKind::Scaling,
        weir_crds::wasm_policy::PolicyKind::Placement => PolicyKind::Placement,
    }
}

/// When a refused module is loaded again without anybody changing anything, if it makes sense. The pause
/// doubles, up to five minutes, so that a module for which the pod has too little memory does not keep the
/// kernel busy.
pub(super) fn retry(report: &mut Report, error: &LoadError) -> Option<Duration> {
    if !error.may_pass() {
        return None;
    }
    let pause = FIRST_PAUSE.saturating_mul(1 << report.retries.min(6)).min(LONGEST_PAUSE);
    report.retries = report.retries.saturating_add(1);
    Some(jitter(pause))
}

/// Takes a candidate through all stages but the exchange, and tells what came of it.
pub(super) async fn prepare(context: &Context, entry: &Entry, candidate: &Candidate, trust: &Trust) -> Prepared {
    let prepared = entry.slot.prepare_signed(candidate, trust).await;
    loaded(context, entry, &prepared.stages, prepared.result.as_ref().err());
    prepared
}

/// Tells what each stage of a load took: to the metrics, and to whatever is traced around it.
fn loaded(context: &Context, entry: &Entry, stages: &StageTimes, refused: Option<&LoadError>) {
    context.metrics.policy_loaded(stages, refused);
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    tracing::debug!(
        policy = %entry.object,
        refused = refused.map(LoadError::reason),
        compiled = ?stages.compiled,
        unpack_ms = ms(stages.unpack),
        verify_ms = ms(stages.verify),
        inspect_ms = ms(stages.inspect),
        queue_ms = ms(stages.queue),
        compile_ms = ms(stages.compile),
        describe_ms = ms(stages.describe),
        params_ms = ms(stages.params),
        probe_ms = ms(stages.probe),
        total_ms = ms(stages.total),
        "module went through the stages of a load"
    );
}

/// What the spec grants of WASI, in the engine's terms.
fn wasi(policy: &WasmPolicy) -> Wasi {
    match policy.spec.wasi {
        weir_crds::wasm_policy::Wasi::Deny => Wasi::Deny,
        weir_crds::wasm_policy::Wasi::Deterministic => Wasi::Deterministic,
    }
}

/// `spec.limits` in the engine's terms; the engine puts its ceiling over them.
#[must_use]
pub fn limits(spec: weir_crds::wasm_policy::Limits) -> Limits {
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
