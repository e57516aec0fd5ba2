//! May the collector go? Touches nothing: time is an argument. Called by [`crate::server`] for each
//! reading of the collector's metrics while a drain is under way.

use std::time::Duration;

/// A collector that has refused connections for this long has ended.
const GONE: Duration = Duration::from_secs(10);

/// How long a drain may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The drain ends then in any case.
    pub grace: Duration,
    /// An empty collector may go then even when senders still use it: its shutdown refuses them, and
    /// they go elsewhere.
    pub patience: Duration,
    /// Nothing must have been taken in for this long: what was taken in last may still be on its way
    /// to a queue.
    pub quiet: Duration,
}

/// What the collector's metrics say.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// They were read.
    Seen {
        /// What waits in all queues together, in whatever unit.
        queue: f64,
        /// What was taken in since the collector started.
        accepted: f64,
    },
    /// Nobody listens where they are served.
    Refused,
    /// They could not be read.
    Unreadable(String),
}

/// Why a collector may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its queues are empty and nobody sends to it.
    Drained,
    /// Its queues are empty and somebody still sends to it.
    StillReceiving,
    /// There is no more time.
    Deadline,
    /// It has ended by itself.
    CollectorGone,
}

impl Outcome {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drained => "Drained",
            Self::StillReceiving => "StillReceiving",
            Self::Deadline => "Deadline",
            Self::CollectorGone => "CollectorGone",
        }
    }
}

/// What a drain waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// This much is queued.
    Queue(f64),
    /// Something was taken in a moment ago.
    Intake,
    /// The metrics have to be read first.
    Metrics(String),
}

/// One drain.
#[derive(Clone, Debug)]
pub struct Drain {
    limits: Limits,
    accepted: Option<f64>,
    unchanged_since: Duration,
    refused_since: Option<Duration>,
}

impl Drain {
    /// A drain that begins.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, accepted: None, unchanged_since: Duration::ZERO, refused_since: None }
    }

    /// Judges a reading that was made `elapsed` after the drain began. Unknown is not empty.
    ///
    /// # Errors
    /// What is waited for, when the collector may not go yet.
    pub fn observe(&mut self, elapsed: Duration, reading: &Reading) -> Result<Outcome, Waiting> {
        let verdict = self.judge(elapsed, reading);
        if verdict.is_err() && elapsed >= self.limits.grace { Ok(Outcome::Deadline) } else { verdict }
    }

    fn judge(&mut self, elapsed: Duration, reading: &Reading) -> Result<Outcome, Waiting> {
        if *reading != Reading::Refused {
            self.refused_since = None;
        }
        match reading {
            Reading::Unreadable(why) => Err(Waiting::Metrics(why.clone())),
            Reading::Refused => {
                let since = *self.refused_since.get_or_insert(elapsed);
                if elapsed.saturating_sub(since) >= GONE {
                    return Ok(Outcome::CollectorGone);
                }
                Err(Waiting::Metrics("nobody listens where the collector's metrics are served".to_owned()))
            }
            Reading::Seen { queue, accepted } => {
                if self.accepted.replace(*accepted) != Some(*accepted) {
                    self.unchanged_since = elapsed;
                }
                // A queue that is not a number is not empty.
                if queue.is_nan() || *queue > 0.0 {
                    return Err(Waiting::Queue(*queue));
                }
                if elapsed.saturating_sub(self.unchanged_since) >= self.limits.quiet {
                    return Ok(Outcome::Drained);
                }
                if elapsed >= self.limits.patience { Ok(Outcome::StillReceiving) } else { Err(Waiting::Intake) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { grace: Duration::from_secs(60), patience: Duration::from_secs(30), quiet: Duration::from_secs(2) };

    fn seen(queue: f64, accepted: f64) -> Reading {
        Reading::Seen { queue, accepted }
    }

    /// Feeds one reading a second; the second at which it ended and how.
    fn run(readings: impl Fn(u64) -> Reading) -> (u64, Outcome) {
        let mut drain = Drain::new(LIMITS);
        (0..=60).find_map(|s| drain.observe(Duration::from_secs(s), &readings(s)).ok().map(|out| (s, out))).unwrap()
    }

    #[test]
    fn an_idle_collector_goes_after_the_quiet_time() {
        assert_eq!(run(|_| seen(0.0, 5.0)), (2, Outcome::Drained));
    }

    #[test]
    fn a_queue_holds_until_it_is_empty() {
        assert_eq!(run(|s| seen(if s < 20 { 3.0 } else { 0.0 }, 5.0)), (20, Outcome::Drained));
    }

    #[test]
    fn intake_holds_until_it_has_stopped_for_the_quiet_time() {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
        let readings = |s: u64| seen(0.0, s.min(10) as f64);
        assert_eq!(run(readings), (12, Outcome::Drained));
    }

    #[test]
    fn a_sender_that_never_lets_go_holds_an_empty_collector_for_its_patience_only() {
        #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
        let readings = |s: u64| seen(0.0, s as f64);
        assert_eq!(run(readings), (30, Outcome::StillReceiving));
    }

    #[test]
    fn metrics_that_can_not_be_read_hold_until_the_deadline() {
        assert_eq!(run(|_| Reading::Unreadable("x".into())), (60, Outcome::Deadline));
        assert_eq!(run(|_| seen(f64::NAN, 0.0)), (60, Outcome::Deadline));
    }

    #[test]
    fn a_collector_that_has_ended_holds_nobody() {
        assert_eq!(run(|s| if s < 5 { seen(1.0, 0.0) } else { Reading::Refused }), (15, Outcome::CollectorGone));
    }

    #[test]
    fn a_collector_that_refuses_for_a_moment_has_not_ended() {
        assert_eq!(run(|s| if s % 9 == 8 { seen(1.0, 0.0) } else { Reading::Refused }), (60, Outcome::Deadline));
    }

    fn any_reading() -> impl Strategy<Value = Reading> {
        prop_oneof![
            (0.0..3.0_f64, 0.0..3.0_f64).prop_map(|(queue, accepted)| seen(queue.floor(), accepted.floor())),
            Just(Reading::Refused),
            Just(Reading::Unreadable("x".into())),
        ]
    }

    proptest! {
        #[test]
        fn a_collector_with_a_queue_never_goes_before_the_deadline(readings in prop::collection::vec(any_reading(), 1..60)) {
            let mut drain = Drain::new(LIMITS);
            for (s, reading) in (0..).zip(&readings) {
                let verdict = drain.observe(Duration::from_secs(s), reading);
                if let Reading::Seen { queue, .. } = reading {
                    prop_assert_eq!(*queue > 0.0, matches!(verdict, Err(Waiting::Queue(_))));
                }
                if verdict.is_ok() { break }
            }
        }

        #[test]
        fn every_drain_ends(readings in prop::collection::vec(any_reading(), 61)) {
            let mut drain = Drain::new(LIMITS);
            prop_assert!((0..=60).zip(&readings).any(|(s, reading)| drain.observe(Duration::from_secs(s), reading).is_ok()));
        }
    }
}
