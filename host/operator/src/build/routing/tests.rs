use super::super::fixtures::{otlp, with_engine};
use super::super::objects::{Deploy, Desired, Inputs, objects};
use super::super::valid::{Routing, validate};
use super::*;
use rstest::rstest;
use std::collections::BTreeMap;
use weir_core::placement::Slot;
use weir_core::routing::{Match, Otlp, Protocol, Requirement, RoutingKey, Rule, Scope, SecretKey, SeverityRange, Test, table::SCHEMA};

fn slot(node: &str, target: &str) -> Slot {
    Slot { node: node.into(), target: target.into(), endpoint: format!("http://{target}:9428") }
}

fn when(scope: Scope, key: &str, test: Test) -> Match {
    Match { requirements: BTreeSet::from([Requirement { scope, key: key.into(), test }]), severity: None }
}

fn values(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Rules of each kind; two mirrors over three nodes, one of which is away and one of which owns nothing.
fn routed() -> Routed {
    let rule = |name: &str, when, destination: &str| Rule { table: "base".into(), name: name.into(), when, destination: format!("base.{destination}") };
    let secret = |name: &str| SecretKey { name: name.into(), key: "value".into() };
    let otlp = Otlp {
        endpoint: "https://siem:4318".into(),
        protocol: Protocol::Http,
        ca: Some(secret("ca")),
        server_name: None,
        insecure_skip_verify: false,
        headers: BTreeMap::from([("Authorization".to_owned(), secret("token"))]),
    };
    let to = |target, sample| Destination { target, sample };
    let table = Table {
        schema: SCHEMA,
        name: "base".into(),
        routing_key: RoutingKey::default(),
        rules: vec![
            rule("noise", Match { severity: Some(SeverityRange { min: 1, max: 8 }), ..Match::default() }, "none"),
            rule("audit", when(Scope::Resource, "team", Test::In(values(&["a$b\"c", "d"]))), "siem"),
        ],
        default: "base.main".into(),
        destinations: BTreeMap::from([
            ("base.main".into(), to(Target::Storage("logs".into()), None)),
            ("base.none".into(), to(Target::Drop, None)),
            ("base.siem".into(), to(Target::Otlp(otlp), Some(10))),
        ]),
        storages: BTreeMap::from([(
            "logs".into(),
            placement::Map {
                schema: 1,
                version: 3,
                epoch: 2,
                slots: vec![slot("a-0", "a-0"), slot("b-0", "a-0"), slot("c-0", "c-0")],
                mirrors: vec![vec![0, 0, 1, 0], vec![1, 1, 0, 1]],
            },
        )]),
    };
    Routed { hash: table.digest().unwrap().short(), version: 7, table }
}

fn spec() -> OtelCollector {
    let mut spec = otlp();
    spec.config["service"]["pipelines"]["logs"]["exporters"] = json!([]);
    spec
}

fn added() -> OtelCollector {
    add(&spec(), &routed()).unwrap().0
}

#[test]
fn pipelines_lead_through_rules_partitions_and_slots() {
    let config = Value::Object(added().config);
    assert_eq!(config["service"]["pipelines"]["logs"]["exporters"], json!(["routing/weir"]));
    assert_eq!(
        config["connectors"]["routing/weir"],
        json!({ "error_mode": "ignore", "default_pipelines": ["logs/weir.to.base.main"], "table": [
            { "context": "log", "condition": "(severity_number >= 1 and severity_number <= 8)", "pipelines": ["logs/weir.to.base.none"] },
            { "context": "resource", "condition": r#"(String(attributes["team"]) == "a$$b\"c" or String(attributes["team"]) == "d")"#, "pipelines": ["logs/weir.to.base.siem"] },
        ] })
    );
    let pipeline = |name: &str| config["service"]["pipelines"][name].clone();
    assert_eq!(pipeline("logs/weir.to.base.main")["exporters"], json!(["routing/weir.logs.0", "routing/weir.logs.1"]));
    assert_eq!(
        config["connectors"]["routing/weir.logs.0"]["table"][0],
        json!({ "context": "resource", "condition": r#"(attributes["weir.partition"] >= 0 and attributes["weir.partition"] <= 1) or attributes["weir.partition"] == 3"#, "pipelines": ["logs/weir.logs.a-0"] })
    );
    assert_eq!(pipeline("logs/weir.logs.a-0")["receivers"], json!(["routing/weir.logs.0", "routing/weir.logs.1"]));
    assert_eq!(pipeline("logs/weir.logs.c-0")["receivers"], json!(["routing/weir.logs.0"]), "its queue still has to empty");
}

#[test]
fn a_slot_keeps_its_name_when_it_points_at_another_node() {
    let exporters = added().config["exporters"].clone();
    assert_eq!(exporters["otlphttp/weir.logs.b-0"]["logs_endpoint"], "http://a-0:9428/insert/opentelemetry/v1/logs");
    assert_eq!(exporters["otlphttp/weir.logs.b-0"]["sending_queue"]["storage"], QUEUES);
    assert_eq!(exporters["otlphttp/weir.logs.b-0"]["retry_on_failure"]["max_elapsed_time"], "0s", "tried again without end");
}

#[test]
fn values_of_secrets_come_by_the_environment() {
    let spec = added();
    let exporter = &spec.config["exporters"]["otlphttp/weir.to.base.siem"];
    let variable = |name: &str| spec.env.iter().find(|variable| format!("${{env:{}}}", variable.name) == name).unwrap();
    let secret = |name: &Value| variable(name.as_str().unwrap()).value_from.clone().unwrap().secret_key_ref.unwrap().name;
    assert_eq!([secret(&exporter["headers"]["Authorization"]), secret(&exporter["tls"]["ca_pem"])], ["token", "ca"]);
}

#[test]
fn a_collector_tells_version_and_hash_of_its_table() {
    let processor = with_engine(json!({ "otelCollector": spec() }));
    let routed = routed();
    let valid = validate(&processor, Routing::Table(&routed)).unwrap();
    let yaml = valid.revision().unwrap().yaml();
    assert!(
        yaml.contains(&format!("weir.table.hash: {}", json!(routed.hash).to_string().trim_matches('"')))
            || yaml.contains(&format!("weir.table.hash: \"{}\"", routed.hash)),
        "{yaml}"
    );
    assert!(yaml.contains("weir.table.version: \"7\""), "{yaml}");
    let newer = Routed { version: 8, ..routed };
    let other = validate(&processor, Routing::Table(&newer)).unwrap();
    assert_ne!(valid.revision().unwrap().hash(), other.revision().unwrap().hash());
}

#[test]
fn without_a_volume_queues_are_in_memory_and_that_is_told() {
    let (spec, notices) = add(&OtelCollector { queue_volume: None, ..spec() }, &routed()).unwrap();
    assert_eq!(notices.iter().map(|notice| notice.code).collect::<Vec<_>>(), ["QueueInMemory"]);
    assert_eq!(spec.config["exporters"]["otlphttp/weir.logs.a-0"]["sending_queue"].get("storage"), None);
    assert_eq!(spec.config["extensions"].get(QUEUES), None);
}

#[rstest]
#[case::nothing_leads_in(|config: &mut Map<String, Value>| config["service"]["pipelines"]["logs"]["exporters"] = json!(["otlphttp"]), "write exporters: [routing/weir] in one")]
#[case::a_name_of_weir(|config: &mut Map<String, Value>| config["exporters"]["otlphttp/weir.mine"] = json!({}), "exporters.otlphttp/weir.mine: with routingTableRef")]
#[case::exporters_from_elsewhere(|config: &mut Map<String, Value>| config["exporters"] = json!("${file:/x}"), "exporters: with routingTableRef it has to be written out")]
fn a_configuration_that_no_table_fits_into_is_refused(#[case] spoil: fn(&mut Map<String, Value>), #[case] words: &str) {
    let mut spec = spec();
    spoil(&mut spec.config);
    let error = add(&spec, &routed()).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_table_without_rules_and_a_storage_of_one_node_still_are_tables() {
    let mut routed = routed();
    routed.table.rules.clear();
    let map = routed.table.storages.get_mut("logs").unwrap();
    (map.slots, map.mirrors) = (vec![slot("a-0", "a-0")], vec![vec![0, 0]]);
    let config = Value::Object(add(&spec(), &routed).unwrap().0.config);
    assert_eq!(config["connectors"]["routing/weir"]["table"], json!([{ "context": "resource", "condition": "true", "pipelines": ["logs/weir.to.base.main"] }]));
    assert_eq!(config["connectors"]["routing/weir.logs.0"]["table"][0]["pipelines"], json!(["logs/weir.logs.a-0"]));
}

fn desired(version: u64, agent_image: Option<&str>, change: fn(&mut Value)) -> Desired {
    let mut engine = json!({ "otelCollector": spec() });
    change(&mut engine["otelCollector"]);
    let routed = Routed { version, ..routed() };
    let valid = validate(&with_engine(engine), Routing::Table(&routed)).unwrap();
    objects(&valid, &Inputs { replicas: 3, deploy: Deploy::Desired, last_good: None, rolled_back: None, given_at: 5_000, agent_image, operator_version: "1" })
}

#[test]
fn another_table_changes_a_config_map_in_place_and_no_pod() {
    let (one, two) = (desired(7, Some("weir"), |_| {}), desired(8, Some("weir"), |_| {}));
    let (before, after) = (one.live.unwrap(), two.live.unwrap());
    assert_eq!(before.name, after.name);
    assert_ne!(before.json["data"]["config.yaml"], after.json["data"]["config.yaml"]);
    assert_ne!(one.config_map.unwrap().name, two.config_map.unwrap().name, "each revision is kept by itself, for its check and for a rollback");
    let (one, two) = (one.workload.unwrap().json, two.workload.unwrap().json);
    assert_eq!(one["spec"]["template"], two["spec"]["template"]);
    assert_ne!(one["metadata"]["annotations"]["weir.dev/config-hash"], two["metadata"]["annotations"]["weir.dev/config-hash"]);
    assert_eq!(one["metadata"]["annotations"]["weir.dev/config-given-at"], "5000");
    let pod = &one["spec"]["template"]["spec"];
    assert_eq!((&pod["volumes"][0]["configMap"]["name"], &pod["shareProcessNamespace"]), (&json!(before.name), &json!(true)));
    let agent = &pod["initContainers"][0];
    assert!(agent["args"].as_array().unwrap().contains(&json!("--reload=/etc/otelcol/config.yaml")), "{agent}");
    assert_eq!(agent["volumeMounts"][0]["mountPath"], "/etc/otelcol");
}

#[test]
fn another_image_makes_other_pods_that_read_another_config_map() {
    let (one, two) = (desired(7, Some("weir"), |_| {}), desired(7, Some("weir"), |engine| engine["image"] = json!("example/otelcol:2")));
    assert_ne!(one.live.unwrap().name, two.live.unwrap().name);
}

#[rstest]
#[case::without_an_agent(desired(7, None, |_| {}))]
#[case::under_another_user(desired(7, Some("weir"), |engine| engine["securityContext"] = json!({ "runAsUser": 7 })))]
fn collectors_that_nobody_can_signal_are_replaced(#[case] desired: Desired) {
    assert_eq!(desired.live, None);
    let deployment = desired.workload.unwrap().json;
    assert!(deployment["spec"]["template"]["metadata"]["annotations"]["weir.dev/config-hash"].is_string(), "{deployment}");
    assert_eq!(deployment["metadata"]["annotations"].get("weir.dev/config-hash"), None);
}
