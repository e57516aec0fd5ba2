use super::*;
use crate::views::WorkloadKind;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::{Value, json};

fn object(name: &str) -> ObjectRef {
    ObjectRef::new("logs", name)
}

fn key(name: &str) -> WorkloadKey {
    WorkloadKey::new(WorkloadKind::Deployment, "logs", name)
}

fn pod(name: &str, version: u64, labels: Value) -> PodView {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "logs", "uid": name, "resourceVersion": version.to_string(), "labels": labels },
    }))
    .unwrap();
    PodView::from(&pod)
}

fn own(name: &str, version: u64) -> PodView {
    pod(name, version, json!({ "weir.dev/processor": "edge" }))
}

fn deployment(name: &str, version: u64, replicas: i32) -> WorkloadView {
    let object: k8s_openapi::api::apps::v1::Deployment = serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "logs", "uid": name, "resourceVersion": version.to_string() },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": name } }, "template": {} },
    }))
    .unwrap();
    WorkloadView::from(&object)
}

fn hpa(name: &str, kind: &str, target: &str, scaled_object: Option<&str>) -> HorizontalPodAutoscaler {
    let owners: Vec<Value> =
        scaled_object.iter().map(|name| json!({ "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": name, "uid": "1" })).collect();
    serde_json::from_value(json!({
        "metadata": { "name": name, "namespace": "logs", "ownerReferences": owners },
        "spec": { "maxReplicas": 3, "scaleTargetRef": { "kind": kind, "name": target } },
    }))
    .unwrap()
}

fn selector(labels: Value) -> Selector {
    (&serde_json::from_value::<LabelSelector>(json!({ "matchLabels": labels })).unwrap()).into()
}

#[test]
fn own_pods_are_found_whether_they_or_the_processor_came_first() {
    let mut index = Index::default();
    assert_eq!(index.apply_pod(own("a", 1)), []);
    index.register(&object("edge"), key("edge"), None);
    assert_eq!(index.apply_pod(own("b", 2)), [object("edge")]);
    let names: Vec<_> = index.members(&object("edge")).pods.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(index.delete_pod("logs", "a"), [object("edge")]);
    assert_eq!(index.members(&object("edge")).pods.len(), 1);
}

#[test]
fn pods_of_an_adopted_workload_are_found_by_its_selector() {
    let mut index = Index::default();
    index.apply_pod(pod("a", 1, json!({ "app": "web" })));
    index.register(&object("edge"), key("web"), Some(selector(json!({ "app": "web" }))));
    assert_eq!(index.members(&object("edge")).pods.len(), 1);
    assert_eq!(index.apply_pod(pod("a", 2, json!({ "app": "other" }))), [object("edge")]);
    assert_eq!(index.members(&object("edge")).pods.len(), 0);
}

#[test]
fn an_empty_selector_matches_no_pod() {
    assert!(!Selector::default().matches(|key| (key == "app").then_some("web")));
}

#[test]
fn what_is_older_than_what_is_held_is_left_out() {
    let mut index = Index::default();
    index.register(&object("edge"), key("edge"), None);
    index.apply_workload(deployment("edge", 7, 5));
    assert_eq!(index.apply_workload(deployment("edge", 6, 3)), []);
    assert_eq!(index.members(&object("edge")).workload.as_ref().unwrap().replicas, 5);
}

#[test]
fn the_second_processor_on_a_workload_learns_of_the_first() {
    let mut index = Index::default();
    index.register(&object("b"), key("web"), None);
    index.register(&object("a"), key("web"), None);
    assert_eq!(index.rival(&object("b")), Some(object("a")));
    assert_eq!(index.rival(&object("a")), None);
    index.unregister(&object("a"));
    assert_eq!(index.rival(&object("b")), None);
}

#[test]
fn other_autoscalers_are_named_and_forgotten() {
    let mut index = Index::default();
    index.register(&object("edge"), key("web"), None);
    assert_eq!(index.apply_autoscaler(&hpa("h", "Deployment", "web", None)), [object("edge")]);
    index.apply_autoscaler(&hpa("keda-hpa-s", "Deployment", "web", Some("s")));
    let titles: Vec<_> = index.members(&object("edge")).autoscalers.iter().map(|other| other.title.clone()).collect();
    assert_eq!(titles, ["HorizontalPodAutoscaler h", "ScaledObject s (through HorizontalPodAutoscaler keda-hpa-s)"]);
    index.delete_autoscaler(&object("h"));
    index.apply_autoscaler(&hpa("keda-hpa-s", "Deployment", "elsewhere", Some("s")));
    assert_eq!(index.members(&object("edge")).autoscalers, []);
}

#[test]
fn an_autoscaler_on_the_processor_itself_is_no_rival() {
    let mut index = Index::default();
    index.register(&object("edge"), key("edge"), None);
    assert_eq!(index.apply_autoscaler(&hpa("h", "LogProcessor", "edge", None)), []);
}
