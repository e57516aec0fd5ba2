//! How few and how low: the smallest set that suffices, and how far a placement from nothing comes. Touches
//! nothing.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};

/// Slack for sums of floats: a load that is a billionth above its ceiling is at it.
pub const EPSILON: f64 = 1e-9;

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
