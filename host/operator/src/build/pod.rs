//! The pods of collectors: what the workload runs and what the check of a configuration runs.
//! Touches nothing; called by [`super::objects`] and [`super::check`].

use super::Port;
use super::names::{ANNOTATION_OPERATOR_VERSION, LABEL_TEMPLATE, config_map_name, live_config_map_name};
use super::objects::Inputs;
use super::revision::{ConfigHash, KEY_CONFIG, Revision, to_json};
use super::valid::Owner;
use serde_json::{Map, Value, json};
use weir_crds::log_processor::{OtelCollector, Protocol};
use weir_crds::names;

/// Where the configuration is mounted.
const CONFIG_DIR: &str = "/etc/otelcol";
/// Name of the collector's container.
pub(super) const CONTAINER: &str = "collector";
/// First port that the agent tries for.
const AGENT_PORT: u16 = 8891;
/// Kept back of the grace period, so that the collector still has time to shut down.
const SHUTDOWN_SECONDS: u32 = 5;
/// Who the pods run as where the user says nothing: the "nonroot" of distroless images.
pub(crate) const NONROOT: u32 = 65532;

/// A pod template, and where its pods have their configuration from.
pub(super) struct Made {
    pub(super) template: Value,
    /// The ConfigMap that is changed in place, and the hash of the template that is for; `None`: another
    /// configuration makes other pods.
    pub(super) live: Option<(String, ConfigHash)>,
}

/// The pod template of a workload. Where collectors can read a configuration anew, the template does not
/// say which one: as long as nothing else changes it stays the same, and so do the pods. Its own hash
/// is in the name of the ConfigMap, so that pods of another template never read what is not for them.
/// `measured` says whether replicas are asked what they run: only so is it known that they took it.
pub(super) fn template(owner: &Owner, revision: &Revision, inputs: &Inputs<'_>, measured: bool) -> Made {
    let agent = agent(revision, inputs);
    let live = agent.is_some() && measured && reads_anew(revision);
    let mut template = of_pod(owner, revision, agent, live);
    if !live {
        return Made { template, live: None };
    }
    let hash = ConfigHash::of(&template);
    let name = live_config_map_name(&owner.name, &hash);
    if let Some(labels) = template.pointer_mut("/metadata/labels") {
        extend(labels, json!({ LABEL_TEMPLATE: hash.as_ref() }));
    }
    if let Some(source) = template.pointer_mut("/spec/volumes/0/configMap") {
        extend(source, json!({ "name": name }));
    }
    Made { template, live: Some((name, hash)) }
}

/// Whether a collector can be told to read its configuration anew: its configuration is of the kind
/// that changes often, and the agent runs as the same user, so it may signal it.
fn reads_anew(revision: &Revision) -> bool {
    let engine = revision.engine();
    let own_user = engine.security_context.as_ref().is_some_and(|context| context.as_json().contains_key("runAsUser"));
    revision.facts().routed && !own_user
}

fn of_pod(owner: &Owner, revision: &Revision, agent: Option<Agent>, live: bool) -> Value {
    let engine = revision.engine();
    let mut labels = to_json(&engine.pod_labels);
    extend(&mut labels, super::objects::labels(owner));
    extend(&mut labels, json!({ names::LABEL_DRAINING: "false" }));
    let mut annotations = to_json(&engine.pod_annotations);
    if live {
        remove(&mut annotations, names::ANNOTATION_CONFIG_HASH);
    } else {
        extend(&mut annotations, json!({ names::ANNOTATION_CONFIG_HASH: revision.hash().as_ref() }));
    }
    remove(&mut annotations, ANNOTATION_OPERATOR_VERSION);

    let mut collector = container(owner, revision);
    extend(
        &mut collector,
        json!({
            "args": args(engine, None),
            "ports": container_ports(revision),
            "resources": engine.resources.as_ref().map(to_json),
            "lifecycle": pre_stop(engine, agent.as_ref()),
        }),
    );
    extend(&mut collector, probes(revision));
    let mut spec = shared_spec(owner, revision);
    extend(
        &mut spec,
        json!({
            "containers": [collector],
            "initContainers": agent.map(|agent| vec![if live { watching(agent.container) } else { agent.container }]),
            "shareProcessNamespace": live.then_some(true),
            "terminationGracePeriodSeconds": engine.termination_grace_period_seconds,
            "topologySpreadConstraints": spread(owner, engine),
            "priorityClassName": engine.priority_class_name,
        }),
    );
    let config = if live { String::new() } else { config_map_name(&owner.name, revision.hash()) };
    extend(&mut spec, json!({ "volumes": volumes(config, revision, queue_volume(engine)) }));
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": spec })
}

