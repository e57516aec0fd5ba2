//! The fields that matter of the objects for representative LogProcessors.

use super::super::covers::covers;
use super::super::fixtures::{valid_collector, valid_template, with_engine};
use super::super::valid::{Routing, validate};
use super::*;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use rstest::rstest;

fn inputs() -> Inputs<'static> {
    Inputs {
        replicas: 3,
        deploy: Deploy::Desired,
        last_good: None,
        rolled_back: None,
        given_at: 1_000,
        agent_image: Some("example/weir:1"),
        operator_version: "1.2.3",
    }
}

fn deployment(valid: &Valid, inputs: &Inputs<'_>) -> Deployment {
    serde_json::from_value(objects(valid, inputs).workload.unwrap().json).unwrap()
}

fn pod(valid: &Valid) -> PodSpec {
    deployment(valid, &inputs()).spec.unwrap().template.spec.unwrap()
}

fn collector(valid: &Valid) -> Container {
    pod(valid).containers.remove(0)
}

fn has_null(json: &Value) -> bool {
    match json {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        _ => false,
    }
}

#[test]
fn every_object_is_owned_labelled_and_ready_for_an_apply() {
    let valid = valid_collector(|_| {});
    let desired = objects(&valid, &inputs());
    let job = super::super::validation_job(&valid, "1.2.3");
    let all: Vec<&Object> = desired.in_order().chain(&job).collect();
    assert_eq!(all.len(), 5);
    for object in all {
        let json = &object.json;
        assert!(!has_null(json) && json.get("status").is_none(), "{json}");
        assert_eq!((&json["kind"], &json["metadata"]["name"]), (&json!(object.kind.as_str()), &json!(object.name)));
        let owner = &json["metadata"]["ownerReferences"][0];
        assert_eq!((&owner["uid"], &owner["controller"], &owner["blockOwnerDeletion"]), (&json!("7f6b"), &json!(true), &json!(true)));
        assert_eq!(json["metadata"]["labels"]["app.kubernetes.io/managed-by"], "weir");
        assert!(json["metadata"]["annotations"]["weir.dev/applied-hash"].is_string());
    }
}

#[test]
fn the_service_leaves_out_pods_that_drain_and_the_workload_keeps_them() {
    let valid = valid_collector(|_| {});
    let desired = objects(&valid, &inputs());
    let deployment = deployment(&valid, &inputs()).spec.unwrap();
    assert_eq!(json!(deployment.selector.match_labels), json!({ "weir.dev/processor": "logs" }));
    assert_eq!(deployment.template.metadata.unwrap().labels.unwrap()["weir.dev/draining"], "false");
    let service = desired.service.unwrap();
    assert_eq!(service.json["spec"]["selector"], json!({ "weir.dev/processor": "logs", "weir.dev/draining": "false" }));
    let ports: Vec<_> = service.json["spec"]["ports"].as_array().unwrap().iter().map(|port| (&port["name"], &port["port"])).collect();
    assert_eq!(ports, [(&json!("otlp-grpc"), &json!(4317)), (&json!("otlp-http"), &json!(4318))]);
}

#[test]
fn pods_run_the_configuration_of_their_hash() {
    let valid = valid_collector(|engine| engine["args"] = json!(["--feature-gates=a"]));
    let hash = valid.revision().unwrap().hash();
    let collector = collector(&valid);
    assert_eq!(collector.args.unwrap(), ["--config=/etc/otelcol/config.yaml", "--feature-gates=a"]);
    let config = pod(&valid).volumes.unwrap().remove(0).config_map.unwrap();
    assert_eq!(config.name, format!("logs-config-{hash}"));
    let template = deployment(&valid, &inputs()).spec.unwrap().template.metadata.unwrap();
    assert_eq!(template.annotations.unwrap()["weir.dev/config-hash"], hash.to_string());
    let map = objects(&valid, &inputs()).config_map.unwrap();
    assert_eq!((map.name, &map.json["immutable"]), (config.name, &json!(true)));
    assert!(map.json["data"]["config.yaml"].as_str().unwrap().contains(&format!("weir.config.hash: \"{hash}\"")));
}

