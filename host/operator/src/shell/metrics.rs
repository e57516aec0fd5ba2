//! What Prometheus sees of the operator. Touches nothing but counters in memory; every step of a
//! decision calls it, [`super::http`] reads it.
//!
//! Methods are named by what happened. They neither block nor, for labels that were seen before,
//! allocate, so that counting a decision costs little beside making it.
//!
//! Names begin with `weir_` and end with their unit. Labels are bounded: words of enums, and the
//! names of WasmPolicies, of which there are few. What would be one series per LogProcessor is
//! summed up ([`Tracked`]) unless it is asked for with [`MetricsOptions::per_object`].
//! A policy is named by `policy_namespace` and `policy`, because Prometheus puts the scraped pod's
//! own `namespace` on every series and would rename ours.

mod families;
mod labels;
mod tracked;

pub(in crate::shell) use labels::status_word;
pub use labels::{ApplyResult, EventOutcome, Step};
pub use tracked::{ObjectState, Readiness, Tracked};

use families::{Families, SecondsTotal};
use labels::{
    ApiFailure, ApiRequest, ApplyFailure, COMPILED, Clamped, Compiled, Decided, ObjectNamespace, PolicyFailure, PolicyName, PolicyNamespace, QuotaRefusal,
};
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use weir_core::breaker::State;
use weir_core::decision::Decision;
use weir_core::ids::ObjectRef;
use weir_core::placement::{PlacementDecision, PlacementOutcome};
use weir_core::quota::Resource;
use weir_core::scaling::Outcome;
use weir_core::snapshot::Mode;
use weir_engine::{CompiledFrom, LoadError, StageTimes};

/// What is exposed.
#[derive(Clone, Copy, Debug)]
pub struct MetricsOptions {
    /// Version of the operator, the label of `weir_build_info`.
    pub version: &'static str,
    /// Also expose three gauges for each object: off by default, because 10,000 objects are 30,000 series.
    pub per_object: bool,
}

/// Handles of one policy, so that its names are not copied at each decision.
#[derive(Debug)]
struct PolicyHandles {
    refusals: Counter,
    fallback: Counter,
    states_dropped: Counter,
    fuel: Histogram,
}

/// Handles of one namespace.
#[derive(Clone, Debug)]
pub(crate) struct NamespaceHandles {
    /// WasmPolicies with a module that runs.
    pub(crate) policies: Gauge,
    /// Bytes of their compiled code.
    pub(crate) compiled: Gauge,
    /// Processor time of decisions.
    pub(crate) seconds: SecondsTotal,
    /// Decisions held for want of it.
    pub(crate) held: Counter,
}

/// All metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    families: Families,
    policies: RwLock<HashMap<ObjectRef, Arc<PolicyHandles>>>,
    per_object: bool,
}

impl Metrics {
    /// Metrics with every known word of every label at zero, so that a first increase is seen as one.
    #[must_use]
    pub fn new(options: MetricsOptions) -> Arc<Self> {
        let mut registry = Registry::with_prefix("weir");
        let families = Families::registered(&mut registry, options);
        Arc::new(Self { registry, families, policies: RwLock::default(), per_object: options.per_object })
    }

    /// All metrics in the OpenMetrics text format.
    ///
    /// # Errors
    /// Never in practice: writing into memory does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(64 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A decision was made; `took` is the time from snapshot to verdict.
    pub fn decided(&self, decision: &Decision, took: Duration) {
        let families = &self.families;
        families.decisions.get_or_create(&Decided { verdict: decision.verdict.as_str(), mode: mode(decision.mode) }).inc();
        families.decision_duration.observe(took.as_secs_f64());
        for clamp in &decision.clamps {
            families.clamps.get_or_create(&Clamped { guardrail: clamp.guardrail.as_str() }).inc();
        }
        let (Some(policy), Some(invocation)) = (&decision.policy, &decision.invocation) else { return };
        let handles = self.policy(&policy.object);
        handles.fuel.observe(invocation.fuel as f64);
        if decision.fallback.is_some() {
            handles.fallback.inc();
        }
        match &invocation.outcome {
            Outcome::Proposal(_) => {}
            Outcome::Refusal(_) => {
                handles.refusals.inc();
            }
            Outcome::Failure(failure) => {
                let PolicyName { policy_namespace, policy } = PolicyName::of(&policy.object);
                families.policy_failures.get_or_create(&PolicyFailure { policy_namespace, policy, kind: failure.kind.as_str() }).inc();
            }
        }
    }

