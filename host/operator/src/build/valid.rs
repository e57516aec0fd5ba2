//! The border: turns the spec of a LogProcessor into a type that later steps trust. Touches nothing;
//! called first in each pass of an actor. Nothing after it reads the raw spec again.

use super::measure::{self, ValidMetrics};
use super::names::workload_name;
use super::revision::Revision;
use super::routing::Routed;
use crate::views::{WorkloadKey, WorkloadKind};
use k8s_openapi::api::core::v1::{PodSpec, Volume};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weir_core::guardrails::{Guardrails, Limits};
use weir_core::ids::ObjectRef;
use weir_core::scaling::Objectives;
use weir_core::snapshot::Mode;
use weir_crds::log_processor::{
    CapacityPerReplica, DirectionGuardrails, EngineChoice, OtelCollector, PodTemplate, Scaling, TargetKind, scaling::Mode as SpecMode,
};
use weir_crds::{Duration, LogProcessor, Opaque};

/// A spec that asks for something that can't be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct Invalid {
    /// Where in the object.
    pub path: String,
    /// Why, and what to do.
    pub message: String,
}

impl Invalid {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// Something that works and will likely surprise its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Stable CamelCase word.
    pub code: &'static str,
    /// Sentence for people: what, and what mends it.
    pub message: String,
}

impl Notice {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Whose objects are built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Namespace of the LogProcessor.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
}

impl Owner {
    /// Namespace and name.
    #[must_use]
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef::new(self.namespace.clone(), self.name.clone())
    }

    /// The reference that makes Kubernetes delete an object with the LogProcessor.
    pub(super) fn reference(&self) -> Value {
        json!({
            "apiVersion": format!("{}/{}", weir_crds::GROUP, weir_crds::VERSION),
            "kind": "LogProcessor", "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }
}

/// Fewest and most replicas; never crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

impl Bounds {
    /// A number of replicas, within the bounds.
    #[must_use]
    pub fn clamp(self, replicas: u32) -> u32 {
        replicas.clamp(self.min, self.max)
    }
}

/// Who decides, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidScaling {
    /// The WasmPolicy, with its namespace.
    pub policy: ObjectRef,
    /// Limits on changes.
    pub guardrails: Guardrails,
    /// Whether decisions take effect.
    pub mode: Mode,
    /// Nothing changes the replicas.
    pub paused: bool,
}

/// Pods of any kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Labels of the pods.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the pods.
    pub annotations: BTreeMap<String, String>,
    /// The pod as it was written: it may have fields that are newer than this program.
    pub pod: Opaque<PodSpec>,
}

/// What runs.
#[derive(Clone, Debug, PartialEq)]
pub enum ValidEngine {
    /// OpenTelemetry Collectors, in the state that the spec asks for.
    Collector(Box<Revision>),
    /// Pods of any kind.
    Template(Box<Template>),
    /// A workload of someone else.
    Target(WorkloadKey),
}

/// A LogProcessor that later steps trust.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// Whose it is.
    pub owner: Owner,
    /// What runs.
    pub engine: ValidEngine,
    /// Bounds of the replicas.
    pub bounds: Bounds,
    /// Replicas by hand, within the bounds.
    pub pin: Option<u32>,
    /// What the user wants to achieve.
    pub objectives: Objectives,
    /// What one replica can process.
    pub capacity: CapacityPerReplica,
    /// Who decides; `None`: nobody.
    pub scaling: Option<ValidScaling>,
    /// What is measured.
    pub metrics: ValidMetrics,
    /// What will likely surprise.
    pub notices: Vec<Notice>,
}

impl Valid {
    /// The workload whose replicas are set.
    #[must_use]
    pub fn workload_key(&self) -> WorkloadKey {
        match &self.engine {
            ValidEngine::Target(key) => key.clone(),
            _ => WorkloadKey::new(WorkloadKind::Deployment, self.owner.namespace.clone(), workload_name(&self.owner.name)),
        }
    }

    /// Collectors: the revision that the spec asks for.
    #[must_use]
    pub fn revision(&self) -> Option<&Revision> {
        match &self.engine {
            ValidEngine::Collector(revision) => Some(revision),
            _ => None,
        }
    }
}

