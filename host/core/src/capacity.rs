//! What one replica can process and how long one takes to start, learnt from what replicas did.
//! Touches nothing; the operator feeds it once per metrics interval.

use serde::{Deserialize, Serialize};

/// Share of offered records that must be refused, or of the queue that must be filled, before the
/// replicas count as saturated: below it, what they process says nothing about what they could.
const SATURATED_REFUSED: f64 = 0.01;
const SATURATED_QUEUE: f64 = 0.5;

/// Weight of the newest observation in the moving average. With one observation a second, half of
/// the estimate is younger than 7 s of saturation.
const WEIGHT: f64 = 0.1;

/// Saturated observations before the estimate is used.
const ENOUGH: u32 = 5;

/// What was seen in one metrics interval, over all ready replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Replicas that took part.
    pub ready: u32,
    /// Records/s accepted.
    pub accepted: f64,
    /// Records/s refused.
    pub refused: f64,
    /// Records/s delivered; `None` where it is not measured.
    pub sent: Option<f64>,
    /// Fill of the queues, 0 to 1; `None` where it is not measured.
    pub queue_share: Option<f64>,
}

/// Learns records/s per replica.
///
/// While replicas are saturated, what they process is what they can process. The estimate is an
/// exponentially weighted average over saturated intervals; intervals without saturation only ever
/// raise it, since a replica that just processed more can process more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CapacityLearner {
    estimate: f64,
    seen: u32,
}

impl CapacityLearner {
    /// Takes one interval into account. Observations that are not finite, or without replicas, are left out.
    pub fn observe(&mut self, seen: Observation) {
        // What leaves counts where it is measured: records that pile up in a queue are accepted, not processed.
        let processed = seen.sent.filter(|sent| sent.is_finite()).unwrap_or(seen.accepted);
        if seen.ready == 0 || !processed.is_finite() || processed <= 0.0 {
            return;
        }
        let each = processed / f64::from(seen.ready);
        let offered = seen.accepted + seen.refused;
        let refusing = offered > 0.0 && seen.refused / offered >= SATURATED_REFUSED;
        let full = seen.queue_share.is_some_and(|share| share >= SATURATED_QUEUE);
        if refusing || full {
            self.estimate = if self.seen == 0 { each } else { self.estimate + WEIGHT * (each - self.estimate) };
            self.seen = self.seen.saturating_add(1);
        } else if self.seen > 0 && each > self.estimate {
            self.estimate = each;
        }
    }

    /// Records/s per replica, once there is enough to go by.
    #[must_use]
    pub fn per_replica(&self) -> Option<f64> {
        (self.seen >= ENOUGH).then_some(self.estimate)
    }
}

/// Start-up time that is assumed until one was measured, in seconds.
pub const ASSUMED_START_UP: f64 = 30.0;

const START_UPS: usize = 9;

/// Learns the seconds from a pod's creation to its readiness: the median of the last nine, so one
/// node that had to pull an image does not count for all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StartUpLearner {
    recent: Vec<f64>,
}

impl StartUpLearner {
    /// Takes the start-up of one pod into account, in seconds.
    pub fn observe(&mut self, seconds: f64) {
        if seconds.is_finite() && seconds >= 0.0 {
            if self.recent.len() >= START_UPS {
                self.recent.remove(0);
            }
            self.recent.push(seconds);
        }
    }

    /// Seconds, [`ASSUMED_START_UP`] when none was measured.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        let mut sorted = self.recent.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(ASSUMED_START_UP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saturated(ready: u32, accepted: f64) -> Observation {
        Observation { ready, accepted, refused: accepted * 0.2, sent: None, queue_share: None }
    }

    #[test]
    fn nothing_is_learnt_from_replicas_that_could_have_done_more() {
        let mut learner = CapacityLearner::default();
        for _ in 0..100 {
            learner.observe(Observation { ready: 3, accepted: 900.0, refused: 0.0, sent: Some(900.0), queue_share: Some(0.1) });
        }
        assert_eq!(learner.per_replica(), None);
    }

    #[test]
    fn saturation_shows_the_capacity_whatever_the_count_of_replicas() {
        let mut learner = CapacityLearner::default();
        for ready in [2, 3, 4, 5, 6, 7] {
            learner.observe(saturated(ready, 1000.0 * f64::from(ready)));
        }
        assert_eq!(learner.per_replica(), Some(1000.0));
    }

    #[test]
    fn what_fills_a_queue_was_accepted_but_not_processed() {
        let mut learner = CapacityLearner::default();
        for _ in 0..10 {
            learner.observe(Observation { ready: 2, accepted: 5000.0, refused: 0.0, sent: Some(2000.0), queue_share: Some(0.9) });
        }
        assert_eq!(learner.per_replica(), Some(1000.0));
    }

    #[test]
    fn missing_samples_and_zero_replicas_change_nothing() {
        let mut learner = CapacityLearner::default();
        learner.observe(saturated(0, 1000.0));
        learner.observe(saturated(2, f64::NAN));
        assert_eq!(learner, CapacityLearner::default());
    }

    #[test]
    fn one_slow_start_does_not_count_for_all() {
        let mut learner = StartUpLearner::default();
        assert!((learner.seconds() - ASSUMED_START_UP).abs() < f64::EPSILON);
        for seconds in [3.0, 4.0, 240.0, 3.5, f64::NAN] {
            learner.observe(seconds);
        }
        assert!((learner.seconds() - 4.0).abs() < f64::EPSILON);
    }
}
