//! Every object that should exist for a LogProcessor, as bodies for server-side apply. Touches
//! nothing; called by the actor of a LogProcessor, which compares them with what is there
//! ([`mod@super::covers`]) and applies what differs.

use super::names::{
    ANNOTATION_APPLIED, ANNOTATION_GIVEN_AT, ANNOTATION_LAST_GOOD, ANNOTATION_LIVE, ANNOTATION_OPERATOR_VERSION, ANNOTATION_ROLLED_BACK, LABEL_TEMPLATE,
    config_map_name, service_name, workload_name,
};
use super::pod::{self, extend};
use super::revision::{ConfigHash, KEY_CONFIG, KEY_ENGINE, Revision, to_json};
use super::valid::{Owner, Template, Valid, ValidEngine};
use k8s_openapi::Resource;
use kube::core::ApiResource;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use weir_crds::names;

/// Kinds of the objects that Weir makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// v1 ConfigMap.
    ConfigMap,
    /// apps/v1 Deployment.
    Deployment,
    /// apps/v1 StatefulSet.
    StatefulSet,
    /// v1 Service.
    Service,
    /// policy/v1 PodDisruptionBudget.
    PodDisruptionBudget,
    /// batch/v1 Job.
    Job,
}

impl ObjectKind {
    /// The kind as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Job => "Job",
        }
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::ConfigMap => k8s_openapi::api::core::v1::ConfigMap::API_VERSION,
            Self::Deployment => k8s_openapi::api::apps::v1::Deployment::API_VERSION,
            Self::StatefulSet => k8s_openapi::api::apps::v1::StatefulSet::API_VERSION,
            Self::Service => k8s_openapi::api::core::v1::Service::API_VERSION,
            Self::PodDisruptionBudget => k8s_openapi::api::policy::v1::PodDisruptionBudget::API_VERSION,
            Self::Job => k8s_openapi::api::batch::v1::Job::API_VERSION,
        }
    }

    /// How a dynamic client reaches it.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::ConfigMap => ApiResource::erase::<k8s_openapi::api::core::v1::ConfigMap>(&()),
            Self::Deployment => ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&()),
            Self::StatefulSet => ApiResource::erase::<k8s_openapi::api::apps::v1::StatefulSet>(&()),
            Self::Service => ApiResource::erase::<k8s_openapi::api::core::v1::Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(&()),
            Self::Job => ApiResource::erase::<k8s_openapi::api::batch::v1::Job>(&()),
        }
    }
}

/// One object, ready for server-side apply: no nulls, no status.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its whole body.
    pub json: Value,
}

/// What the spec does not say.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Replicas that should run.
    pub replicas: u32,
    /// What they should run.
    pub deploy: Deploy<'a>,
    /// From [`super::rollout::Step`].
    pub last_good: Option<&'a ConfigHash>,
    /// From [`super::rollout::Step`].
    pub rolled_back: Option<&'a ConfigHash>,
    /// Unix milliseconds at which the pods were given what they should run, where they read it anew.
    pub given_at: i64,
    /// Image of the agent; `None`: collectors run without one.
    pub agent_image: Option<&'a str>,
    /// Version of this program.
    pub operator_version: &'a str,
}

/// What the replicas should run.
#[derive(Clone, Copy, Debug)]
pub enum Deploy<'a> {
    /// What the spec asks for.
    Desired,
    /// An earlier revision.
    Earlier(&'a Revision),
    /// What they run now, or nothing yet: no Deployment is made in this pass.
    Keep,
}

/// Every object that should exist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Configuration that the spec asks for. Must exist before its check and before the workload.
    pub config_map: Option<Object>,
    /// What pods that read their configuration anew have mounted.
    pub live: Option<Object>,
    /// Hash of the template of these pods.
    pub template: Option<ConfigHash>,
    /// The Deployment.
    pub workload: Option<Object>,
    /// The Service in front of its pods.
    pub service: Option<Object>,
    /// How many pods may be evicted at once.
    pub pod_disruption_budget: Option<Object>,
    /// What should not exist: delete it if it does and Weir owns it.
    pub absent: Vec<(ObjectKind, String)>,
}

impl Desired {
    /// All of them, in the order in which they are applied.
    pub fn in_order(&self) -> impl Iterator<Item = &Object> {
        [&self.config_map, &self.live, &self.workload, &self.service, &self.pod_disruption_budget].into_iter().flatten()
    }
}

