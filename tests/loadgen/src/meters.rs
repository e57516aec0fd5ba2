//! Counters and histograms of a run, and their exposition for Prometheus. Memory only. Written by
//! `lane` and `sender`, read by `control` and for reports.
use crate::report::Latency;
use hdrhistogram::Histogram as Hdr;
use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Times both as quantiles (for reports) and as buckets (for Prometheus).
pub(crate) struct Timer {
    exact: Mutex<Option<Hdr<u64>>>,
    buckets: Histogram,
}

impl Timer {
    fn new() -> Self {
        Self {
            // 10 µs to 1 h at 2 significant digits: 30 KB. Values beyond are clamped.
            exact: Mutex::new(Hdr::new_with_bounds(1, 360_000_000, 2).ok()),
            buckets: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
        }
    }

    pub(crate) fn observe(&self, time: Duration) {
        self.buckets.observe(time.as_secs_f64());
        if let Some(exact) = self.exact.lock().as_mut() {
            let tens_of_us = u64::try_from(time.as_micros() / 10).unwrap_or(u64::MAX);
            exact.saturating_record(tens_of_us);
        }
    }

    pub(crate) fn latency(&self) -> Latency {
        let guard = self.exact.lock();
        let Some(exact) = guard.as_ref() else {
            return Latency::default();
        };
        let seconds = |tens_of_us: u64| tens_of_us as f64 / 100_000.0;
        let quantile = |q: f64| seconds(exact.value_at_quantile(q));
        Latency {
            count: exact.len(),
            mean: exact.mean() / 100_000.0,
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: seconds(exact.max()),
        }
    }
}

type Labels = [(&'static str, String); 1];

/// Everything that a run counts.
pub(crate) struct Meters {
    registry: Registry,
    pub(crate) numbered: Counter,
    pub(crate) shed: Counter,
    pub(crate) sent: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) acked: Counter,
    pub(crate) rejected: Counter,
    pub(crate) acked_batches: Counter,
    pub(crate) retries: Counter,
    pub(crate) refused_batches: Counter,
    pub(crate) partial_batches: Counter,
    pub(crate) lost_batches: Counter,
    pub(crate) rejected_batches: Counter,
    pub(crate) connections: Counter,
    pub(crate) pending_batches: Gauge,
    pub(crate) pending_peak: AtomicU64,
    pub(crate) target: Gauge<f64, AtomicU64>,
    pub(crate) ack: Timer,
    pub(crate) request: Timer,
    offered: Counter,
    pending_records: Gauge,
    failures: Family<Labels, Counter>,
    causes: Mutex<BTreeMap<String, u64>>,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let mut meters = Self {
            registry: Registry::with_prefix("weir_loadgen"),
            numbered: Counter::default(),
            shed: Counter::default(),
            sent: Counter::default(),
            sent_bytes: Counter::default(),
            acked: Counter::default(),
            rejected: Counter::default(),
            acked_batches: Counter::default(),
            retries: Counter::default(),
            refused_batches: Counter::default(),
            partial_batches: Counter::default(),
            lost_batches: Counter::default(),
            rejected_batches: Counter::default(),
            connections: Counter::default(),
            pending_batches: Gauge::default(),
            pending_peak: AtomicU64::new(0),
            target: Gauge::default(),
            ack: Timer::new(),
            request: Timer::new(),
            offered: Counter::default(),
            pending_records: Gauge::default(),
            failures: Family::default(),
            causes: Mutex::default(),
        };
        meters.register();
        meters
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        let counters: [(&str, &str, &Counter); 13] = [
            ("offered_records", "Records that the profile asked for", &self.offered),
            ("numbered_records", "Records put in batches", &self.numbered),
            ("shed_records", "Records dropped because the backlog was full", &self.shed),
            ("sent_records", "Records sent, each attempt counted", &self.sent),
            ("acked_records", "Records acknowledged", &self.acked),
            ("rejected_records", "Records refused for good", &self.rejected),
            ("acked_batches", "Batches acknowledged", &self.acked_batches),
            ("retries", "Attempts after the first", &self.retries),
            ("refused_batches", "Attempts answered with: not now", &self.refused_batches),
            ("partial_batches", "Attempts answered with partial success", &self.partial_batches),
            ("lost_batches", "Attempts without an answer", &self.lost_batches),
            ("rejected_batches", "Attempts refused for good", &self.rejected_batches),
            ("connections_opened", "Connections opened", &self.connections),
        ];
        for (name, help, counter) in counters {
            r.register(name, help, counter.clone());
        }
        r.register_with_unit("sent", "Request bodies", Unit::Bytes, self.sent_bytes.clone());
        r.register("failures", "Failed attempts by cause", self.failures.clone());
        r.register("pending_batches", "Batches waiting or under way", self.pending_batches.clone());
        r.register("pending_records", "Records in them", self.pending_records.clone());
        r.register("target_records_per_second", "What the profile asks for", self.target.clone());
        r.register_with_unit("ack_latency", "From offered to acknowledged, waiting and retries included", Unit::Seconds, self.ack.buckets.clone());
        r.register_with_unit("request_latency", "Of single attempts that were acknowledged", Unit::Seconds, self.request.buckets.clone());
    }

    /// Counts a failed attempt by its cause.
    pub(crate) fn fail(&self, cause: &str) {
        let label: Labels = [("cause", cause.to_owned())];
        self.failures.get_or_create(&label).inc();
        *self.causes.lock().entry(cause.to_owned()).or_default() += 1;
    }

    pub(crate) fn causes(&self) -> BTreeMap<String, u64> {
        self.causes.lock().clone()
    }

    /// Counts a batch as pending.
    pub(crate) fn enqueue(&self, records: u64) {
        self.numbered.inc_by(records);
        self.offered.inc_by(records);
        self.pending_records.inc_by(i64::try_from(records).unwrap_or(i64::MAX));
        let now = u64::try_from(self.pending_batches.inc() + 1).unwrap_or(0);
        self.pending_peak.fetch_max(now, Ordering::Relaxed);
    }

    /// Counts a batch as no longer pending.
    pub(crate) fn dequeue(&self, records: u64) {
        self.pending_records.dec_by(i64::try_from(records).unwrap_or(i64::MAX));
        self.pending_batches.dec();
    }

    /// Counts records that found no room.
    pub(crate) fn shed(&self, records: u64) {
        self.shed.inc_by(records);
        self.offered.inc_by(records);
    }

    pub(crate) fn offered(&self) -> u64 {
        self.offered.get()
    }

    pub(crate) fn pending(&self) -> u64 {
        u64::try_from(self.pending_batches.get()).unwrap_or(0)
    }

    /// All of it in the text format (OpenMetrics, which Prometheus reads).
    pub(crate) fn expose(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
