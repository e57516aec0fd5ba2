//! What one decision about owners costs: ten thousand partitions on five hundred nodes of which some are lost,
//! planned by the built-in rule as Wasm. Touches the Wasm engine.

use crate::policies::{self, component, engine, load};
use crate::report::Report;
use crate::stats::{Times, grouped};
use anyhow::{Result, bail};
use std::time::{Duration, Instant};
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::placement::{
    Loads, NodeBounds, NodeColumns, NodeState, PartitionColumns, PlacementInput, PlacementOutcome, PlacementPolicy as _, PlacementProposal,
};
use weir_engine::{Candidate, PolicyKind};

const PROMISE: &str = "≤ 50 ms";

/// Measures and reports.
pub(crate) fn run(report: &mut Report, quick: bool) -> Result<()> {
    let engine = engine(None)?;
    let policy = load(&engine, &Candidate { kind: PolicyKind::Placement, ..policies::candidate("balanced", component("balanced")?) })?;
    let calls = if quick { 5 } else { 100 };
    for (what, input) in [("five nodes lost, loads at random", shaken(10_000, 500, 5)), ("all at rest", at_rest(10_000, 500))] {
        let mut last = None;
        let mut timed = || {
            let begun = Instant::now();
            let invocation = policy.place(&input);
            let took = begun.elapsed();
            last = Some(invocation);
            took
        };
        let times = Times::new((0..calls).map(|_| timed()).collect());
        let Some(invocation) = last else { bail!("nothing was measured") };
        let PlacementOutcome::Proposal(proposal) = invocation.outcome else { bail!("balanced does not propose: {:?}", invocation.outcome) };
        let text = format!("{times}; {} fuel, {}", grouped(invocation.fuel), outcome(&input, &proposal));
        report.promise(format!("10,000 partitions on 500 nodes, {what}"), text, PROMISE, times.p99() <= Duration::from_millis(50));
    }
    Ok(())
}

fn outcome(input: &PlacementInput, proposal: &PlacementProposal) -> String {
    let partitions = PartitionColumns { owners: proposal.owners.clone(), weights: input.partitions.weights.clone() };
    let loads = Loads::of(&partitions.owners, &partitions.weights, input.nodes.len());
    let moves = input.partitions.owners.iter().zip(&proposal.owners).filter(|(before, after)| before != after).count();
    let ratio = loads.max_over_mean(&input.nodes, &partitions).unwrap_or(f64::NAN);
    format!("{moves} moves, max/mean {ratio:.3}")
}

fn nodes(count: u32, lost: u32) -> NodeColumns {
    let all = || 0..count;
    NodeColumns {
        names: all().map(|node| format!("store-{node:03}")).collect(),
        zones: all().map(|node| node % 3).collect(),
        zone_names: ["a", "b", "c"].map(str::to_owned).to_vec(),
        states: all().map(|node| if node < lost { NodeState::Lost } else { NodeState::Ready }).collect(),
        capacities: all().map(|_| 1.0).collect(),
        fills: all().map(|_| 0.5).collect(),
    }
}

fn input(nodes: NodeColumns, partitions: PartitionColumns) -> PlacementInput {
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    PlacementInput {
        now: UnixMs(1_700_000_000_000),
        object: ObjectRef::new("bench", "store"),
        mirror: 0,
        bounds: NodeBounds { count, min: 1, max: 1000 },
        nodes,
        partitions,
        max_moves: u32::MAX,
        params: "{}".to_owned(),
        state: Vec::new(),
    }
}

/// Exponential weights, owners at random.
fn shaken(partitions: u32, count: u32, lost: u32) -> PlacementInput {
    // A linear congruential generator (Knuth, MMIX): the same input on every machine.
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(seed >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    };
    let weights: Vec<f64> = (0..partitions).map(|_| -(1.0 - next() * 0.999_999).ln()).collect();
    let owner = |share: f64| format!("{:.0}", (share * f64::from(count)).floor()).parse::<u32>().unwrap_or(0).min(count.saturating_sub(1));
    let owners = (0..partitions).map(|_| owner(next())).collect();
    input(nodes(count, lost), PartitionColumns { owners, weights })
}

fn at_rest(partitions: u32, count: u32) -> PlacementInput {
    let owners = (0..partitions).map(|partition| partition % count).collect();
    input(nodes(count, 0), PartitionColumns { owners, weights: (0..partitions).map(|_| 1.0).collect() })
}
