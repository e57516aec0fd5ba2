//! `backlog`: replicas from the true processing rate of one replica, with every backlog drained by a
//! deadline and the start-up time of new replicas counted.
//!
//! The rule is that of DS2 (Kalavri, Liagouris, Hoffmann, Dimitrova, Forshaw, Roscoe: "Three steps is
//! all you need: fast, accurate, automatic scaling decisions for distributed streaming dataflows",
//! OSDI 2018): the rate that a replica *could* process is what it processed divided by the time in
//! which it did useful work, and the count follows from that in one step instead of by trial. DS2
//! reads useful time from instrumented operators; here it is estimated (module [`rate`]).
//!
//! With the load λ, the backlog B, the true rate μ, the start-up time S, the drain time D and n
//! replicas, two demands are met, whichever is larger:
//!
//! ```text
//! steady:  ⌈λ · (1 + headroom) / μ⌉
//! drain:   ⌈(λ + B(S) / (left − S)) / μ⌉      B(S): the backlog when new replicas are ready
//! ```
//!
//! B(S) counts what piles up meanwhile (module [`plan`]); `left` is what is left of the drain time,
//! which begins when a backlog is first seen. Batching keeps some records waiting at all times; by
//! Little's law (L = λ·W; Little, "A proof for the queuing formula L = λW", Operations Research 9,
//! 1961) records that wait `standingSeconds` amount to λ · `standingSeconds`, and only more than
//! that is a backlog.
//!
//! Up on the steady demand only beyond a tolerance (as the HorizontalPodAutoscaler's 10 %), so noise
//! moves nothing. Down only when nothing is drained or starting and the fewer replicas would have
//! met the highest load of the whole evaluation window, in which no backlog was seen.
//!
//! What it remembers (module [`memory`]) makes it finer, not right: without it, it decides on the
//! declared capacity and begins a new drain time.

pub mod memory;
pub mod plan;
pub mod rate;

use crate::memory::Memory;
use crate::plan::{Drain, Plan};
use weir_policy::prelude::*;

weir_policy::params! {
    /// Params of the built-in policy `backlog`.
    pub struct Params {
        /// Seconds in which a backlog is to be drained. Left out: the object's freshness objective, else 60. When start-up takes longer than half of it, new replicas get half of it to drain after they are ready.
        #[range(1.0..=86400.0)]
        drain_seconds: Option<f64>,
        /// Spare capacity, as a share of the steady load.
        #[range(0.0..=10.0)]
        headroom: f64 = 0.2,
        /// Share by which the steady demand may exceed the replicas before more are added.
        #[range(0.0..=1.0)]
        tolerance: f64 = 0.1,
        /// Seconds over which the load is averaged to scale up.
        #[range(0.1..=3600.0)]
        seconds: f64 = 3.0,
        /// Seconds over which the fewer replicas must have met every demand before the policy scales down. At most the window that is measured.
        #[range(1.0..=86400.0)]
        evaluation_seconds: f64 = 60.0,
        /// Seconds that records wait in batches when all is well. What waits no longer than that is no backlog.
        #[range(0.0..=3600.0)]
        standing_seconds: f64 = 2.0,
        /// Processor seconds per second that one replica uses when it is busy all the time, as a rule its CPU limit. Left out: only replicas with a backlog count as busy.
        #[range(0.001..=1024.0)]
        busy_cpu: Option<f64>,
        /// Records per second that one replica can process. Left out: what the object declares or the host has learnt. Measured rates between half and twice of it replace it.
        #[range(0.000001..=1000000000000.0)]
        capacity_per_replica: Option<f64>,
    }
}

weir_policy::scaling! {
    name: "backlog",
    summary: "As many replicas as process the load at their true rate and drain every backlog by its deadline, start-up time counted.",
    params: Params,
    state: Memory,
    series: { "offered": required, "backlog": required, "sent": optional, "accepted": optional, "cpu": optional, "skew": optional },
    decide: decide,
}

/// Seconds of drain time when neither the params nor the objectives say.
const DEFAULT_DRAIN_SECONDS: f64 = 60.0;

