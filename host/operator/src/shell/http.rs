//! `/metrics`, `/healthz` and `/readyz`. Touches the network (one listener); the main function
//! serves it, the parts of the operator report to it through [`Gate`] and [`Beat`].
//!
//! - **ready** means: every [`Gate`] is open, for example every watch has its first full list. A
//!   standby is ready too: it takes over within seconds because its caches are warm;
//! - **healthy** means: every [`Beat`] came within its limit. A loop that hangs is a reason to
//!   restart the process; an API server that is away is not, so nothing here depends on it.
//!
//! A probe that fails says why in its body, which kubelet puts into an Event.

use super::metrics::Metrics;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The media type of what [`Metrics::encode`] gives.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long open connections may go on after a shutdown.
const GRACE: Duration = Duration::from_secs(2);

/// What readiness and liveness are judged by.
#[derive(Clone, Debug, Default)]
pub struct Probes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    next: AtomicU64,
    gates: Mutex<BTreeMap<u64, (&'static str, Arc<AtomicBool>)>>,
    beats: Mutex<BTreeMap<u64, Pulse>>,
}

#[derive(Debug)]
struct Pulse {
    name: &'static str,
    limit: Duration,
    /// Milliseconds from the start to the last beat.
    last: Arc<AtomicU64>,
}

impl Default for Inner {
    fn default() -> Self {
        Self { start: Instant::now(), next: AtomicU64::new(0), gates: Mutex::default(), beats: Mutex::default() }
    }
}

impl Inner {
    fn key(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Probes {
    /// No gate and no beat: ready and healthy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A gate that is closed until it is opened. `name` says what readiness waits for, for example
    /// `watch of LogProcessors`.
    #[must_use]
    pub fn gate(&self, name: &'static str) -> Gate {
        let (key, open) = (self.0.key(), Arc::new(AtomicBool::new(false)));
        self.0.gates.lock().insert(key, (name, open.clone()));
        Gate { key, open, probes: self.clone() }
    }

    /// A loop that promises to come by at least every `limit`, beginning now.
    #[must_use]
    pub fn beat(&self, name: &'static str, limit: Duration) -> Beat {
        let (key, last) = (self.0.key(), Arc::new(AtomicU64::new(self.0.now_ms())));
        self.0.beats.lock().insert(key, Pulse { name, limit, last: last.clone() });
        Beat { key, last, probes: self.clone() }
    }

    /// What readiness still waits for; empty when ready.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.0.gates.lock().values().filter(|(_, open)| !open.load(Ordering::Acquire)).map(|(name, _)| *name).collect()
    }

    /// The loops that did not come by in time, each as a sentence; empty when healthy.
    #[must_use]
    pub fn stuck(&self) -> Vec<String> {
        let now = self.0.now_ms();
        let age = |pulse: &Pulse| Duration::from_millis(now.saturating_sub(pulse.last.load(Ordering::Acquire)));
        let beats = self.0.beats.lock();
        beats
            .values()
            .filter(|pulse| age(pulse) > pulse.limit)
            .map(|pulse| format!("{} did not come by for {:.1?}, limit {:.1?}", pulse.name, age(pulse), pulse.limit))
            .collect()
    }
}

/// One condition of readiness. Dropping it takes the condition away.
#[derive(Debug)]
pub struct Gate {
    key: u64,
    open: Arc<AtomicBool>,
    probes: Probes,
}

impl Gate {
    /// The condition holds.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// The condition no longer holds.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.probes.0.gates.lock().remove(&self.key);
    }
}

/// The pulse of one loop. Dropping it takes the promise back.
#[derive(Debug)]
pub struct Beat {
    key: u64,
    last: Arc<AtomicU64>,
    probes: Probes,
}

impl Beat {
    /// The loop came by.
    pub fn beat(&self) {
        self.last.store(self.probes.0.now_ms(), Ordering::Release);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.probes.0.beats.lock().remove(&self.key);
    }
}

/// The three paths, to serve alone or merged with more.
pub fn routes(probes: Probes, metrics: Arc<Metrics>) -> Router {
    let ready = probes.clone();
    Router::new()
        .route("/metrics", get(move || async move { exposition(&metrics) }))
        .route("/healthz", get(move || async move { verdict(&probes.stuck()) }))
        .route("/readyz", get(move || async move { verdict(&ready.missing()) }))
}

fn exposition(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn verdict<S: AsRef<str>>(problems: &[S]) -> Response {
    if problems.is_empty() {
        return "ok\n".into_response();
    }
    let lines: String = problems.iter().map(|problem| format!("waiting for: {}\n", problem.as_ref())).collect();
    (StatusCode::SERVICE_UNAVAILABLE, lines).into_response()
}

/// Serves `routes` until `shutdown`; requests that are being answered then have 2 s to end.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, routes: Router, shutdown: CancellationToken) -> io::Result<()> {
    let server = axum::serve(listener, routes).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = overdue => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::metrics::MetricsOptions;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_say_what_is_missing_and_metrics_are_open_metrics() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (probes, shutdown) = (Probes::new(), CancellationToken::new());
        let metrics = Metrics::new(MetricsOptions { version: "0", per_object: false });
        let server = tokio::spawn(serve(listener, routes(probes.clone(), metrics), shutdown.clone()));

        let pods = probes.gate("watch of Pods");
        let answer = fetch(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("waiting for: watch of Pods\n"), "{answer}");
        pods.open();
        assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 200"));

        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let stuck = probes.beat("ticks", Duration::ZERO);
        while probes.stuck().is_empty() {
            tokio::task::yield_now().await;
        }
        let answer = fetch(address, "/healthz").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("ticks did not come by"), "{answer}");
        drop(stuck);
        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));

        let answer = fetch(address, "/metrics").await;
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8") && answer.contains("# EOF"), "{answer}");

        // An idle connection does not hold the shutdown up.
        let _idle = TcpStream::connect(address).await.unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap().unwrap();
    }
}
