//! Kubernetes objects, cut down to what decisions need. Touches nothing.

use crate::labels::Labels;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta, Time};
use std::fmt;
use std::sync::Arc;
use weir_core::health::{ContainerFacts, PodFacts};
use weir_core::ids::UnixMs;
use weir_crds::{GROUP, names};

/// Annotation on a cordoned pod: Unix milliseconds of the cordon.
pub const ANNOTATION_CORDONED_AT: &str = "weir.dev/cordoned-at";
/// Deletion cost of a cordoned pod: cheaper than any that a user would set.
pub const COST_CORDONED: &str = "-1000000";
/// Deletion cost of a pod that is drained: the cheapest of all.
pub const COST_DRAINED: &str = "-2000000";

/// Kinds of workload that Weir scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
}

impl WorkloadKind {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}

/// Names a workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    /// Deployment or StatefulSet.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl WorkloadKey {
    /// A key from its parts.
    pub fn new(kind: WorkloadKind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of a kind that Weir scales; `None` for any other kind.
    #[must_use]
    pub fn parse(kind: &str, namespace: &str, name: &str) -> Option<Self> {
        let kind = match kind {
            "Deployment" => WorkloadKind::Deployment,
            "StatefulSet" => WorkloadKind::StatefulSet,
            _ => return None,
        };
        Some(Self::new(kind, namespace, name))
    }
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

/// A label selector that can be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    equal: Labels,
    expressions: Box<[LabelSelectorRequirement]>,
}

impl Selector {
    /// True when the labels, asked for one by one, fulfil all requirements. An empty selector matches
    /// nothing: Weir never takes all pods of a namespace for those of one workload.
    #[must_use]
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        if self.equal.is_empty() && self.expressions.is_empty() {
            return false;
        }
        self.equal.iter().all(|(key, value)| label(key) == Some(value))
            && self.expressions.iter().all(|need| {
                let value = label(&need.key);
                let listed = || value.is_some_and(|value| need.values.iter().flatten().any(|wanted| wanted == value));
                match need.operator.as_str() {
                    "In" => listed(),
                    "NotIn" => !listed(),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }

    /// The selector as `kubectl -l` takes it, for the scale subresource.
    #[must_use]
    pub fn text(&self) -> String {
        let equal = self.equal.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.expressions.iter().map(|need| {
            let values = need.values.clone().unwrap_or_default().join(",");
            match need.operator.as_str() {
                "In" => format!("{} in ({values})", need.key),
                "NotIn" => format!("{} notin ({values})", need.key),
                "DoesNotExist" => format!("!{}", need.key),
                _ => need.key.clone(),
            }
        });
        equal.chain(expressions).collect::<Vec<_>>().join(",")
    }
}

impl From<&LabelSelector> for Selector {
    fn from(selector: &LabelSelector) -> Self {
        Self { equal: selector.match_labels.as_ref().into(), expressions: selector.match_expressions.clone().unwrap_or_default().into() }
    }
}

/// A Deployment or StatefulSet.
#[derive(Clone, Debug)]
pub struct WorkloadView {
    /// Which one.
    pub key: WorkloadKey,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion as a number: a later one is larger (Kubernetes 1.35, KEP-5504).
    pub version: u64,
    /// Raised with every change of its spec.
    pub generation: i64,
    /// Generation that its controller has seen.
    pub observed_generation: i64,
    /// `spec.replicas`.
    pub replicas: u32,
    /// Replicas that exist.
    pub current: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that have the newest template.
    pub updated: u32,
    /// Replicas that have been ready for minReadySeconds.
    pub available: u32,
    /// Which pods are its own.
    pub selector: Selector,
    /// Why its rollout does not get on.
    pub stalled: Option<String>,
    /// It is being deleted.
    pub deleting: bool,
    /// Its labels.
    pub labels: Labels,
    /// Those of its annotations that are Weir's.
    pub annotations: Labels,
    /// Configuration hash that its pods were given.
    pub config_hash: Option<String>,
    /// uid of the controller that owns it.
    pub owner: Option<String>,
}

impl WorkloadView {
    /// True when all replicas have the newest template and are ready.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.observed_generation >= self.generation && self.updated >= self.replicas && self.current == self.replicas && self.ready >= self.replicas
    }
}

impl From<&Deployment> for WorkloadView {
    fn from(object: &Deployment) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let mut view = from_meta(WorkloadKind::Deployment, &object.metadata);
        view.observed_generation = status.observed_generation.unwrap_or(0);
        view.replicas = count(spec.replicas.or(Some(1)));
        view.current = count(status.replicas);
        view.ready = count(status.ready_replicas);
        view.updated = count(status.updated_replicas);
        view.available = count(status.available_replicas);
        // Pods that read their configuration anew have a template that does not name it.
        view.config_hash = config_hash(spec.template.metadata.as_ref()).or_else(|| config_hash(Some(&object.metadata)));
        view.selector = (&spec.selector).into();
        let stalled = |kind: &str, reason: Option<&str>, status: &str| {
            (kind == "Progressing" && status == "False") || (kind == "ReplicaFailure" && status == "True" && reason.is_some())
        };
        view.stalled = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| stalled(&condition.type_, condition.reason.as_deref(), &condition.status))
            .map(|condition| condition.message.clone().or_else(|| condition.reason.clone()).unwrap_or_default());
        view
    }
}

