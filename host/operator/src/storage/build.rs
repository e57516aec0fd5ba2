//! Every object that should exist for a LogStorage, as bodies for server-side apply. Touches nothing; called
//! by the actor, which applies what differs.

use super::valid::{Group, Valid};
use crate::build::names::fit_in;
use crate::build::objects::complete;
use crate::build::pod::{NONROOT, extend};
use crate::build::{Object, ObjectKind};
use serde_json::{Value, json};
use weir_crds::names;

/// Label with the zone of a node's group.
const LABEL_ZONE: &str = "weir.dev/zone";
/// Label on a volume with the uid of the LogStorage that it was made for: one that was deleted and made anew
/// does not take over what the earlier one has left behind.
pub const LABEL_UID: &str = "weir.dev/storage-uid";
/// Name of the volume of a node, and of its claim template.
pub const VOLUME: &str = "storage";
/// Longest name of a Service or Deployment.
const LONGEST: usize = 63;
/// Key of the ledger in the ConfigMap.
pub const KEY_LEDGER: &str = "ownership.json";
/// Key of the map in the ConfigMap.
pub const KEY_MAP: &str = "map.json";

/// The headless Service that gives every node a name.
#[must_use]
pub fn headless_name(storage: &str) -> String {
    fit_in(format!("{storage}-nodes"), LONGEST)
}

/// The query endpoint: Deployment and Service.
#[must_use]
pub fn query_name(storage: &str) -> String {
    fit_in(format!("{storage}-query"), LONGEST)
}

/// The ConfigMap with map and ledger.
#[must_use]
pub fn map_name(storage: &str) -> String {
    fit_in(format!("{storage}-partitions"), LONGEST)
}

/// Host and port of a node.
#[must_use]
pub fn node_address(valid: &Valid, node: &str) -> String {
    format!("{node}.{}.{}.svc:{}", headless_name(&valid.object.name), valid.object.namespace, valid.engine.port())
}

/// Host and port of the query endpoint.
#[must_use]
pub fn query_address(valid: &Valid) -> String {
    format!("{}.{}.svc:{}", query_name(&valid.object.name), valid.object.namespace, valid.engine.port())
}

/// What the spec does not say.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// Replicas of each group.
    pub replicas: Vec<u32>,
    /// Size of the volumes in each group's claim template, where there is one: it can't be changed.
    pub claim_sizes: Vec<Option<String>>,
    /// Nodes that the query endpoint asks; none: it is not made yet.
    pub queried: Vec<String>,
}

/// Every object that should exist, in the order in which they are applied.
#[must_use]
pub fn objects(valid: &Valid, inputs: &Inputs) -> Vec<Object> {
    let mut all = vec![headless(valid)];
    for (index, group) in valid.groups.iter().enumerate() {
        let replicas = inputs.replicas.get(index).copied().unwrap_or(0);
        let size = inputs.claim_sizes.get(index).cloned().flatten().unwrap_or_else(|| valid.volume.0.clone());
        all.push(stateful_set(valid, group, replicas, &size));
    }
    all.push(budget(valid));
    if !inputs.queried.is_empty() {
        all.push(query_deployment(valid, &inputs.queried));
    }
    all.push(query_service(valid));
    all
}

/// The ConfigMap with map and ledger. With `resource_version`, only over that version of it.
#[must_use]
pub fn config_map(valid: &Valid, map: Option<&str>, ledger: &str, resource_version: Option<&str>) -> Object {
    let body = json!({ "metadata": { "resourceVersion": resource_version }, "data": { KEY_MAP: map, KEY_LEDGER: ledger } });
    object(valid, ObjectKind::ConfigMap, map_name(&valid.object.name), names::COMPONENT_PARTITIONS, body)
}

/// Labels of the objects and pods of one part.
fn labels(valid: &Valid, component: &str) -> Value {
    json!({
        names::LABEL_STORAGE: valid.object.name,
        names::LABEL_NAME: "log-storage",
        names::LABEL_INSTANCE: valid.object.name,
        names::LABEL_COMPONENT: component,
        names::LABEL_PART_OF: names::PART_OF,
        names::LABEL_MANAGED_BY: names::MANAGED_BY,
    })
}

fn selector(valid: &Valid, component: &str) -> Value {
    json!({ names::LABEL_STORAGE: valid.object.name, names::LABEL_COMPONENT: component })
}

