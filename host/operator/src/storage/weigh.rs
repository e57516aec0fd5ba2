//! Observe: asks the nodes of one LogStorage what each partition got within the last minute. Touches the
//! network, in a task of its own, because a store that is busy may take seconds to answer.

use super::index::Members;
use super::valid::Valid;
use crate::context::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::placement::Weighing;
use weir_intake::http::fetch;

/// The time that one question covers, and between two of them.
const WINDOW: Duration = Duration::from_secs(60);
/// Until a node must have answered.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Most bytes of an answer: 10,000 partitions take some 500 kB.
const MOST: usize = 4 << 20;
/// Windows without an answer after which weights don't count any more.
const STALE: u32 = 30;

/// What partitions weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Weights<'a> {
    /// As it was measured.
    Measured(&'a [f64]),
    /// It was measured, and is not known now: nothing moves for balance.
    Stale,
    /// It never was: all count alike.
    Alike,
}

/// Asks, and remembers.
pub(super) struct Weigher {
    /// Weights were measured when this process took over.
    before: bool,
    weighing: Weighing,
    asked: Option<Instant>,
    missed: u32,
    answer: Option<tokio::task::JoinHandle<Option<Vec<f64>>>>,
}

impl Drop for Weigher {
    fn drop(&mut self) {
        if let Some(answer) = &self.answer {
            answer.abort();
        }
    }
}

impl Weigher {
    pub(super) fn new(before: bool) -> Self {
        Self { before, weighing: Weighing::default(), asked: None, missed: 0, answer: None }
    }

    /// Asks when it is time to, and takes in what was answered.
    pub(super) fn tend(&mut self, context: &Arc<Context>, valid: &Arc<Valid>, members: &Members) {
        if let Some(answer) = self.answer.take_if(|answer| answer.is_finished()) {
            // It is finished: this takes the value out without waiting.
            match futures::FutureExt::now_or_never(answer) {
                Some(Ok(Some(bytes))) => {
                    self.weighing.take(&bytes);
                    self.missed = 0;
                }
                _ => self.missed = self.missed.saturating_add(1),
            }
        }
        let asked = *self.asked.get_or_insert_with(Instant::now);
        if self.answer.is_some() || asked.elapsed() < WINDOW {
            return;
        }
        self.asked = Some(Instant::now());
        let pods = members.pods.iter().filter(|(_, pod)| !pod.finished);
        let addresses = pods.filter_map(|(name, pod)| Some((name.to_string(), pod.ip.clone()?))).collect();
        self.answer = Some(tokio::spawn(ask(context.clone(), valid.clone(), addresses)));
    }

    /// What counts now.
    pub(super) fn weights(&self) -> Weights<'_> {
        match self.weighing.weights() {
            Some(weights) if self.missed < STALE => Weights::Measured(weights),
            Some(_) => Weights::Stale,
            None if self.before && self.missed < STALE => Weights::Stale,
            None => Weights::Alike,
        }
    }
}

/// Bytes of each partition over all nodes; `None` when one of them does not answer, because what it got would
/// count as nothing.
async fn ask(context: Arc<Context>, valid: Arc<Valid>, addresses: Vec<(String, String)>) -> Option<Vec<f64>> {
    let (path, query) = valid.engine.weigh_query(WINDOW);
    let port = valid.engine.port();
    let asked = addresses.iter().map(async |(name, ip)| {
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
        let answer = fetch(&context.http, &format!("http://{host}:{port}{path}"), &[("query", &query)], TIMEOUT, MOST).await;
        answer.map_err(|error| tracing::debug!(storage = %valid.object, node = name, error, "this node does not say what its partitions got")).ok()
    });
    let answers: Option<Vec<Vec<u8>>> = futures::future::join_all(asked).await.into_iter().collect();
    let mut bytes = vec![0.0; valid.partitions];
    for answer in answers? {
        if let Err(error) = valid.engine.weigh(&answer, &mut bytes) {
            tracing::warn!(storage = %valid.object, error, "what a node says that its partitions got can't be read");
            return None;
        }
    }
    Some(bytes)
}
