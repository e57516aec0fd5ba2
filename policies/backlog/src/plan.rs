//! How many replicas drain the backlog in time. Touches nothing.
//!
//! Time is cut where the number of working replicas changes: now the ready ones work; those that
//! were asked for before join when their start-up time is over; those that are asked for now join
//! after a whole start-up time. Between two cuts the backlog changes by (λ − n·μ) a second and
//! never falls below zero.

use crate::memory::Memory;
use crate::{DEFAULT_DRAIN_SECONDS, Params};
use weir_policy::prelude::*;

/// Share of the drain time that new replicas get at least, however close the deadline is; closer to
/// it the demand would grow without bound.
const LEAST_DRAIN_SHARE: f64 = 0.25;

/// Times of one object, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    drain: f64,
    standing: f64,
    start_up: f64,
}

impl Plan {
    /// The times that hold for this object.
    #[must_use]
    pub fn of(input: &Input, params: &Params) -> Self {
        let objective = input.objectives.freshness.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let drain = params.drain_seconds.or(objective).unwrap_or(DEFAULT_DRAIN_SECONDS).max(1.0);
        Self { drain, standing: params.standing_seconds.min(drain / 2.0), start_up: input.capacity.start_up_seconds() }
    }

    /// Records that wait at that load when all is well (Little's law).
    #[must_use]
    pub fn standing(&self, load: f64) -> f64 {
        load * self.standing
    }

    /// Seconds from the first sight of a backlog to its end.
    fn time(&self) -> f64 {
        self.drain.max(self.start_up + self.drain / 2.0)
    }
}

/// A backlog and what it takes to drain it.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Unix milliseconds by which it is to be gone.
    pub by: i64,
    /// Seconds until then.
    pub left: f64,
    /// Records that will wait when replicas that are asked for now are ready.
    pub then: f64,
    /// Replicas that drain it in time; never fewer than are asked for now.
    pub wanted: u32,
}

impl Drain {
    /// The drain that is under way or has to begin; `None` when nothing but the standing amount
    /// waits or will wait.
    #[must_use]
    pub fn of(input: &Input, params: &Params, memory: &Memory, load: f64, backlog: f64, rate: f64) -> Option<Self> {
        let plan = Plan::of(input, params);
        let now = input.replicas.desired;
        let working = f64::from(input.replicas.ready.min(now));
        let ordered = f64::from(now);
        let after = |waiting: f64, replicas: f64, seconds: f64| (waiting + (load - replicas * rate) * seconds).max(0.0);

        let joining = if working < ordered { joins_in(input, memory, plan.start_up) } else { 0.0 };
        let joined = after(backlog, working, joining);
        let then = after(joined, ordered, plan.start_up - joining);
        if backlog.max(then) <= plan.standing(load) {
            return None;
        }
        let begins = input.now.saturating_add(milliseconds(plan.time()));
        let by = memory.drain_by.filter(|by| *by > input.now && *by <= begins).unwrap_or(begins);
        let left = by.saturating_sub(input.now) as f64 / 1000.0;
        let enough = after(joined, ordered, left - joining.min(left)) <= plan.standing(load) && load <= ordered * rate;
        let work = (left - plan.start_up).max(plan.drain * LEAST_DRAIN_SHARE);
        let wanted = if enough { now } else { replicas_for(load + then / work, rate).max(now) };
        Some(Self { by, left, then, wanted })
    }
}

/// Seconds until the replicas that were asked for before are ready: what is left of their start-up
/// time, all of it when their beginning was not seen, a tenth of it when they are late.
fn joins_in(input: &Input, memory: &Memory, start_up: f64) -> f64 {
    if memory.raised == 0 {
        return start_up;
    }
    let since = input.now.saturating_sub(memory.raised) as f64 / 1000.0;
    (start_up - since).clamp(start_up * 0.1, start_up)
}

#[allow(clippy::cast_possible_truncation)] // a float to integer cast saturates; 10^12 s are more than any drain takes
fn milliseconds(seconds: f64) -> i64 {
    (seconds.min(1e12) * 1000.0) as i64
}
