//! What Weir adds to a collector's configuration, and what it reads from it. Touches nothing;
//! called by [`super::revision`].
//!
//! What the user wrote wins. Added is only what is absent:
//! - endpoints of OTLP receivers and of `health_check`, whose own default is localhost, where no
//!   other pod and no probe of the kubelet gets through;
//! - an age for gRPC connections, so that senders find replicas that were added since. Over HTTP/1.1
//!   a sender keeps its connection as long as it likes, and the collector has no such age for it:
//!   `keep_alives_enabled: false` on the receiver, or a sender that renews its connections, is what
//!   helps there, at the price of a handshake per request;
//! - a reader that serves the collector's own metrics (`telemetry`);
//! - the hash of the revision as a resource attribute of these metrics.
//!
//! A part that is not written out but taken from elsewhere (`receivers: ${file:…}`) is left as it is.

use super::valid::{Invalid, Notice};
use super::{Port, ports, shape, telemetry};
use serde_json::{Map, Value, json};
use weir_crds::log_processor::OtelCollector;
use weir_intake::QueueUnit;

/// How long a call may go on after its connection has reached its age.
const AGE_GRACE: &str = "30s";
/// Receivers that speak gRPC under `protocols.grpc`, with the port that each takes by default.
const GRPC_RECEIVERS: [(&str, &str); 2] = [("otlp", "4317"), ("otelarrow", "4317")];
/// Port of OTLP over HTTP.
const OTLP_HTTP: &str = "4318";
/// Port of the extension `health_check`.
const HEALTH_CHECK: &str = "13133";

/// What the configuration says of how its pods are reached, probed and drained.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Ports that other pods send to.
    pub ports: Vec<Port>,
    /// Where the collector tells its health, if it does.
    pub health: Option<Health>,
    /// Unit of the exporters' queues.
    pub queue_unit: QueueUnit,
    /// Longest time in milliseconds that a batch processor holds a record.
    pub batch_ms: u64,
    /// It holds a routing table, and so will change often.
    pub routed: bool,
}

/// The extension `health_check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Its port.
    pub port: u16,
    /// Its path.
    pub path: String,
    /// It speaks TLS.
    pub tls: bool,
}

impl Facts {
    /// Reads a configuration that was rewritten.
    pub(super) fn of(config: &Map<String, Value>, notices: &mut Vec<Notice>) -> Self {
        Self { ports: ports::of(config, notices), health: health(config), queue_unit: queue_unit(config), batch_ms: batch_ms(config), routed: routed(config) }
    }
}

/// Checks the shape and adds what is absent.
pub(super) fn rewrite(spec: &OtelCollector) -> Result<(Map<String, Value>, Vec<Notice>), Invalid> {
    shape::check(&spec.config)?;
    let mut config = spec.config.clone();
    let mut notices = Vec::new();
    let age = (!spec.max_connection_age.is_zero()).then(|| spec.max_connection_age.to_string());
    for (id, receiver) in section(&mut config, "receivers") {
        let kind = kind_of(id);
        let Some((_, grpc_port)) = GRPC_RECEIVERS.iter().find(|(name, _)| *name == kind) else { continue };
        let Some(protocols) = receiver.get_mut("protocols").and_then(Value::as_object_mut) else { continue };
        if let Some(grpc) = present(protocols, "grpc") {
            default(grpc, "endpoint", json!(format!(":{grpc_port}")));
            if let Some(age) = &age
                && let Some(parameters) = nested(grpc, &["keepalive", "server_parameters"])
                && default(parameters, "max_connection_age", json!(age))
            {
                default(parameters, "max_connection_age_grace", json!(AGE_GRACE));
            }
        }
        if let Some(http) = present(protocols, "http") {
            default(http, "endpoint", json!(format!(":{OTLP_HTTP}")));
        }
    }
    for (id, extension) in section(&mut config, "extensions") {
        if kind_of(id) == "health_check" {
            if extension.is_null() {
                *extension = json!({});
            }
            if let Some(extension) = extension.as_object_mut() {
                default(extension, "endpoint", json!(format!(":{HEALTH_CHECK}")));
            }
        }
    }
    telemetry::add(&mut config, spec.metrics_port, &mut notices);
    shape::notices(&config, spec, &mut notices);
    Ok((config, notices))
}

