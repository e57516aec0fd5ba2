//! What is added to a configuration, what is left alone, and what is read from it.

use super::super::fixtures;
use super::*;
use rstest::rstest;
use weir_crds::log_processor::Protocol;

fn spec(config: Value) -> OtelCollector {
    fixtures::collector(json!({ "image": "i", "config": config }))
}

fn rewritten(config: Value) -> (Value, Vec<Notice>) {
    let (config, notices) = rewrite(&spec(config)).unwrap();
    (Value::Object(config), notices)
}

/// A configuration with one receiver and an exporter that asks for nothing.
fn with_receiver(id: &str, receiver: Value) -> Value {
    json!({
        "receivers": { id: receiver }, "exporters": { "debug": null },
        "service": { "pipelines": { "logs": { "receivers": [id], "exporters": ["debug"] } } },
    })
}

fn codes(notices: &[Notice]) -> Vec<&'static str> {
    notices.iter().map(|notice| notice.code).collect()
}

#[test]
fn endpoints_that_default_to_localhost_are_opened() {
    let (config, _) = rewritten(fixtures::otlp_config());
    let protocols = &config["receivers"]["otlp"]["protocols"];
    assert_eq!(protocols["grpc"]["endpoint"], "0.0.0.0:4317", "what the user wrote stays");
    assert_eq!(protocols["http"]["endpoint"], ":4318");
    assert_eq!(config["extensions"]["health_check"]["endpoint"], ":13133");
}

#[test]
fn grpc_connections_get_an_age() {
    let (config, _) = rewritten(fixtures::otlp_config());
    let parameters = &config["receivers"]["otlp"]["protocols"]["grpc"]["keepalive"]["server_parameters"];
    assert_eq!(parameters, &json!({ "max_connection_age": "30s", "max_connection_age_grace": "30s" }));
    let http = config["receivers"]["otlp"]["protocols"]["http"].as_object().unwrap();
    assert_eq!(http.keys().collect::<Vec<_>>(), ["endpoint"]);
}

#[test]
fn an_age_of_the_users_own_wins() {
    let theirs = json!({ "server_parameters": { "max_connection_age": "5m" } });
    let (config, _) = rewritten(with_receiver("otlp", json!({ "protocols": { "grpc": { "keepalive": theirs } } })));
    assert_eq!(config["receivers"]["otlp"]["protocols"]["grpc"]["keepalive"], theirs);
}

#[test]
fn an_age_of_nothing_leaves_connections_alone() {
    let mut spec = spec(with_receiver("otlp", json!({ "protocols": { "grpc": null } })));
    spec.max_connection_age = "0s".parse().unwrap();
    let (config, _) = rewrite(&spec).unwrap();
    assert_eq!(config["receivers"]["otlp"]["protocols"]["grpc"], json!({ "endpoint": ":4317" }));
}

#[test]
fn the_collectors_own_metrics_are_served_to_all_with_the_names_that_they_always_had() {
    let (config, _) = rewritten(fixtures::otlp_config());
    let metrics = &config["service"]["telemetry"]["metrics"];
    let reader = &metrics["readers"][0]["pull"]["exporter"]["prometheus"];
    assert_eq!((&reader["host"], &reader["port"]), (&json!(""), &json!(8888)));
    assert_eq!(reader["without_type_suffix"], true);
    assert_eq!(metrics["level"], "detailed");
    let dropped = metrics["views"].to_string();
    assert!(dropped.contains("otelgrpc") && !dropped.contains("\"otelcol_exporter_queue_batch_send_size\""));
}

#[rstest]
#[case::on_our_port(json!({ "readers": [{ "pull": { "exporter": { "prometheus": { "host": "0.0.0.0", "port": 8888 } } } }] }), 1, vec![])]
#[case::on_our_port_of_localhost(json!({ "readers": [{ "pull": { "exporter": { "prometheus": { "host": "localhost", "port": 8888 } } } }] }), 1, vec!["MetricsOnLocalhost"])]
#[case::on_another_port(json!({ "readers": [{ "pull": { "exporter": { "prometheus": { "host": "0.0.0.0", "port": 9999 } } } }] }), 2, vec![])]
#[case::that_pushes(json!({ "readers": [{ "periodic": { "exporter": { "otlp": {} } } }] }), 2, vec![])]
#[case::none(json!({ "readers": null }), 1, vec![])]
#[case::none_at_all(json!({ "level": "none" }), 1, vec!["MetricsLevelRaised"])]
fn readers_of_the_users_own_stay(#[case] metrics: Value, #[case] readers: usize, #[case] expected: Vec<&str>) {
    let mut config = with_receiver("otlp", json!({ "protocols": { "grpc": null } }));
    config["service"]["telemetry"] = json!({ "metrics": metrics });
    let (config, notices) = rewritten(config);
    assert_eq!(config["service"]["telemetry"]["metrics"]["readers"].as_array().unwrap().len(), readers);
    assert_eq!(codes(&notices), expected);
}

