//! What a collector's own metrics mean. Pure; called by [`super::Profile::otel_collector`] and, per
//! scrape, by `pod`.
//!
//! Read from the collector's source, v0.149 (`receiver/receiverhelper`, `exporter/exporterhelper`,
//! `processor/batchprocessor`, `service`), and its change log back to 0.90:
//!
//! - The default reader writes counters without `_total` and without units. A configured reader
//!   (0.119 and later) writes `_total`, and `_bytes`/`_seconds` where the name lacks them, unless told
//!   not to. 0.130 wrote `__records__total`. Reading as OpenMetrics adds `_total` and `_created`.
//! - Counters appear with their first increment. So a body with any of the collector's metrics and
//!   without `otelcol_receiver_accepted_log_records` is an idle collector: zero, not missing.
//! - `refused` counts every error of a receiver; with the gate `receiverhelper.newReceiverMetrics`
//!   (0.133, off) internal errors move to `otelcol_receiver_failed_log_records`. Both are demand that
//!   was not served, so Weir's `refused` is their sum, whatever the gate.
//! - `send_failed` sits outside the retries: a record is counted when it is given up.
//!   `enqueue_failed` counts records that found the queue full. Weir's `failed` is their sum.
//! - `queue_size` includes what is being sent. It has the label `data_type` since 0.106; only `logs`
//!   are wanted. It counts requests unless the queue's `sizer` says otherwise, and no metric tells
//!   which: hence [`QueueUnit`].
//! - `otelcol_exporter_queue_batch_send_size` (0.135 and later; at level detailed since 0.144) is
//!   recorded when a request is offered to the queue: its sum is what went in, its count how many
//!   requests. It has no `data_type`: when a queue carries other signals too it is not used.
//! - A refused record that its sender offers again is counted again: `offered` never understates.

use super::{Aggregate, Column, Kind, Match, OWN_COLUMNS, Profile, Role};

/// In which unit the exporters' queues are sized (`sending_queue.sizer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueueUnit {
    /// Requests, the collector's default; the backlog in records is computed.
    #[default]
    Requests,
    /// Records (`sizer: items`); the backlog is the queue.
    Records,
    /// Bytes; the backlog in records is computed.
    Bytes,
}

/// What the metrics do not say about a collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct OtelOptions {
    /// Unit of the exporters' queues.
    pub queue_unit: QueueUnit,
    /// Labels of `target_info` (the collector's resource attributes) to keep per pod. Written as
    /// attributes (`weir.table.hash`) or as labels (`weir_table_hash`), which is the same here.
    pub info_labels: Vec<String>,
}

/// Number of the engine's own columns.
pub(crate) const COLUMNS: usize = 11;

/// Numbers of the fields, in the order in which [`define`] makes them.
pub(crate) mod field {
    pub(crate) const ACCEPTED: u16 = 0;
    pub(crate) const REFUSED: u16 = 1;
    pub(crate) const RECEIVER_FAILED: u16 = 2;
    pub(crate) const SENT: u16 = 3;
    pub(crate) const SEND_FAILED: u16 = 4;
    pub(crate) const ENQUEUE_FAILED: u16 = 5;
    pub(crate) const CPU: u16 = 6;
    pub(crate) const REQUEST_RECORDS: u16 = 7;
    pub(crate) const REQUESTS: u16 = 8;
    pub(crate) const BATCH_RECORDS: u16 = 9;
    pub(crate) const BATCHES: u16 = 10;
    pub(crate) const QUEUE: u16 = 11;
    pub(crate) const CAPACITY: u16 = 12;
    pub(crate) const MEMORY: u16 = 13;
    pub(crate) const UPTIME: u16 = 14;
    pub(crate) const OTHER_SIGNALS: u16 = 15;
    pub(crate) const INFO: u16 = 16;
}

/// Suffixes that a counter of records may have, by version and reader.
const COUNTER: [&str; 3] = ["", "_total", "__records__total"];

