//! What goes into [`crate::Intake`] at a tick and what comes out: plain data, no behaviour but defaults
//! and checks. Pure; filled and read by the operator and the simulator.

use crate::promql::PromError;
use crate::reading::Readings;
use crate::scrape::ScrapeError;
use crate::time::Mono;
use weir_core::ids::UnixMs;

/// How an object is measured: `spec.metrics`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntakeOptions {
    /// Milliseconds between ticks and slots; 100 to 3,600,000.
    pub interval_ms: u32,
    /// Milliseconds that the window spans; 1 to 3,600 intervals.
    pub window_ms: u32,
    /// Age in milliseconds above which a last known value is of no use.
    pub staleness_ms: u32,
    /// Share of ready pods that must be missing for a hold; 0 holds for any missing pod, 1 only when all are.
    pub max_missing_share: f64,
    /// Milliseconds from a pod's readiness during which its silence is not counted, and from its last
    /// answer during which a pod that is not ready any more may not make a sum fall.
    pub grace_ms: u32,
}

impl Default for IntakeOptions {
    fn default() -> Self {
        Self { interval_ms: 1_000, window_ms: 60_000, staleness_ms: 5_000, max_missing_share: 0.2, grace_ms: 10_000 }
    }
}

impl IntakeOptions {
    /// Slots of the window.
    ///
    /// # Errors
    /// [`IntakeError`] when the options make no sense.
    pub fn slots(&self) -> Result<usize, IntakeError> {
        let Self { interval_ms, window_ms, max_missing_share, .. } = *self;
        if !(100..=3_600_000).contains(&interval_ms) {
            return Err(IntakeError::Interval(interval_ms));
        }
        let slots = window_ms / interval_ms;
        if !(1..=3_600).contains(&slots) {
            return Err(IntakeError::Window { window_ms, interval_ms, slots });
        }
        if !(0.0..=1.0).contains(&max_missing_share) {
            return Err(IntakeError::Share(max_missing_share));
        }
        Ok(usize::try_from(slots).unwrap_or(1))
    }
}

/// Options that make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IntakeError {
    /// The interval is out of range.
    #[error("an interval of {0} ms; write 100 ms to 1 h")]
    Interval(u32),
    /// The window does not hold 1 to 3,600 intervals.
    #[error("a window of {window_ms} ms holds {slots} intervals of {interval_ms} ms; write 1 to 3600 intervals")]
    Window {
        /// The window in milliseconds.
        window_ms: u32,
        /// The interval in milliseconds.
        interval_ms: u32,
        /// Intervals in the window.
        slots: u32,
    },
    /// The share is not between 0 and 1.
    #[error("a missing share of {0}; write 0 to 1")]
    Share(f64),
}

/// What came of one pod at one tick.
#[derive(Clone, Copy, Debug)]
pub enum PodOutcome<'a> {
    /// It answered.
    Scraped(&'a Readings),
    /// It did not, or not with metrics.
    Failed(&'a ScrapeError),
    /// Its scrape has not come back yet, or is not due; its last values stand until they are stale.
    Pending,
}

/// One ready pod at one tick.
#[derive(Clone, Copy, Debug)]
pub struct PodReport<'a> {
    /// Name of the pod.
    pub pod: &'a str,
    /// Changes when the pod's uid or its container's restart count does; 0 when not known.
    pub incarnation: u64,
    /// When the pod became ready.
    pub ready_since: UnixMs,
    /// What came of its scrape.
    pub outcome: PodOutcome<'a>,
}

/// One answered query at one tick.
#[derive(Clone, Copy, Debug)]
pub struct QueryReport<'a> {
    /// From [`crate::Profile::queries`].
    pub column: usize,
    /// The number; `None` for an empty result.
    pub outcome: Result<Option<f64>, &'a PromError>,
}

/// All that was observed of one object at one tick.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Wall clock; decides the slot.
    pub now: UnixMs,
    /// Monotonic clock, the one of [`Readings::received`].
    pub mono: Mono,
    /// Every pod that is ready. One that is left out has gone: see [`IntakeOptions::grace_ms`].
    pub pods: &'a [PodReport<'a>],
    /// Queries that were answered since the last tick.
    pub queries: &'a [QueryReport<'a>],
}

/// In which state a pod was at the last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// It was read, and its rates are known.
    Measured,
    /// Too young to be missed, or read once only: no rates yet.
    Starting,
    /// Its last values stand.
    Pending,
    /// It gave nothing that can be used, for this reason (a stable word).
    Missing(&'static str),
}

/// A pod's latest values; NaN where not known, old by `age_ms`.
#[derive(Clone, Copy, Debug)]
pub struct PodSample<'a> {
    /// Name of the pod.
    pub pod: &'a str,
    /// Its state at the last tick.
    pub state: PodState,
    /// Milliseconds from its last good answer to the last tick; `u64::MAX` when there was none.
    pub age_ms: u64,
    /// Fill of its queues, in the unit they are sized in.
    pub queue: f64,
    /// What its queues can hold, in the same unit.
    pub queue_capacity: f64,
    /// Records waiting.
    pub backlog: f64,
    /// Records/s offered.
    pub offered: f64,
    /// Records/s accepted.
    pub accepted: f64,
    /// Records/s sent.
    pub sent: f64,
    /// Resident memory in bytes.
    pub memory: f64,
    /// Processor seconds per second.
    pub cpu: f64,
    /// Records accepted since its process began.
    pub accepted_total: f64,
    /// Records sent since its process began.
    pub sent_total: f64,
    /// Values of [`crate::OtelOptions::info_labels`], in their order; empty before the first answer.
    pub info: &'a [Option<Box<str>>],
}

/// What the last tick was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods whose values and rates are their own, of this tick or pending.
    pub measured: u32,
    /// Pods that are too young to be missed.
    pub starting: u32,
    /// Pods that gave nothing that can be used.
    pub missing: u32,
    /// Missing, starting or gone pods for which values were estimated.
    pub estimated: u32,
    /// Counters that dropped at this tick.
    pub resets: u32,
    /// Values that were NaN, infinite, or negative counters.
    pub invalid: u32,
    /// Series that came twice in one body; the first was taken.
    pub duplicates: u32,
    /// Bodies whose own timestamps were far from now or went backwards.
    pub stale: u32,
}
