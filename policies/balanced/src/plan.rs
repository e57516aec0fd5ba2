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

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// Stands for a partition without a node.
pub const NO_NODE: u32 = u32::MAX;

/// Slack for sums of floats: a load that is a billionth above its ceiling is at it.
const EPSILON: f64 = 1e-9;

/// Exchanges that are tried for each node that can't shed otherwise.
const EXCHANGES: u32 = 64;

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
    nodes: &'a [Node],
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
    budget: u32,
}

fn at<T: Copy>(column: &[T], index: u32) -> Option<T> {
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

    fn weight(&self, partition: u32) -> f64 {
        at(self.weights, partition).unwrap_or(0.0)
    }

    fn usage(&self, node: u32) -> Use {
        at(self.nodes, node).map_or(Use::Gone, |node| node.usage)
    }

    fn room(&self, node: u32) -> f64 {
        at(&self.ceilings, node).zip(at(&self.loads, node)).map_or(f64::MIN, |(ceiling, load)| ceiling - load)
    }

    fn over(&self, node: u32) -> bool {
        self.room(node) < -EPSILON * at(&self.ceilings, node).unwrap_or(1.0)
    }

    fn takers(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..).zip(self.nodes).filter(|(_, node)| node.usage == Use::Takes).map(|(index, _)| index)
    }

    /// Gives a partition to a node, or with [`NO_NODE`] to none.
    fn put(&mut self, partition: u32, node: u32) {
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
    fn pay(&mut self, partition: u32) -> bool {
        let Some(paid) = usize::try_from(partition).ok().and_then(|index| self.paid.get_mut(index)) else { return false };
        if !*paid {
            let Some(left) = self.budget.checked_sub(1) else { return false };
            (*paid, self.budget) = (true, left);
        }
        true
    }

    /// Puts a partition back where it was, which costs nothing.
    fn give_back(&mut self, partition: u32, home: u32) {
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
            let free = || self.takers().filter(|node| !seats.contains(node)).min_by(|a, b| self.fill(*a).total_cmp(&self.fill(*b)));
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

    fn fill(&self, node: u32) -> f64 {
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

    /// Places the pool, heaviest first. What fits nowhere goes back where it was, or, when it has no node,
    /// to the one with least to do.
    fn place(&mut self, pool: &[u32], homes: &[(u32, u32)]) {
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

    fn zone_load(&self, node: u32) -> f64 {
        at(self.nodes, node).and_then(|node| at(&self.zones, node.zone)).unwrap_or(0.0)
    }

    /// Nodes that are still above their ceiling, because what they should have shed fits nowhere, shed
    /// lighter partitions, or exchange one for a lighter one.
    fn settle(&mut self) {
        let over: Vec<u32> = self.takers().filter(|node| self.over(*node)).collect();
        for node in over {
            for _ in 0..EXCHANGES {
                if !self.over(node) || !(self.shed_one(node) || self.exchange(node)) {
                    break;
                }
            }
        }
    }

    fn members_of(&self, node: u32) -> &[u32] {
        usize::try_from(node).ok().and_then(|index| self.members.get(index)).map_or(&[], Vec::as_slice)
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

    /// Load over capacity of the fullest node that takes partitions, over that of all of them together.
    #[must_use]
    pub fn max_over_mean(&self) -> f64 {
        let capacity: f64 = self.takers().filter_map(|node| at(self.nodes, node)).map(|node| node.capacity).sum();
        let total: f64 = self.weights.iter().sum();
        let fullest = self.takers().map(|node| self.fill(node)).fold(0.0, f64::max);
        if total > 0.0 && capacity > 0.0 { fullest / (total / capacity) } else { 1.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Roomiest,
    Tightest,
}

/// A smallest set of `weights` (descending) that together reach `surplus`, as indices: as many as of the
/// heaviest are needed, and of those sets a light one.
#[must_use]
pub fn fewest(weights: &[f64], surplus: f64) -> Vec<usize> {
    let mut sum = 0.0;
    let mut count = 0;
    for weight in weights {
        if sum >= surplus * (1.0 - EPSILON) {
            break;
        }
        sum += weight;
        count += 1;
    }
    let mut chosen: Vec<usize> = (0..count).collect();
    // From the lightest chosen on: exchange each for the lightest that still reaches.
    let mut end = weights.len();
    for place in (0..count).rev() {
        let Some(own) = weights.get(place) else { continue };
        let spare = sum - surplus;
        let lighter = weights.get(place + 1..end).unwrap_or_default();
        let reach = lighter.partition_point(|weight| own - weight <= spare + EPSILON * surplus.abs());
        if reach > 0 {
            let to = place + reach;
            sum -= own - weights.get(to).copied().unwrap_or(*own);
            if let Some(slot) = chosen.get_mut(place) {
                *slot = to;
            }
            end = to;
        } else {
            end = place;
        }
    }
    chosen
}

/// Load over capacity of the fullest node when `weights` (descending) are placed anew on nodes of these
/// capacities, each on the node that it fills least (R. L. Graham's longest processing time rule, "Bounds
/// on multiprocessing timing anomalies", 1969).
#[must_use]
pub fn longest_first(weights: &[f64], capacities: &[f64]) -> f64 {
    // Of nodes of one capacity only the one with least can be the next; there are few capacities.
    let mut groups: BTreeMap<u64, BinaryHeap<Least>> = BTreeMap::new();
    for capacity in capacities {
        groups.entry(capacity.to_bits()).or_default().push(Least(0.0));
    }
    let mut fullest: f64 = 0.0;
    for weight in weights {
        let filled = |(bits, heap): (&u64, &BinaryHeap<Least>)| heap.peek().map(|least| ((least.0 + weight) / f64::from_bits(*bits), *bits));
        let Some((fill, bits)) = groups.iter().filter_map(filled).min_by(|a, b| a.0.total_cmp(&b.0)) else { return 0.0 };
        if let Some(mut least) = groups.get_mut(&bits).and_then(BinaryHeap::peek_mut) {
            least.0 += weight;
        }
        fullest = fullest.max(fill);
    }
    fullest
}

/// A load; the greatest is the one with least.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Least(f64);

impl Eq for Least {}

impl PartialOrd for Least {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Least {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.total_cmp(&self.0)
    }
}