impl From<&StatefulSet> for WorkloadView {
    fn from(object: &StatefulSet) -> Self {
        let spec = object.spec.clone().unwrap_or_default();
        let status = object.status.clone().unwrap_or_default();
        let mut view = from_meta(WorkloadKind::StatefulSet, &object.metadata);
        view.observed_generation = status.observed_generation.unwrap_or(0);
        view.replicas = count(spec.replicas.or(Some(1)));
        view.current = count(Some(status.replicas));
        view.ready = count(status.ready_replicas);
        view.updated = count(status.updated_replicas);
        view.available = count(status.available_replicas);
        view.config_hash = config_hash(spec.template.metadata.as_ref());
        view.selector = (&spec.selector).into();
        view
    }
}

fn from_meta(kind: WorkloadKind, meta: &ObjectMeta) -> WorkloadView {
    WorkloadView {
        key: WorkloadKey::new(kind, meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()),
        uid: meta.uid.clone().unwrap_or_default(),
        version: version(meta),
        generation: meta.generation.unwrap_or(0),
        observed_generation: 0,
        replicas: 0,
        current: 0,
        ready: 0,
        updated: 0,
        available: 0,
        selector: Selector::default(),
        stalled: None,
        deleting: meta.deletion_timestamp.is_some(),
        labels: meta.labels.as_ref().into(),
        annotations: Labels::some(meta.annotations.as_ref(), |key| key.strip_prefix(GROUP).is_some_and(|rest| rest.starts_with('/'))),
        config_hash: None,
        owner: meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()),
    }
}

fn config_hash(template: Option<&ObjectMeta>) -> Option<String> {
    template?.annotations.as_ref()?.get(names::ANNOTATION_CONFIG_HASH).cloned()
}

/// The resourceVersion as a number, 0 where it is not one: then nothing is ever held to be older.
#[must_use]
pub fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// What changes with an object's spec: its generation, or where its kind has none its resourceVersion.
#[must_use]
pub fn mark(meta: &ObjectMeta) -> u64 {
    meta.generation.and_then(|generation| u64::try_from(generation).ok()).filter(|generation| *generation > 0).unwrap_or_else(|| version(meta))
}

fn count(replicas: Option<i32>) -> u32 {
    replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(0)
}

/// Milliseconds of a Kubernetes time.
#[must_use]
pub fn unix_ms(time: &Time) -> UnixMs {
    UnixMs(time.0.as_millisecond())
}

