//! The two numbers in a collector's metrics that decide whether it may go. Touches nothing; called
//! by [`crate::fetch`].
//!
//! Only sums over whole metrics are wanted, so labels are skipped rather than read. All signals
//! count: a queue of traces dies with its pod as one of logs does.

use crate::drain::Reading;

/// Reads a body in the Prometheus text format.
#[must_use]
pub fn read(body: &str) -> Reading {
    let mut collector = false;
    let (mut queue, mut accepted) = (0.0, 0.0);
    for line in body.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, rest)) = split_name(line) else { continue };
        collector |= name.starts_with("otelcol_");
        let sum = if is_queue(name) {
            &mut queue
        } else if name.starts_with("otelcol_receiver_accepted_") && !name.ends_with("_created") {
            &mut accepted
        } else {
            continue;
        };
        match rest.split_whitespace().next().map(str::parse::<f64>) {
            Some(Ok(value)) => *sum += value,
            _ => return Reading::Unreadable(format!("{name} has no value")),
        }
    }
    // An exporter without a queue has no such metric, and nothing to wait for. A body without any
    // metric of a collector is not one of a collector.
    if collector { Reading::Seen { queue, accepted } } else { Reading::Unreadable("the metrics are not those of a collector".to_owned()) }
}

/// Some versions add the unit to the name.
fn is_queue(name: &str) -> bool {
    name.strip_prefix("otelcol_exporter_queue_size").is_some_and(|rest| ["", "_batches"].contains(&rest))
}

/// The name of a sample, and what follows its labels.
fn split_name(line: &str) -> Option<(&str, &str)> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let Some(labels) = rest.strip_prefix('{') else { return Some((name, rest)) };
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in labels.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return Some((name, labels.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const IDLE: &str = "# TYPE otelcol_process_uptime counter\notelcol_process_uptime 3\n";

    #[rstest]
    #[case::no_queue(IDLE, 0.0, 0.0)]
    #[case::sums(
        "otelcol_exporter_queue_size{data_type=\"logs\",exporter=\"a\"} 2\notelcol_exporter_queue_size{data_type=\"traces\",exporter=\"a\"} 1\notelcol_receiver_accepted_log_records{receiver=\"otlp\"} 5\notelcol_receiver_accepted_spans_total{receiver=\"otlp\"} 7\n",
        3.0,
        12.0
    )]
    #[case::capacity_is_no_queue("otelcol_exporter_queue_capacity{exporter=\"a\"} 1000\n", 0.0, 0.0)]
    #[case::braces_in_a_label("otelcol_exporter_queue_size{exporter=\"a}\\\"{ 9\"} 4 1700000000000\n", 4.0, 0.0)]
    #[case::times_of_creation("otelcol_receiver_accepted_log_records_total 5\notelcol_receiver_accepted_log_records_created 1.7e9\n", 0.0, 5.0)]
    fn a_body_is_read(#[case] body: &str, #[case] queue: f64, #[case] accepted: f64) {
        assert_eq!(read(body), Reading::Seen { queue, accepted });
    }

    #[rstest]
    fn what_is_no_body_of_a_collector_is_unknown_and_not_empty(
        #[values("", "<html></html>", "go_goroutines 5\n", "otelcol_exporter_queue_size{exporter=\"a\"}\n", "otelcol_exporter_queue_size{exporter=\"a\"} x\n")]
        body: &str,
    ) {
        assert!(matches!(read(body), Reading::Unreadable(_)));
    }
}
