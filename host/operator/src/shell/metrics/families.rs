//! Every metric with its name, help text and buckets. Touches nothing; built once by [`super::Metrics`].

use super::MetricsOptions;
use super::labels::{
    ApiFailure, ApiRequest, Applied, ApplyFailure, COMPILED, Caused, Clamped, Compiled, Decided, Differs, EventOutcome, FAILURES, GUARDRAILS, Kinded,
    ObjectName, ObjectNamespace, ObjectReplicas, PolicyFailure, PolicyName, PolicyNamespace, QuotaRefusal, Readied, Scraped, Step, Stepped, Swapped, Told,
    Unhealthy, Verb,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::sync::atomic::AtomicU64;
use weir_core::decision::Verdict;
use weir_core::health::Problem;
use weir_core::placement::{PlacementGuardrail, PlacementVerdict};
use weir_engine::LoadError;

/// A gauge of seconds.
pub(super) type Seconds = Gauge<f64, AtomicU64>;
/// A counter of seconds.
pub(super) type SecondsTotal = Counter<f64, AtomicU64>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Handles of all metrics.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) decisions: Family<Decided, Counter>,
    pub(super) clamps: Family<Clamped, Counter>,
    pub(super) decision_duration: Histogram,
    pub(super) placement_decisions: Family<Decided, Counter>,
    pub(super) placement_clamps: Family<Clamped, Counter>,
    pub(super) partition_moves: Family<Caused, Counter>,
    pub(super) policy_refusals: Family<PolicyName, Counter>,
    pub(super) policy_failures: Family<PolicyFailure, Counter>,
    pub(super) policy_states_dropped: Family<PolicyName, Counter>,
    pub(super) policy_fuel: Histograms<PolicyName>,
    pub(super) policy_breaker_state: Family<PolicyName, Gauge>,
    pub(super) policy_breaker_openings: Family<PolicyName, Counter>,
    pub(super) policy_fallback_decisions: Family<PolicyName, Counter>,
    pub(super) namespace_policies: Family<PolicyNamespace, Gauge>,
    pub(super) namespace_compiled: Family<PolicyNamespace, Gauge>,
    pub(super) namespace_refusals: Family<QuotaRefusal, Counter>,
    pub(super) namespace_decision_time: Family<ObjectNamespace, SecondsTotal>,
    pub(super) namespace_held: Family<ObjectNamespace, Counter>,
    pub(super) policy_swaps: Family<Swapped, Counter>,
    pub(super) policy_differences: Family<Differs, Counter>,
    pub(super) policy_swap_duration: Histogram,
    pub(super) policy_compilations: Family<Compiled, Counter>,
    pub(super) policy_compile_duration: Histogram,
    pub(super) policy_compile_wait: Histogram,
    pub(super) tick_duration: Histogram,
    pub(super) tick_lateness: Histogram,
    pub(super) metrics_staleness: Histogram,
    pub(super) scrapes: Family<Scraped, Counter>,
    pub(super) scrape_duration: Histogram,
    pub(super) api_requests: Family<ApiRequest, Counter>,
    pub(super) api_errors: Family<ApiFailure, Counter>,
    pub(super) api_request_duration: Histograms<Verb>,
    pub(super) applies: Family<Applied, Counter>,
    pub(super) apply_errors: Family<ApplyFailure, Counter>,
    pub(super) reconcile_errors: Family<Stepped, Counter>,
    pub(super) events: Family<Told, Counter>,
    pub(super) actor_panics: Counter,
    pub(super) leader: Gauge,
    pub(super) objects: Family<Readied, Gauge>,
    pub(super) replicas: Family<Kinded, Gauge>,
    pub(super) unhealthy: Family<Unhealthy, Gauge>,
    pub(super) object_replicas: Family<ObjectReplicas, Gauge>,
    pub(super) object_staleness: Family<ObjectName, Seconds>,
}

/// 1, 2 and 5 of every power of ten from 1 µs to 100 ms.
fn microseconds() -> Histogram {
    Histogram::new([1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1])
}