fn object(valid: &Valid, kind: ObjectKind, name: String, component: &str, body: Value) -> Object {
    complete(kind, &valid.object.namespace, name, labels(valid, component), valid.reference(), body)
}

fn headless(valid: &Valid) -> Object {
    let spec = json!({
        "clusterIP": "None",
        // Who has records for a node that is not ready waits for it rather than for its name.
        "publishNotReadyAddresses": true,
        "selector": selector(valid, names::COMPONENT_STORAGE_NODE),
        "ports": [{ "name": "http", "port": valid.engine.port(), "targetPort": valid.engine.port(), "protocol": "TCP" }],
    });
    object(valid, ObjectKind::Service, headless_name(&valid.object.name), names::COMPONENT_STORAGE_NODE, json!({ "spec": spec }))
}

fn stateful_set(valid: &Valid, group: &Group, replicas: u32, size: &str) -> Object {
    let component = names::COMPONENT_STORAGE_NODE;
    let (mut own, mut all) = (selector(valid, component), labels(valid, component));
    if let Some(zone) = &group.zone {
        extend(&mut own, json!({ LABEL_ZONE: zone }));
        extend(&mut all, json!({ LABEL_ZONE: zone }));
    }
    let mut pod = pod(valid, valid.engine.node(&valid.retention.1, VOLUME), &own);
    if let Some(zone) = &group.zone {
        let mut wanted = pod.get("nodeSelector").cloned().unwrap_or_default();
        extend(&mut wanted, json!({ "topology.kubernetes.io/zone": zone }));
        extend(&mut pod, json!({ "nodeSelector": wanted }));
    }
    // What is in memory is written to the volume before the end.
    extend(&mut pod, json!({ "terminationGracePeriodSeconds": 60 }));
    let claim = json!({
        "metadata": { "name": VOLUME, "labels": { names::LABEL_STORAGE: valid.object.name, LABEL_UID: valid.uid } },
        "spec": { "accessModes": ["ReadWriteOnce"], "storageClassName": valid.volume.1, "resources": { "requests": { "storage": size } } },
    });
    let spec = json!({
        "serviceName": headless_name(&valid.object.name),
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "selector": { "matchLabels": own },
        "template": { "metadata": { "labels": all }, "spec": pod },
        "updateStrategy": { "type": "RollingUpdate" },
        // A volume goes by Weir's own hand, when nothing on it is owed, and never by a number.
        "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
        "volumeClaimTemplates": [claim],
        "revisionHistoryLimit": 2,
    });
    object(valid, ObjectKind::StatefulSet, group.name.clone(), component, json!({ "metadata": { "labels": all }, "spec": spec }))
}

/// The pods of nodes and of the query endpoint.
fn pod(valid: &Valid, container: Value, own: &Value) -> Value {
    let spread = |key: &str| json!({ "topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": { "matchLabels": own } });
    let spread = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(spread);
    let mut pod = valid.engine.pod();
    extend(
        &mut pod,
        json!({
            "containers": [container],
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": NONROOT, "runAsGroup": NONROOT, "fsGroup": NONROOT,
                "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": { "type": "RuntimeDefault" },
            },
            "topologySpreadConstraints": spread,
        }),
    );
    pod
}

fn budget(valid: &Valid) -> Object {
    // One copy of the records of a partition is on one node only.
    let spec = json!({ "maxUnavailable": 1, "selector": { "matchLabels": selector(valid, names::COMPONENT_STORAGE_NODE) } });
    object(valid, ObjectKind::PodDisruptionBudget, headless_name(&valid.object.name), names::COMPONENT_STORAGE_NODE, json!({ "spec": spec }))
}

fn query_deployment(valid: &Valid, nodes: &[String]) -> Object {
    let component = names::COMPONENT_QUERY;
    let own = selector(valid, component);
    let addresses: Vec<String> = nodes.iter().map(|node| node_address(valid, node)).collect();
    let spec = json!({
        "replicas": valid.engine.query_replicas(),
        "selector": { "matchLabels": own },
        "template": { "metadata": { "labels": labels(valid, component) }, "spec": pod(valid, valid.engine.query(&addresses), &own) },
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
        "revisionHistoryLimit": 2,
    });
    object(valid, ObjectKind::Deployment, query_name(&valid.object.name), component, json!({ "spec": spec }))
}

