//! Snapshot: everything that a decision about owners may depend on, as one value. Touches nothing.

use super::nodes::Node;
use super::valid::Valid;
use super::weigh::Weights;
use weir_core::ids::UnixMs;
use weir_core::placement::{
    Ledger, NO_NODE, NodeBounds, NodeColumns, Ownership, PartitionColumns, PlacementInput, PlacementSnapshot, budget, decision::SCHEMA,
};
use weir_core::scaling::PolicyStamp;
use weir_core::snapshot::Block;

/// What is not in the spec, the ledger or the nodes.
pub(super) struct Parts<'a> {
    pub(super) now: UnixMs,
    pub(super) policy: Option<PolicyStamp>,
    pub(super) unresolved: Option<Block>,
    pub(super) params: String,
    pub(super) weights: Weights<'a>,
    /// What the policy returned last, by mirror.
    pub(super) states: &'a [Vec<u8>],
}

pub(super) fn freeze(valid: &Valid, ledger: &Ledger, nodes: &[Node], parts: Parts<'_>) -> PlacementSnapshot {
    let budget = budget(parts.now, ledger, &valid.limits, parts.weights == Weights::Stale);
    let mirror = |(mirror, ownership): (usize, &Ownership)| {
        let own: Vec<&Node> = nodes.iter().filter(|node| node.mirror == mirror).collect();
        PlacementInput {
            now: parts.now,
            object: valid.object.clone(),
            mirror: u32::try_from(mirror).unwrap_or(u32::MAX),
            bounds: NodeBounds { count: ledger.nodes, min: valid.nodes.0, max: valid.nodes.1 },
            partitions: partitions(ownership, &own, parts.weights),
            nodes: columns(&own),
            max_moves: budget.0,
            params: parts.params.clone(),
            state: parts.states.get(mirror).cloned().unwrap_or_default(),
        }
    };
    PlacementSnapshot {
        schema: SCHEMA,
        mirrors: ledger.mirrors().iter().enumerate().map(mirror).collect(),
        epoch: ledger.epoch(),
        policy: parts.policy,
        unresolved: parts.unresolved,
        limits: valid.limits,
        budget,
        pin: valid.pin,
        mode: valid.mode,
        paused: valid.paused,
    }
}

fn columns(nodes: &[&Node]) -> NodeColumns {
    let mut zone_names: Vec<String> = nodes.iter().map(|node| node.zone.clone().unwrap_or_default()).collect();
    zone_names.sort();
    zone_names.dedup();
    let zone = |node: &&Node| zone_names.binary_search(&node.zone.clone().unwrap_or_default()).ok().and_then(|at| u32::try_from(at).ok()).unwrap_or(0);
    NodeColumns {
        names: nodes.iter().map(|node| node.name.clone()).collect(),
        zones: nodes.iter().map(zone).collect(),
        states: nodes.iter().map(|node| node.state).collect(),
        // All volumes have one size, so all nodes carry alike.
        capacities: vec![1.0; nodes.len()],
        // Whole percents: a decision is not made anew for every record that is stored.
        fills: nodes.iter().map(|node| node.vitals.fill().map_or(f64::NAN, |fill| (fill * 100.0).round() / 100.0)).collect(),
        zone_names,
    }
}

fn partitions(ownership: &Ownership, nodes: &[&Node], weights: Weights<'_>) -> PartitionColumns {
    let index = |name: &str| nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok().and_then(|at| u32::try_from(at).ok());
    let owners = (0..ownership.len()).map(|partition| ownership.owner(partition).and_then(index).unwrap_or(NO_NODE)).collect();
    let weights = match weights {
        Weights::Measured(weights) => weights.to_vec(),
        Weights::Stale | Weights::Alike => vec![1.0; ownership.len()],
    };
    PartitionColumns { owners, weights }
}
