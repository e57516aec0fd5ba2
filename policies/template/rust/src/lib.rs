//! `@NAME@`: replicas for the load of the last seconds, with spare capacity.

use weir_policy::prelude::*;

weir_policy::params! {
    /// Params of `@NAME@`.
    pub struct Params {
        /// Spare capacity as a share of the load.
        #[range(0.0..=10.0)]
        headroom: f64 = 0.3,
    }
}

weir_policy::scaling! {
    name: "@NAME@",
    summary: "Replicas for the load of the last ten seconds, with spare capacity.",
    params: Params,
    series: { "offered": required },
    decide: decide,
}

fn decide(input: &Input, params: &Params, _: ()) -> Result<Proposal, Refusal> {
    let capacity = input.capacity_or(None)?;
    let load = input.series("offered")?.mean(10.0).ok_or_else(Refusal::not_enough_samples)?;
    let replicas = replicas_for(load * (1.0 + params.headroom), capacity).max(1);
    Ok(Proposal::replicas(replicas)
        .because("FollowsLoad", format!("{} records/s are offered, one replica can process {}.", short(load), short(capacity)))
        .number("load", load, "records/s")
        .number("capacity", capacity, "records/s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::testing::input;

    #[test]
    fn a_load_has_its_headroom() {
        let input = input().capacity(1000.0).series("offered", &[9000.0; 60]).build();
        let proposal = decide(&input, &Params::default(), ()).unwrap();
        assert_eq!((proposal.replicas, proposal.code.as_str()), (12, "FollowsLoad"));
    }

    #[test]
    fn without_a_capacity_it_refuses() {
        let input = input().series("offered", &[9000.0; 60]).build();
        assert_eq!(decide(&input, &Params::default(), ()).unwrap_err().code, "CapacityUnknown");
    }
}
