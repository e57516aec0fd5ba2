//! Bounds that no policy passes, each clamp named. Touches nothing; called by [`crate::decision`].
//!
//! The order is that of the HorizontalPodAutoscaler, which its users know: stabilization window,
//! then rate limits, then bounds. So bounds always hold, also where another guardrail would keep
//! the replicas outside of them: who raises `min` gets it at once.

use crate::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// Limits in one direction. An absent limit does not limit; of a number and a percentage for the
/// same span the larger one counts, so that a percentage stays useful at small counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most replicas in one decision.
    pub max_replicas_per_step: Option<u32>,
    /// Most percent of the current replicas in one decision, rounded up.
    pub max_percent_per_step: Option<u32>,
    /// Most replicas within any 60 s.
    pub max_replicas_per_minute: Option<u32>,
    /// Most percent within any 60 s of the replicas at their start, rounded up.
    pub max_percent_per_minute: Option<u32>,
    /// The change must have been asked for by every decision of this many milliseconds. 0: at once.
    pub stabilization_ms: i64,
    /// Milliseconds that must have passed since the last change in either direction. 0: none.
    pub cooldown_ms: i64,
}

/// The guardrails of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guardrails {
    /// Limits on adding replicas.
    pub up: Limits,
    /// Limits on taking replicas away.
    pub down: Limits,
}

/// Names of the guardrails as they stand in status, metrics and the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Guardrail {
    /// `replicas.min`.
    Min,
    /// `replicas.max`.
    Max,
    /// `scaleUp.stabilizationWindow`.
    StabilizationUp,
    /// `scaleDown.stabilizationWindow`.
    StabilizationDown,
    /// `cooldown` of the direction asked for.
    Cooldown,
    /// `scaleUp.max…PerStep`.
    StepUp,
    /// `scaleDown.max…PerStep`.
    StepDown,
    /// `scaleUp.max…PerMinute`.
    RateUp,
    /// `scaleDown.max…PerMinute`.
    RateDown,
}

impl Guardrail {
    /// The stable word, for example `StepUp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Min => "Min",
            Self::Max => "Max",
            Self::StabilizationUp => "StabilizationUp",
            Self::StabilizationDown => "StabilizationDown",
            Self::Cooldown => "Cooldown",
            Self::StepUp => "StepUp",
            Self::StepDown => "StepDown",
            Self::RateUp => "RateUp",
            Self::RateDown => "RateDown",
        }
    }
}

/// One guardrail that changed what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clamp {
    /// Which one.
    pub guardrail: Guardrail,
    /// Replicas asked for before it.
    pub from: u32,
    /// Replicas left after it.
    pub to: u32,
}

/// A change that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When it was decided.
    pub at: UnixMs,
    /// Replicas before.
    pub from: u32,
    /// Replicas after.
    pub to: u32,
}

/// What the guardrails have to remember of earlier decisions. Part of the snapshot, so a replay has it too.
///
/// Recommendations are kept as two monotonic queues: only those that can still be the lowest or the
/// highest of their window are kept, a handful rather than one a second for five minutes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardMemory {
    lows: Vec<(UnixMs, u32)>,
    highs: Vec<(UnixMs, u32)>,
    changes: Vec<Change>,
}

const MINUTE_MS: i64 = 60_000;

impl GuardMemory {
    /// The memory of a host that has just started: as if the present replicas had been asked for
    /// now, so a stabilization window passes in full before anything shrinks or grows past it.
    #[must_use]
    pub fn seeded(now: UnixMs, current: u32, last_change: Option<Change>) -> Self {
        Self { lows: vec![(now, current)], highs: vec![(now, current)], changes: last_change.into_iter().collect() }
    }

    /// The newest change, if one is remembered.
    #[must_use]
    pub fn last_change(&self) -> Option<Change> {
        self.changes.last().copied()
    }

    /// Remembers the change that was made, if one was.
    pub fn changed(&mut self, change: Option<Change>) {
        self.changes.extend(change);
    }

    fn recommend(&mut self, now: UnixMs, wanted: u32, guardrails: &Guardrails) {
        let keep = |entry: &(UnixMs, u32), span: i64| entry.0 <= now && now.since(entry.0) < span;
        self.lows.retain(|entry| entry.1 < wanted && keep(entry, guardrails.up.stabilization_ms));
        self.lows.push((now, wanted));
        self.highs.retain(|entry| entry.1 > wanted && keep(entry, guardrails.down.stabilization_ms));
        self.highs.push((now, wanted));
        let span = MINUTE_MS.max(guardrails.up.cooldown_ms).max(guardrails.down.cooldown_ms);
        let newest = self.changes.last().copied();
        self.changes.retain(|change| change.at <= now && now.since(change.at) < span);
        if self.changes.is_empty() {
            self.changes.extend(newest.filter(|change| change.at <= now));
        }
    }

    fn lowest(&self) -> Option<u32> {
        self.lows.iter().map(|entry| entry.1).min()
    }

