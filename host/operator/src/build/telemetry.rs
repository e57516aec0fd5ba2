//! The part of a collector's configuration that serves its own metrics. Touches nothing; called by
//! [`super::collector`].
//!
//! Weir's reader is the collector's own default one with another address: the names of metrics stay
//! what dashboards know. The host is empty, which listens on IPv4 and IPv6 alike.
//!
//! How many records wait is exact only with `otelcol_exporter_queue_batch_send_size`, which since
//! 0.144 needs level `detailed`. That level also turns on histograms per gRPC and HTTP method, which
//! nobody asked for and which would make each scrape several times as long. So with the level come
//! views that drop what level `normal` drops, except that one (service/internal/metricviews of
//! collector 0.149). A user's own level or views are left alone.

use super::collector::{default, nested};
use super::ports;
use super::valid::Notice;
use serde_json::{Map, Value, json};

const HELPER: &str = "go.opentelemetry.io/collector/exporter/exporterhelper";
const ARROW: &str = "github.com/open-telemetry/opentelemetry-collector-contrib/internal/otelarrow/netstats";

/// Meter and instrument of what level `normal` drops; no instrument: all of the meter's.
const DROPPED: [(&str, Option<&str>); 12] = [
    ("go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc", None),
    ("go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", None),
    ("go.opentelemetry.io/collector/processor/processorhelper", Some("otelcol_processor_internal_duration")),
    ("go.opentelemetry.io/collector/processor/batchprocessor", Some("otelcol_processor_batch_batch_send_size_bytes")),
    ("go.opentelemetry.io/collector/service", Some("otelcol.*.consumed.size")),
    ("go.opentelemetry.io/collector/service", Some("otelcol.*.produced.size")),
    (HELPER, Some("otelcol_exporter_queue_batch_send_size_bytes")),
    (ARROW, Some("otelcol_*_compressed_size")),
    (ARROW, Some("otelcol_exporter_recv")),
    (ARROW, Some("otelcol_exporter_recv_wire")),
    (ARROW, Some("otelcol_receiver_sent")),
    (ARROW, Some("otelcol_receiver_sent_wire")),
];

/// Adds level, views and a reader on `port`, each where the user has none.
pub(super) fn add(config: &mut Map<String, Value>, port: u16, notices: &mut Vec<Notice>) {
    let Some(metrics) = nested(config, &["service", "telemetry", "metrics"]) else {
        notices.push(Notice::new(
            "TelemetryNotWrittenOut",
            "service.telemetry.metrics of the configuration is not written out, so Weir adds no reader: what it is taken from has to serve the collector's metrics on metricsPort",
        ));
        return;
    };
    if metrics.get("level").and_then(Value::as_str).is_some_and(|level| level.eq_ignore_ascii_case("none")) {
        metrics.insert("level".to_owned(), json!("normal"));
        notices.push(Notice::new(
            "MetricsLevelRaised",
            "service.telemetry.metrics.level is none, with which no replica can be measured: the collectors run with level normal",
        ));
    }
    let views = !metrics.contains_key("views");
    if default(metrics, "level", json!("detailed")) && views {
        metrics.insert("views".to_owned(), quiet_views());
    }
    if address_serves(metrics, port) {
        return;
    }
    let readers = metrics.entry("readers").or_insert(Value::Null);
    if readers.is_null() {
        *readers = json!([]);
    }
    let Some(readers) = readers.as_array_mut() else { return };
    match readers.iter().find_map(|reader| served(reader, port)) {
        None => readers.push(reader(port)),
        Some(host) if ports::is_local(&host) => notices.push(Notice::new(
            "MetricsOnLocalhost",
            format!("a reader in service.telemetry.metrics.readers serves port {port} on {host} only, where Weir can't read it: set its host to 0.0.0.0, or remove the reader"),
        )),
        Some(_) => {}
    }
}

/// The host of a reader that serves `port`.
fn served(reader: &Value, port: u16) -> Option<String> {
    let prometheus = reader.get("pull")?.get("exporter")?.get("prometheus")?;
    let same = prometheus.get("port").and_then(Value::as_u64) == Some(u64::from(port));
    same.then(|| prometheus.get("host").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// Collectors before 0.123 take an address instead of readers.
fn address_serves(metrics: &Map<String, Value>, port: u16) -> bool {
    metrics.get("address").and_then(Value::as_str).and_then(ports::open_port) == Some(port)
}

fn reader(port: u16) -> Value {
    json!({ "pull": { "exporter": { "prometheus": {
        "host": "", "port": port,
        "without_scope_info": true, "without_units": true, "without_type_suffix": true,
    } } } })
}

fn quiet_views() -> Value {
    let drop = |(meter, instrument): (&str, Option<&str>)| {
        let mut selector = Map::from_iter([("meter_name".to_owned(), json!(meter))]);
        selector.extend(instrument.map(|name| ("instrument_name".to_owned(), json!(name))));
        json!({ "selector": selector, "stream": { "aggregation": { "drop": {} } } })
    };
    let errors = json!({
        "selector": { "meter_name": HELPER, "instrument_name": "otelcol_exporter_send_failed_*" },
        "stream": { "attribute_keys": { "excluded": ["error.type", "error.permanent"] } },
    });
    DROPPED.into_iter().map(drop).chain([errors]).collect()
}
