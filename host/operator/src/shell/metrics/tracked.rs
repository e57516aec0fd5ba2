//! Gauges over all objects, kept up by each object's own changes. Touches nothing; the actor of an
//! object holds one [`Tracked`].
//!
//! Nothing walks over 10,000 objects when Prometheus scrapes: an object adds its share when that
//! changes, and takes it back when it goes.

use super::Metrics;
use super::families::Seconds;
use super::labels::{Kinded, ObjectName, ObjectReplicas, Readied, Unhealthy};
use prometheus_client::metrics::gauge::Gauge;
use std::sync::Arc;
use std::time::Duration;
use weir_core::health::Problem;
use weir_core::ids::ObjectRef;

/// The `Ready` condition of an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Readiness {
    /// It is ready.
    True,
    /// It is not.
    False,
    /// Not judged yet.
    #[default]
    Unknown,
}

impl Readiness {
    /// The word of the condition's status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What counts of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectState {
    /// Its `Ready` condition.
    pub ready: Readiness,
    /// Replicas that its workload asks for; 0 for kinds without replicas.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready_replicas: u32,
    /// Age of its newest sample; absent when nothing is measured.
    pub staleness: Option<Duration>,
    /// What is wrong with its workload.
    pub problem: Option<Problem>,
}

/// Handles of one object, when each object is exposed.
#[derive(Debug)]
struct Own {
    name: ObjectName,
    desired: Gauge,
    ready: Gauge,
    staleness: Seconds,
}

/// The share of one object in the gauges.
#[derive(Debug)]
pub struct Tracked {
    metrics: Arc<Metrics>,
    kind: &'static str,
    counted: ObjectState,
    own: Option<Own>,
}

impl Tracked {
    pub(super) fn new(metrics: Arc<Metrics>, kind: &'static str, object: &ObjectRef) -> Self {
        let own = metrics.per_object.then(|| {
            let families = &metrics.families;
            let name = ObjectName { kind, object_namespace: object.namespace.clone(), object: object.name.clone() };
            Own {
                desired: families.object_replicas.get_or_create_owned(&name.replicas("desired")),
                ready: families.object_replicas.get_or_create_owned(&name.replicas("ready")),
                staleness: families.object_staleness.get_or_create_owned(&name),
                name,
            }
        });
        let tracked = Self { metrics, kind, counted: ObjectState::default(), own };
        tracked.count(&tracked.counted, 1);
        tracked
    }

    /// The object is now like this.
    pub fn set(&mut self, state: &ObjectState) {
        if let Some(age) = state.staleness {
            self.metrics.families.metrics_staleness.observe(age.as_secs_f64());
        }
        if let Some(own) = &self.own {
            own.desired.set(i64::from(state.desired));
            own.ready.set(i64::from(state.ready_replicas));
            own.staleness.set(state.staleness.map_or(f64::NAN, |age| age.as_secs_f64()));
        }
        let before = ObjectState { staleness: state.staleness, ..self.counted };
        if before != *state {
            self.count(&before, -1);
            self.count(state, 1);
        }
        self.counted = *state;
    }

    /// Adds (`sign` 1) or takes back (-1) what `state` is worth.
    fn count(&self, state: &ObjectState, sign: i64) {
        let (families, kind) = (&self.metrics.families, self.kind);
        families.objects.get_or_create(&Readied { kind, ready: state.ready.as_str() }).inc_by(sign);
        for (word, replicas) in [("desired", state.desired), ("ready", state.ready_replicas)] {
            if replicas > 0 {
                families.replicas.get_or_create(&Kinded { kind, state: word }).inc_by(sign.saturating_mul(i64::from(replicas)));
            }
        }
        if let Some(problem) = state.problem {
            families.unhealthy.get_or_create(&Unhealthy { kind, problem: problem.as_str() }).inc_by(sign);
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.count(&self.counted, -1);
        if let Some(own) = &self.own {
            let families = &self.metrics.families;
            families.object_replicas.remove(&own.name.replicas("desired"));
            families.object_replicas.remove(&own.name.replicas("ready"));
            families.object_staleness.remove(&own.name);
        }
    }
}

impl ObjectName {
    fn replicas(&self, state: &'static str) -> ObjectReplicas {
        ObjectReplicas { kind: self.kind, object_namespace: self.object_namespace.clone(), object: self.object.clone(), state }
    }
}
