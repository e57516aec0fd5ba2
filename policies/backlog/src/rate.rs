//! The true processing rate of one replica: what it processes in a second of useful work. Touches
//! nothing.
//!
//! DS2 divides what an operator processed by the time that it spent on doing so, waiting excluded.
//! A collector does not report that time, so for each sample the useful share of it is estimated:
//!
//! - more waits than `standingSeconds` of work: the replicas were busy all the time, share 1. When
//!   the load is skewed only the busiest surely were, and the share is 1 / skew;
//! - else, with `busyCpu`: the processor time that was used over what busy replicas would use. Below
//!   [`LEAST_SHARE`] idle costs distort it, so such a sample says nothing;
//! - else the sample says nothing, and what was known before goes on.
//!
//! The sum of what was processed over the sum of useful time is smoothed with time constant
//! [`SMOOTHING_SECONDS`]. A stalled destination makes replicas look slow, which more of them would
//! not mend: samples in which nothing was processed are left out, and where a capacity is declared
//! or learnt the rate stays within half and twice of it.

use crate::Params;
use crate::memory::Memory;
use weir_policy::prelude::*;

/// Least useful share of a sample that processor time is trusted for.
pub const LEAST_SHARE: f64 = 0.2;

/// Seconds of useful work after which half of a changed rate is believed.
pub const SMOOTHING_SECONDS: f64 = 30.0;

/// How far from the declared capacity a measured rate may be, as a factor either way.
pub const TRUSTED_FACTOR: f64 = 2.0;

/// The memory with what the samples since the last decision teach about the rate.
#[must_use]
pub fn learn(input: &Input, params: &Params, memory: Memory, declared: Option<f64>) -> Memory {
    let bounded = |rate: f64| declared.map_or(rate, |declared| rate.clamp(declared / TRUSTED_FACTOR, declared * TRUSTED_FACTOR));
    let memory = Memory { true_rate: memory.true_rate.map(bounded), ..memory };
    let step = input.window.step();
    let Some((processed, useful)) = observed(input, params, &memory) else { return memory };
    let rate = bounded(processed / useful / f64::from(input.replicas.ready));
    if !rate.is_finite() || rate <= 0.0 {
        return memory;
    }
    let weight = useful * step;
    let before = memory.true_rate.or(declared).unwrap_or(rate);
    let smoothed = before + (rate - before) * (weight / (weight + SMOOTHING_SECONDS));
    Memory {
        true_rate: Some(smoothed).filter(|rate| rate.is_finite() && *rate > 0.0).or(memory.true_rate),
        learnt_until: input.window.times.last().copied().unwrap_or(memory.learnt_until),
        ..memory
    }
}

/// Sums of records a second and of useful shares over the new samples, all taken with the present
/// number of ready replicas. `None` when no sample says anything.
fn observed(input: &Input, params: &Params, memory: &Memory) -> Option<(f64, f64)> {
    let window = &input.window;
    let done = window.get("sent").or_else(|| window.get("accepted"))?;
    // a sample is a mean over the step before it: the whole step must lie after the change
    let step_ms = window.step() * 1000.0;
    let fresh = |time: i64| time > memory.learnt_until && time.saturating_sub(memory.ready_since) as f64 >= step_ms;
    let at = |name: &str, time: i64| {
        let mut samples = window.get(name)?.samples(params.evaluation_seconds);
        samples.find(|sample| sample.time == time).map(|sample| sample.value)
    };

    let (mut processed, mut useful) = (0.0, 0.0);
    for sample in done.samples(params.evaluation_seconds).take_while(|sample| fresh(sample.time)).filter(|sample| sample.value > 0.0) {
        let waits = at("backlog", sample.time).is_some_and(|waiting| waiting > sample.value * params.standing_seconds.max(1.0));
        let share = if waits {
            1.0 / at("skew", sample.time).unwrap_or(1.0).clamp(1.0, f64::from(input.replicas.ready.max(1)))
        } else {
            let busy = params.busy_cpu.map(|cpu| cpu * f64::from(input.replicas.ready));
            busy.and_then(|busy| at("cpu", sample.time).map(|used| (used / busy).min(1.0))).filter(|share| *share >= LEAST_SHARE).unwrap_or(0.0)
        };
        if share > 0.0 {
            processed += sample.value;
            useful += share;
        }
    }
    (useful > 0.0 && input.replicas.ready > 0).then_some((processed, useful))
}
