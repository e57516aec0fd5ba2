//! Inputs for the tests of a placement policy, made in one line. Touches nothing.

use super::{Bounds, Input, NO_NODE, NodeState, Nodes, Partitions};

/// An input to build on: no nodes, no partitions, a budget of all, now is 2024-01-01T00:00:00Z.
#[must_use]
pub fn input() -> InputBuilder {
    let input = Input { now: 1_704_067_200_000, namespace: "logs".into(), name: "store".into(), max_moves: u32::MAX, ..Input::default() };
    InputBuilder { input }
}

/// Builds an [`Input`].
#[derive(Clone, Debug)]
pub struct InputBuilder {
    input: Input,
}

impl InputBuilder {
    /// These nodes, ready, of capacity 1, in one zone, their disks unknown.
    #[must_use]
    pub fn nodes(mut self, names: &[&str]) -> Self {
        let count = names.len();
        self.input.nodes = Nodes {
            names: names.iter().map(|name| (*name).into()).collect(),
            zones: vec![0; count],
            zone_names: vec![String::new()],
            states: vec![NodeState::Ready; count],
            capacities: vec![1.0; count],
            fills: vec![f64::NAN; count],
        };
        self.input.bounds = Bounds { count: u32::try_from(count).unwrap_or(u32::MAX), min: 1, max: 100 };
        self
    }

    /// The state of a node.
    #[must_use]
    pub fn state(mut self, node: usize, state: NodeState) -> Self {
        if let Some(known) = self.input.nodes.states.get_mut(node) {
            *known = state;
        }
        self
    }

    /// The capacity of a node.
    #[must_use]
    pub fn capacity(mut self, node: usize, capacity: f64) -> Self {
        if let Some(known) = self.input.nodes.capacities.get_mut(node) {
            *known = capacity;
        }
        self
    }

    /// The zones of all nodes.
    #[must_use]
    pub fn zones(mut self, zones: &[u32]) -> Self {
        self.input.nodes.zones = zones.to_vec();
        let most = zones.iter().max().copied().unwrap_or(0);
        self.input.nodes.zone_names = (0..=most).map(|zone| format!("zone-{zone}")).collect();
        self
    }

    /// How full the disks of all nodes are.
    #[must_use]
    pub fn fills(mut self, fills: &[f64]) -> Self {
        self.input.nodes.fills = fills.to_vec();
        self
    }

    /// That many partitions of weight 1, in turn on the first `nodes`; 0 nodes: none has an owner.
    #[must_use]
    pub fn spread(mut self, partitions: u32, nodes: u32) -> Self {
        let owners = (0..partitions).map(|partition| partition.checked_rem(nodes).unwrap_or(NO_NODE)).collect();
        let weights = (0..partitions).map(|_| 1.0).collect();
        self.input.partitions = Partitions { owners, weights };
        self
    }

    /// Most partitions that may move.
    #[must_use]
    pub fn budget(mut self, max_moves: u32) -> Self {
        self.input.max_moves = max_moves;
        self
    }

    /// The input.
    #[must_use]
    pub fn build(self) -> Input {
        self.input
    }
}