/// The pod that runs the collector's own `validate`. It gets no disk of its own: an empty folder
/// stands where queues would be.
pub(super) fn check_spec(owner: &Owner, revision: &Revision) -> Value {
    let engine = revision.engine();
    let mut check = container(owner, revision);
    let limits = engine.resources.as_ref().and_then(|resources| resources.limits.as_ref()).map(to_json);
    extend(
        &mut check,
        json!({
            "args": args(engine, Some("validate")),
            "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": limits },
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }),
    );
    let mut spec = shared_spec(owner, revision);
    let queue = engine.queue_volume.as_ref().map(|_| json!({ "name": "queue", "emptyDir": {} }));
    extend(
        &mut spec,
        json!({
            "containers": [check],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "volumes": volumes(config_map_name(&owner.name, revision.hash()), revision, queue),
        }),
    );
    spec
}

/// What both pods have in common.
fn shared_spec(_: &Owner, revision: &Revision) -> Value {
    let engine = revision.engine();
    let security = engine.pod_security_context.as_ref().map_or_else(
        || {
            json!({
                "runAsNonRoot": true, "runAsUser": NONROOT, "runAsGroup": NONROOT,
                "fsGroup": NONROOT, "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": { "type": "RuntimeDefault" },
            })
        },
        to_json,
    );
    json!({
        "securityContext": security,
        "serviceAccountName": engine.service_account_name,
        // Without a ServiceAccount of its own a collector has nothing to say to the API server.
        "automountServiceAccountToken": engine.service_account_name.is_none().then_some(false),
        "imagePullSecrets": list(&engine.image_pull_secrets),
        "nodeSelector": engine.node_selector,
        "tolerations": list(&engine.tolerations),
        "affinity": engine.affinity.as_ref().map(to_json),
    })
}

fn container(_: &Owner, revision: &Revision) -> Value {
    let engine = revision.engine();
    let mut mounts = vec![config_mount()];
    if let Some(queue) = &engine.queue_volume {
        mounts.push(json!({ "name": "queue", "mountPath": queue.mount_path }));
    }
    if read_only_root(engine) {
        mounts.push(json!({ "name": "tmp", "mountPath": "/tmp" }));
    }
    json!({
        "name": CONTAINER,
        "image": engine.image,
        "imagePullPolicy": engine.image_pull_policy.map(weir_crds::log_processor::ImagePullPolicy::as_str),
        "env": list(&engine.env),
        "volumeMounts": mounts,
        "securityContext": engine.security_context.as_ref().map_or_else(restricted, to_json),
    })
}

fn config_mount() -> Value {
    json!({ "name": "config", "mountPath": CONFIG_DIR, "readOnly": true })
}

/// The agent that also watches the configuration.
fn watching(mut agent: Value) -> Value {
    if let Some(args) = agent.get_mut("args").and_then(Value::as_array_mut) {
        args.push(json!(format!("--reload={CONFIG_DIR}/{KEY_CONFIG}")));
    }
    extend(&mut agent, json!({ "volumeMounts": [config_mount()] }));
    agent
}

