//! Where partitions go: into bins, with exchanges where nothing fits. Touches nothing; steps of
//! [`Plan::run`](crate::plan::Plan::run).

use crate::bounds::{EPSILON, fewest};
use crate::plan::{NO_NODE, Plan, Use, at};

/// Exchanges that are tried for each node that can't shed otherwise.
const EXCHANGES: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Roomiest,
    Tightest,
}

impl Plan<'_> {
    /// Places the pool, heaviest first. What fits nowhere goes back where it was, or, when it has no node,
    /// to the one with least to do.
    pub(crate) fn place(&mut self, pool: &[u32], homes: &[(u32, u32)]) {
        let fits = self.fit(pool, Fit::Roomiest);
        let left = if fits.is_empty() {
            fits
        } else {
            for partition in pool {
                self.put(*partition, NO_NODE);
            }
            self.fit(pool, Fit::Tightest)
        };
        for partition in self.make_room(left) {
            let home = homes.iter().find(|(member, _)| *member == partition).map(|(_, home)| *home);
            match home.filter(|home| self.usage(*home) == Use::Takes) {
                Some(home) => self.give_back(partition, home),
                None => {
                    let node = self.takers().min_by(|a, b| self.fill(*a).total_cmp(&self.fill(*b)));
                    self.put(partition, node.unwrap_or(NO_NODE));
                }
            }
        }
    }

    /// Makes room for what fits nowhere by taking lighter partitions away from a node, which then have to
    /// be placed themselves: always lighter ones, so this ends. Returns what still fits nowhere.
    fn make_room(&mut self, left: Vec<u32>) -> Vec<u32> {
        let mut queue = left;
        let mut nowhere = Vec::new();
        while let Some(partition) = self.heaviest(&mut queue) {
            if self.fit(&[partition], Fit::Tightest).is_empty() {
                continue;
            }
            match self.eviction(partition) {
                Some((node, evicted)) if evicted.iter().all(|member| self.pay(*member)) => {
                    for member in &evicted {
                        self.put(*member, NO_NODE);
                    }
                    self.put(partition, node);
                    queue.extend(evicted);
                }
                _ => nowhere.push(partition),
            }
        }
        nowhere
    }

    fn heaviest(&self, queue: &mut Vec<u32>) -> Option<u32> {
        let place = (0..queue.len()).max_by(|a, b| {
            let weight = |place: &usize| queue.get(*place).map_or(0.0, |partition| self.weight(*partition));
            weight(a).total_cmp(&weight(b)).then(b.cmp(a))
        })?;
        Some(queue.swap_remove(place))
    }

    /// The node on which the fewest lighter partitions, and of those the lightest, make room for one.
    fn eviction(&self, partition: u32) -> Option<(u32, Vec<u32>)> {
        let weight = self.weight(partition);
        let mut best: Option<(usize, f64, u32, Vec<u32>)> = None;
        for node in self.takers() {
            let mut lighter: Vec<u32> = self.members_of(node).iter().copied().filter(|member| self.weight(*member) < weight * (1.0 - EPSILON)).collect();
            lighter.sort_by(|a, b| self.weight(*b).total_cmp(&self.weight(*a)).then(a.cmp(b)));
            let weights: Vec<f64> = lighter.iter().map(|member| self.weight(*member)).collect();
            let needed = weight - self.room(node);
            if weights.iter().sum::<f64>() < needed {
                continue;
            }
            let chosen: Vec<u32> = fewest(&weights, needed).into_iter().filter_map(|index| lighter.get(index).copied()).collect();
            let cost: f64 = chosen.iter().map(|member| self.weight(*member)).sum();
            if best.as_ref().is_none_or(|best| (chosen.len(), cost) < (best.0, best.1)) {
                best = Some((chosen.len(), cost, node, chosen));
            }
        }
        best.map(|(_, _, node, chosen)| (node, chosen))
    }

    fn fit(&mut self, pool: &[u32], fit: Fit) -> Vec<u32> {
        let mut takers: Vec<u32> = self.takers().collect();
        let mut left = Vec::new();
        for &partition in pool {
            let weight = self.weight(partition);
            let fitting = takers.iter().copied().filter(|node| weight <= self.room(*node) * (1.0 + EPSILON) + EPSILON * weight);
            // Of equal ones the zone with least to do, then the first by name.
            let key = |node: u32| (self.room(node) / at(self.nodes, node).map_or(1.0, |node| node.capacity), self.zone_load(node));
            let order = |a: &u32, b: &u32| {
                let (a, b) = (key(*a), key(*b));
                let by_room = if fit == Fit::Roomiest { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) };
                by_room.then(a.1.total_cmp(&b.1))
            };
            match fitting.min_by(order) {
                Some(node) => self.put(partition, node),
                None => left.push(partition),
            }
        }
        takers.clear();
        left
    }

    /// Nodes that are still above their ceiling, because what they should have shed fits nowhere, shed
    /// lighter partitions, or exchange one for a lighter one.
    pub(crate) fn settle(&mut self) {
        let over: Vec<u32> = self.takers().filter(|node| self.over(*node)).collect();
        for node in over {
            for _ in 0..EXCHANGES {
                if !self.over(node) || !(self.shed_one(node) || self.exchange(node)) {
                    break;
                }
            }
        }
    }

    /// Moves the heaviest partition that fits somewhere.
    fn shed_one(&mut self, node: u32) -> bool {
        let Some(to) = self.takers().filter(|other| *other != node).max_by(|a, b| self.room(*a).total_cmp(&self.room(*b))) else { return false };
        let room = self.room(to);
        let fitting = self.members_of(node).iter().copied().filter(|member| self.weight(*member) <= room && self.weight(*member) > 0.0);
        let Some(heaviest) = fitting.max_by(|a, b| self.weight(*a).total_cmp(&self.weight(*b))) else { return false };
        if !self.pay(heaviest) {
            return false;
        }
        self.put(heaviest, to);
        true
    }

    /// Exchanges a partition for a lighter one of a node that has room for the difference: the pair that
    /// takes most off.
    fn exchange(&mut self, node: u32) -> bool {
        if self.budget < 2 {
            return false;
        }
        let mut best: Option<(f64, u32, u32, u32)> = None;
        for other in self.takers().filter(|other| *other != node) {
            let room = self.room(other);
            if room <= best.map_or(0.0, |best| best.0) {
                continue;
            }
            for &mine in self.members_of(node) {
                for &theirs in self.members_of(other) {
                    let gain = self.weight(mine) - self.weight(theirs);
                    if gain > EPSILON && gain <= room && best.is_none_or(|best| gain > best.0) {
                        best = Some((gain, mine, theirs, other));
                    }
                }
            }
        }
        let Some((_, mine, theirs, other)) = best else { return false };
        if !(self.pay(mine) && self.pay(theirs)) {
            return false;
        }
        self.put(mine, other);
        self.put(theirs, node);
        true
    }
}
