//! What holds for the schemas as a whole: every field is explained, and whatever the schema admits
//! parses as the Rust type, so that no object in etcd can fail a watch.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "helpers of tests fail as tests do")]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value, json};
use weir_crds::{
    LogProcessorSpec, LogProcessorStatus, LogStorageSpec, LogStorageStatus, RoutingTableSpec, RoutingTableStatus, WasmPolicySpec, WasmPolicyStatus,
};

fn root(crd: &CustomResourceDefinition) -> &JSONSchemaProps {
    crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap()
}

fn part(kind: &str, part: &str) -> JSONSchemaProps {
    let crds = weir_crds::crds();
    let crd = crds.iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    root(crd).properties.as_ref().unwrap()[part].clone()
}

fn unexplained(path: &str, schema: &JSONSchemaProps, found: &mut Vec<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        if property.description.as_ref().is_none_or(|text| text.trim().len() < 10) {
            found.push(path.clone());
        }
        unexplained(&path, property, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        unexplained(&format!("{path}[]"), items, found);
    }
}

#[test]
fn every_field_is_explained() {
    let mut found = Vec::new();
    for crd in weir_crds::crds() {
        for (name, property) in root(&crd).properties.iter().flatten() {
            if name == "spec" || name == "status" {
                unexplained(&format!("{}.{name}", crd.spec.names.kind), property, &mut found);
            }
        }
    }
    assert!(found.is_empty(), "no description: {found:#?}");
}

#[test]
fn no_definition_is_large() {
    // etcd takes 1.5 MiB; client-side `kubectl apply` keeps a copy in an annotation of 256 KiB.
    for (name, text) in weir_crds::yaml_files().unwrap() {
        assert!(text.len() < 100_000, "{name} has {} bytes", text.len());
    }
}

#[test]
fn numbers_have_formats_that_kubernetes_knows() {
    fn walk(schema: &JSONSchemaProps) {
        let format = schema.format.as_deref().unwrap_or("");
        assert!(["", "int32", "int64", "double", "date-time"].contains(&format), "{format}");
        assert_eq!(schema.nullable, None);
        schema.properties.iter().flat_map(|map| map.values()).for_each(walk);
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(items);
        }
    }
    weir_crds::crds().iter().for_each(|crd| walk(root(crd)));
}

/// Values that a schema admits (without its CEL rules, which only take some away).
fn admitted(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    if schema.x_kubernetes_int_or_string == Some(true) {
        return prop_oneof![(0..1_000_000_i64).prop_map(Value::from), text(schema)].boxed();
    }
    if let Some(values) = &schema.enum_ {
        return Union::new(values.iter().map(|value| Just(value.0.clone()))).boxed();
    }
    match schema.type_.as_deref() {
        Some("string") => text(schema),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("integer") => integer(schema),
        Some("number") => (schema.minimum.unwrap_or(-1e9)..=schema.maximum.unwrap_or(1e9))
            .prop_flat_map(|float| prop_oneof![Just(json!(float)), Just(json!(float.ceil() as i64))])
            .boxed(),
        Some("array") => match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => prop::collection::vec(admitted(items), 0..3).prop_map(Value::from).boxed(),
            _ => panic!("an array without items: {schema:?}"),
        },
        Some("object") => object(schema),
        other => panic!("type {other:?}: {schema:?}"),
    }
}

fn text(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    if schema.format.as_deref() == Some("date-time") {
        return Just(json!("2026-01-02T03:04:05Z")).boxed();
    }
    match &schema.pattern {
        Some(pattern) if pattern.ends_with('$') => string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap().prop_map(Value::from).boxed(),
        Some(pattern) => {
            let start = string_regex(pattern.trim_start_matches('^')).unwrap();
            (start, "[ -~]{0,9}").prop_map(|(start, rest)| Value::from(start + &rest)).boxed()
        }
        None => any::<String>().prop_map(Value::from).boxed(),
    }
}

fn integer(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    let low = schema.minimum.map_or(i64::MIN, |low| low as i64);
    let high = schema.maximum.map_or(i64::MAX, |high| high as i64);
    prop_oneof![Just(low), Just(high), low..=high].prop_map(|number| Value::Number(Number::from(number))).boxed()
}

fn object(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        return prop::collection::btree_map("[a-z]{1,5}", admitted(values), 0..3).prop_map(|map| Value::Object(map.into_iter().collect())).boxed();
    }
    if schema.properties.is_none() {
        return prop_oneof![Just(json!({})), Just(json!({ "a": [1, null, { "b": "c" }] }))].boxed();
    }
    let mut fields = Just(Map::new()).boxed();
    for (name, property) in schema.properties.clone().unwrap() {
        let required = schema.required.iter().flatten().any(|required| *required == name);
        let values = admitted(&property);
        let chosen = if required { values.prop_map(Some).boxed() } else { prop::option::of(values).boxed() };
        fields = (fields, chosen)
            .prop_map(move |(mut map, value)| {
                value.into_iter().for_each(|value| drop(map.insert(name.clone(), value)));
                map
            })
            .boxed();
    }
    fields.prop_map(Value::Object).boxed()
}

fn whatever_is_admitted_parses<T: DeserializeOwned>(kind: &str, which: &str) {
    let mut runner = TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() });
    runner
        .run(&admitted(&part(kind, which)), |json| {
            let parsed = serde_json::from_value::<T>(json.clone());
            prop_assert!(parsed.is_ok(), "{}: {json}", parsed.err().unwrap());
            Ok(())
        })
        .unwrap();
}

#[test]
fn whatever_the_schema_of_a_log_processor_admits_parses() {
    whatever_is_admitted_parses::<LogProcessorSpec>("LogProcessor", "spec");
    whatever_is_admitted_parses::<LogProcessorStatus>("LogProcessor", "status");
}

#[test]
fn whatever_the_schema_of_a_log_storage_admits_parses() {
    whatever_is_admitted_parses::<LogStorageSpec>("LogStorage", "spec");
    whatever_is_admitted_parses::<LogStorageStatus>("LogStorage", "status");
}

#[test]
fn whatever_the_schema_of_a_routing_table_admits_parses() {
    whatever_is_admitted_parses::<RoutingTableSpec>("RoutingTable", "spec");
    whatever_is_admitted_parses::<RoutingTableStatus>("RoutingTable", "status");
}

#[test]
fn whatever_the_schema_of_a_wasm_policy_admits_parses() {
    whatever_is_admitted_parses::<WasmPolicySpec>("WasmPolicy", "spec");
    whatever_is_admitted_parses::<WasmPolicyStatus>("WasmPolicy", "status");
}
