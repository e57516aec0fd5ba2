//! Fallbacks of a policy whose module keeps failing: fitted to the spec, fetched when they are needed, told
//! of. Touches the network through [`super::keep`]; called by [`super::runner`].

use super::circuit::{Chosen, Circuit, Fallbacks};
use super::keep::{self, Kept, Which};
use super::{Entry, loading, room};
use crate::conditions::time;
use crate::context::Context;
use std::time::Duration;
use weir_core::breaker::State;
use weir_core::ids::UnixMs;
use weir_core::scaling::ScalingPolicy as _;
use weir_crds::WasmPolicy;
use weir_crds::conditions::reason;
use weir_engine::source::builtin::builtin;
use weir_engine::verify::{Rules, Trust};
use weir_engine::{Candidate, Limits, LoadError, Ready, Wasi};

/// Whether the policy of `spec.fallback` can be asked: what it is called, or a reason and a sentence.
pub(super) type Fit = Result<String, (&'static str, String)>;

/// What is told of a breaker that is open: reason and sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) reason: &'static str,
    pub(super) sentence: String,
}

/// Fits both fallbacks to the spec as it is now. Whether that of `spec.fallback` fits; `None`: there is none.
pub(super) async fn fit(context: &Context, entry: &Entry, spec: &WasmPolicy, rules: Option<&[Rules]>) -> Option<Fit> {
    refit_previous(context, entry, spec, rules).await;
    let Some(wanted) = &spec.spec.fallback else {
        entry.fallbacks.write().builtin = None;
        return None;
    };
    let params = wanted.params.clone().map_or(serde_json::Value::Null, serde_json::Value::Object);
    let loaded = match builtin(&wanted.builtin) {
        // The limits of the spec are the module's.
        Ok(bytes) => {
            let candidate = Candidate {
                object: entry.object.clone(),
                kind: loading::kind(spec.spec.kind),
                bytes,
                digest: None,
                params,
                limits: Limits::default(),
                wasi: Wasi::Deny,
            };
            context.policies.engine.load(&candidate, &[]).await.result
        }
        Err(error) => Err(LoadError::from(error)),
    };
    let mut fallbacks = entry.fallbacks.write();
    match loaded {
        Ok(policy) => {
            let name = format!("{} {}", policy.stamp().name, policy.stamp().version);
            Fallbacks::fit(&mut fallbacks.builtin, policy);
            Some(Ok(name))
        }
        Err(error) => {
            fallbacks.builtin = None;
            Some(Err((error.reason(), error.to_string().replace("spec.params", "params"))))
        }
    }
}

/// The module before runs with the params of the spec, or not at all; and only while its signature was
/// checked by the rules that count now.
async fn refit_previous(context: &Context, entry: &Entry, spec: &WasmPolicy, rules: Option<&[Rules]>) {
    let Some(previous) = entry.fallbacks.read().previous.clone() else { return };
    let trusted = rules.is_none_or(|rules| previous.is_verified(rules));
    let fitted = if trusted { context.policies.engine.refit(&previous.policy, &loading::candidate(entry, spec)).await.ok() } else { None };
    let mut fallbacks = entry.fallbacks.write();
    match fitted {
        Some(fitted) => Fallbacks::fit(&mut fallbacks.previous, fitted),
        None => {
            tracing::info!(policy = %entry.object, digest = %previous.digest(), "the module before does not fit the spec any more, and is no fallback");
            fallbacks.previous = None;
        }
    }
}

/// Gets the module before from the cluster, for a process that has not seen it run.
pub(super) async fn recall(context: &Context, entry: &Entry, spec: &WasmPolicy, rules: &[Rules]) {
    let Some(running) = entry.current() else { return };
    if entry.fallbacks.read().previous.is_some() {
        return;
    }
    let Some(Kept { bytes, signatures, .. }) = keep::recall(context, spec, Which::Previous).await else { return };
    let candidate = Candidate { bytes, ..loading::candidate(entry, spec) };
    let trust = Trust { rules: rules.to_vec(), signatures };
    match loading::prepare(context, entry, &candidate, &trust).await.result {
        Ok(Ready::New(policy)) if policy.stamp().digest != running.stamp().digest => {
            tracing::info!(policy = %entry.object, digest = %policy.stamp().digest, "the module before is the fallback, from the copy in the cluster");
            entry.fallbacks.write().previous = Some(Circuit::new(policy, rules));
            room::settle(context, entry);
        }
        Ok(_) => {}
        Err(error) => tracing::info!(policy = %entry.object, %error, "the module before can't be a fallback"),
    }
}

/// What is to be told of the breaker; `None`: the module decides.
pub(super) fn tell(entry: &Entry) -> Option<Open> {
    let opening = entry.running()?.opening()?;
    let next = time(opening.until()).0;
    match entry.choose()? {
        Chosen::Module(_) => None,
        Chosen::Fallback(circuit, why) => {
            let stamp = circuit.policy.stamp();
            let sentence = format!(
                "{}; {} {} ({}) decides, and the module is asked beside it from {next} on: 3 good answers in a row bring it back",
                why.sentence,
                stamp.name,
                stamp.version,
                stamp.digest.short()
            );
            Some(Open { reason: reason::FALLBACK_DECIDES, sentence })
        }
        Chosen::Nobody(why) => {
            let sentence = format!("{why}; the module is asked again from {next} on: 3 good answers in a row bring it back");
            Some(Open { reason: reason::HELD, sentence })
        }
    }
}

/// Sets the gauge. How long until the state changes by itself, if it will.
pub(super) fn gauge(context: &Context, entry: &Entry, now: UnixMs) -> Option<Duration> {
    let state = entry.running().map_or(State::Closed, |circuit| circuit.state(now));
    context.metrics.breaker(&entry.object, &state);
    match state {
        State::Open(opening) => Some(Duration::from_millis(u64::try_from(opening.until().since(now)).unwrap_or(0))),
        State::Closed | State::HalfOpen(_) => None,
    }
}