/// How many replicas?
///
/// # Errors
/// `SeriesMissing` without `offered` or `backlog`; `NotEnoughSamples` when more than half of the
/// last seconds is missing. An unknown capacity is not refused but held with the code
/// `CapacityUnknown`, so that what is learnt meanwhile is remembered.
pub fn decide(input: &Input, params: &Params, memory: Memory) -> Result<Proposal<Memory>, Refusal> {
    let offered = input.series("offered")?;
    let load = offered.mean(params.seconds).filter(|_| offered.presence(params.seconds) >= 0.5).ok_or_else(Refusal::not_enough_samples)?.max(0.0);
    let waiting = input.series("backlog")?;
    let backlog = waiting.latest(params.seconds).ok_or_else(Refusal::not_enough_samples)?.max(0.0);

    let declared = input.capacity_or(params.capacity_per_replica).ok();
    let memory = rate::learn(input, params, memory.observe(input), declared);
    let now = input.replicas.desired;
    let Some(rate) = memory.true_rate.or(declared) else {
        let sentence = "What one replica can process is neither declared nor seen yet; a backlog will show it.";
        return Ok(Proposal::replicas(now)
            .because("CapacityUnknown", sentence)
            .number("load", load, RECORDS_PER_S)
            .number("backlog", backlog, "records")
            .remember(memory));
    };

    let drain = Drain::of(input, params, &memory, load, backlog, rate);
    let memory = Memory { drain_by: drain.map(|drain| drain.by), ..memory };
    let steady = load * (1.0 + params.headroom) / rate;
    let above = steady > f64::from(now) * (1.0 + params.tolerance);
    let wanted_steady = if above { replicas_for(steady, 1.0).max(now) } else { now };
    let wanted_drain = drain.map_or(0, |drain| drain.wanted);

    let peak = offered.max(params.evaluation_seconds).unwrap_or(load).max(load);
    let (replicas, code, sentence) = if let Some(drain) = drain.filter(|_| wanted_drain >= wanted_steady) {
        let sentence = format!(
            "{} records wait and {} will when new replicas are ready; {} s are left to drain them.",
            short(backlog),
            short(drain.then),
            short(drain.left)
        );
        (wanted_drain, "DrainingBacklog", sentence)
    } else if wanted_steady > now {
        (
            wanted_steady,
            "AboveCapacity",
            format!(
                "{} records/s are offered; {now} can process {} and keep their headroom.",
                short(load),
                short(f64::from(now) * rate / (1.0 + params.headroom))
            ),
        )
    } else {
        down(input, params, peak, rate, offered, waiting)
    };
    Ok(Proposal::replicas(replicas)
        .because(code, sentence)
        .number("load", load, RECORDS_PER_S)
        .number("peak", peak, RECORDS_PER_S)
        .number("backlog", backlog, "records")
        .number("true-rate", rate, RECORDS_PER_S)
        .number("capacity", declared.unwrap_or(f64::NAN), RECORDS_PER_S)
        .number("pile-up", drain.map_or(0.0, |drain| drain.then), "records")
        .number("drain-left", drain.map_or(0.0, |drain| drain.left), "s")
        .number("start-up", input.capacity.start_up_seconds(), "s")
        .remember(memory))
}

const RECORDS_PER_S: &str = "records/s";

/// Fewer, if they would have met every demand of the evaluation window; else what is.
fn down(input: &Input, params: &Params, peak: f64, rate: f64, offered: Column<'_>, waiting: Column<'_>) -> (u32, &'static str, String) {
    let now = input.replicas.desired;
    let fewer = replicas_for(peak * (1.0 + params.headroom), rate).max(u32::from(now > 0));
    let seconds = params.evaluation_seconds;
    let plan = Plan::of(input, params);
    let had_backlog = waiting.max(seconds).is_some_and(|most| most > plan.standing(peak));
    if fewer >= now || had_backlog || input.replicas.starting > 0 {
        return (now, "WithinBand", format!("At most {} records/s were offered; {now} can process {}.", short(peak), short(f64::from(now) * rate)));
    }
    let covered = offered.covered(seconds);
    if covered < seconds / 2.0 {
        return (now, "NotEnoughSamples", format!("Fewer would do, but only {} of {} s are measured.", short(covered), short(seconds)));
    }
    (fewer, "BelowCapacity", format!("At most {} records/s were offered for {} s; {fewer} meet that with their headroom.", short(peak), short(seconds)))
}

#[cfg(test)]
mod tests;