/// Puts a resource attribute into the configuration that the collector's own metrics carry.
pub(super) fn stamp(config: &mut Map<String, Value>, name: &str, value: &str) {
    let Some(resource) = nested(config, &["service", "telemetry", "resource"]) else { return };
    // Newer collectors also read attributes as a list of names and values.
    if let Some(attributes) = resource.get_mut("attributes").and_then(Value::as_array_mut) {
        attributes.push(json!({ "name": name, "value": value }));
    } else {
        resource.insert(name.to_owned(), json!(value));
    }
}

/// The kind of a component: what stands before the slash in `otlp/2`.
pub(super) fn kind_of(id: &str) -> &str {
    id.split('/').next().unwrap_or(id)
}

/// The components of a section, none where it is not written out.
fn section<'a>(config: &'a mut Map<String, Value>, name: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> {
    config.get_mut(name).and_then(Value::as_object_mut).into_iter().flatten()
}

/// An object that is there, if only by its name (`grpc:` turns the protocol on).
fn present<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = parent.get_mut(key)?;
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

/// An object at a path, made where it is absent; `None` where something else stands in the way.
pub(super) fn nested<'a>(parent: &'a mut Map<String, Value>, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut here = parent;
    for key in path {
        let value = here.entry((*key).to_owned()).or_insert(Value::Null);
        if value.is_null() {
            *value = json!({});
        }
        here = value.as_object_mut()?;
    }
    Some(here)
}

/// Sets a field that is absent; true when it did.
pub(super) fn default(object: &mut Map<String, Value>, key: &str, value: Value) -> bool {
    let absent = object.get(key).is_none_or(Value::is_null);
    if absent {
        object.insert(key.to_owned(), value);
    }
    absent
}

fn routed(config: &Map<String, Value>) -> bool {
    config.get("connectors").and_then(Value::as_object).is_some_and(|connectors| connectors.contains_key(super::routing::ENTRY))
}

/// The first `health_check` that is switched on and can be reached from outside.
fn health(config: &Map<String, Value>) -> Option<Health> {
    let enabled = config.get("service")?.get("extensions")?.as_array()?;
    let id = enabled.iter().filter_map(Value::as_str).find(|id| kind_of(id) == "health_check")?;
    let extension = config.get("extensions")?.get(id)?;
    let port = ports::open_port(extension.get("endpoint")?.as_str()?)?;
    let path = extension.get("path").and_then(Value::as_str).unwrap_or("/").to_owned();
    Some(Health { port, path, tls: extension.get("tls").is_some_and(|tls| !tls.is_null()) })
}

/// The unit that all queues share; requests, the collector's default, where they differ.
fn queue_unit(config: &Map<String, Value>) -> QueueUnit {
    let exporters = config.get("exporters").and_then(Value::as_object);
    let mut units = exporters.into_iter().flat_map(Map::values).filter_map(|exporter| {
        let queue = exporter.get("sending_queue")?;
        Some(match queue.get("sizer").and_then(Value::as_str) {
            Some("items") => QueueUnit::Records,
            Some("bytes") => QueueUnit::Bytes,
            _ => QueueUnit::Requests,
        })
    });
    let first = units.next().unwrap_or_default();
    if units.all(|unit| unit == first) { first } else { QueueUnit::Requests }
}

fn batch_ms(config: &Map<String, Value>) -> u64 {
    let processors = config.get("processors").and_then(Value::as_object);
    let batches = processors.into_iter().flatten().filter(|(id, _)| kind_of(id) == "batch");
    let timeouts = batches.filter_map(|(_, batch)| go_duration_ms(batch.get("timeout")?.as_str()?));
    // 200ms is the processor's own default.
    timeouts.max().unwrap_or(200)
}

/// Milliseconds of a Go duration such as `1m30s` or `1.5s`; `None` for what is none.
fn go_duration_ms(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut micros = 0_u64;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let (unit, tail) = [("ms", 1_000), ("us", 1), ("µs", 1), ("ns", 0), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000)]
            .into_iter()
            .find_map(|(name, factor)| after.strip_prefix(name).map(|tail| (factor, tail)))?;
        let mut digit = unit;
        micros = micros.saturating_add(whole.parse::<u64>().ok()?.saturating_mul(unit));
        for c in fraction.chars() {
            digit /= 10;
            micros = micros.saturating_add(u64::from(c.to_digit(10)?).saturating_mul(digit));
        }
        rest = tail;
    }
    (!text.is_empty()).then_some(micros.div_ceil(1_000))
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
