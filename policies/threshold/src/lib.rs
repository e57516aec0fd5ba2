//! `threshold`: replicas from the offered rate against the capacity of one replica, with hysteresis.
//!
//! With the load λ in records/s, n replicas asked for and c records/s that one replica can process,
//! the utilization is u = λ / (n·c). Inside the band `down` ≤ u ≤ `up` nothing changes. Outside it
//! the wanted count is the smallest that brings the utilization to `target` or below:
//!
//! ```text
//! n* = max(1, ⌈λ / (target · c)⌉)
//! up:    u(λ over the last `seconds`)      > up    and n* > n
//! down:  u(peak λ of `downSeconds`)        < down  and n* < n
//! ```
//!
//! Up follows the newest seconds, because every second of overload costs. Down asks whether the
//! fewer replicas would have carried the *highest* load of the longer window, because a scale-down
//! that is taken back costs two changes. (The formula with one symmetric tolerance instead of a
//! band is that of the HorizontalPodAutoscaler: ⌈n · u / target⌉, unless |u/target − 1| ≤ 0.1; see
//! kubernetes.io, "Horizontal Pod Autoscaling", algorithm details.)
//!
//! Why it can't flap: n* depends on the load alone, so under a constant load a change leads to n*
//! and n* leads nowhere else. Under a load that stays within a factor of `up`/`target`, an up is
//! never followed by a second one and a down never by an up: after a change n ≥ λ / (target·c), so
//! the next up needs a load `up`/`target` times that one.

use weir_policy::prelude::*;

weir_policy::params! {
    /// Params of the built-in policy `threshold`.
    pub struct Params {
        /// Utilization that a change aims at, as a share of the capacity.
        #[range(0.05..=1.0)]
        target: f64 = 0.7,
        /// Scale up above this utilization. Must be above `target`.
        #[range(0.05..=2.0)]
        up: f64 = 0.8,
        /// Scale down below this utilization. Must be below `target`.
        #[range(0.0..=1.0)]
        down: f64 = 0.5,
        /// Name of the series that is the load, in the unit of the capacity.
        series: String = "offered",
        /// Seconds over which the load is averaged to scale up.
        #[range(0.1..=3600.0)]
        seconds: f64 = 3.0,
        /// Seconds whose highest load the fewer replicas must carry to scale down. At most the window that is measured.
        #[range(1.0..=86400.0)]
        down_seconds: f64 = 60.0,
        /// Load that one replica can process. Left out: what the object declares or the host has learnt.
        #[range(0.000001..=1000000000000.0)]
        capacity_per_replica: Option<f64>,
    }
}

weir_policy::scaling! {
    name: "threshold",
    summary: "As many replicas as bring the offered rate to the target utilization of their capacity, with a band in which nothing changes.",
    params: Params,
    series: { "offered": optional },
    decide: decide,
}

/// How many replicas?
///
/// # Errors
/// `InvalidParams` when not `down` < `target` < `up`; `CapacityUnknown`; `SeriesMissing`;
/// `NotEnoughSamples` when more than half of the last seconds is missing.
pub fn decide(input: &Input, params: &Params, _: ()) -> Result<Proposal, Refusal> {
    check(params)?;
    let capacity = input.capacity_or(params.capacity_per_replica)?;
    let load = input.series(&params.series)?;
    let recent = load.mean(params.seconds).filter(|_| load.presence(params.seconds) >= 0.5).ok_or_else(Refusal::not_enough_samples)?.max(0.0);
    let peak = load.max(params.down_seconds).unwrap_or(recent).max(recent);

    let now = input.replicas.desired;
    let utilization = |load: f64| {
        if now > 0 {
            load / capacity / f64::from(now)
        } else if load > 0.0 {
            f64::MAX
        } else {
            0.0
        }
    };
    let wanted = |load: f64| replicas_for(load / params.target, capacity).max(u32::from(now > 0 || load > 0.0));

    let (replicas, code, sentence) = if utilization(recent) > params.up && wanted(recent) > now {
        let sentence = format!("{} {} are offered, above {} % of what {now} can process.", short(recent), load.unit(), short(params.up * 100.0));
        (wanted(recent), "AboveCapacity", sentence)
    } else if utilization(peak) >= params.down || wanted(peak) >= now {
        let sentence = format!("{} {} are offered; {now} can process {}.", short(recent), load.unit(), short(f64::from(now) * capacity));
        (now, "WithinBand", sentence)
    } else if load.covered(params.down_seconds) < params.down_seconds / 2.0 {
        let sentence = format!("Fewer would do, but only {} of {} s are measured.", short(load.covered(params.down_seconds)), short(params.down_seconds));
        (now, "NotEnoughSamples", sentence)
    } else {
        let sentence = format!("At most {} {} were offered, below {} % of what {now} can process.", short(peak), load.unit(), short(params.down * 100.0));
        (wanted(peak), "BelowCapacity", sentence)
    };
    Ok(Proposal::replicas(replicas)
        .because(code, sentence)
        .number("load", recent, load.unit())
        .number("peak", peak, load.unit())
        .number("capacity", capacity, load.unit())
        .number("utilization", utilization(recent).min(1e6), "1")
        .number("target", params.target, "1"))
}

fn check(params: &Params) -> Result<(), Refusal> {
    if params.down < params.target && params.target < params.up {
        return Ok(());
    }
    let (down, target, up) = (short(params.down), short(params.target), short(params.up));
    Err(Refusal::new("InvalidParams", format!("`down` < `target` < `up` must hold, but they are {down}, {target} and {up}.")))
}

#[cfg(test)]
mod tests;
