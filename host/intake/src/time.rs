//! The operator's monotonic time as a plain value. Pure; rates and staleness are measured with it,
//! never with a pod's clock and never with the wall clock, which may jump.

use std::time::{Duration, Instant};

/// Microseconds on a monotonic clock of the process that watches; only differences mean anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// Now, counted from `start` (one for the whole process). Reads the clock: for the shells only.
    #[must_use]
    pub fn since_start(start: Instant) -> Self {
        Self::from(start.elapsed())
    }

    /// Seconds from `earlier` to `self`, 0 when `earlier` is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e6
    }

    /// Milliseconds from `earlier` to `self`, 0 when `earlier` is later.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}

impl From<Duration> for Mono {
    fn from(since: Duration) -> Self {
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }
}
