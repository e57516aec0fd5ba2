//! A verdict for people. Pure.
use super::Verdict;
use std::fmt;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>12}",
            "STREAM", "NUMBERED", "ACKED", "RECORDS", "DISTINCT", "MISSING", "DUPLICATE", "UNACKED"
        )?;
        let mut row = |name: &str, n: [u64; 7]| {
            let [numbered, acked, records, distinct, missing, duplicates, unacked] = n;
            writeln!(
                f,
                "{name:<12} {numbered:>12} {acked:>12} {records:>12} {distinct:>12} \
                 {missing:>10} {duplicates:>10} {unacked:>12}"
            )
        };
        for s in &self.streams {
            row(&s.service, [s.numbered, s.acked, s.records, s.distinct, s.missing, s.duplicates, s.found_unacknowledged])?;
        }
        row("all", [self.numbered, self.acked, self.records, self.distinct, self.missing, self.duplicates, self.found_unacknowledged])?;
        for n in &self.nodes {
            match &n.error {
                None => writeln!(f, "node {}: {} records", n.url, n.records)?,
                Some(error) => writeln!(f, "node {}: no answer: {error}", n.url)?,
            }
        }
        for problem in &self.problems {
            writeln!(f, "not answered: {problem}")?;
        }
        for s in self.streams.iter().filter(|s| s.missing > 0) {
            writeln!(f, "missing of {}: {}", s.service, s.missing_ranges)?;
        }
        let word = if self.complete() { "complete: every acknowledged record was found" } else { "INCOMPLETE: acknowledged records are missing" };
        writeln!(f, "{word} (run {}, waited {:.1} s)", self.run, self.waited_seconds)
    }
}