    /// A decision about owners was made.
    pub fn placed(&self, decision: &PlacementDecision) {
        let families = &self.families;
        families.placement_decisions.get_or_create(&Decided { verdict: decision.verdict.as_str(), mode: mode(decision.mode) }).inc();
        for clamp in &decision.clamps {
            families.placement_clamps.get_or_create(&Clamped { guardrail: clamp.guardrail.as_str() }).inc();
        }
        if decision.mode == Mode::Enforce {
            for (cause, partitions) in [("Policy", decision.moves()), ("Failover", decision.failovers())] {
                families.partition_moves.get_or_create(&labels::Caused { cause }).inc_by(u64::from(partitions));
            }
        }
        let Some(policy) = &decision.policy else { return };
        for invocation in decision.mirrors.iter().filter_map(|mirror| mirror.invocation.as_ref()) {
            let handles = self.policy(&policy.object);
            handles.fuel.observe(invocation.fuel as f64);
            match &invocation.outcome {
                PlacementOutcome::Proposal(_) => {}
                PlacementOutcome::Refusal(_) => {
                    handles.refusals.inc();
                }
                PlacementOutcome::Failure(failure) => {
                    let PolicyName { policy_namespace, policy } = PolicyName::of(&policy.object);
                    families.policy_failures.get_or_create(&PolicyFailure { policy_namespace, policy, kind: failure.kind.as_str() }).inc();
                }
            }
        }
    }

    fn policy(&self, object: &ObjectRef) -> Arc<PolicyHandles> {
        if let Some(handles) = self.policies.read().get(object) {
            return handles.clone();
        }
        let name = PolicyName::of(object);
        self.families.failures_at_zero(&name);
        let handles = Arc::new(PolicyHandles {
            refusals: self.families.policy_refusals.get_or_create_owned(&name),
            fallback: self.families.policy_fallback_decisions.get_or_create_owned(&name),
            states_dropped: self.families.policy_states_dropped.get_or_create_owned(&name),
            fuel: self.families.policy_fuel.get_or_create_owned(&name),
        });
        self.policies.write().entry(object.clone()).or_insert(handles).clone()
    }

    /// A WasmPolicy was deleted: its series go.
    pub fn policy_gone(&self, object: &ObjectRef) {
        self.policies.write().remove(object);
        let name = PolicyName::of(object);
        self.families.policy_refusals.remove(&name);
        self.families.policy_fuel.remove(&name);
        self.families.policy_fallback_decisions.remove(&name);
        self.families.policy_breaker_state.remove(&name);
        self.families.policy_breaker_openings.remove(&name);
        self.families.policy_states_dropped.remove(&name);
        for kind in labels::FAILURES {
            let PolicyName { policy_namespace, policy } = name.clone();
            self.families.policy_failures.remove(&PolicyFailure { policy_namespace, policy, kind });
        }
    }

    /// The state of a policy's breaker.
    pub fn breaker(&self, object: &ObjectRef, state: &State) {
        let value = match state {
            State::Closed => 0,
            State::HalfOpen(_) => 1,
            State::Open(_) => 2,
        };
        self.families.policy_breaker_state.get_or_create(&PolicyName::of(object)).set(value);
    }

    /// A policy's breaker opened.
    pub fn breaker_opened(&self, object: &ObjectRef) {
        self.families.policy_breaker_openings.get_or_create(&PolicyName::of(object)).inc();
    }

    /// Handles of a namespace.
    pub(crate) fn namespace(&self, name: &str) -> NamespaceHandles {
        let (ours, objects) = (PolicyNamespace { policy_namespace: name.to_owned() }, ObjectNamespace { object_namespace: name.to_owned() });
        NamespaceHandles {
            policies: self.families.namespace_policies.get_or_create_owned(&ours),
            compiled: self.families.namespace_compiled.get_or_create_owned(&ours),
            seconds: self.families.namespace_decision_time.get_or_create_owned(&objects),
            held: self.families.namespace_held.get_or_create_owned(&objects),
        }
    }

    /// A namespace was deleted: its series go.
    pub(crate) fn namespace_gone(&self, name: &str) {
        let (ours, objects) = (PolicyNamespace { policy_namespace: name.to_owned() }, ObjectNamespace { object_namespace: name.to_owned() });
        self.families.namespace_policies.remove(&ours);
        self.families.namespace_compiled.remove(&ours);
        self.families.namespace_decision_time.remove(&objects);
        self.families.namespace_held.remove(&objects);
        for resource in [Resource::Policies, Resource::Compiled] {
            self.families.namespace_refusals.remove(&QuotaRefusal { policy_namespace: name.to_owned(), resource: resource.as_str() });
        }
    }

    /// A module was not loaded, because its namespace has no room for it.
    pub fn quota_refused(&self, namespace: &str, resource: Resource) {
        self.families.namespace_refusals.get_or_create(&QuotaRefusal { policy_namespace: namespace.to_owned(), resource: resource.as_str() }).inc();
    }