/// What `routingTableRef` leads to.
#[derive(Clone, Copy, Debug)]
pub enum Routing<'a> {
    /// Nowhere: there is none.
    Nowhere,
    /// To a table.
    Table(&'a Routed),
    /// To one that can't be used yet: replicas go on with what they run.
    Held(&'a Revision),
}

/// Checks a LogProcessor.
///
/// # Errors
/// The first thing found that can't be done, with its place and what to do.
pub fn validate(processor: &LogProcessor, routing: Routing<'_>) -> Result<Valid, Invalid> {
    let owner = owner(processor)?;
    let spec = &processor.spec;
    let mut notices = Vec::new();
    let mut metrics_port = None;
    let engine = match spec.engine.choice() {
        Some(EngineChoice::OtelCollector(collector)) => {
            metrics_port = Some(collector.metrics_port);
            parse_opaque(collector)?;
            let (revision, found) = match routing {
                Routing::Held(revision) => (revision.clone(), Vec::new()),
                Routing::Table(routed) => Revision::from_spec(collector, Some(routed))?,
                Routing::Nowhere => Revision::from_spec(collector, None)?,
            };
            notices = found;
            ValidEngine::Collector(Box::new(revision))
        }
        Some(EngineChoice::Template(template)) => ValidEngine::Template(Box::new(valid_template(template)?)),
        Some(EngineChoice::Target(target)) => {
            let kind = match target.kind {
                TargetKind::Deployment => WorkloadKind::Deployment,
                TargetKind::StatefulSet => WorkloadKind::StatefulSet,
            };
            ValidEngine::Target(WorkloadKey::new(kind, owner.namespace.clone(), target.name.clone()))
        }
        None => return Err(Invalid::new("spec.engine", "set exactly one of otelCollector, template and targetRef")),
    };
    if spec.replicas.min > spec.replicas.max {
        return Err(Invalid::new("spec.replicas", "min is larger than max: lower min or raise max"));
    }
    let mut metrics = measure::validate(&spec.metrics, metrics_port)?;
    if let ValidEngine::Collector(revision) = &engine {
        metrics.queue_unit = revision.facts().queue_unit;
    }
    Ok(Valid {
        bounds: Bounds { min: spec.replicas.min, max: spec.replicas.max },
        pin: spec.replicas.clamped_pin(),
        objectives: spec.objectives.map_or_else(Objectives::default, |wanted| Objectives {
            freshness: wanted.freshness.map(Duration::as_secs_f64),
            refused_share: wanted.refused_share,
            replica_hours: wanted.replica_hours,
        }),
        capacity: spec.capacity_per_replica,
        scaling: spec.scaling.as_ref().map(|scaling| valid_scaling(scaling, &owner)),
        metrics,
        notices,
        engine,
        owner,
    })
}

fn owner(processor: &LogProcessor) -> Result<Owner, Invalid> {
    let meta = &processor.metadata;
    let text = |field: &str, value: &Option<String>| match value {
        Some(text) if !text.is_empty() => Ok(text.clone()),
        _ => Err(Invalid::new(format!("metadata.{field}"), "it is missing, which the API server does not let happen: the object was not read from a cluster")),
    };
    Ok(Owner {
        namespace: text("namespace", &meta.namespace)?,
        name: text("name", &meta.name)?,
        uid: text("uid", &meta.uid)?,
        generation: meta.generation.unwrap_or(0),
    })
}

fn valid_scaling(scaling: &Scaling, owner: &Owner) -> ValidScaling {
    let policy = &scaling.policy_ref;
    let namespace = policy.namespace.clone().unwrap_or_else(|| owner.namespace.clone());
    ValidScaling {
        policy: ObjectRef::new(namespace, policy.name.clone()),
        guardrails: Guardrails { up: limits(scaling.guardrails.scale_up.into()), down: limits(scaling.guardrails.scale_down.into()) },
        mode: match scaling.mode {
            SpecMode::Enforce => Mode::Enforce,
            SpecMode::DryRun => Mode::DryRun,
        },
        paused: scaling.paused,
    }
}

fn limits(of: DirectionGuardrails) -> Limits {
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Limits {
        max_replicas_per_step: of.max_replicas_per_step,
        max_percent_per_step: of.max_percent_per_step,
        max_replicas_per_minute: of.max_replicas_per_minute,
        max_percent_per_minute: of.max_percent_per_minute,
        stabilization_ms: ms(of.stabilization_window),
        cooldown_ms: ms(of.cooldown),
    }
}

/// The parts of the block whose schema is open.
fn parse_opaque(collector: &OtelCollector) -> Result<(), Invalid> {
    const AT: &str = "spec.engine.otelCollector";
    parse(collector.affinity.as_ref(), || format!("{AT}.affinity"))?;
    parse(collector.security_context.as_ref(), || format!("{AT}.securityContext"))?;
    parse(collector.pod_security_context.as_ref(), || format!("{AT}.podSecurityContext"))?;
    for (at, constraint) in collector.topology_spread_constraints.iter().enumerate() {
        parse(Some(constraint), || format!("{AT}.topologySpreadConstraints[{at}]"))?;
    }
    if let Some(source) = collector.queue_volume.as_ref().and_then(|queue| queue.volume.as_ref()) {
        // The name is Weir's to give; a volume of the API has one always.
        let mut named = source.as_json().clone();
        named.insert("name".to_owned(), json!("queue"));
        parse(Some(&Opaque::<Volume>::new(named)), || format!("{AT}.queueVolume.volume"))?;
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(part: Option<&Opaque<T>>, at: impl Fn() -> String) -> Result<(), Invalid> {
    let Some(part) = part else { return Ok(()) };
    part.parse().map(drop).map_err(|error| {
        // The piece is read once more, for the place of the mistake. Quantities that are plain
        // numbers stop that reading early, so its place counts only with the same message.
        let found = serde_path_to_error::deserialize::<_, T>(Value::Object(part.as_json().clone())).err();
        let place = found.filter(|found| found.inner().to_string() == error.to_string());
        let path = place.map_or_else(&at, |found| format!("{}.{}", at(), found.path()));
        Invalid::new(path, format!("{error}: write it as `kubectl explain` describes it"))
    })
}

fn valid_template(template: &PodTemplate) -> Result<Template, Invalid> {
    const AT: &str = "spec.engine.template.spec";
    parse(Some(&template.spec), || AT.to_owned())?;
    if template.spec.as_json().get("containers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err(Invalid::new(format!("{AT}.containers"), "there is none: write at least one container with name and image"));
    }
    let metadata = template.metadata.clone().unwrap_or_default();
    Ok(Template { labels: metadata.labels, annotations: metadata.annotations, pod: template.spec.clone() })
}

#[cfg(test)]
#[path = "valid_tests.rs"]
mod tests;
