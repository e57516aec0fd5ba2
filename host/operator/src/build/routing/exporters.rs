//! Exporters of a routing table with their queues, and the environment for their Secrets. Touches
//! nothing.
//!
//! Values of Secrets reach a collector as environment variables, so that the operator need not read them.

use super::ottl::{PARTITION, escaped};
use k8s_openapi::api::core::v1::{EnvVar, EnvVarSource, SecretKeySelector};
use serde_json::{Map, Value, json};
use weir_core::ids::Digest;
use weir_core::placement::Slot;
use weir_core::routing::{Otlp, Protocol, RoutingKey, SecretKey, Table, Target};

/// Requests that a queue holds. With requests of some hundred records that is some minutes of one
/// replica's share for one node.
const QUEUE_SIZE: u32 = 5_000;

/// The exporter of a slot of a storage: VictoriaLogs takes OTLP over HTTP below this path.
pub(super) fn slot(storage: &str, slot: &Slot, key: &RoutingKey, queues: Option<&str>) -> (String, Value) {
    let streams: Vec<&str> = [PARTITION].into_iter().chain(key.resource.iter().map(String::as_str)).collect();
    let mut exporter = Map::new();
    exporter.insert("logs_endpoint".to_owned(), json!(format!("{}/insert/opentelemetry/v1/logs", escaped(&slot.endpoint))));
    exporter.insert("headers".to_owned(), json!({ "VL-Stream-Fields": escaped(&streams.join(",")) }));
    patient(&mut exporter, queues);
    (format!("otlphttp/weir.{storage}.{}", slot.node), Value::Object(exporter))
}

/// The exporter of an endpoint outside.
pub(super) fn otlp(destination: &str, otlp: &Otlp, queues: Option<&str>) -> (String, Value) {
    let mut exporter = Map::new();
    exporter.insert("endpoint".to_owned(), json!(escaped(&otlp.endpoint)));
    let mut tls = Map::new();
    if otlp.endpoint.starts_with("http://") {
        tls.insert("insecure".to_owned(), json!(true));
    }
    if otlp.insecure_skip_verify {
        tls.insert("insecure_skip_verify".to_owned(), json!(true));
    }
    if let Some(name) = &otlp.server_name {
        tls.insert("server_name_override".to_owned(), json!(escaped(name)));
    }
    if otlp.ca.is_some() {
        tls.insert("ca_pem".to_owned(), json!(reference(&ca_variable(destination))));
    }
    if !tls.is_empty() {
        exporter.insert("tls".to_owned(), Value::Object(tls));
    }
    let headers = (0..).zip(otlp.headers.keys()).map(|(at, name)| (name.clone(), json!(reference(&header_variable(destination, at)))));
    let headers: Map<String, Value> = headers.collect();
    if !headers.is_empty() {
        exporter.insert("headers".to_owned(), Value::Object(headers));
    }
    patient(&mut exporter, queues);
    let kind = match otlp.protocol {
        Protocol::Http => "otlphttp",
        Protocol::Grpc => "otlp",
    };
    (format!("{kind}/weir.to.{destination}"), Value::Object(exporter))
}

/// Waits on disk, and tries again without end: only so does nothing get lost while a node is away.
fn patient(exporter: &mut Map<String, Value>, queues: Option<&str>) {
    let mut queue = json!({ "queue_size": QUEUE_SIZE, "num_consumers": 4 });
    if let (Some(queues), Some(queue)) = (queues, queue.as_object_mut()) {
        queue.insert("storage".to_owned(), json!(queues));
    }
    exporter.insert("sending_queue".to_owned(), queue);
    exporter.insert("retry_on_failure".to_owned(), json!({ "initial_interval": "300ms", "max_interval": "5s", "max_elapsed_time": "0s" }));
    exporter.insert("timeout".to_owned(), json!("10s"));
}

/// Variables with the values of the Secrets that destinations name.
pub(super) fn environment(table: &Table) -> Vec<EnvVar> {
    let mut variables = Vec::new();
    for (name, destination) in &table.destinations {
        let Target::Otlp(otlp) = &destination.target else { continue };
        variables.extend(otlp.ca.as_ref().map(|secret| variable(ca_variable(name), secret)));
        variables.extend((0..).zip(otlp.headers.values()).map(|(at, secret)| variable(header_variable(name, at), secret)));
    }
    variables
}

fn variable(name: String, secret: &SecretKey) -> EnvVar {
    let selector = SecretKeySelector { name: secret.name.clone(), key: secret.key.clone(), optional: None };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name, value: None, value_from: Some(source) }
}

fn reference(variable: &str) -> String {
    format!("${{env:{variable}}}")
}

fn ca_variable(destination: &str) -> String {
    format!("{}_CA", prefix(destination))
}

fn header_variable(destination: &str, at: usize) -> String {
    format!("{}_HEADER_{at}", prefix(destination))
}

/// Not every name of a destination can be that of a variable, so its digest stands for it.
fn prefix(destination: &str) -> String {
    format!("WEIR_TO_{}", Digest::of(destination.as_bytes()).short().to_uppercase())
}
