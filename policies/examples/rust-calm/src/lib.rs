//! `calm` in Rust: up at once, down only when the load has been lower for a while.

use weir_policy::prelude::*;

weir_policy::params! {
    /// Params of `calm`.
    pub struct Params {
        /// Spare capacity as a share of the load.
        #[range(0.0..=10.0)]
        headroom: f64 = 0.3,
        /// Seconds that the load has to be lower before replicas go.
        #[range(0.0..=86_400.0)]
        hold_seconds: f64 = 60.0,
    }
}

weir_policy::scaling! {
    name: "calm",
    summary: "Up at once, down only when the load has been lower for a while.",
    params: Params,
    state: Memory,
    series: { "offered": required },
    decide: decide,
}

/// What it remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// Unix milliseconds since when fewer replicas would do.
    lower_since: Option<i64>,
}

impl State for Memory {
    const VERSION: u8 = 1;
}

fn decide(input: &Input, params: &Params, memory: Memory) -> Result<Proposal<Memory>, Refusal> {
    let capacity = input.capacity_or(None)?;
    let load = input.series("offered")?.mean(10.0).ok_or_else(Refusal::not_enough_samples)?;
    let wanted = replicas_for(load * (1.0 + params.headroom), capacity).max(1);
    let desired = input.replicas.desired;
    let offered = format!("{} records/s are offered, one replica can process {}.", short(load), short(capacity));
    let propose = |replicas, code: &str, sentence: String| {
        Proposal::replicas(replicas).because(code, sentence).number("load", load, "records/s").number("wanted", f64::from(wanted), "1")
    };
    if wanted >= desired {
        let code = if wanted > desired { "AboveCapacity" } else { "WithinBand" };
        return Ok(propose(wanted, code, offered).remember(Memory::default()));
    }
    let since = memory.lower_since.unwrap_or(input.now);
    let waited = input.now.saturating_sub(since) as f64 / 1000.0;
    if waited >= params.hold_seconds {
        return Ok(propose(wanted, "BelowCapacity", offered).remember(Memory::default()));
    }
    let sentence = format!("The load has been lower for {} of {} s.", short(waited), short(params.hold_seconds));
    Ok(propose(desired, "Waiting", sentence).number("waited", waited, "s").remember(Memory { lower_since: Some(since) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::testing::input;

    #[test]
    fn it_goes_up_at_once_and_waits_before_it_goes_down() {
        let up = input().replicas(10).capacity(1000.0).series("offered", &[9000.0; 60]).build();
        assert_eq!(decide(&up, &Params::default(), Memory::default()).unwrap().replicas, 12);
        let down = input().replicas(10).capacity(1000.0).series("offered", &[3000.0; 60]).build();
        let first = decide(&down, &Params::default(), Memory::default()).unwrap();
        assert_eq!((first.replicas, first.state.lower_since), (10, Some(down.now)));
        let later = input().now(down.now + 60_000).replicas(10).capacity(1000.0).series("offered", &[3000.0; 60]).build();
        assert_eq!(decide(&later, &Params::default(), first.state).unwrap().replicas, 4);
    }
}
