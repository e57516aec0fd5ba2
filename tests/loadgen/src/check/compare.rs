//! Sent against found. Pure. Called by `check`.
use super::Look;
use crate::ranges::RangeSet;
use crate::report::Report;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What one node holds of one bucket of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Records, copies included.
    pub(crate) records: u64,
    /// Different numbers.
    pub(crate) distinct: u64,
}

/// What one node holds of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// service → lower bound of the bucket → counts.
    buckets: BTreeMap<String, BTreeMap<u64, Bucket>>,
    /// Records of the run without a number.
    pub(crate) foreign: u64,
}

impl Tally {
    pub(crate) fn insert(&mut self, service: String, start: u64, bucket: Bucket) {
        self.buckets.entry(service).or_default().insert(start, bucket);
    }

    fn of(&self, service: &str) -> impl Iterator<Item = (u64, Bucket)> {
        let buckets = self.buckets.get(service).into_iter().flatten();
        buckets.map(|(start, bucket)| (*start, *bucket))
    }

    /// All records of one service.
    fn records_of(&self, service: &str) -> u64 {
        self.of(service).map(|(_, b)| b.records).sum()
    }

    fn records(&self) -> u64 {
        let buckets = self.buckets.values().flat_map(BTreeMap::values);
        buckets.map(|b| b.records).sum::<u64>() + self.foreign
    }
}

/// What was found of one service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// Every number that some node holds.
    pub(crate) numbers: RangeSet,
    /// Questions that were not answered.
    pub(crate) problems: Vec<String>,
}

/// The numbers of `service` in buckets that one node holds whole, and the ranges of numbers that
/// need a closer look because no node does.
pub(crate) fn whole_buckets<'a>(tallies: impl Iterator<Item = &'a Tally>, service: &str, size: u64) -> (Found, RangeSet) {
    let (mut whole, mut seen) = (RangeSet::new(), RangeSet::new());
    for (start, bucket) in tallies.flat_map(|tally| tally.of(service)) {
        let numbers = start..start.saturating_add(size);
        seen.insert(numbers.clone());
        if bucket.distinct == size {
            whole.insert(numbers);
        }
    }
    let open = seen.minus(&whole);
    let found = Found { numbers: whole, problems: Vec::new() };
    (found, open)
}

/// Whether the counts alone do not already show that something is missing.
pub(crate) fn could_be_complete(look: &Look, expected: &Report) -> bool {
    expected.streams.iter().all(|stream| {
        let tallies = look.iter().flatten();
        let records: u64 = tallies.map(|t| t.records_of(&stream.service)).sum();
        records >= stream.acked.len()
    })
}

/// What became of one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamVerdict {
    /// Its `service.name`.
    pub service: String,
    /// Numbers that were given out.
    pub numbered: u64,
    /// Numbers that were acknowledged.
    pub acked: u64,
    /// Records on all nodes, copies included.
    pub records: u64,
    /// Different numbers found.
    pub distinct: u64,
    /// Acknowledged and not found: lost.
    pub missing: u64,
    /// Which ones.
    pub missing_ranges: RangeSet,
    /// Records beyond the first of each number.
    pub duplicates: u64,
    /// Found though never acknowledged: the answer was lost, or the batch was refused in part.
    pub found_unacknowledged: u64,
}

/// What one node said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeVerdict {
    /// Its URL.
    pub url: String,
    /// Records of the run that it holds.
    pub records: u64,
    /// Why it did not answer.
    pub error: Option<String>,
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The run's id.
    pub run: String,
    /// Numbers that were given out, over all streams.
    pub numbered: u64,
    /// Numbers that were acknowledged.
    pub acked: u64,
    /// Records found, copies included.
    pub records: u64,
    /// Different numbers found.
    pub distinct: u64,
    /// Acknowledged and not found.
    pub missing: u64,
    /// Records beyond the first of each number.
    pub duplicates: u64,
    /// Found though never acknowledged.
    pub found_unacknowledged: u64,
    /// Records of the run whose number cannot be read.
    pub foreign: u64,
    /// How long the check waited, in seconds.
    pub waited_seconds: f64,
    /// Questions that a node did not answer in the closer look.
    pub problems: Vec<String>,
    /// Each stream.
    pub streams: Vec<StreamVerdict>,
    /// Each node.
    pub nodes: Vec<NodeVerdict>,
}

impl Verdict {
    /// Whether every acknowledged record was found. Duplicates do not matter here.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.missing == 0
    }
}

pub(crate) fn verdict(urls: &[String], look: &Look, mut found: BTreeMap<String, Found>, expected: &Report, waited: Duration) -> Verdict {
    let mut problems = Vec::new();
    let mut streams = Vec::new();
    for stream in &expected.streams {
        let mut found = found.remove(&stream.service).unwrap_or_default();
        problems.append(&mut found.problems);
        let tallies = look.iter().flatten();
        let records: u64 = tallies.map(|t| t.records_of(&stream.service)).sum();
        let missing = stream.acked.minus(&found.numbers);
        let distinct = found.numbers.len();
        streams.push(StreamVerdict {
            service: stream.service.clone(),
            numbered: stream.numbered,
            acked: stream.acked.len(),
            records,
            distinct,
            missing: missing.len(),
            missing_ranges: missing,
            duplicates: records.saturating_sub(distinct),
            found_unacknowledged: found.numbers.minus(&stream.acked).len(),
        });
    }
    let node = |(url, tally): (&String, &Result<Tally, String>)| NodeVerdict {
        url: url.clone(),
        records: tally.as_ref().map_or(0, Tally::records),
        error: tally.as_ref().err().cloned(),
    };
    let sum = |of: fn(&StreamVerdict) -> u64| streams.iter().map(of).sum();
    Verdict {
        run: expected.run.clone(),
        numbered: sum(|s| s.numbered),
        acked: sum(|s| s.acked),
        records: sum(|s| s.records),
        distinct: sum(|s| s.distinct),
        missing: sum(|s| s.missing),
        duplicates: sum(|s| s.duplicates),
        found_unacknowledged: sum(|s| s.found_unacknowledged),
        foreign: look.iter().flatten().map(|t| t.foreign).sum(),
        waited_seconds: waited.as_secs_f64(),
        problems,
        nodes: urls.iter().zip(look).map(node).collect(),
        streams,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(buckets: &[(u64, u64, u64)]) -> Tally {
        let mut tally = Tally::default();
        for (start, records, distinct) in buckets {
            let bucket = Bucket { records: *records, distinct: *distinct };
            tally.insert("svc-00".into(), *start, bucket);
        }
        tally
    }

    #[test]
    fn only_buckets_that_no_node_holds_whole_need_a_closer_look() {
        let one = tally(&[(0, 100, 100), (100, 60, 60), (200, 5, 5)]);
        let two = tally(&[(100, 40, 40), (300, 130, 100)]);
        let (found, open) = whole_buckets([&one, &two].into_iter(), "svc-00", 100);
        assert_eq!(found.numbers, RangeSet::from(vec![(0, 99), (300, 399)]));
        assert_eq!(open, RangeSet::from(vec![(100, 299)]));
    }
}
