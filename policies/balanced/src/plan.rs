//! Which partitions move where. Touches nothing.
//!
//! With the weights w of the partitions and the capacities c of the nodes that take any, the mean is
//! μ = Σw / Σc, and node j may carry its ceiling u = c·μ·(1 + tolerance). What is above has to go, and as
//! few partitions as possible: a node whose load is s above its ceiling sheds at least the k heaviest
//! that together reach s, so k is the fewest ([`fewest`]), and of all sets of k that suffice a light one
//! is taken, because it is easier to place. What is shed, and what has no node, is placed like items in
//! bins, the heaviest first: where most room is, and when that leaves something over, where it fits most
//! tightly (best fit decreasing; D. S. Johnson, "Near-optimal bin packing algorithms", 1973).
//!
//! Where the weights do not allow the ceiling it is raised: a partition that is heavier than it gets a
//! node for itself, and the mean is that of the others; and no node has to be less full than a placement
//! from nothing would leave it ([`longest_first`]).

use crate::bounds::{EPSILON, fewest, longest_first};

/// Stands for a partition without a node.
pub const NO_NODE: u32 = u32::MAX;

/// What a node may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It takes partitions.
    Takes,
    /// It keeps what it has and takes none.
    Keeps,
    /// It is meant to go: what it has moves, within the budget.
    Leaves,
    /// What it has gets other nodes at once.
    Gone,
}

/// A node as the plan sees it.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// What it may be used for.
    pub usage: Use,
    /// What it can carry, in proportion to the others; positive.
    pub capacity: f64,
    /// Index of its zone.
    pub zone: u32,
}

/// A plan in the making.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(crate) nodes: &'a [Node],
    weights: &'a [f64],
    /// Node of each partition.
    pub owners: Vec<u32>,
    loads: Vec<f64>,
    zones: Vec<f64>,
    ceilings: Vec<f64>,
    /// Partitions of each node.
    members: Vec<Vec<u32>>,
    /// Partitions that have left a node which is not gone, and count against the budget.
    paid: Vec<bool>,
    pub(crate) budget: u32,
}

pub(crate) fn at<T: Copy>(column: &[T], index: u32) -> Option<T> {
    column.get(usize::try_from(index).ok()?).copied()
}

impl<'a> Plan<'a> {
    /// A plan that changes nothing yet. `budget`: most partitions that may leave a node that is not gone.
    #[must_use]
    pub fn new(nodes: &'a [Node], weights: &'a [f64], owners: &[u32], budget: u32, tolerance: f64) -> Self {
        let zones = nodes.iter().map(|node| node.zone).max().map_or(0, |zone| usize::try_from(zone).unwrap_or(0) + 1);
        let mut plan = Self {
            nodes,
            weights,
            owners: vec![NO_NODE; owners.len()],
            loads: vec![0.0; nodes.len()],
            zones: vec![0.0; zones],
            ceilings: Vec::new(),
            members: vec![Vec::new(); nodes.len()],
            paid: vec![false; owners.len()],
            budget,
        };
        for (partition, &owner) in (0..).zip(owners) {
            plan.put(partition, owner);
        }
        plan.ceilings = plan.limits(tolerance);
        plan
    }

    pub(crate) fn weight(&self, partition: u32) -> f64 {
        at(self.weights, partition).unwrap_or(0.0)
    }

    pub(crate) fn usage(&self, node: u32) -> Use {
        at(self.nodes, node).map_or(Use::Gone, |node| node.usage)
    }

    pub(crate) fn room(&self, node: u32) -> f64 {
        at(&self.ceilings, node).zip(at(&self.loads, node)).map_or(f64::MIN, |(ceiling, load)| ceiling - load)
    }

    pub(crate) fn over(&self, node: u32) -> bool {
        self.room(node) < -EPSILON * at(&self.ceilings, node).unwrap_or(1.0)
    }