/// From 0.5 ms to 10 s.
fn milliseconds() -> Histogram {
    Histogram::new([5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

/// From 5 ms to 2 minutes: a small rule takes some ten milliseconds, an interpreter half a minute.
fn compilations() -> Histogram {
    Histogram::new([5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0])
}

/// From 100 ms to 5 minutes: the age of what was measured.
fn ages() -> Histogram {
    Histogram::new([0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0])
}

/// From a thousand units of fuel (a trivial rule) to a thousand million.
fn fuel() -> Histogram {
    Histogram::new([1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 1e8, 1e9])
}

impl Families {
    pub(super) fn registered(registry: &mut Registry, options: MetricsOptions) -> Self {
        let families = Self {
            decisions: Family::default(),
            clamps: Family::default(),
            decision_duration: microseconds(),
            placement_decisions: Family::default(),
            placement_clamps: Family::default(),
            partition_moves: Family::default(),
            policy_refusals: Family::default(),
            policy_failures: Family::default(),
            policy_states_dropped: Family::default(),
            policy_fuel: Family::new_with_constructor(fuel),
            policy_breaker_state: Family::default(),
            policy_breaker_openings: Family::default(),
            policy_fallback_decisions: Family::default(),
            namespace_policies: Family::default(),
            namespace_compiled: Family::default(),
            namespace_refusals: Family::default(),
            namespace_decision_time: Family::default(),
            namespace_held: Family::default(),
            policy_swaps: Family::default(),
            policy_differences: Family::default(),
            policy_swap_duration: milliseconds(),
            policy_compilations: Family::default(),
            policy_compile_duration: compilations(),
            policy_compile_wait: compilations(),
            tick_duration: milliseconds(),
            tick_lateness: milliseconds(),
            metrics_staleness: ages(),
            scrapes: Family::default(),
            scrape_duration: milliseconds(),
            api_requests: Family::default(),
            api_errors: Family::default(),
            api_request_duration: Family::new_with_constructor(milliseconds),
            applies: Family::default(),
            apply_errors: Family::default(),
            reconcile_errors: Family::default(),
            events: Family::default(),
            actor_panics: Counter::default(),
            leader: Gauge::default(),
            objects: Family::default(),
            replicas: Family::default(),
            unhealthy: Family::default(),
            object_replicas: Family::default(),
            object_staleness: Family::default(),
        };
        families.register_decisions(registry);
        families.register_policies(registry);
        families.register_namespaces(registry);
        families.register_work(registry);
        families.register_state(registry, options);
        families.start_at_zero();
        families
    }

    fn register_decisions(&self, registry: &mut Registry) {
        registry.register("decisions", "Decisions by verdict and by whether they take effect", self.decisions.clone());
        registry.register("clamps", "Proposals that a guardrail changed", self.clamps.clone());
        registry.register(
            "placement_decisions",
            "Decisions about owners of partitions by verdict and by whether they take effect",
            self.placement_decisions.clone(),
        );
        registry.register("placement_clamps", "Proposals about owners that a guardrail changed", self.placement_clamps.clone());
        registry.register("partition_moves", "Partitions that got another owner, by why", self.partition_moves.clone());
        registry.register_with_unit("decision_duration", "From snapshot to verdict", Unit::Seconds, self.decision_duration.clone());
        registry.register_with_unit("tick_duration", "From observe to record, for one object", Unit::Seconds, self.tick_duration.clone());
        registry.register_with_unit("tick_lateness", "How long after it was due a tick started", Unit::Seconds, self.tick_lateness.clone());
    }

    fn register_policies(&self, registry: &mut Registry) {
        registry.register("policy_refusals", "Decisions that a policy refused", self.policy_refusals.clone());
        registry.register("policy_breaker_state", "0 closed, 1 half-open, 2 open: the module keeps failing", self.policy_breaker_state.clone());
        registry.register("policy_breaker_openings", "How often the breaker opened, failed probes not counted", self.policy_breaker_openings.clone());
        registry.register("policy_fallback_decisions", "Decisions of a fallback", self.policy_fallback_decisions.clone());
        registry.register("policy_failures", "Calls of a policy that trapped, ran into a limit or made no sense", self.policy_failures.clone());
        registry.register(
            "policy_states_dropped",
            "Objects for which a policy began without what another module remembered, because it can't read that",
            self.policy_states_dropped.clone(),
        );
        registry.register("policy_fuel", "Fuel of one call, the same for the same snapshot on every machine", self.policy_fuel.clone());
        registry.register(
            "policy_differences",
            "Snapshots on which a module on trial answered otherwise than the one that runs, by what it did",
            self.policy_differences.clone(),
        );
        registry.register("policy_swaps", "New versions by result: Accepted, or the gate that they failed at", self.policy_swaps.clone());
        registry.register_with_unit(
            "policy_swap_duration",
            "From changed bytes to the first possible decision",
            Unit::Seconds,
            self.policy_swap_duration.clone(),
        );
        registry.register("policy_compilations", "Modules that were given to the compiler, by what came of it", self.policy_compilations.clone());
        registry.register_with_unit("policy_compile_duration", "Time to compile one module", Unit::Seconds, self.policy_compile_duration.clone());
        registry.register_with_unit("policy_compile_wait", "Time that one module waited for the compiler", Unit::Seconds, self.policy_compile_wait.clone());
    }

    fn register_namespaces(&self, registry: &mut Registry) {
        registry.register("namespace_policies", "WasmPolicies of a namespace with a module that runs", self.namespace_policies.clone());
        let compiled = self.namespace_compiled.clone();
        registry.register_with_unit("namespace_compiled", "Compiled code of a namespace's WasmPolicies", Unit::Bytes, compiled);
        registry.register("namespace_refusals", "Modules that were not loaded for want of this part of the quota", self.namespace_refusals.clone());
        let time = self.namespace_decision_time.clone();
        registry.register_with_unit("namespace_decision_time", "Processor time of policy calls on a namespace's objects", Unit::Seconds, time);
        registry.register("namespace_held_decisions", "Decisions that were held because the namespace's time was used up", self.namespace_held.clone());
    }

    fn register_work(&self, registry: &mut Registry) {
        registry.register("scrapes", "Scrapes of pods by result", self.scrapes.clone());
        registry.register_with_unit("scrape_duration", "Time of one scrape", Unit::Seconds, self.scrape_duration.clone());
        registry.register("api_requests", "Requests to API servers, a watch counted at its start, retries counted each", self.api_requests.clone());
        registry.register("api_errors", "Requests to API servers that were answered with an error or not at all", self.api_errors.clone());
        registry.register_with_unit("api_request_duration", "Time to the head of the answer", Unit::Seconds, self.api_request_duration.clone());
        registry.register("apply", "Objects written, by what that did", self.applies.clone());
        registry.register("apply_errors", "Objects that could not be written, by reason", self.apply_errors.clone());
        registry.register("reconcile_errors", "Reconciles that ended with an error, by step", self.reconcile_errors.clone());
        registry.register("events", "Kubernetes Events by what became of them", self.events.clone());
        registry.register("actor_panics", "Tasks of objects that panicked and were started again", self.actor_panics.clone());
    }

    fn register_state(&self, registry: &mut Registry, options: MetricsOptions) {
        registry.register("build", "The running version", Info::new(vec![("version", options.version)]));
        registry.register("leader", "1 while this process leads", self.leader.clone());
        registry.register("objects", "Objects by kind and by their Ready condition", self.objects.clone());
        registry.register("replicas", "Replicas of all objects", self.replicas.clone());
        registry.register("unhealthy", "Objects by what is wrong with their workload", self.unhealthy.clone());
        registry.register_with_unit("metrics_staleness", "Age of the newest sample at each tick of each object", Unit::Seconds, self.metrics_staleness.clone());
        if options.per_object {
            registry.register("object_replicas", "Replicas of one object", self.object_replicas.clone());
            registry.register_with_unit("object_metrics_staleness", "Age of the newest sample of one object", Unit::Seconds, self.object_staleness.clone());
        }
    }

    /// Creates the series whose labels are known, so that a rate sees their first increase.
    fn start_at_zero(&self) {
        for verdict in [Verdict::Scale, Verdict::Steady, Verdict::Hold, Verdict::Pinned] {
            for mode in ["Enforce", "DryRun"] {
                drop(self.decisions.get_or_create(&Decided { verdict: verdict.as_str(), mode }));
            }
        }
        for guardrail in GUARDRAILS {
            drop(self.clamps.get_or_create(&Clamped { guardrail }));
        }
        for verdict in PlacementVerdict::ALL {
            for mode in ["Enforce", "DryRun"] {
                drop(self.placement_decisions.get_or_create(&Decided { verdict: verdict.as_str(), mode }));
            }
        }
        for guardrail in PlacementGuardrail::ALL {
            drop(self.placement_clamps.get_or_create(&Clamped { guardrail: guardrail.as_str() }));
        }
        for cause in ["Policy", "Failover"] {
            drop(self.partition_moves.get_or_create(&Caused { cause }));
        }
        for step in Step::ALL {
            drop(self.reconcile_errors.get_or_create(&Stepped { step: step.as_str() }));
        }
        for outcome in EventOutcome::ALL {
            drop(self.events.get_or_create(&Told { outcome: outcome.as_str() }));
        }
        drop(self.policy_swaps.get_or_create(&Swapped { result: "Accepted" }));
        for outcome in LoadError::OF_COMPILER.into_iter().chain([COMPILED]) {
            drop(self.policy_compilations.get_or_create(&Compiled { outcome }));
        }
        drop(self.scrapes.get_or_create(&Scraped { result: "ok" }));
        for problem in [
            Problem::CrashLoop,
            Problem::OutOfMemory,
            Problem::ImageError,
            Problem::ContainerConfig,
            Problem::Unschedulable,
            Problem::RolloutStalled,
            Problem::NotReady,
        ] {
            drop(self.unhealthy.get_or_create(&Unhealthy { kind: "LogProcessor", problem: problem.as_str() }));
        }
    }

    /// Creates the failure counters of one policy at zero.
    pub(super) fn failures_at_zero(&self, name: &PolicyName) {
        for kind in FAILURES {
            drop(self.policy_failures.get_or_create(&PolicyFailure { policy_namespace: name.policy_namespace.clone(), policy: name.policy.clone(), kind }));
        }
    }
}