#[test]
fn pods_are_restricted_unless_the_user_says_otherwise() {
    let valid = valid_collector(|_| {});
    let security = collector(&valid).security_context.unwrap();
    assert_eq!((security.read_only_root_filesystem, security.allow_privilege_escalation), (Some(true), Some(false)));
    assert_eq!(pod(&valid).security_context.unwrap().run_as_user, Some(65532));
    let mounts: Vec<String> = collector(&valid).volume_mounts.unwrap().into_iter().map(|mount| mount.mount_path).collect();
    assert_eq!(mounts, ["/etc/otelcol", "/var/lib/otelcol", "/tmp"]);

    let theirs = valid_collector(|engine| {
        engine["securityContext"] = json!({ "runAsUser": 0, "fieldOfTheFuture": true });
        engine["podSecurityContext"] = json!({});
    });
    let raw = objects(&theirs, &inputs()).workload.unwrap().json;
    let spec = &raw["spec"]["template"]["spec"];
    assert_eq!(spec["containers"][0]["securityContext"], json!({ "runAsUser": 0, "fieldOfTheFuture": true }));
    assert_eq!(spec["securityContext"], json!({}));
    assert_eq!(spec["containers"][0]["volumeMounts"].as_array().unwrap().len(), 2, "no /tmp where the root can be written");
}

#[test]
fn readiness_follows_what_the_configuration_offers() {
    let with_health = collector(&valid_collector(|_| {}));
    assert_eq!(with_health.readiness_probe.unwrap().http_get.unwrap().path.as_deref(), Some("/"));
    assert!(with_health.liveness_probe.is_some());
    let without = collector(&valid_collector(|engine| engine["config"]["service"]["extensions"] = json!(["file_storage"])));
    assert_eq!(json!(without.readiness_probe.unwrap().tcp_socket.unwrap().port), json!(4317));
    assert!(without.liveness_probe.is_none());
}

#[test]
fn the_agent_holds_the_collector_for_the_grace_period_less_its_shutdown() {
    let valid = valid_collector(|_| {});
    let agent = pod(&valid).init_containers.unwrap().remove(0);
    assert_eq!(agent.restart_policy.as_deref(), Some("Always"));
    let args = agent.args.unwrap();
    for expected in ["agent", "--port=8891", "--metrics-port=8888", "--grace-seconds=295", "--patience-seconds=60", "--quiet-seconds=6"] {
        assert!(args.iter().any(|arg| arg == expected), "{args:?}");
    }
    let hook = collector(&valid).lifecycle.unwrap().pre_stop.unwrap().http_get.unwrap();
    assert_eq!((hook.path.as_deref(), json!(hook.port)), (Some("/drain"), json!(8891)));
}

#[test]
fn the_agent_keeps_out_of_the_way_of_a_receiver() {
    let valid = valid_collector(|engine| engine["ports"] = json!([{ "name": "mine", "port": 8891 }]));
    assert!(pod(&valid).init_containers.unwrap()[0].args.as_ref().unwrap().contains(&"--port=8892".to_owned()));
}

#[rstest]
#[case::no_image(None, 300)]
#[case::no_time(Some("example/weir:1"), 5)]
fn without_image_or_time_there_is_no_agent(#[case] agent_image: Option<&str>, #[case] grace: u32) {
    let valid = valid_collector(|engine| engine["terminationGracePeriodSeconds"] = json!(grace));
    let deployment = deployment(&valid, &Inputs { agent_image, ..inputs() });
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    assert!(pod.init_containers.is_none());
    let hook = pod.containers[0].lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    assert!(hook.is_none_or(|hook| hook.http_get.is_none()));
}