    pub(crate) fn takers(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..).zip(self.nodes).filter(|(_, node)| node.usage == Use::Takes).map(|(index, _)| index)
    }

    /// Gives a partition to a node, or with [`NO_NODE`] to none.
    pub(crate) fn put(&mut self, partition: u32, node: u32) {
        let weight = self.weight(partition);
        let Some(slot) = usize::try_from(partition).ok().and_then(|index| self.owners.get_mut(index)) else { return };
        let before = std::mem::replace(slot, node);
        for (node, sign) in [(before, -1.0), (node, 1.0)] {
            let Some(index) = usize::try_from(node).ok().filter(|index| *index < self.nodes.len()) else { continue };
            if let (Some(load), Some(members)) = (self.loads.get_mut(index), self.members.get_mut(index)) {
                *load += sign * weight;
                if sign > 0.0 {
                    members.push(partition);
                } else if let Some(place) = members.iter().position(|member| *member == partition) {
                    members.swap_remove(place);
                }
            }
            let zone = self.nodes.get(index).and_then(|node| self.zones.get_mut(usize::try_from(node.zone).ok()?));
            if let Some(load) = zone {
                *load += sign * weight;
            }
        }
    }

    /// Pays for a partition that is about to leave its node; false when the budget does not allow it. What
    /// has no node, or has been paid for, is free.
    pub(crate) fn pay(&mut self, partition: u32) -> bool {
        let Some(paid) = usize::try_from(partition).ok().and_then(|index| self.paid.get_mut(index)) else { return false };
        if !*paid {
            let Some(left) = self.budget.checked_sub(1) else { return false };
            (*paid, self.budget) = (true, left);
        }
        true
    }

    /// Puts a partition back where it was, which costs nothing.
    pub(crate) fn give_back(&mut self, partition: u32, home: u32) {
        if let Some(paid) = usize::try_from(partition).ok().and_then(|index| self.paid.get_mut(index)).filter(|paid| **paid) {
            *paid = false;
            self.budget += 1;
        }
        self.put(partition, home);
    }

    /// The ceiling of each node.
    fn limits(&self, tolerance: f64) -> Vec<f64> {
        let mut capacities: Vec<f64> = self.nodes.iter().filter(|node| node.usage == Use::Takes).map(|node| node.capacity).collect();
        capacities.sort_by(|a, b| b.total_cmp(a));
        // What a node keeps that takes none is not spread.
        let spread = |owner: &u32| !matches!(self.usage(*owner), Use::Keeps);
        let mut weights: Vec<f64> = self.weights.iter().zip(&self.owners).filter(|(_, owner)| spread(owner)).map(|(weight, _)| *weight).collect();
        weights.sort_by(|a, b| b.total_cmp(a));
        let (mut total, mut capacity) = (weights.iter().sum::<f64>(), capacities.iter().sum::<f64>());
        let mut giants = 0;
        while let (Some(weight), Some(own)) = (weights.get(giants), capacities.get(giants)) {
            if capacities.len() - giants < 2 || *weight <= own * (total / capacity) * (1.0 + tolerance) {
                break;
            }
            (total, capacity, giants) = (total - weight, capacity - own, giants + 1);
        }
        let mean = total / capacity.max(f64::MIN_POSITIVE);
        let reached = longest_first(weights.get(giants..).unwrap_or_default(), capacities.get(giants..).unwrap_or_default());
        let each = (mean * (1.0 + tolerance)).max(reached * (1.0 + EPSILON));
        self.nodes.iter().map(|node| if node.usage == Use::Takes { node.capacity * each } else { 0.0 }).collect()
    }

    /// Moves what has to move and what is worth it. Returns how many left a node that is not gone.
    pub fn run(&mut self) -> u32 {
        let before = self.budget;
        let mut pool: Vec<u32> = (0..).zip(&self.owners).filter(|(_, owner)| self.usage(**owner) == Use::Gone).map(|(partition, _)| partition).collect();
        for partition in &pool {
            self.put(*partition, NO_NODE);
            // Whoever has no node moves for free.
            if let Some(paid) = usize::try_from(*partition).ok().and_then(|index| self.paid.get_mut(index)) {
                *paid = true;
            }
        }
        self.seat_giants();
        pool.retain(|partition| at(&self.owners, *partition) == Some(NO_NODE));
        let homes = self.shed();
        pool.extend(homes.iter().map(|(partition, _)| *partition));
        pool.sort_by(|a, b| self.weight(*b).total_cmp(&self.weight(*a)).then(a.cmp(b)));
        self.place(&pool, &homes);
        self.settle();
        before - self.budget
    }

    /// A partition that is heavier than every ceiling is alone on its node as far as that can be.
    fn seat_giants(&mut self) {
        let highest = self.takers().filter_map(|node| at(&self.ceilings, node)).fold(0.0, f64::max);
        let mut giants: Vec<u32> = (0..).zip(self.weights).filter(|(_, weight)| **weight > highest * (1.0 + EPSILON)).map(|(partition, _)| partition).collect();
        giants.sort_by(|a, b| self.weight(*b).total_cmp(&self.weight(*a)).then(a.cmp(b)));
        let mut seats: Vec<u32> = Vec::new();
        for giant in giants {
            let owner = at(&self.owners, giant).unwrap_or(NO_NODE);
            let usage = self.usage(owner);
            let stays = usage == Use::Keeps || (usage == Use::Takes && !seats.contains(&owner));
            let free = || {
                self.takers()
                    .filter(|node| !seats.contains(node))
                    .min_by(|a, b| self.fill(*a).total_cmp(&self.fill(*b)).then(self.zone_load(*a).total_cmp(&self.zone_load(*b))))
            };
            let seat = if stays { Some(owner) } else { free() };
            if let Some(seat) = seat.filter(|_| stays || self.pay(giant)) {
                if !stays {
                    self.put(giant, seat);
                }
                if let Some(ceiling) = usize::try_from(seat).ok().and_then(|index| self.ceilings.get_mut(index)) {
                    *ceiling = self.weights.get(usize::try_from(giant).unwrap_or(usize::MAX)).copied().unwrap_or(0.0).max(*ceiling);
                }
                seats.push(seat);
            }
        }
    }

    pub(crate) fn fill(&self, node: u32) -> f64 {
        at(&self.loads, node).zip(at(self.nodes, node)).map_or(f64::MAX, |(load, node)| load / node.capacity)
    }

    /// Takes from each node what is too much, the worst first, as long as the budget lasts: partitions
    /// with the node that they had.
    fn shed(&mut self) -> Vec<(u32, u32)> {
        let mut sheds: Vec<(bool, f64, u32)> = (0..)
            .zip(self.nodes)
            .filter(|(index, node)| node.usage == Use::Leaves || (node.usage == Use::Takes && self.over(*index)))
            .map(|(index, node)| (node.usage == Use::Leaves, self.fill(index), index))
            .collect();
        sheds.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
        let mut homes = Vec::new();
        for (leaves, _, node) in sheds {
            let mut members = usize::try_from(node).ok().and_then(|index| self.members.get(index)).cloned().unwrap_or_default();
            members.sort_by(|a, b| self.weight(*b).total_cmp(&self.weight(*a)).then(a.cmp(b)));
            let weights: Vec<f64> = members.iter().map(|member| self.weight(*member)).collect();
            let chosen = if leaves { (0..members.len()).collect() } else { fewest(&weights, -self.room(node)) };
            for member in chosen.into_iter().filter_map(|index| members.get(index).copied()) {
                if !self.pay(member) {
                    return homes;
                }
                self.put(member, NO_NODE);
                homes.push((member, node));
            }
        }
        homes
    }

    pub(crate) fn members_of(&self, node: u32) -> &[u32] {
        usize::try_from(node).ok().and_then(|index| self.members.get(index)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn zone_load(&self, node: u32) -> f64 {
        at(self.nodes, node).and_then(|node| at(&self.zones, node.zone)).unwrap_or(0.0)
    }

    /// Load over capacity of the fullest node that takes partitions, over that of all of them together.
    #[must_use]
    pub fn max_over_mean(&self) -> f64 {
        let capacity: f64 = self.takers().filter_map(|node| at(self.nodes, node)).map(|node| node.capacity).sum();
        let total: f64 = self.weights.iter().sum();
        let fullest = self.takers().map(|node| self.fill(node)).fold(0.0, f64::max);
        if total > 0.0 && capacity > 0.0 { fullest / (total / capacity) } else { 1.0 }
    }
}