    fn highest(&self) -> Option<u32> {
        self.highs.iter().map(|entry| entry.1).max()
    }

    /// Replicas as they were 60 s ago.
    fn a_minute_ago(&self, now: UnixMs, current: u32) -> u32 {
        self.changes.iter().find(|change| now.since(change.at) < MINUTE_MS).map_or(current, |change| change.from)
    }

    /// Replicas added within the last 60 s, whatever was taken away between.
    fn moved(&self, now: UnixMs, up: bool) -> u32 {
        self.changes
            .iter()
            .filter(|change| now.since(change.at) < MINUTE_MS)
            .map(|change| if up { change.to.saturating_sub(change.from) } else { change.from.saturating_sub(change.to) })
            .fold(0, u32::saturating_add)
    }
}

/// Clamps `wanted` and returns what is left, with each clamp in the order it took effect.
/// `memory` takes note of the recommendation, not of a change: see [`GuardMemory::changed`].
pub fn guard(now: UnixMs, current: u32, wanted: u32, (min, max): (u32, u32), guardrails: &Guardrails, memory: &mut GuardMemory) -> (u32, Vec<Clamp>) {
    // What is remembered is within the bounds: a wish beyond max must not outlive the load behind
    // it any longer than a wish for max would.
    memory.recommend(now, within(wanted, min, max), guardrails);
    let mut clamps = Vec::new();
    let mut to = wanted;
    let mut clamp = |guardrail, to: &mut u32, limit: u32| {
        if limit != *to {
            clamps.push(Clamp { guardrail, from: *to, to: limit });
            *to = limit;
        }
    };
    if to > current {
        let stable = memory.lowest().unwrap_or(to).clamp(current, to);
        // A wish above max is remembered as max: that is a bound, not a stabilization window.
        if stable < within(to, min, max) {
            clamp(Guardrail::StabilizationUp, &mut to, stable);
        }
        if cooling(now, memory, guardrails.up.cooldown_ms) {
            clamp(Guardrail::Cooldown, &mut to, current);
        }
        if let Some(step) = allowance(guardrails.up.max_replicas_per_step, guardrails.up.max_percent_per_step, current) {
            let limit = to.min(current.saturating_add(step));
            clamp(Guardrail::StepUp, &mut to, limit);
        }
        let start = memory.a_minute_ago(now, current);
        if let Some(rate) = allowance(guardrails.up.max_replicas_per_minute, guardrails.up.max_percent_per_minute, start) {
            let left = rate.saturating_sub(memory.moved(now, true));
            let limit = to.min(current.saturating_add(left));
            clamp(Guardrail::RateUp, &mut to, limit);
        }
    } else if to < current {
        let stable = memory.highest().unwrap_or(to).clamp(to, current);
        if stable > within(to, min, max) {
            clamp(Guardrail::StabilizationDown, &mut to, stable);
        }
        if cooling(now, memory, guardrails.down.cooldown_ms) {
            clamp(Guardrail::Cooldown, &mut to, current);
        }
        if let Some(step) = allowance(guardrails.down.max_replicas_per_step, guardrails.down.max_percent_per_step, current) {
            let limit = to.max(current.saturating_sub(step));
            clamp(Guardrail::StepDown, &mut to, limit);
        }
        let start = memory.a_minute_ago(now, current);
        if let Some(rate) = allowance(guardrails.down.max_replicas_per_minute, guardrails.down.max_percent_per_minute, start) {
            let left = rate.saturating_sub(memory.moved(now, false));
            let limit = to.max(current.saturating_sub(left));
            clamp(Guardrail::RateDown, &mut to, limit);
        }
    }
    let bounded = to.max(min);
    clamp(Guardrail::Min, &mut to, bounded);
    let bounded = to.min(max);
    clamp(Guardrail::Max, &mut to, bounded);
    (to, clamps)
}

/// `wanted` between `min` and `max`; `max` counts should the two contradict each other.
#[must_use]
pub fn within(wanted: u32, min: u32, max: u32) -> u32 {
    wanted.max(min).min(max)
}

fn cooling(now: UnixMs, memory: &GuardMemory, cooldown_ms: i64) -> bool {
    memory.last_change().is_some_and(|change| now.since(change.at) < cooldown_ms)
}

/// Replicas that a number and a percentage of `base` allow, the larger of the two; `None`: no limit.
fn allowance(replicas: Option<u32>, percent: Option<u32>, base: u32) -> Option<u32> {
    let share = percent.map(|percent| {
        let exact = u64::from(base).saturating_mul(u64::from(percent)).div_ceil(100);
        u32::try_from(exact).unwrap_or(u32::MAX)
    });
    match (replicas, share) {
        (None, None) => None,
        (replicas, share) => Some(replicas.unwrap_or(0).max(share.unwrap_or(0))),
    }
}

#[cfg(test)]
#[path = "guardrails_tests.rs"]
mod tests;