/// What the restricted Pod Security Standard asks for, and a root filesystem that nobody writes to.
pub(crate) fn restricted() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
        "runAsNonRoot": true,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

fn read_only_root(engine: &OtelCollector) -> bool {
    let theirs = engine.security_context.as_ref().map(weir_crds::Opaque::as_json);
    theirs.is_none_or(|context| context.get("readOnlyRootFilesystem") == Some(&Value::Bool(true)))
}

fn args(engine: &OtelCollector, command: Option<&str>) -> Vec<String> {
    let config = format!("--config={CONFIG_DIR}/{KEY_CONFIG}");
    command.map(str::to_owned).into_iter().chain([config]).chain(engine.args.iter().cloned()).collect()
}

/// The configuration comes first.
fn volumes(name: String, revision: &Revision, queue: Option<Value>) -> Vec<Value> {
    let mut volumes = vec![json!({
        "name": "config",
        "configMap": { "name": name, "items": [{ "key": KEY_CONFIG, "path": KEY_CONFIG }] },
    })];
    volumes.extend(queue);
    if read_only_root(revision.engine()) {
        volumes.push(json!({ "name": "tmp", "emptyDir": {} }));
    }
    volumes
}

fn queue_volume(engine: &OtelCollector) -> Option<Value> {
    let queue = engine.queue_volume.as_ref()?;
    let mut volume = match (&queue.volume, &queue.size_limit) {
        (Some(volume), _) => to_json(volume),
        (None, size) => json!({ "emptyDir": { "sizeLimit": size } }),
    };
    extend(&mut volume, json!({ "name": "queue" }));
    Some(volume)
}

/// Ports of the Service and of the pods: the user's, then what the receivers listen on.
pub(super) fn service_ports(revision: &Revision) -> Vec<Port> {
    let mut ports: Vec<Port> =
        revision.engine().ports.iter().map(|port| Port { name: port.name.clone(), port: port.port, protocol: port.protocol, app_protocol: None }).collect();
    for derived in &revision.facts().ports {
        let known = |port: &&mut Port| port.port == derived.port && port.protocol == derived.protocol;
        if let Some(named) = ports.iter_mut().find(known) {
            named.app_protocol = derived.app_protocol;
        } else {
            let taken = ports.iter().any(|port| port.name == derived.name);
            let name = if taken { format!("port-{}", derived.port) } else { derived.name.clone() };
            ports.push(Port { name, ..derived.clone() });
        }
    }
    ports
}

fn container_ports(revision: &Revision) -> Vec<Value> {
    let metrics = revision.engine().metrics_port;
    let served = service_ports(revision);
    let name = if served.iter().any(|port| port.name == "metrics") { "weir-metrics" } else { "metrics" };
    let own = (!served.iter().any(|port| port.port == metrics && port.protocol == Protocol::Tcp))
        .then(|| json!({ "name": name, "containerPort": metrics, "protocol": "TCP" }));
    let port = |port: &Port| json!({ "name": port.name, "containerPort": port.port, "protocol": port.protocol.as_str() });
    served.iter().map(port).chain(own).collect()
}

/// Health where the collector tells it; else a connection to the port that opens last: receivers
/// start after all they hand records to.
fn probes(revision: &Revision) -> Value {
    if let Some(health) = &revision.facts().health {
        let scheme = if health.tls { "HTTPS" } else { "HTTP" };
        let get = json!({ "path": health.path, "port": health.port, "scheme": scheme });
        return json!({
            "readinessProbe": { "httpGet": get, "periodSeconds": 2, "failureThreshold": 2, "timeoutSeconds": 2 },
            // A collector that is slow under load must not be killed for it: a minute of silence.
            "livenessProbe": { "httpGet": get, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5, "initialDelaySeconds": 10 },
        });
    }
    let receiver = revision.facts().ports.iter().find(|port| port.protocol == Protocol::Tcp).map(|port| port.port);
    let port = receiver.unwrap_or(revision.engine().metrics_port);
    json!({ "readinessProbe": { "tcpSocket": { "port": port }, "periodSeconds": 2, "failureThreshold": 2, "timeoutSeconds": 2 } })
}

