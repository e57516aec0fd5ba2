//! Loads of nodes, and who takes what nobody owns. Touches nothing.

use super::policy::{NO_NODE, NodeColumns, PartitionColumns};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// What each node has to do: the sum of the weights of its partitions over its capacity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    /// By node.
    pub weights: Vec<f64>,
    /// Partitions of each node.
    pub counts: Vec<u32>,
}

impl Loads {
    /// Of owners.
    #[must_use]
    pub fn of(owners: &[u32], weights: &[f64], nodes: usize) -> Self {
        let mut loads = Self { weights: vec![0.0; nodes], counts: vec![0; nodes] };
        for (&owner, &weight) in owners.iter().zip(weights) {
            loads.add(owner, weight);
        }
        loads
    }

    fn add(&mut self, node: u32, weight: f64) {
        let Ok(at) = usize::try_from(node) else { return };
        if let (Some(load), Some(count)) = (self.weights.get_mut(at), self.counts.get_mut(at)) {
            *load += weight;
            *count = count.saturating_add(1);
        }
    }

    /// Load over capacity of the fullest node that may be given partitions, over that of all of them
    /// together; 1 is perfect. `None` when there is no such node or nothing to do.
    ///
    /// Partitions of other nodes count as load of all: they are about to come.
    #[must_use]
    pub fn max_over_mean(&self, nodes: &NodeColumns, partitions: &PartitionColumns) -> Option<f64> {
        let total: f64 = partitions.weights.iter().sum();
        let ready = || nodes.capacities.iter().enumerate().filter(|(node, _)| nodes.takes(*node));
        let capacity: f64 = ready().map(|(_, capacity)| capacity).sum();
        let fullest = ready().filter_map(|(node, capacity)| Some(self.weights.get(node)? / capacity)).max_by(f64::total_cmp)?;
        (total > 0.0 && capacity > 0.0).then(|| fullest / (total / capacity))
    }
}

/// A node that waits for partitions: the one with the least load over capacity is taken first, of
/// equal ones the first by name.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Taker {
    load: f64,
    capacity: f64,
    node: u32,
}

impl Eq for Taker {}

impl PartialOrd for Taker {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Taker {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.load / other.capacity).total_cmp(&(self.load / self.capacity)).then_with(|| other.node.cmp(&self.node))
    }
}

/// Gives each of `homeless` to the node that has least to do, the heaviest first (Graham's longest
/// processing time rule: the fullest node ends at most a third above the best possible; R. L. Graham,
/// "Bounds on multiprocessing timing anomalies", 1969). [`NO_NODE`] when no node takes any.
#[must_use]
pub fn share_out(homeless: &[u32], owners: &[u32], nodes: &NodeColumns, weights: &[f64]) -> Vec<(u32, u32)> {
    let loads = Loads::of(owners, weights, nodes.len());
    let mut takers: BinaryHeap<Taker> = (0_u32..)
        .zip(loads.weights.iter().zip(&nodes.capacities))
        .filter(|(node, _)| usize::try_from(*node).is_ok_and(|node| nodes.takes(node)))
        .map(|(node, (load, capacity))| Taker { load: *load, capacity: *capacity, node })
        .collect();
    let weight = |partition: u32| usize::try_from(partition).ok().and_then(|at| weights.get(at)).copied().unwrap_or(0.0);
    let mut order = homeless.to_vec();
    order.sort_by(|a, b| weight(*b).total_cmp(&weight(*a)).then_with(|| a.cmp(b)));
    let give = |partition: u32| {
        let Some(mut taker) = takers.pop() else { return (partition, NO_NODE) };
        // Weightless partitions are spread too.
        taker.load += weight(partition).max(f64::MIN_POSITIVE);
        takers.push(taker);
        (partition, taker.node)
    };
    order.into_iter().map(give).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::NodeState;

    pub(crate) fn nodes(states: &[NodeState]) -> NodeColumns {
        NodeColumns {
            names: (0..states.len()).map(|at| format!("n{at}")).collect(),
            zones: vec![0; states.len()],
            zone_names: vec![String::new()],
            states: states.to_vec(),
            capacities: vec![1.0; states.len()],
            fills: vec![f64::NAN; states.len()],
        }
    }

    #[test]
    fn the_heaviest_goes_first_to_who_has_least() {
        let nodes = nodes(&[NodeState::Ready, NodeState::Silent, NodeState::Ready]);
        let shared = share_out(&[1, 2, 3], &[0, NO_NODE, NO_NODE, NO_NODE], &nodes, &[3.0, 1.0, 2.0, 2.0]);
        assert_eq!(shared, [(2, 2), (3, 2), (1, 0)]);
        assert_eq!(share_out(&[0], &[NO_NODE], &self::nodes(&[NodeState::Lost]), &[1.0]), [(0, NO_NODE)]);
    }

    #[test]
    fn capacity_counts_and_what_is_about_to_come_counts_as_load_of_all() {
        let mut nodes = nodes(&[NodeState::Ready, NodeState::Ready, NodeState::Cordoned]);
        nodes.capacities = vec![3.0, 1.0, 1.0];
        let partitions = PartitionColumns { owners: vec![0, 1, 2], weights: vec![6.0, 3.0, 3.0] };
        let loads = Loads::of(&partitions.owners, &partitions.weights, 3);
        assert_eq!(loads.max_over_mean(&nodes, &partitions), Some(1.0));
        assert_eq!(loads.counts, [1, 1, 1]);
        nodes.states = vec![NodeState::Lost; 3];
        assert_eq!(loads.max_over_mean(&nodes, &partitions), None);
    }
}