#[test]
fn an_earlier_revision_is_deployed_whole_and_the_desired_one_keeps_its_config_map() {
    let earlier = valid_collector(|engine| engine["image"] = json!("example/otelcol:0"));
    let valid = valid_collector(|engine| engine["config"]["receivers"]["otlp"]["protocols"] = json!({ "grpc": { "endpoint": "0.0.0.0:5317" } }));
    let earlier = earlier.revision().unwrap();
    let desired = objects(&valid, &Inputs { deploy: Deploy::Earlier(earlier), ..inputs() });
    assert!(desired.config_map.unwrap().name.ends_with(valid.revision().unwrap().hash().as_ref()));
    let workload = desired.workload.unwrap().json;
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&container["image"], &container["ports"][0]["containerPort"]), (&json!("example/otelcol:0"), &json!(4317)));
    assert_eq!(desired.service.unwrap().json["spec"]["ports"][0]["port"], 4317);
}

#[test]
fn what_is_kept_makes_no_deployment() {
    let desired = objects(&valid_collector(|_| {}), &Inputs { deploy: Deploy::Keep, ..inputs() });
    assert!(desired.workload.is_none() && desired.config_map.is_some());
}

#[test]
fn a_user_port_names_a_derived_one() {
    let valid = valid_collector(|engine| engine["ports"] = json!([{ "name": "mine", "port": 4317 }, { "name": "syslog", "port": 514, "protocol": "UDP" }]));
    let service = objects(&valid, &inputs()).service.unwrap().json;
    let ports: Vec<_> =
        service["spec"]["ports"].as_array().unwrap().iter().map(|port| (port["name"].as_str().unwrap(), port["protocol"].as_str().unwrap())).collect();
    assert_eq!(ports, [("mine", "TCP"), ("syslog", "UDP"), ("otlp-http", "TCP")]);
    assert_eq!(service["spec"]["ports"][0]["appProtocol"], "grpc");
}

