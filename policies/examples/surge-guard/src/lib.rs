//! `surge-guard`: an example of an own policy. Sized for the load that there will be when replicas
//! that are asked for now are ready, and for the highest of the last minute.

use weir_policy::prelude::*;

weir_policy::params! {
    /// Params of `surge-guard`.
    pub struct Params {
        /// Spare capacity as a share of the expected load.
        #[range(0.0..=10.0)]
        headroom: f64 = 0.5,
    }
}

weir_policy::scaling! {
    name: "surge-guard",
    summary: "Replicas for the load that a climbing demand will have reached when they are ready.",
    params: Params,
    series: { "offered": required },
    decide: decide,
}

fn decide(input: &Input, params: &Params, _: ()) -> Result<Proposal, Refusal> {
    let capacity = input.capacity_or(None)?;
    let offered = input.series("offered")?;
    let load = offered.mean(5.0).ok_or_else(Refusal::not_enough_samples)?;
    let climb = offered.slope(20.0).unwrap_or(0.0).max(0.0);
    let expected = (load + climb * input.capacity.start_up).max(offered.max(60.0).unwrap_or(load));
    let replicas = replicas_for(expected * (1.0 + params.headroom), capacity).max(1);
    Ok(Proposal::replicas(replicas)
        .because("ReadyForSurge", format!("{} records/s are expected in {} s.", short(expected), short(input.capacity.start_up)))
        .number("load", load, "records/s")
        .number("climb", climb, "records/s2")
        .number("expected", expected, "records/s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::testing::input;

    #[test]
    fn a_climbing_load_is_met_before_it_arrives() {
        let climbing: Vec<f64> = (0..60).map(|second| 100.0 * f64::from(second)).collect();
        let input = input().capacity(1000.0).start_up(10.0).series("offered", &climbing).build();
        // 5,700 on average over 5 s, plus 10 s of 100 a second more, plus half
        assert_eq!(decide(&input, &Params::default(), ()).unwrap().replicas, 11);
    }
}