/// A pod.
#[derive(Clone, Debug)]
pub struct PodView {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion as a number.
    pub version: u64,
    /// Its labels.
    pub labels: Labels,
    /// Value of `weir.dev/processor`.
    pub processor: Option<Arc<str>>,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// What the health assessment needs.
    pub facts: PodFacts,
    /// It is over: succeeded or failed.
    pub finished: bool,
    /// It runs: at least one container was started.
    pub started: bool,
    /// Restarts of all containers together.
    pub restarts: u32,
    /// When it was cordoned.
    pub cordoned: Option<UnixMs>,
    /// It is marked as drained.
    pub marked: bool,
    /// Configuration hash of the template that it was made from, or that it was told to read anew.
    pub config_hash: Option<String>,
}

impl PodView {
    /// True when it is ready and stays.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.facts.ready_since.is_some() && !self.facts.deleting && !self.finished
    }

    /// Changes when the process behind the address is another one: its counters start from zero.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        use std::hash::{Hash as _, Hasher as _};
        let mut hasher = std::hash::DefaultHasher::new();
        (&self.uid, self.restarts).hash(&mut hasher);
        hasher.finish().max(1)
    }
}

impl From<&Pod> for PodView {
    fn from(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let status = pod.status.clone().unwrap_or_default();
        let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
        let condition = |kind: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == kind);
        let statuses = || status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
        let phase = status.phase.clone().unwrap_or_default();
        let ready_since = condition("Ready")
            .filter(|condition| condition.status == "True")
            .map(|condition| condition.last_transition_time.as_ref().map_or(UnixMs(0), unix_ms));
        let unschedulable = condition("PodScheduled")
            .filter(|condition| condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable"))
            .map(|condition| condition.message.clone().unwrap_or_default());
        Self {
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
            uid: meta.uid.clone().unwrap_or_default(),
            version: version(meta),
            labels: meta.labels.as_ref().into(),
            processor: meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_PROCESSOR)).map(|name| name.as_str().into()),
            ip: status.pod_ip.clone().filter(|ip| !ip.is_empty()),
            finished: phase == "Succeeded" || phase == "Failed",
            started: statuses().any(|container| {
                container.started == Some(true) || container.restart_count > 0 || container.state.as_ref().is_some_and(|state| state.terminated.is_some())
            }),
            restarts: statuses().map(|container| count(Some(container.restart_count))).fold(0, u32::saturating_add),
            cordoned: (meta.labels.as_ref().and_then(|labels| labels.get(names::LABEL_DRAINING)).map(String::as_str) == Some("true"))
                .then(|| UnixMs(annotation(ANNOTATION_CORDONED_AT).and_then(|at| at.parse().ok()).unwrap_or(0))),
            marked: annotation(names::ANNOTATION_POD_DELETION_COST).map(String::as_str) == Some(COST_DRAINED),
            config_hash: config_hash(Some(meta)),
            facts: PodFacts {
                name: meta.name.clone().unwrap_or_default(),
                created: meta.creation_timestamp.as_ref().map_or(UnixMs(0), unix_ms),
                ready_since,
                deleting: meta.deletion_timestamp.is_some(),
                unschedulable,
                containers: statuses().filter_map(container_facts).collect(),
            },
        }
    }
}

/// Facts of a container that is not simply running; `None` for one that is, which saves memory.
fn container_facts(container: &ContainerStatus) -> Option<ContainerFacts> {
    let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
    let last = container
        .state
        .as_ref()
        .and_then(|state| state.terminated.as_ref())
        .filter(|end| end.exit_code != 0)
        .or_else(|| container.last_state.as_ref().and_then(|state| state.terminated.as_ref()));
    if waiting.is_none() && last.is_none() {
        return None;
    }
    Some(ContainerFacts {
        name: container.name.clone(),
        restarts: count(Some(container.restart_count)),
        waiting: waiting.map(|waiting| (waiting.reason.clone().unwrap_or_default(), waiting.message.clone().unwrap_or_default())),
        last_end: last.map(|end| (end.reason.clone().unwrap_or_default(), end.exit_code, end.message.clone().unwrap_or_default())),
    })
}
