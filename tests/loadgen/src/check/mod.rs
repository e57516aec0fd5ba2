//! Proof of what arrived: asks every VictoriaLogs node which record numbers of a run it holds and
//! compares with the run's report. Touches the network and the clock. Called by tests and by the
//! binary's `check`.
//!
//! The answer is exact, and cheap for millions of records: a node first counts distinct numbers
//! per bucket of [`Checker::bucket`] numbers. A bucket that some node holds whole needs no closer
//! look; of the others (the last one of a stream; those around a move, a hole, or a spread over
//! nodes) the numbers themselves are fetched and united. So copies on two nodes count as
//! duplicates, never as two different records.
pub mod compare;
mod logsql;
mod table;

pub use compare::{NodeVerdict, StreamVerdict, Verdict};

use crate::report::Report;
use compare::{Found, Tally};
use logsql::Node;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Checks with the default patience: see [`Checker`].
///
/// # Errors
/// No URL, or one that cannot be used. A node that does not answer is no error but part of the
/// verdict: its records are missing unless another node has them.
pub async fn check(urls: &[String], run: &str, expected: &Report) -> Result<Verdict, CheckError> {
    Checker::new(urls, run).check(expected).await
}

/// Why nothing can be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nobody to ask.
    #[error("at least one URL of a VictoriaLogs node is needed")]
    NoNode,
    /// A URL that is none.
    #[error("{url:?}: {problem}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The report is of another run.
    #[error("the report is of run {report:?}, not of {asked:?}")]
    OtherRun {
        /// Whose report it is.
        report: String,
        /// Which run was asked for.
        asked: String,
    },
}

/// A check with its patience.
#[derive(Clone, Debug)]
pub struct Checker {
    /// Base URLs of the nodes (`http://host:9428`); all are asked.
    pub urls: Vec<String>,
    /// The run's id.
    pub run: String,
    /// The longest to wait for missing records. Default 60 s.
    pub deadline: Duration,
    /// Stop waiting earlier when counts have not changed for this long. Default 15 s: VictoriaLogs
    /// shows records after a second or so, and collectors' retries pause for seconds.
    pub quiet: Duration,
    /// Pause between two looks. Default 500 ms.
    pub poll: Duration,
    /// Numbers per bucket of the first, coarse count. Default 10,000.
    pub bucket: u64,
}

/// What one coarse look at all nodes gave: per node, its tally or why there is none.
type Look = Vec<Result<Tally, String>>;

impl Checker {
    /// A check with default patience.
    #[must_use]
    pub fn new(urls: &[String], run: &str) -> Self {
        Self {
            urls: urls.to_vec(),
            run: run.to_owned(),
            deadline: Duration::from_secs(60),
            quiet: Duration::from_secs(15),
            poll: Duration::from_millis(500),
            bucket: 10_000,
        }
    }

    /// Looks until nothing is missing and two looks agree, or counts have been quiet, or the
    /// deadline is over; then compares.
    ///
    /// # Errors
    /// See [`check`].
    pub async fn check(&self, expected: &Report) -> Result<Verdict, CheckError> {
        if expected.run != self.run {
            return Err(CheckError::OtherRun { report: expected.run.clone(), asked: self.run.clone() });
        }
        let nodes = logsql::nodes(&self.urls)?;
        let began = Instant::now();
        let mut changed = began;
        let mut last: Option<Look> = None;
        loop {
            let look = self.look(&nodes).await;
            let same = last.as_ref() == Some(&look);
            if !same {
                changed = Instant::now();
            }
            let give_up = began.elapsed() >= self.deadline || changed.elapsed() >= self.quiet;
            // The closer look is worth its price only when all could be there.
            if give_up || (same && compare::could_be_complete(&look, expected)) {
                let found = self.closer(&nodes, &look, expected).await;
                let verdict = compare::verdict(&self.urls, &look, found, expected, began.elapsed());
                if give_up || verdict.complete() {
                    return Ok(verdict);
                }
            }
            last = Some(look);
            tokio::time::sleep(self.poll).await;
        }
    }

    async fn look(&self, nodes: &[Node]) -> Look {
        let tallies = nodes.iter().map(|node| node.tally(&self.run, self.bucket.max(1)));
        futures::future::join_all(tallies).await
    }

    /// Which numbers were found, per service.
    async fn closer(&self, nodes: &[Node], look: &Look, expected: &Report) -> BTreeMap<String, Found> {
        let mut all = BTreeMap::new();
        for stream in &expected.streams {
            let tallies = look.iter().flatten();
            let (mut found, open) = compare::whole_buckets(tallies, &stream.service, self.bucket.max(1));
            for range in open.iter() {
                for node in nodes {
                    match node.numbers(&self.run, &stream.service, &range).await {
                        Ok(numbers) => found.numbers.extend(&numbers),
                        Err(problem) => found.problems.push(format!("{}: {problem}", node.url())),
                    }
                }
            }
            all.insert(stream.service.clone(), found);
        }
        all
    }
}
