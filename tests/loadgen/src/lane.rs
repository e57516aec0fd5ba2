//! One lane: takes batches of one connection, one at a time, and sends each until it is
//! acknowledged. Touches the network through `transport`. Started by `sender`, as many per
//! connection as requests may be under way on it.
use crate::backoff::Backoff;
use crate::encode::Encoder;
use crate::ledger::Ledger;
use crate::meters::Meters;
use crate::pacer::Batch;
use crate::transport::{Outcome, Transport};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// What all lanes of a run share.
pub(crate) struct Common {
    pub(crate) encoder: Encoder,
    pub(crate) ledger: Ledger,
    pub(crate) meters: Meters,
    pub(crate) backoff: Backoff,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// Give up at once: the drain has taken too long, or nobody holds the handle any more.
    pub(crate) abort: CancellationToken,
}

/// The batches of one connection; its lanes take turns.
pub(crate) type Queue = Arc<Mutex<mpsc::UnboundedReceiver<Batch>>>;

/// What is done with a batch after an attempt.
enum Next {
    Done,
    Retry,
}

/// Runs until the queue is closed and empty, or the run is aborted.
pub(crate) async fn run(common: Arc<Common>, transport: Arc<Transport>, queue: Queue) {
    let work = async {
        // The lock is held while waiting: the other lanes then wait for the lock instead.
        while let Some(batch) = { queue.lock().await.recv().await } {
            deliver(&common, &transport, &batch).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = common.abort.cancelled() => {}
    }
}

async fn deliver(common: &Common, transport: &Transport, batch: &Batch) {
    let body = common.encoder.encode(batch);
    let mut failures = 0;
    while let Next::Retry = attempt(common, transport, batch, body.clone()).await {
        failures += 1;
        common.meters.retries.inc();
        let wait = common.backoff.wait(failures, rand::random::<f64>());
        tokio::time::sleep(wait).await;
    }
    common.meters.dequeue(batch.count);
}

async fn attempt(common: &Common, transport: &Transport, batch: &Batch, body: Bytes) -> Next {
    let (meters, ledger) = (&common.meters, &common.ledger);
    ledger.send(batch.stream, batch.numbers());
    meters.sent.inc_by(batch.count);
    meters.sent_bytes.inc_by(crate::num::wide(body.len()));
    let began = Instant::now();
    let outcome = tokio::time::timeout(common.timeout, transport.export(body)).await.unwrap_or_else(|_| Outcome::Lost("timeout".to_owned()));
    match outcome {
        Outcome::Acked => {
            ledger.ack(batch.stream, batch.numbers());
            meters.acked.inc_by(batch.count);
            meters.acked_batches.inc();
            meters.request.observe(began.elapsed());
            meters.ack.observe(batch.offered.elapsed());
            return Next::Done;
        }
        Outcome::Rejected(cause) => {
            ledger.reject(batch.stream, batch.numbers());
            meters.rejected.inc_by(batch.count);
            meters.rejected_batches.inc();
            meters.fail(&cause);
            return Next::Done;
        }
        Outcome::Partial => {
            meters.partial_batches.inc();
            meters.fail("partial_success");
        }
        Outcome::Refused(cause) => {
            meters.refused_batches.inc();
            meters.fail(&cause);
        }
        Outcome::Lost(cause) => {
            meters.lost_batches.inc();
            meters.fail(&format!("lost:{cause}"));
        }
    }
    Next::Retry
}