pub(super) fn define(profile: &mut Profile, options: &OtelOptions) {
    let counters: [(&str, &[&str]); 11] = [
        ("otelcol_receiver_accepted_log_records", &COUNTER),
        ("otelcol_receiver_refused_log_records", &COUNTER),
        ("otelcol_receiver_failed_log_records", &COUNTER),
        ("otelcol_exporter_sent_log_records", &COUNTER),
        ("otelcol_exporter_send_failed_log_records", &COUNTER),
        ("otelcol_exporter_enqueue_failed_log_records", &COUNTER),
        ("otelcol_process_cpu_seconds", &["", "_total"]),
        ("otelcol_exporter_queue_batch_send_size", &["_sum"]),
        ("otelcol_exporter_queue_batch_send_size", &["_count"]),
        ("otelcol_processor_batch_batch_send_size", &["_sum"]),
        ("otelcol_processor_batch_batch_send_size", &["_count"]),
    ];
    for (base, suffixes) in counters {
        let field = profile.field(Kind::Counter, Aggregate::Sum, Vec::new());
        for suffix in suffixes {
            profile.bind(&format!("{base}{suffix}"), field, Role::Value);
        }
        profile.bind(&format!("{base}_created"), field, Role::Created);
    }
    let logs = || vec![Match::AbsentOr("data_type", "logs")];
    let gauges: [(&str, &[&str], Aggregate, Vec<Match>); 6] = [
        ("otelcol_exporter_queue_size", &["", "_batches"], Aggregate::Sum, logs()),
        ("otelcol_exporter_queue_capacity", &["", "_batches"], Aggregate::Sum, logs()),
        ("otelcol_process_memory_rss", &["", "_bytes"], Aggregate::Sum, Vec::new()),
        // a counter by type; its value is what is wanted: seconds since the process began
        ("otelcol_process_uptime", &["", "_total", "_seconds", "_seconds_total"], Aggregate::Max, Vec::new()),
        ("otelcol_exporter_queue_capacity", &["", "_batches"], Aggregate::Sum, vec![Match::Other("data_type", "logs")]),
        ("target_info", &[""], Aggregate::Max, Vec::new()),
    ];
    for (base, suffixes, aggregate, matches) in gauges {
        let field = profile.field(Kind::Gauge, aggregate, matches);
        let role = if field == field::INFO { Role::Info } else { Role::Value };
        for suffix in suffixes {
            profile.bind(&format!("{base}{suffix}"), field, role);
        }
    }
    for (name, unit) in OWN_COLUMNS {
        let column = if name == weir_core::window::names::SKEW { Column::Skew } else { Column::Otel };
        profile.column(name, unit, column);
    }
    profile.info_labels = options.info_labels.iter().map(|label| as_label(label)).collect();
    profile.otel = Some(options.clone());
}

/// A resource attribute's name as the label that Prometheus writes without UTF-8 names.
pub(crate) fn as_label(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_have_the_numbers_that_their_names_say() {
        let profile = Profile::otel_collector(&OtelOptions::default(), &[]).unwrap();
        let number = |name: &str| profile.bindings(profile.wanted(name).unwrap()).iter().map(|binding| binding.field).collect::<Vec<_>>();
        assert_eq!(number("otelcol_receiver_accepted_log_records"), [field::ACCEPTED]);
        assert_eq!(number("otelcol_receiver_refused_log_records_total"), [field::REFUSED]);
        assert_eq!(number("otelcol_receiver_failed_log_records"), [field::RECEIVER_FAILED]);
        assert_eq!(number("otelcol_exporter_sent_log_records__records__total"), [field::SENT]);
        assert_eq!(number("otelcol_exporter_send_failed_log_records"), [field::SEND_FAILED]);
        assert_eq!(number("otelcol_exporter_enqueue_failed_log_records"), [field::ENQUEUE_FAILED]);
        assert_eq!(number("otelcol_process_cpu_seconds_total"), [field::CPU]);
        assert_eq!(number("otelcol_exporter_queue_batch_send_size_sum"), [field::REQUEST_RECORDS]);
        assert_eq!(number("otelcol_exporter_queue_batch_send_size_count"), [field::REQUESTS]);
        assert_eq!(number("otelcol_processor_batch_batch_send_size_sum"), [field::BATCH_RECORDS]);
        assert_eq!(number("otelcol_processor_batch_batch_send_size_count"), [field::BATCHES]);
        assert_eq!(number("otelcol_exporter_queue_size"), [field::QUEUE]);
        assert_eq!(number("otelcol_exporter_queue_capacity"), [field::CAPACITY, field::OTHER_SIGNALS]);
        assert_eq!(number("otelcol_process_memory_rss_bytes"), [field::MEMORY]);
        assert_eq!(number("otelcol_process_uptime_seconds_total"), [field::UPTIME]);
        assert_eq!(number("target_info"), [field::INFO]);
        assert_eq!(profile.series().len(), COLUMNS);
    }
}
