//! A set of record numbers, held as ranges: millions of numbers in a handful of entries, because
//! what is acknowledged is nearly contiguous. Pure. Used by `ledger`, `report` and `check`.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// A set of `u64` as disjoint, non-adjacent ranges. In JSON: `[[first, last], …]`, both included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct RangeSet {
    /// start → end (excluded).
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `range`; returns how many numbers of it were new. O(log n), plus the ranges swallowed.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut had = 0;
        let touching: Vec<(u64, u64)> = self.ranges.range(..=range.end).rev().take_while(|(_, e)| **e >= range.start).map(|(s, e)| (*s, *e)).collect();
        for (s, e) in touching {
            had += e.min(range.end).saturating_sub(s.max(range.start));
            start = start.min(s);
            end = end.max(e);
            self.ranges.remove(&s);
        }
        self.ranges.insert(start, end);
        (range.end - range.start) - had
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(s, e)| e - s).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `number` is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// The ranges in order, end excluded.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(s, e)| *s..*e)
    }

    /// What is in this set and not in `other`.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        let mut rest = Self::new();
        for mine in self.iter() {
            let mut from = mine.start;
            let before = other.ranges.range(..mine.start).next_back();
            let overlapping = before.into_iter().chain(other.ranges.range(mine.clone()));
            for (s, e) in overlapping {
                if *s > from {
                    rest.insert(from..(*s).min(mine.end));
                }
                from = from.max(*e);
            }
            if from < mine.end {
                rest.insert(from..mine.end);
            }
        }
        rest
    }

    /// What is in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: &Self) {
        for range in other.iter() {
            self.insert(range);
        }
    }
}

impl FromIterator<u64> for RangeSet {
    /// Sorts first, so that a million numbers cost a sort and not a million tree operations.
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        let mut sorted: Vec<u64> = numbers.into_iter().collect();
        sorted.sort_unstable();
        let mut set = Self::new();
        let mut open: Option<Range<u64>> = None;
        for n in sorted {
            match &mut open {
                Some(range) if n <= range.end => range.end = range.end.max(n + 1),
                _ => {
                    if let Some(done) = open.replace(n..n + 1) {
                        set.ranges.insert(done.start, done.end);
                    }
                }
            }
        }
        if let Some(done) = open {
            set.ranges.insert(done.start, done.end);
        }
        set
    }
}

impl From<Vec<(u64, u64)>> for RangeSet {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        let mut set = Self::new();
        for (first, last) in pairs {
            set.insert(first..last.saturating_add(1));
        }
        set
    }
}

impl From<RangeSet> for Vec<(u64, u64)> {
    fn from(set: RangeSet) -> Self {
        set.iter().map(|r| (r.start, r.end - 1)).collect()
    }
}

impl From<Range<u64>> for RangeSet {
    fn from(range: Range<u64>) -> Self {
        let mut set = Self::new();
        set.insert(range);
        set
    }
}

impl fmt::Display for RangeSet {
    /// `0–99, 120, 130–139`, at most eight ranges and then how many more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (i, r) in self.iter().take(SHOWN).enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match r.end - r.start {
                1 => write!(f, "{comma}{}", r.start)?,
                _ => write!(f, "{comma}{}–{}", r.start, r.end - 1)?,
            }
        }
        match self.ranges.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, " and {more} more ranges"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(pairs: &[(u64, u64)]) -> RangeSet {
        RangeSet::from(pairs.to_vec())
    }

    #[test]
    fn neighbouring_ranges_become_one() {
        assert_eq!(set(&[(0, 9), (20, 29), (10, 19)]), set(&[(0, 29)]));
        assert_eq!(set(&[(0, 9), (5, 12)]).to_string(), "0–12");
        assert_eq!(set(&[(3, 3), (7, 8)]).to_string(), "3, 7–8");
    }

    #[test]
    fn json_holds_the_first_and_last_number_of_each_range() {
        let json = serde_json::to_string(&set(&[(0, 9), (20, 20)])).unwrap();
        assert_eq!(json, "[[0,9],[20,20]]");
        let back: RangeSet = serde_json::from_str(&json).unwrap();
        assert_eq!(back, set(&[(0, 9), (20, 20)]));
    }

    fn some_ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
        prop::collection::vec((0_u64..120, 0_u64..15).prop_map(|(a, n)| (a, a + n)), 0..12)
    }

    fn numbers(pairs: &[(u64, u64)]) -> BTreeSet<u64> {
        pairs.iter().flat_map(|(a, b)| *a..=*b).collect()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_of_numbers_holds(a in some_ranges(), b in some_ranges()) {
            let (na, nb) = (numbers(&a), numbers(&b));
            let (ra, rb) = (set(&a), set(&b));
            prop_assert_eq!(ra.len(), na.len() as u64);
            prop_assert_eq!(&na.iter().copied().collect::<RangeSet>(), &ra);
            for n in 0..150 {
                prop_assert_eq!(ra.contains(n), na.contains(&n));
            }
            prop_assert_eq!(ra.minus(&rb), na.difference(&nb).copied().collect::<RangeSet>());
            prop_assert_eq!(ra.and(&rb), na.intersection(&nb).copied().collect::<RangeSet>());
        }

        #[test]
        fn insert_tells_how_many_numbers_were_new(a in some_ranges(), from in 0_u64..120, n in 0_u64..30) {
            let mut ranges = set(&a);
            let before = ranges.len();
            let new = ranges.insert(from..from + n);
            prop_assert_eq!(ranges.len(), before + new);
        }
    }
}
