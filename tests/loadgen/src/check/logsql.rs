//! Questions to one VictoriaLogs node, in LogsQL over HTTP. Touches the network. Called by
//! `check`. Written against VictoriaLogs 1.121: `/select/logsql/query` streams one JSON object a
//! line; all values are strings; `stats by (field:n)` groups numbers into buckets of `n`, named by
//! their lower bound; `count_uniq` is exact.
use super::CheckError;
use super::compare::{Bucket, Tally};
use crate::ranges::RangeSet;
use serde::Deserialize;
use std::ops::Range;
use std::time::Duration;

/// A node stops a query after 30 s by itself; this is for one that does not answer at all.
const TIMEOUT: Duration = Duration::from_secs(40);

/// One node.
pub(crate) struct Node {
    url: String,
    query: reqwest::Url,
    client: reqwest::Client,
}

/// The nodes behind `urls`.
pub(crate) fn nodes(urls: &[String]) -> Result<Vec<Node>, CheckError> {
    if urls.is_empty() {
        return Err(CheckError::NoNode);
    }
    // Fails when there is one already, which does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wrong = |url: &String, problem: String| CheckError::Url { url: url.clone(), problem };
    urls.iter()
        .map(|url| {
            let query = format!("{}/select/logsql/query", url.trim_end_matches('/'));
            Ok(Node {
                url: url.clone(),
                query: query.parse().map_err(|e| wrong(url, format!("{e}: expected http://host:port")))?,
                client: reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|e| wrong(url, e.to_string()))?,
            })
        })
        .collect()
}

/// A row of the coarse count.
#[derive(Deserialize)]
struct Count {
    #[serde(rename = "service.name", default)]
    service: String,
    #[serde(rename = "seq", default)]
    bucket: String,
    records: String,
    distinct: String,
}

#[derive(Deserialize)]
struct Number<'a> {
    #[serde(borrow)]
    seq: &'a str,
}

impl Node {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Records and distinct numbers per service and bucket of `size` numbers.
    pub(crate) async fn tally(&self, run: &str, size: u64) -> Result<Tally, String> {
        let query = format!(
            "run:=\"{run}\" | stats by (\"service.name\", seq:{size}) \
             count() records, count_uniq(seq) distinct"
        );
        let mut tally = Tally::default();
        self.lines(query, |line| {
            let row: Count = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
            let bucket = Bucket { records: number(&row.records)?, distinct: number(&row.distinct)? };
            match number(&row.bucket) {
                Ok(start) => tally.insert(row.service, start, bucket),
                Err(_) => tally.foreign += bucket.records,
            }
            Ok(())
        })
        .await?;
        Ok(tally)
    }

    /// The numbers of one service within `range`.
    pub(crate) async fn numbers(&self, run: &str, service: &str, range: &Range<u64>) -> Result<RangeSet, String> {
        let query = format!("run:=\"{run}\" \"service.name\":=\"{service}\" seq:range[{}, {}) | fields seq", range.start, range.end);
        let mut numbers = Vec::new();
        self.lines(query, |line| {
            let row: Number = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            numbers.push(row.seq.parse::<u64>().map_err(|e| e.to_string())?);
            Ok(())
        })
        .await?;
        Ok(numbers.into_iter().collect())
    }

    /// Runs a query and hands over each line of the answer as it comes.
    async fn lines(&self, query: String, mut each: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
        let url = {
            let mut url = self.query.clone();
            url.query_pairs_mut().append_pair("query", &query);
            url
        };
        let mut answer = self.client.get(url).send().await.map_err(plain)?;
        if !answer.status().is_success() {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            return Err(format!("{status}: {}", text.trim()));
        }
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(plain)? {
            let mut chunk: &[u8] = &chunk;
            while let Some((line, after)) = split_line(chunk) {
                if rest.is_empty() {
                    each_line(line, &mut each)?;
                } else {
                    rest.extend_from_slice(line);
                    each_line(&rest, &mut each)?;
                    rest.clear();
                }
                chunk = after;
            }
            rest.extend_from_slice(chunk);
        }
        each_line(&rest, &mut each)
    }
}

fn each_line(line: &[u8], each: &mut impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    if line.is_empty() { Ok(()) } else { each(line) }
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.get(1..)?))
}

/// The innermost cause: the outer ones repeat the URL with the whole query.
fn plain(error: reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
