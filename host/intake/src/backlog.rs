//! How many records wait in a collector's queues, when the queues are not sized in records. Pure;
//! one per pod, stepped by [`crate::pod`] with each scrape.
//!
//! A queue tells how many *requests* (or bytes) it holds; policies need *records*. In this order:
//!
//! | when | records waiting | error |
//! |---|---|---|
//! | the queue is sized in records | the queue | none |
//! | the queue is empty | 0 | none; from here flow is counted anew |
//! | it was empty, and since then little went in or the exporters tell what goes in | what went in less what went out | records that processors held when it was empty, and those that came between two metrics of one scrape; with flow from the receivers also the change, since then, of the share that processors filter or copy |
//! | the exporters tell their requests' sizes | queue × mean of the requests of late | queue × (mean size in the queue − mean of late) |
//! | a batch processor tells its batches' sizes | queue × mean of the batches of late | as above, and wrong when the exporter splits or merges them again |
//! | the queue rose and fell enough | queue × slope of flow over queue | as above |
//! | none of these yet | unknown (NaN), the mean of the object's other pods is used instead | |
//!
//! "Little" is 20 times what waits: at 1 % of error in the flow, the result is within 20 %.
//! With [`QueueUnit::Requests`] the result is never below the queue: a request holds at least one record.
//!
//! What goes in is, best first, the sum of the sizes offered to the exporters' queues less what did not fit;
//! or what the receivers accepted times the share that reaches the exporters, learnt between two
//! moments at which the queue was empty (2 when each record goes to two exporters, 0.3 when a
//! filter drops 70 %). Records that found the queue full count as never
//! accepted (the receiver then refuses them), unless a batch processor stands between: that has accepted them.

use crate::profile::QueueUnit;

/// What one scrape says about flow since the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    /// Fill of all queues in their unit now; NaN when no queue is exposed.
    pub(crate) queue: f64,
    pub(crate) accepted: f64,
    pub(crate) sent: f64,
    pub(crate) send_failed: f64,
    pub(crate) enqueue_failed: f64,
    /// Records and requests offered to the queues, when the exporters tell.
    pub(crate) requests: Option<(f64, f64)>,
    /// Records and batches of a batch processor, when there is one.
    pub(crate) batches: Option<(f64, f64)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Backlog {
    /// Records waiting by flow since the queue was empty; NaN before the first such moment.
    level: f64,
    since_in: f64,
    since_out: f64,
    last_queue: f64,
    /// Records and requests of late, decaying.
    mean: (f32, f32),
    /// Decaying sums for the slope of flow over queue.
    slope: (f32, f32),
    /// Share of accepted records that reaches the exporters.
    ratio: f32,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { level: f64::NAN, since_in: 0.0, since_out: 0.0, last_queue: f64::NAN, mean: (0.0, 0.0), slope: (0.0, 0.0), ratio: 1.0 }
    }
}

/// Requests that count for the mean of late: older ones weigh less than a third.
const MEMORY_OF_MEAN: f32 = 1_000.0;

impl Backlog {
    /// The process began anew: its counters are at zero, and a persistent queue may not be.
    pub(crate) fn restarted(&mut self) {
        (self.level, self.last_queue) = (f64::NAN, f64::NAN);
    }

    /// Takes one scrape and tells how many records wait; NaN when that is not known.
    pub(crate) fn step(&mut self, unit: QueueUnit, flow: &Flow) -> f64 {
        if unit == QueueUnit::Records || flow.queue.is_nan() {
            return flow.queue;
        }
        let told = flow.requests.or(flow.batches);
        if let Some((records, requests)) = told {
            self.mean = decayed(self.mean, records, requests);
        }
        let out = flow.sent + flow.send_failed;
        let inflow = match flow.requests {
            Some((records, _)) => records - flow.enqueue_failed,
            None => flow.accepted * f64::from(self.ratio) - if flow.batches.is_some() { flow.enqueue_failed } else { 0.0 },
        };
        if self.last_queue.is_finite() {
            let (rise, net) = (narrow(flow.queue - self.last_queue), narrow(inflow - out));
            self.slope = (self.slope.0 * 0.98 + rise * net, self.slope.1 * 0.98 + rise * rise);
        }
        self.last_queue = flow.queue;
        self.since_in += if flow.requests.is_some() { inflow } else { flow.accepted };
        self.since_out += out;
        if flow.queue <= 0.0 {
            if flow.requests.is_none() && self.level.is_finite() && self.since_in >= 1_000.0 {
                let seen = narrow(self.since_out / self.since_in).clamp(0.0, 64.0);
                self.ratio += (seen - self.ratio) * 0.5;
            }
            (self.level, self.since_in, self.since_out) = (0.0, 0.0, 0.0);
            return 0.0;
        }
        if self.level.is_finite() {
            self.level = (self.level + inflow - out).max(0.0);
        }
        let records = self.best(unit, flow, told.is_some());
        // `max` would turn an unknown backlog into a known one
        if records.is_nan() || unit != QueueUnit::Requests { records } else { records.max(flow.queue) }
    }