#[test]
fn a_volume_of_the_users_own_takes_the_place_of_the_folder() {
    let claim =
        json!({ "ephemeral": { "volumeClaimTemplate": { "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } } } } });
    let valid = valid_collector(|engine| engine["queueVolume"] = json!({ "volume": claim, "mountPath": "/var/lib/otelcol" }));
    let queue = pod(&valid).volumes.unwrap().remove(1);
    assert_eq!((queue.name.as_str(), queue.ephemeral.is_some()), ("queue", true));
    let job = super::super::validation_job(&valid, "1").unwrap().json;
    assert_eq!(job["spec"]["template"]["spec"]["volumes"][1], json!({ "name": "queue", "emptyDir": {} }), "a check gets no disk");
}

#[test]
fn pods_spread_by_default_and_as_the_user_says() {
    let spread = pod(&valid_collector(|_| {})).topology_spread_constraints.unwrap();
    assert_eq!(spread.iter().map(|one| one.topology_key.as_str()).collect::<Vec<_>>(), ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]);
    let theirs =
        valid_collector(|engine| engine["topologySpreadConstraints"] = json!([{ "topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule" }]));
    let spread = pod(&theirs).topology_spread_constraints.unwrap();
    assert_eq!(spread.len(), 1);
    assert_eq!(json!(spread[0].label_selector), json!({ "matchLabels": { "weir.dev/processor": "logs" } }));
}

#[test]
fn labels_of_the_user_never_replace_those_that_weir_selects_by() {
    let valid = valid_collector(|engine| engine["podLabels"] = json!({ "weir.dev/processor": "other", "team": "a" }));
    let labels = deployment(&valid, &inputs()).spec.unwrap().template.metadata.unwrap().labels.unwrap();
    assert_eq!((labels["weir.dev/processor"].as_str(), labels["team"].as_str()), ("logs", "a"));
}

#[test]
fn the_memory_of_a_rollout_stands_on_the_workload() {
    let (good, back) = ("0123456789ab".parse().unwrap(), "ba9876543210".parse().unwrap());
    let valid = valid_collector(|_| {});
    let with = deployment(&valid, &Inputs { last_good: Some(&good), rolled_back: Some(&back), ..inputs() });
    let annotations = with.metadata.annotations.unwrap();
    assert_eq!((annotations[ANNOTATION_LAST_GOOD].as_str(), annotations[ANNOTATION_ROLLED_BACK].as_str()), ("0123456789ab", "ba9876543210"));
    let template = with.spec.unwrap().template.metadata.unwrap().annotations.unwrap();
    assert!(!template.contains_key(ANNOTATION_LAST_GOOD), "which rolls no pods");
}

#[test]
fn a_template_runs_as_it_was_written_with_weirs_labels() {
    let valid = valid_template(json!({
        "metadata": { "labels": { "team": "a" }, "annotations": { "x": "y" } },
        "spec": { "containers": [{ "name": "a", "image": "i", "resources": { "limits": { "cpu": 1 } }, "ports": [{ "containerPort": 80, "name": "http" }, { "containerPort": 81 }] }] },
    }));
    let desired = objects(&valid, &inputs());
    let workload = desired.workload.unwrap();
    assert_eq!(workload.json["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"], 1);
    assert_eq!(workload.json["spec"]["template"]["metadata"]["labels"]["weir.dev/processor"], "logs");
    assert_eq!(workload.name, "logs-collector");
    assert!(desired.config_map.is_none());
    let service = desired.service.unwrap().json;
    let names: Vec<_> = service["spec"]["ports"].as_array().unwrap().iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["http", "port-81"]);
}

#[test]
fn a_template_without_ports_has_no_service() {
    let desired = objects(&valid_template(json!({ "spec": { "containers": [{ "name": "a", "image": "i" }] } })), &inputs());
    assert!(desired.service.is_none());
    assert_eq!(desired.absent, [(ObjectKind::Service, "logs".to_owned())]);
}

#[test]
fn a_workload_of_someone_else_gets_a_label_an_annotation_and_replicas() {
    let valid = validate(&with_engine(json!({ "targetRef": { "kind": "Deployment", "name": "vector" } })), Routing::Nowhere).unwrap();
    assert_eq!(objects(&valid, &inputs()), Desired::default());
    assert_eq!(
        adoption_patch(&valid, Some(4)).unwrap(),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "vector", "namespace": "team",
                "labels": { "weir.dev/processor": "logs" }, "annotations": { "weir.dev/scaled-by": "team/logs" },
            },
            "spec": { "replicas": 4 },
        })
    );
    assert_eq!(adoption_patch(&valid, None).unwrap().get("spec"), None);
}

#[test]
fn what_is_no_longer_asked_for_is_a_difference() {
    let before = valid_collector(|engine| engine["env"] = json!([{ "name": "A", "value": "b" }]));
    let after = valid_collector(|engine| engine["env"] = json!([]));
    let of = |valid: &Valid| objects(valid, &inputs()).workload.unwrap().json;
    assert!(covers(&of(&before), &of(&before)));
    assert!(!covers(&of(&before), &of(&after)));
}

#[test]
fn another_version_of_the_operator_is_no_difference_and_another_count_is() {
    let valid = valid_collector(|_| {});
    let of = |inputs: &Inputs<'_>| objects(&valid, inputs).workload.unwrap().json;
    let live = of(&inputs());
    assert!(covers(&live, &of(&Inputs { operator_version: "9", ..inputs() })));
    assert!(!covers(&live, &of(&Inputs { replicas: 4, ..inputs() })));
    assert_eq!(
        live["metadata"]["annotations"]["weir.dev/applied-hash"],
        of(&Inputs { replicas: 4, ..inputs() })["metadata"]["annotations"]["weir.dev/applied-hash"],
    );
}