struct Agent {
    container: Value,
    port: u16,
}

/// The sidecar that answers the collector's preStop once its queue is empty. Native (an init
/// container that keeps running), so it outlives the collector's shutdown.
fn agent(revision: &Revision, inputs: &Inputs<'_>) -> Option<Agent> {
    let engine = revision.engine();
    let image = inputs.agent_image?;
    let grace = engine.termination_grace_period_seconds.checked_sub(SHUTDOWN_SECONDS).filter(|grace| *grace > 0)?;
    let taken: Vec<u16> = service_ports(revision)
        .iter()
        .map(|port| port.port)
        .chain([engine.metrics_port])
        .chain(revision.facts().health.as_ref().map(|health| health.port))
        .collect();
    let port = (AGENT_PORT..).find(|port| !taken.contains(port))?;
    // A record that a batch processor holds stands in no queue.
    let quiet = revision.facts().batch_ms.div_ceil(1_000).saturating_add(1).max(2);
    // Twice the age and its grace: by then no gRPC sender is left that could have known better.
    let patience = engine.max_connection_age.as_millis().div_ceil(1_000).saturating_mul(2).max(30);
    let container = json!({
        "name": "weir-agent",
        "image": image,
        "restartPolicy": "Always",
        "args": [
            "agent".to_owned(),
            format!("--port={port}"),
            // A reader of the user's own may listen on one of them only.
            "--metrics-hosts=127.0.0.1,$(POD_IP)".to_owned(),
            format!("--metrics-port={}", engine.metrics_port),
            format!("--grace-seconds={grace}"),
            format!("--patience-seconds={patience}"),
            format!("--quiet-seconds={quiet}"),
        ],
        "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }],
        "ports": [{ "name": "weir-agent", "containerPort": port, "protocol": "TCP" }],
        "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "64Mi" } },
        "securityContext": restricted(),
    });
    Some(Agent { container, port })
}

/// Holds the collector until it is empty; without an agent, until the Service has forgotten it.
fn pre_stop(engine: &OtelCollector, agent: Option<&Agent>) -> Option<Value> {
    match agent {
        Some(agent) => Some(json!({ "preStop": { "httpGet": { "path": "/drain", "port": agent.port, "scheme": "HTTP" } } })),
        None if engine.termination_grace_period_seconds > 2 * SHUTDOWN_SECONDS => Some(json!({ "preStop": { "sleep": { "seconds": SHUTDOWN_SECONDS } } })),
        None => None,
    }
}

fn spread(owner: &Owner, engine: &OtelCollector) -> Vec<Value> {
    let selector = json!({ "matchLabels": { names::LABEL_PROCESSOR: owner.name } });
    if engine.topology_spread_constraints.is_empty() {
        return ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
            .into_iter()
            .map(|key| {
                json!({
                    "topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": selector, "matchLabelKeys": ["pod-template-hash"],
                })
            })
            .collect();
    }
    engine
        .topology_spread_constraints
        .iter()
        .map(|constraint| {
            let mut constraint = constraint.as_json().clone();
            constraint.entry("labelSelector").or_insert_with(|| selector.clone());
            Value::Object(constraint)
        })
        .collect()
}

pub(crate) fn list<T: serde::Serialize>(items: &[T]) -> Option<Value> {
    (!items.is_empty()).then(|| to_json(&items))
}

/// Adds the fields of `more`, which win.
pub(crate) fn extend(object: &mut Value, more: Value) {
    if let Value::Object(more) = more {
        if !object.is_object() {
            *object = Value::Object(Map::new());
        }
        if let Some(fields) = object.as_object_mut() {
            fields.extend(more);
        }
    }
}

fn remove(object: &mut Value, key: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(key);
    }
}
