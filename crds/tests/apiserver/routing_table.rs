//! RoutingTables: what the server admits and fills in, and what it refuses.

use crate::{create, log_processor, merged, namespace, refusal, routing_table};
use rstest::rstest;
use serde_json::{Value, json};
use weir_crds::RoutingTable;
use weir_crds::routing_table::DestinationChoice;

#[test]
fn the_least_routing_table_gets_the_defaults_that_the_types_have() {
    let namespace = namespace("rt");
    let stored = create(namespace.kubectl(), &routing_table());
    let parsed: RoutingTable = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&parsed.spec).unwrap(), stored["spec"]);
    assert!(matches!(parsed.spec.destinations[0].choice(), Some(DestinationChoice::Storage(storage)) if storage.name == "logs"));
}

fn rules(count: usize, destination: &str) -> Value {
    let values: Vec<String> = (0..64).map(|value| format!("value-{value}")).collect();
    let need = json!({ "key": "service.name", "operator": "In", "values": values });
    (0..count).map(|at| json!({ "name": format!("rule-{at}"), "destination": destination, "match": { "resourceAttributes": [need] } })).collect()
}

#[rstest]
#[case::rules_of_every_kind(json!({
    "destinations": [
        { "name": "main", "storageRef": { "name": "logs" }, "sample": { "percent": 10 } },
        { "name": "none", "drop": {} },
        { "name": "siem", "otlp": { "endpoint": "https://otlp.example.com:4318/base", "protocol": "Grpc",
            "tls": { "caSecretRef": { "name": "a", "key": "b" }, "serverName": "x" }, "headers": [{ "name": "Authorization", "secretKeyRef": { "name": "a", "key": "b" } }] } },
    ],
    "rules": [
        { "name": "all-of-it", "destination": "siem", "match": {
            "resourceAttributes": [{ "key": "team", "operator": "In", "values": ["a", ""] }, { "key": "x", "operator": "Exists" }],
            "recordAttributes": [{ "key": "y", "operator": "DoesNotExist" }, { "key": "z", "operator": "Prefix", "values": ["/api"] }],
            "severity": { "atLeast": "Warn", "atMost": "Fatal" },
        } },
        { "name": "everything", "destination": "none" },
    ],
    "routingKey": { "resourceAttributes": ["service.name"], "recordAttributes": ["tenant"] },
}))]
#[case::a_part(json!({ "default": null, "parentRef": { "name": "base" } }))]
#[case::as_many_rules_as_there_may_be(json!({ "rules": rules(128, "main") }))]
fn a_table_is_admitted_and_reads_back(#[case] spec: Value) {
    let namespace = namespace("rt-ok");
    let stored = create(namespace.kubectl(), &merged(routing_table(), json!({ "spec": spec })));
    let parsed: RoutingTable = serde_json::from_value(stored).unwrap();
    assert!(parsed.spec.destinations.iter().all(|destination| destination.choice().is_some()));
}

fn with_rule(rule: Value) -> Value {
    json!({ "rules": [merged(json!({ "name": "a", "destination": "main" }), rule)] })
}

fn with_destination(destination: Value) -> Value {
    json!({ "destinations": [merged(json!({ "name": "main", "storageRef": { "name": "logs" } }), destination)] })
}

#[rstest]
#[case::no_default(json!({ "default": null }), "set exactly one of default")]
#[case::a_part_with_a_default(json!({ "parentRef": { "name": "base" } }), "set exactly one of default")]
#[case::a_part_with_a_key(json!({ "default": null, "parentRef": { "name": "base" }, "routingKey": { "resourceAttributes": ["a"] } }), "routingKey belongs to the table that parentRef names")]
#[case::a_default_to_nowhere(json!({ "default": "gone" }), "default is a destination that is not defined")]
#[case::a_rule_to_nowhere(with_rule(json!({ "destination": "gone" })), "a rule leads to a destination that is not defined")]
#[case::values_for_exists(with_rule(json!({ "match": { "resourceAttributes": [{ "key": "a", "operator": "Exists", "values": ["b"] }] } })), "Exists and DoesNotExist take none")]
#[case::no_values_for_in(with_rule(json!({ "match": { "recordAttributes": [{ "key": "a", "operator": "In" }] } })), "In, NotIn and Prefix need values")]
#[case::no_severity_at_all(with_rule(json!({ "match": { "severity": {} } })), "set atLeast, atMost or both")]
#[case::another_severity(with_rule(json!({ "match": { "severity": { "atLeast": "WARN" } } })), "Unsupported value")]
#[case::two_targets(with_destination(json!({ "drop": {} })), "set exactly one of storageRef")]
#[case::no_target(with_destination(json!({ "storageRef": null })), "set exactly one of storageRef")]
#[case::a_sample_of_nothing(with_destination(json!({ "storageRef": null, "drop": {}, "sample": { "percent": 5 } })), "sample has no effect on a destination that drops everything")]
#[case::a_sample_of_all(with_destination(json!({ "sample": { "percent": 100 } })), "should be less than or equal to 99")]
#[case::no_scheme(with_destination(json!({ "storageRef": null, "otlp": { "endpoint": "otlp:4317" } })), "otlp.endpoint must be a URL")]
#[case::tls_over_http(with_destination(json!({ "storageRef": null, "otlp": { "endpoint": "http://otlp", "tls": {} } })), "otlp.tls has no effect")]
#[case::an_empty_key(json!({ "routingKey": {} }), "a routing key needs at least one attribute")]
#[case::no_destinations(json!({ "destinations": [], "default": null }), "spec.destinations")]
fn a_table_is_refused_in_words(#[case] spec: Value, #[case] words: &str) {
    let message = refusal(&merged(routing_table(), json!({ "spec": spec })));
    assert!(message.contains(words), "{message}");
}

#[test]
fn a_table_needs_collectors_whose_configuration_it_becomes_part_of() {
    let object = merged(
        log_processor(),
        json!({ "spec": { "routingTableRef": { "name": "base" }, "engine": { "otelCollector": null, "targetRef": { "kind": "Deployment", "name": "a" } } } }),
    );
    let message = refusal(&object);
    assert!(message.contains("routingTableRef needs engine.otelCollector"), "{message}");
}