/// Builds what should exist. Nothing for `targetRef`.
#[must_use]
pub fn objects(valid: &Valid, inputs: &Inputs<'_>) -> Desired {
    let owner = &valid.owner;
    let mut desired = Desired::default();
    let ports = match &valid.engine {
        ValidEngine::Target(_) => return desired,
        ValidEngine::Template(template) => {
            let pod = template_pod(owner, template);
            if !matches!(inputs.deploy, Deploy::Keep) {
                desired.workload = Some(deployment(owner, pod, inputs, None));
            }
            template_ports(template)
        }
        ValidEngine::Collector(revision) => {
            desired.config_map = Some(config_map(owner, revision));
            let deployed = match inputs.deploy {
                Deploy::Desired => Some(&**revision),
                Deploy::Earlier(earlier) => Some(earlier),
                Deploy::Keep => None,
            };
            if let Some(revision) = deployed {
                let made = pod::template(owner, revision, inputs, valid.metrics.scrape.is_some());
                let in_place = made.live.as_ref().map(|(_, template)| (revision.hash(), template));
                desired.workload = Some(deployment(owner, made.template, inputs, in_place));
                if let Some((name, template)) = made.live {
                    desired.live = Some(live_config_map(owner, revision, name));
                    desired.template = Some(template);
                }
            }
            // The Service follows what runs: ports of a configuration that was refused lead nowhere.
            pod::service_ports(deployed.unwrap_or(revision))
                .iter()
                .map(|port| {
                    json!({
                        "name": port.name, "port": port.port, "targetPort": port.port,
                        "protocol": port.protocol.as_str(), "appProtocol": port.app_protocol,
                    })
                })
                .collect()
        }
    };
    let name = service_name(&owner.name);
    if ports.is_empty() {
        desired.absent.push((ObjectKind::Service, name.clone()));
    } else {
        desired.service = Some(service(owner, name.clone(), ports));
    }
    // Rounded up by Kubernetes, so one pod can always go.
    let budget = json!({ "spec": { "maxUnavailable": "10%", "selector": { "matchLabels": selector(owner) } } });
    desired.pod_disruption_budget = Some(object(ObjectKind::PodDisruptionBudget, owner, name, budget));
    desired
}

/// What server-side apply writes on a workload of `targetRef`: who scales it and, when given, its
/// replicas. A field manager that leaves out a field which it once applied removes it, and a
/// workload without replicas has one: after the first `Some`, never pass `None` under the same
/// manager.
#[must_use]
pub fn adoption_patch(valid: &Valid, replicas: Option<u32>) -> Option<Value> {
    let ValidEngine::Target(key) = &valid.engine else { return None };
    let owner = &valid.owner;
    Some(pruned(json!({
        "apiVersion": "apps/v1",
        "kind": key.kind.as_str(),
        "metadata": {
            "name": key.name, "namespace": key.namespace,
            "labels": { names::LABEL_PROCESSOR: owner.name },
            "annotations": { names::ANNOTATION_SCALED_BY: owner.object_ref().to_string() },
        },
        "spec": replicas.map(|replicas| json!({ "replicas": replicas })),
    })))
}

/// The ConfigMap of a revision. Immutable: another configuration has another name.
pub(super) fn config_map(owner: &Owner, revision: &Revision) -> Object {
    let body = json!({
        "metadata": { "annotations": { names::ANNOTATION_CONFIG_HASH: revision.hash().as_ref() } },
        "immutable": true,
        "data": { KEY_CONFIG: revision.yaml(), KEY_ENGINE: revision.engine_json() },
    });
    object(ObjectKind::ConfigMap, owner, config_map_name(&owner.name, revision.hash()), body)
}

/// The ConfigMap that pods have mounted which read their configuration anew. It holds the revision that
/// is deployed, and is changed in place.
fn live_config_map(owner: &Owner, revision: &Revision, name: String) -> Object {
    let body = json!({
        "metadata": { "annotations": { ANNOTATION_LIVE: revision.hash().as_ref() } },
        "data": { KEY_CONFIG: revision.yaml() },
    });
    object(ObjectKind::ConfigMap, owner, name, body)
}

/// `in_place` is the revision that pods read anew, and their template; of others the template tells.
fn deployment(owner: &Owner, template: Value, inputs: &Inputs<'_>, in_place: Option<(&ConfigHash, &ConfigHash)>) -> Object {
    let body = json!({
        "metadata": { "annotations": {
            names::ANNOTATION_CONFIG_HASH: in_place.map(|(revision, _)| revision.as_ref()),
            LABEL_TEMPLATE: in_place.map(|(_, template)| template.as_ref()),
            ANNOTATION_GIVEN_AT: in_place.map(|_| inputs.given_at.to_string()),
            ANNOTATION_LAST_GOOD: inputs.last_good.map(AsRef::<str>::as_ref),
            ANNOTATION_ROLLED_BACK: inputs.rolled_back.map(AsRef::<str>::as_ref),
            ANNOTATION_OPERATOR_VERSION: inputs.operator_version,
        } },
        "spec": {
            "replicas": inputs.replicas,
            "selector": { "matchLabels": selector(owner) },
            "template": template,
            // A rollout never takes capacity away, and always gets on.
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": "25%" } },
            "minReadySeconds": 3,
            // Long enough for a node to be added and a large image to be pulled; a crash is seen
            // without waiting for it.
            "progressDeadlineSeconds": 300,
            "revisionHistoryLimit": 2,
        },
    });
    object(ObjectKind::Deployment, owner, workload_name(&owner.name), body)
}

