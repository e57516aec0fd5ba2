//! The account of a run: what `/status` serves, what a run ends with, what `check` expects. Data
//! only. Built by `sender`, read by `check` and by people.
use crate::ranges::RangeSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// New load is offered.
    Offering,
    /// No new load; what is pending is still being sent.
    Draining,
    /// Nothing more will be sent.
    Finished,
}

/// Counts of records.
///
/// `offered = numbered + shed`, and after the end `numbered = acked + rejected + unacknowledged`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// What the profile asked for.
    pub offered: u64,
    /// Of those: given a number and put in a batch.
    pub numbered: u64,
    /// Of those: dropped because the backlog was full, without a number.
    pub shed: u64,
    /// Sent, each attempt counted.
    pub sent: u64,
    /// Acknowledged in full.
    pub acked: u64,
    /// Given up because the target answered that it will never take them.
    pub rejected: u64,
    /// In batches that are neither acknowledged nor rejected.
    pub unacknowledged: u64,
}

/// Counts of batches (one request each).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batches {
    /// Acknowledged.
    pub acked: u64,
    /// Attempts after the first.
    pub retries: u64,
    /// Attempts that the target answered with "not now".
    pub refused: u64,
    /// Attempts that the target answered with partial success; retried whole.
    pub partial: u64,
    /// Attempts without an answer: connection lost, no connection, time out. These can make
    /// duplicates.
    pub lost: u64,
    /// Attempts answered with an error for good.
    pub rejected: u64,
    /// Batches that wait or are under way.
    pub pending: u64,
    /// The most that were at any time; at `max_pending` load was shed.
    pub pending_peak: u64,
    /// The bound on them.
    pub max_pending: u64,
}

/// A distribution of times, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// 99.9 % are at most this.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

/// One stream's numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// Its `service.name`.
    pub service: String,
    /// Numbers `0..numbered` were given out.
    pub numbered: u64,
    /// Numbers that were acknowledged: each must be found.
    pub acked: RangeSet,
    /// Numbers that were sent and never acknowledged: each may or may not be found.
    pub in_doubt: RangeSet,
    /// Numbers that the target refused for good.
    pub rejected: RangeSet,
}

/// The whole account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The run's id: the resource attribute `run` of its records.
    pub run: String,
    /// Where it is.
    pub state: State,
    /// When it started, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// How long it has been running, or ran, in seconds.
    pub elapsed_seconds: f64,
    /// What the profile asks for now.
    pub target_records_per_second: f64,
    /// The profile, as text.
    pub profile: String,
    /// Counts of records.
    pub records: Records,
    /// Counts of batches.
    pub batches: Batches,
    /// Bytes of request bodies, each attempt counted.
    pub sent_bytes: u64,
    /// Connections opened; more than the configured number means that some were closed and renewed.
    pub connections_opened: u64,
    /// Why attempts failed: cause → attempts. Causes are gRPC codes, HTTP statuses and a few words.
    pub failures: BTreeMap<String, u64>,
    /// From a batch being offered to its acknowledgement, waiting and retries included.
    pub ack_latency_seconds: Latency,
    /// Of single attempts that were acknowledged.
    pub request_latency_seconds: Latency,
    /// Each stream, in order.
    pub streams: Vec<StreamReport>,
}

impl Report {
    /// Whether every number that was given out has been acknowledged.
    #[must_use]
    pub fn all_acked(&self) -> bool {
        self.records.acked == self.records.numbered
    }
}