    fn best(&self, unit: QueueUnit, flow: &Flow, told: bool) -> f64 {
        let exact = flow.requests.is_some();
        if self.level.is_finite() && (exact || self.since_in <= 20.0 * self.level) {
            self.level
        } else if told && self.mean.1 > 0.0 && unit == QueueUnit::Requests {
            flow.queue * f64::from(self.mean.0 / self.mean.1)
        } else if self.slope.1 >= 64.0 && self.slope.0 > 0.0 {
            flow.queue * f64::from(self.slope.0 / self.slope.1)
        } else {
            self.level
        }
    }
}

fn decayed((records, requests): (f32, f32), more_records: f64, more_requests: f64) -> (f32, f32) {
    let keep = MEMORY_OF_MEAN / (MEMORY_OF_MEAN + narrow(more_requests));
    (records * keep + narrow(more_records), requests * keep + narrow(more_requests))
}

/// Statistics of the recent past need no more than seven digits.
#[expect(clippy::cast_possible_truncation, reason = "precision, not range: larger values become infinite and are then not used")]
pub(crate) const fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: QueueUnit = QueueUnit::Requests;

    fn flow(queue: f64, accepted: f64, sent: f64) -> Flow {
        Flow { queue, accepted, sent, ..Flow::default() }
    }

    #[test]
    fn a_queue_sized_in_records_is_the_backlog() {
        assert_eq!(Backlog::default().step(QueueUnit::Records, &flow(123.0, 0.0, 0.0)), 123.0);
    }

    #[test]
    fn since_the_queue_was_empty_the_backlog_is_what_came_less_what_went() {
        let mut backlog = Backlog::default();
        assert_eq!(backlog.step(UNIT, &flow(0.0, 0.0, 0.0)), 0.0);
        assert_eq!(backlog.step(UNIT, &flow(10.0, 1_000.0, 400.0)), 600.0);
        assert_eq!(backlog.step(UNIT, &flow(5.0, 0.0, 300.0)), 300.0);
        assert_eq!(backlog.step(UNIT, &flow(0.0, 0.0, 300.0)), 0.0);
    }

    #[test]
    fn two_exporters_that_each_get_every_record_are_learnt() {
        let mut backlog = Backlog::default();
        for _ in 0..20 {
            backlog.step(UNIT, &flow(0.0, 2_000.0, 4_000.0));
        }
        let waiting = backlog.step(UNIT, &flow(10.0, 1_000.0, 1_000.0));
        assert!((waiting - 1_000.0).abs() < 1.0, "{waiting}");
    }

    #[test]
    fn a_full_queue_at_the_first_look_is_unknown_until_something_tells_the_size_of_requests() {
        let mut backlog = Backlog::default();
        assert!(backlog.step(UNIT, &flow(500.0, 0.0, 0.0)).is_nan());
        // 20 requests of 50 records go in more than out
        let waiting = backlog.step(UNIT, &flow(520.0, 2_000.0, 1_000.0));
        assert!((waiting - 520.0 * 50.0).abs() < 1.0, "{waiting}");
    }

    #[test]
    fn request_sizes_told_by_the_exporter_price_a_queue_that_was_never_empty() {
        let mut backlog = Backlog::default();
        let told = Flow { requests: Some((8_000.0, 100.0)), ..flow(30.0, 0.0, 100.0) };
        let waiting = backlog.step(UNIT, &told);
        assert!((waiting - 2_400.0).abs() < 1.0, "{waiting}");
    }

    #[test]
    fn records_that_found_the_queue_full_wait_nowhere() {
        let mut told = Backlog::default();
        told.step(UNIT, &Flow { requests: Some((0.0, 0.0)), ..flow(0.0, 0.0, 0.0) });
        let full = Flow { requests: Some((1_000.0, 10.0)), enqueue_failed: 400.0, ..flow(6.0, 600.0, 0.0) };
        assert_eq!(told.step(UNIT, &full), 600.0);
        let mut batched = Backlog::default();
        batched.step(UNIT, &flow(0.0, 0.0, 0.0));
        let full = Flow { batches: Some((1_000.0, 10.0)), enqueue_failed: 400.0, ..flow(6.0, 1_000.0, 0.0) };
        assert_eq!(batched.step(UNIT, &full), 600.0);
    }

    #[test]
    fn a_restart_with_a_persistent_queue_is_not_taken_for_an_empty_one() {
        let mut backlog = Backlog::default();
        backlog.step(UNIT, &flow(0.0, 0.0, 0.0));
        backlog.step(UNIT, &flow(10.0, 1_000.0, 0.0));
        backlog.restarted();
        let waiting = backlog.step(UNIT, &flow(10.0, 0.0, 0.0));
        assert!((waiting - 1_000.0).abs() < 1.0, "the slope that was learnt before prices it: {waiting}");
    }

    #[test]
    fn the_backlog_is_never_below_the_number_of_requests() {
        let mut backlog = Backlog::default();
        backlog.step(UNIT, &flow(0.0, 0.0, 0.0));
        assert_eq!(backlog.step(UNIT, &flow(7.0, 100.0, 100.0)), 7.0);
    }
}