    /// A policy is not handed what another module remembered of an object.
    pub fn state_dropped(&self, object: &ObjectRef) {
        self.policy(object).states_dropped.inc();
    }

    /// A module on trial answered otherwise than the one that runs.
    pub fn policy_differs(&self, kind: &'static str) {
        self.families.policy_differences.get_or_create(&labels::Differs { kind }).inc();
    }

    /// A tick of one object is over: it started `late` after it was due and ran for `took`, from observe to record.
    pub fn ticked(&self, late: Duration, took: Duration) {
        self.families.tick_lateness.observe(late.as_secs_f64());
        self.families.tick_duration.observe(took.as_secs_f64());
    }

    /// A pod was scraped; `result` is `ok` or the stable word of the error.
    pub fn scraped(&self, result: &'static str, took: Duration) {
        self.families.scrapes.get_or_create(&labels::Scraped { result }).inc();
        self.families.scrape_duration.observe(took.as_secs_f64());
    }

    /// The load of a module has ended, well or badly.
    pub fn policy_loaded(&self, stages: &StageTimes, refused: Option<&LoadError>) {
        let families = &self.families;
        let of_compiler = refused.map(LoadError::reason).filter(|reason| LoadError::OF_COMPILER.contains(reason));
        let compiled = stages.compiled == CompiledFrom::Compiler && !stages.compile.is_zero();
        match of_compiler {
            Some(outcome) => drop(families.policy_compilations.get_or_create(&Compiled { outcome }).inc()),
            None if compiled => drop(families.policy_compilations.get_or_create(&Compiled { outcome: COMPILED }).inc()),
            // It was refused before, or was compiled already.
            None => return,
        }
        families.policy_compile_wait.observe(stages.queue.as_secs_f64());
        if compiled {
            families.policy_compile_duration.observe(stages.compile.as_secs_f64());
        }
    }

    /// A new version decides; `took` is the time from the first sight of its bytes to its first possible decision,
    /// none for one that was on trial, which takes as long as its plan says.
    pub fn policy_swapped(&self, took: Option<Duration>) {
        self.families.policy_swaps.get_or_create(&labels::Swapped { result: "Accepted" }).inc();
        if let Some(took) = took {
            self.families.policy_swap_duration.observe(took.as_secs_f64());
        }
    }

    /// A new version was not accepted; `reason` is the stable word of the gate that it failed at.
    pub fn policy_rejected(&self, reason: &'static str) {
        self.families.policy_swaps.get_or_create(&labels::Swapped { result: reason }).inc();
    }

    /// An object of `kind` was applied.
    pub fn applied(&self, kind: &'static str, result: ApplyResult) {
        self.families.applies.get_or_create(&labels::Applied { kind, result: result.as_str() }).inc();
    }

    /// An object of `kind` could not be applied.
    pub fn apply_failed(&self, kind: &'static str, error: &kube::Error) {
        self.families.applies.get_or_create(&labels::Applied { kind, result: "error" }).inc();
        self.families.apply_errors.get_or_create(&ApplyFailure { kind, reason: labels::api_reason(error) }).inc();
    }

    /// A step of a reconcile ended with an error.
    pub fn failed(&self, step: Step) {
        self.families.reconcile_errors.get_or_create(&labels::Stepped { step: step.as_str() }).inc();
    }

    /// The task of an object panicked and was started again.
    pub fn actor_panicked(&self) {
        self.families.actor_panics.inc();
    }

    /// This process leads, or no longer does.
    pub fn leading(&self, leads: bool) {
        self.families.leader.set(i64::from(leads));
    }

    /// What became of an Event.
    pub fn event(&self, outcome: EventOutcome) {
        self.families.events.get_or_create(&labels::Told { outcome: outcome.as_str() }).inc();
    }

    /// A request goes to the API server.
    pub(super) fn api_request(&self, verb: &'static str, resource: &'static str, subresource: &'static str) {
        self.families.api_requests.get_or_create(&ApiRequest { verb, resource, subresource }).inc();
    }

    /// The head of an answer came, or did not.
    pub(super) fn api_answered(&self, verb: &'static str, failure: Option<&'static str>, took: Duration) {
        self.families.api_request_duration.get_or_create(&labels::Verb { verb }).observe(took.as_secs_f64());
        if let Some(code) = failure {
            self.families.api_errors.get_or_create(&ApiFailure { verb, code }).inc();
        }
    }

    /// Starts to count one object of `kind` among all; its share ends when the handle is dropped.
    #[must_use]
    pub fn track(self: &Arc<Self>, kind: &'static str, object: &ObjectRef) -> Tracked {
        Tracked::new(self.clone(), kind, object)
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "Enforce",
        Mode::DryRun => "DryRun",
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
