//! `balanced`: partitions spread over nodes by weight and capacity, with as few moves as that takes.
//!
//! No node carries more than `tolerance` above the mean of those that take partitions; as long as none
//! does, nothing moves, so a load that wavers costs no churn. How the fewest moves are found stands in
//! [`plan`].
//!
//! The number of nodes follows the disks: what all of them hold together, over what one holds at
//! `maxFill`, rounded up. One is given back when the others would still be below `minFill`. While the fill
//! of a disk is not known the number stays.

pub mod bounds;
mod pack;
pub mod plan;

use plan::{Node, Plan, Use};
use weir_policy::placement::prelude::*;

weir_policy::params! {
    /// Params of the built-in policy `balanced`.
    pub struct Params {
        /// How much more than the mean the fullest node may carry, as a share of the mean.
        #[range(0.0..=10.0)]
        tolerance: f64 = 0.05,
        /// Share of the disks, all together, above which a node is added.
        #[range(0.05..=1.0)]
        max_fill: f64 = 0.8,
        /// Share of the disks, all together, below which one node fewer must stay for one to be given back. 0: none ever is.
        #[range(0.0..=1.0)]
        min_fill: f64 = 0.0,
    }
}

weir_policy::placement! {
    name: "balanced",
    summary: "Spreads partitions over nodes by weight and capacity with the fewest moves, and adds nodes when the disks fill up.",
    params: Params,
    decide: decide,
}

/// Who owns what?
///
/// # Errors
/// `NoReadyNode` when no node takes partitions; `InvalidParams` when `minFill` is not below `maxFill`.
pub fn decide(input: &Input, params: &Params, _: ()) -> Result<Placement, Refusal> {
    if params.min_fill >= params.max_fill {
        return Err(Refusal::new("InvalidParams", "`minFill` must be below `maxFill`."));
    }
    let nodes: Vec<Node> = input.nodes.each().map(|node| Node { usage: usage(node.state), capacity: node.capacity, zone: node.zone }).collect();
    if !nodes.iter().any(|node| node.usage == Use::Takes) {
        return Err(Refusal::new("NoReadyNode", "No node takes partitions."));
    }
    let (owners, weights) = (&input.partitions.owners, &input.partitions.weights);
    let mut plan = Plan::new(&nodes, weights, owners, input.max_moves, params.tolerance);
    let before = plan.max_over_mean();
    let moves = plan.run();
    let after = plan.max_over_mean();
    let (wanted, fill) = wanted(input, params);

    let (code, sentence) = if moves > 0 {
        ("Rebalanced", format!("The fullest node carries {} times the mean; with {moves} moves it is {}.", short(before), short(after)))
    } else if wanted > input.bounds.count {
        ("DisksFillUp", format!("The disks are full to {} %, more than {} %.", short(fill * 100.0), short(params.max_fill * 100.0)))
    } else if wanted < input.bounds.count {
        ("DisksEmpty", format!("One node fewer still leaves the disks below {} %.", short(params.min_fill * 100.0)))
    } else {
        ("Balanced", format!("The fullest node carries {} times the mean.", short(after)))
    };
    Ok(Placement::owners(wanted, plan.owners)
        .because(code, sentence)
        .number("before", before, "1")
        .number("after", after, "1")
        .number("moves", f64::from(moves), "partitions")
        .number("fill", fill, "1"))
}

const fn usage(state: NodeState) -> Use {
    match state {
        NodeState::Ready => Use::Takes,
        NodeState::Cordoned => Use::Leaves,
        NodeState::Lost | NodeState::Full => Use::Gone,
        NodeState::Starting | NodeState::Silent | NodeState::Quarantined => Use::Keeps,
    }
}

/// How many nodes the disks ask for, and how full those are together. A node that is still to come counts
/// as empty; while that of another is not known the number stays.
fn wanted(input: &Input, params: &Params) -> (u32, f64) {
    let count = input.bounds.count;
    let mut used = 0.0;
    for node in input.nodes.each().filter(|node| node.state != NodeState::Starting) {
        if !node.fill.is_finite() {
            return (count, f64::NAN);
        }
        used += node.fill.clamp(0.0, 1.0);
    }
    let mut wanted = count;
    while wanted < input.bounds.max.max(count) && used / f64::from(wanted.max(1)) > params.max_fill {
        wanted += 1;
    }
    let settled = input.nodes.each().all(|node| node.state == NodeState::Ready);
    if wanted == count && count > input.bounds.min.max(1) && settled && used / f64::from(count - 1) < params.min_fill {
        wanted -= 1;
    }
    (wanted, used / f64::from(count.max(1)))
}

#[cfg(test)]
mod tests;