fn service(owner: &Owner, name: String, ports: Vec<Value>) -> Object {
    let mut selector = selector(owner);
    extend(&mut selector, json!({ names::LABEL_DRAINING: "false" }));
    object(ObjectKind::Service, owner, name, json!({ "spec": { "type": "ClusterIP", "selector": selector, "ports": ports } }))
}

fn template_pod(owner: &Owner, template: &Template) -> Value {
    let mut labels = to_json(&template.labels);
    extend(&mut labels, self::labels(owner));
    extend(&mut labels, json!({ names::LABEL_DRAINING: "false" }));
    json!({ "metadata": { "labels": labels, "annotations": template.annotations }, "spec": template.pod })
}

/// Ports of the Service: those that the containers name.
fn template_ports(template: &Template) -> Vec<Value> {
    let containers = template.pod.as_json().get("containers").and_then(Value::as_array);
    let declared = containers.into_iter().flatten().filter_map(|container| container.get("ports")?.as_array()).flatten();
    let mut names = BTreeSet::new();
    let mut taken = BTreeSet::new();
    let mut ports = Vec::new();
    for declared in declared {
        let Some(number) = declared.get("containerPort").and_then(Value::as_u64) else { continue };
        let protocol = declared.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        if !taken.insert((number, protocol)) {
            continue;
        }
        let wanted = declared.get("name").and_then(Value::as_str).map_or_else(|| format!("port-{number}"), str::to_owned);
        let fallback = format!("port-{number}-{}", protocol.to_lowercase());
        let name = if names.insert(wanted.clone()) { wanted } else { fallback };
        ports.push(json!({ "name": name, "port": number, "targetPort": number, "protocol": protocol }));
    }
    ports
}

fn selector(owner: &Owner) -> Value {
    json!({ names::LABEL_PROCESSOR: owner.name })
}

/// Labels of each object and pod.
pub(super) fn labels(owner: &Owner) -> Value {
    json!({
        names::LABEL_PROCESSOR: owner.name,
        names::LABEL_NAME: "log-processor",
        names::LABEL_INSTANCE: owner.name,
        names::LABEL_COMPONENT: names::COMPONENT_COLLECTOR,
        names::LABEL_PART_OF: names::PART_OF,
        names::LABEL_MANAGED_BY: names::MANAGED_BY,
    })
}

/// Completes a body of a LogProcessor: see [`complete`].
pub(super) fn object(kind: ObjectKind, owner: &Owner, name: String, body: Value) -> Object {
    complete(kind, &owner.namespace, name, labels(owner), owner.reference(), body)
}

/// Completes a body: its type, name, labels and owner, and the hash of what is asked for.
pub(crate) fn complete(kind: ObjectKind, namespace: &str, name: String, mut labels: Value, owner: Value, body: Value) -> Object {
    let mut json = body;
    let mut metadata = json.get("metadata").cloned().unwrap_or_default();
    extend(&mut labels, metadata.get("labels").cloned().unwrap_or_default());
    extend(&mut metadata, json!({ "name": name, "namespace": namespace, "labels": labels, "ownerReferences": [owner] }));
    extend(&mut json, json!({ "apiVersion": kind.api_version(), "kind": kind.as_str(), "metadata": metadata }));
    let mut json = pruned(json);
    let asked = asked_for(&json);
    if let Some(metadata) = json.get_mut("metadata") {
        let mut annotations = metadata.get("annotations").cloned().unwrap_or_default();
        extend(&mut annotations, json!({ ANNOTATION_APPLIED: asked.as_ref() }));
        extend(metadata, json!({ "annotations": annotations }));
    }
    Object { kind, namespace: namespace.to_owned(), name, json }
}

/// Hash of what is asked for. Not of the replicas, which change all the time and are compared by
/// themselves, nor of the operator's version, which alone is no reason to write.
fn asked_for(json: &Value) -> ConfigHash {
    let mut json = json.clone();
    if let Some(spec) = json.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("replicas");
    }
    if let Some(annotations) = json.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION_OPERATOR_VERSION);
    }
    ConfigHash::of(&json)
}

/// Without the fields that are null: they say the same as no field, and server-side apply would
/// take them for wishes.
fn pruned(json: Value) -> Value {
    match json {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, pruned(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        other => other,
    }
}

#[cfg(test)]
#[path = "objects_tests.rs"]
mod tests;