fn query_service(valid: &Valid) -> Object {
    let spec = json!({
        "type": "ClusterIP",
        "selector": selector(valid, names::COMPONENT_QUERY),
        "ports": [{ "name": "http", "port": valid.engine.port(), "targetPort": valid.engine.port(), "protocol": "TCP", "appProtocol": "http" }],
    });
    object(valid, ObjectKind::Service, query_name(&valid.object.name), names::COMPONENT_QUERY, json!({ "spec": spec }))
}

#[cfg(test)]
mod tests {
    use super::super::valid::tests::valid;
    use super::*;
    use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
    use k8s_openapi::api::core::v1::{ConfigMap, Service};
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use serde::de::DeserializeOwned;

    fn made(zones: &[&str]) -> Vec<Object> {
        let inputs = Inputs { replicas: vec![2, 1], claim_sizes: vec![Some("5Gi".into()), None], queried: vec!["logs-a-0".into(), "logs-b-0".into()] };
        objects(&valid(zones, 1), &inputs)
    }

    fn parsed<K: DeserializeOwned>(object: &Object) -> K {
        serde_json::from_value(object.json.clone()).unwrap_or_else(|error| panic!("{} {}: {error}", object.kind.as_str(), object.name))
    }

    #[test]
    fn every_object_has_the_form_of_its_kind_and_its_order() {
        let all = made(&["a", "b"]);
        let names: Vec<String> = all.iter().map(|object| format!("{} {}", object.kind.as_str(), object.name)).collect();
        let wanted =
            ["Service logs-nodes", "StatefulSet logs-a", "StatefulSet logs-b", "PodDisruptionBudget logs-nodes", "Deployment logs-query", "Service logs-query"];
        assert_eq!(names, wanted);
        let _: (Service, StatefulSet, PodDisruptionBudget, Deployment) = (parsed(&all[0]), parsed(&all[1]), parsed(&all[3]), parsed(&all[4]));
        let without_nodes = objects(&valid(&[], 1), &Inputs::default());
        assert!(without_nodes.iter().all(|object| object.kind != ObjectKind::Deployment), "a query endpoint without nodes would be a store of its own");
    }

    #[test]
    fn a_zone_is_in_the_selector_of_its_set_and_where_its_pods_run() {
        let set: StatefulSet = parsed(&made(&["a", "b"])[1]);
        let spec = set.spec.unwrap();
        let pod = spec.template.spec.unwrap();
        assert_eq!(spec.selector.match_labels.as_ref().unwrap()["weir.dev/zone"], "a");
        assert_eq!(pod.node_selector.unwrap()["topology.kubernetes.io/zone"], "a");
        assert_eq!((spec.replicas, spec.service_name.as_deref()), (Some(2), Some("logs-nodes")));
        let labels = spec.template.metadata.unwrap().labels.unwrap();
        assert!(spec.selector.match_labels.unwrap().iter().all(|(key, value)| labels.get(key) == Some(value)));
    }

    #[test]
    fn a_claim_template_keeps_the_size_that_it_was_made_with() {
        let sizes = |index: usize| {
            let set: StatefulSet = parsed(&made(&["a", "b"])[index]);
            let claim = set.spec.unwrap().volume_claim_templates.unwrap().remove(0);
            claim.spec.unwrap().resources.unwrap().requests.unwrap()["storage"].0.clone()
        };
        assert_eq!((sizes(1), sizes(2)), ("5Gi".to_owned(), "10Gi".to_owned()));
    }

    #[test]
    fn nodes_and_query_endpoint_get_the_flags_of_the_store() {
        let all = made(&["a", "b"]);
        let args = |object: &Object| object.json.pointer("/spec/template/spec/containers/0/args").cloned().unwrap();
        assert_eq!(args(&all[1]), json!(["-storageDataPath=/storage", "-httpListenAddr=:9428", "-retentionPeriod=7d"]));
        let node = |name: &str| format!("-storageNode={name}.logs-nodes.team.svc:9428");
        assert_eq!(args(&all[4]), json!(["-httpListenAddr=:9428", "-insert.disable", node("logs-a-0"), node("logs-b-0")]));
    }

    #[test]
    fn the_map_is_written_over_one_version_only() {
        let map = config_map(&valid(&[], 1), None, "{}", Some("12"));
        let parsed: ConfigMap = parsed(&map);
        assert_eq!((parsed.metadata.resource_version.as_deref(), parsed.data.unwrap().len()), (Some("12"), 1));
    }
}
