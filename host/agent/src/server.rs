//! `/drain`, the target of the collector's preStop hook, and `/healthz`. Touches the network and the
//! clock; called by [`crate::run`] and by tests.

use crate::Options;
use crate::drain::{Drain, Waiting};
use crate::fetch::fetch;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two readings.
const POLL: Duration = Duration::from_millis(500);
/// Between two log lines of one drain.
const REPORT: Duration = Duration::from_secs(10);

struct Shared {
    options: Options,
    /// When the first drain began: a hook that is called again has no more time than that.
    began: OnceLock<Instant>,
}

/// Serves on a socket until an error ends it.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, options: Options) -> std::io::Result<()> {
    let shared = Arc::new(Shared { options, began: OnceLock::new() });
    let routes = Router::new().route("/drain", get(drain)).route("/healthz", get(|| async { "ok\n" })).with_state(shared);
    axum::serve(listener, routes).await
}

async fn drain(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let began = *shared.began.get_or_init(Instant::now);
    let options = &shared.options;
    let mut drain = Drain::new(options.limits());
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reported: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let reading = fetch(&options.metrics_hosts, options.metrics_port).await;
        let elapsed = began.elapsed();
        let waited = elapsed.as_secs_f64();
        match drain.observe(elapsed, &reading) {
            Ok(outcome) => {
                let outcome = outcome.as_str();
                tracing::info!(outcome, waited, ?reading, "the collector may go");
                return Json(json!({ "outcome": outcome, "waitedSeconds": waited }));
            }
            Err(waiting) if reported.is_none_or(|at| at.elapsed() >= REPORT) => {
                reported = Some(Instant::now());
                match waiting {
                    Waiting::Queue(queue) => tracing::info!(queue, waited, "waits for the collector's queues"),
                    Waiting::Intake => tracing::info!(waited, "waits until nothing is taken in any more"),
                    Waiting::Metrics(why) => tracing::warn!(why, waited, "waits for the collector's metrics"),
                }
            }
            Err(_) => {}
        }
    }
}