#[test]
fn a_level_of_the_users_own_stays_and_gets_no_views() {
    let mut config = with_receiver("otlp", json!({ "protocols": { "grpc": null } }));
    config["service"]["telemetry"] = json!({ "metrics": { "level": "basic" } });
    let (config, _) = rewritten(config);
    let metrics = &config["service"]["telemetry"]["metrics"];
    assert_eq!((&metrics["level"], metrics.get("views")), (&json!("basic"), None));
}

#[rstest]
#[case(json!({}), json!({ "weir.config.hash": "0123456789ab" }))]
#[case(json!({ "team": "a" }), json!({ "team": "a", "weir.config.hash": "0123456789ab" }))]
#[case(json!({ "attributes": [] }), json!({ "attributes": [{ "name": "weir.config.hash", "value": "0123456789ab" }] }))]
fn the_hash_joins_the_users_own_attributes(#[case] resource: Value, #[case] expected: Value) {
    let mut config = json!({ "service": { "telemetry": { "resource": resource } } }).as_object().unwrap().clone();
    stamp(&mut config, "weir.config.hash", "0123456789ab");
    assert_eq!(config["service"]["telemetry"]["resource"], expected);
}

#[test]
fn rewriting_twice_is_rewriting_once() {
    let (once, _) = rewrite(&spec(fixtures::otlp_config())).unwrap();
    let (twice, _) = rewrite(&spec(Value::Object(once.clone()))).unwrap();
    assert_eq!(once, twice);
}

#[test]
fn parts_that_come_from_elsewhere_are_left_alone() {
    let config = json!({
        "receivers": "${file:/etc/receivers.yaml}", "exporters": { "otlp": { "endpoint": "${env:BACKEND}:4317" } },
        "service": { "pipelines": { "logs": "${env:PIPELINE}" }, "telemetry": "${env:TELEMETRY}" },
    });
    let (after, notices) = rewritten(config.clone());
    assert_eq!(after, config);
    assert_eq!(codes(&notices), ["TelemetryNotWrittenOut", "QueueInMemory"]);
}

#[rstest]
#[case::nothing(json!({}), "config:", "it is empty")]
#[case::no_receivers(json!({ "receivers": {}, "service": { "pipelines": {} } }), "receivers", "at least one receiver")]
#[case::a_list(json!({ "receivers": ["otlp"] }), "config.receivers", "must map names")]
#[case::no_pipelines(json!({ "receivers": { "otlp": null } }), "service.pipelines", "there is none")]
#[case::no_exporters(json!({ "receivers": { "otlp": null }, "service": { "pipelines": { "logs": { "receivers": ["otlp"] } } } }), "pipelines.logs.exporters", "list")]
#[case::an_unknown_name(json!({ "receivers": { "otlp": null }, "exporters": { "debug": null }, "service": { "pipelines": { "logs": { "receivers": ["otpl"], "exporters": ["debug"] } } } }), "pipelines.logs.receivers", "otpl is not defined")]
#[case::an_unknown_extension(json!({ "receivers": { "otlp": null }, "exporters": { "debug": null }, "service": { "extensions": ["zpages"], "pipelines": { "logs": { "receivers": ["otlp"], "exporters": ["debug"] } } } }), "service.extensions", "zpages is not defined")]
fn what_is_no_configuration_is_refused_by_its_place(#[case] config: Value, #[case] place: &str, #[case] why: &str) {
    let error = rewrite(&spec(config)).unwrap_err().to_string();
    assert!(error.contains(place) && error.contains(why), "{error}");
}

#[test]
fn a_connector_is_both_exporter_and_receiver() {
    let config = json!({
        "receivers": { "otlp": { "protocols": { "grpc": null } } }, "exporters": { "debug": null },
        "connectors": { "routing": { "default_pipelines": ["logs/out"], "table": [] } },
        "service": { "pipelines": {
            "logs/in": { "receivers": ["otlp"], "exporters": ["routing"] },
            "logs/out": { "receivers": ["routing"], "exporters": ["debug"] },
        } },
    });
    assert!(rewrite(&spec(config)).is_ok());
}

fn facts(config: Value) -> (Facts, Vec<Notice>) {
    let (config, _) = rewrite(&spec(config)).unwrap();
    let mut notices = Vec::new();
    (Facts::of(&config, &mut notices), notices)
}

#[test]
fn ports_are_those_of_receivers_that_are_used_and_can_be_reached() {
    let config = json!({
        "receivers": {
            "otlp": { "protocols": { "grpc": null, "http": { "endpoint": "${env:POD_IP}:4318" } } },
            "otlp/second": { "protocols": { "grpc": { "endpoint": "0.0.0.0:5317" } } },
            "syslog": { "udp": { "listen_address": "0.0.0.0:54526" }, "protocol": "rfc5424" },
            "redis": { "endpoint": "localhost:6379" },
            "unused": { "endpoint": "0.0.0.0:9999" },
        },
        "exporters": { "debug": null },
        "service": { "pipelines": { "logs": { "receivers": ["otlp", "otlp/second", "syslog", "redis"], "exporters": ["debug"] } } },
    });
    let (facts, notices) = facts(config);
    let ports: Vec<_> = facts.ports.iter().map(|port| (port.name.as_str(), port.port, port.protocol)).collect();
    assert_eq!(
        ports,
        [("otlp-grpc", 4317, Protocol::Tcp), ("otlp-http", 4318, Protocol::Tcp), ("port-5317", 5317, Protocol::Tcp), ("syslog-udp", 54526, Protocol::Udp),]
    );
    assert!(notices.is_empty());
}

#[test]
fn a_receiver_on_localhost_is_pointed_out() {
    let (facts, notices) = facts(with_receiver("otlp", json!({ "protocols": { "grpc": { "endpoint": "localhost:4317" } } })));
    assert!(facts.ports.is_empty());
    assert_eq!(codes(&notices), ["ReceiverOnLocalhost"]);
}

#[test]
fn a_port_from_the_environment_is_pointed_out() {
    let (_, notices) = facts(with_receiver("otlp", json!({ "protocols": { "grpc": { "endpoint": "0.0.0.0:${env:PORT}" } } })));
    assert_eq!(codes(&notices), ["ReceiverPortUnknown"]);
}

#[test]
fn health_is_told_only_by_an_extension_that_is_switched_on() {
    let mut config = fixtures::otlp_config();
    assert_eq!(facts(config.clone()).0.health, Some(Health { port: 13133, path: "/".into(), tls: false }));
    config["service"]["extensions"] = json!(["file_storage"]);
    assert_eq!(facts(config).0.health, None);
}

#[rstest]
#[case(json!({ "a": { "sending_queue": { "sizer": "items" } }, "b": {} }), QueueUnit::Records)]
#[case(json!({ "a": { "sending_queue": { "sizer": "items" } }, "b": { "sending_queue": {} } }), QueueUnit::Requests)]
#[case(json!({ "a": { "sending_queue": { "sizer": "bytes" } } }), QueueUnit::Bytes)]
#[case(json!({ "a": null }), QueueUnit::Requests)]
fn the_unit_of_queues_is_that_of_all_of_them(#[case] exporters: Value, #[case] unit: QueueUnit) {
    assert_eq!(queue_unit(json!({ "exporters": exporters }).as_object().unwrap()), unit);
}

#[rstest]
#[case("200ms", Some(200))]
#[case("1m30s", Some(90_000))]
#[case("1.5s", Some(1_500))]
#[case("0", Some(0))]
#[case("500us", Some(1))]
#[case("${env:T}", None)]
#[case("", None)]
#[case("5", None)]
fn durations_of_go_are_read(#[case] text: &str, #[case] ms: Option<u64>) {
    assert_eq!(go_duration_ms(text), ms);
}

#[test]
fn a_queue_that_its_crash_would_lose_is_pointed_out() {
    let (_, notices) = rewritten(fixtures::otlp_config());
    assert_eq!(codes(&notices), ["QueueOutsideVolume"], "no volume in this one");
    let (_, notices) = rewrite(&fixtures::otlp()).unwrap();
    assert!(notices.is_empty(), "{notices:?}");
}
