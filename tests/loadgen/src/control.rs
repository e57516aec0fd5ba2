//! The HTTP endpoint of a run: metrics, status, and control while it runs. Touches the network.
//! Served by the binary's `send`; tests use the handle itself.
//!
//! | | |
//! |---|---|
//! | `GET /metrics` | Prometheus text |
//! | `GET /status` | the [`Report`] so far, as JSON |
//! | `POST /rate` | `{"records_per_second": 5000}` or `{"profile": "surge:base=1,…"}`, from now on |
//! | `POST /stop` | stops offering, finishes what is pending, answers with the final [`Report`] |
//! | `GET /healthz` | 200 while the process lives |
use crate::profile::Profile;
use crate::report::Report;
use crate::sender::SenderHandle;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

/// The body of `POST /rate`: one of the two.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Change {
    RecordsPerSecond(f64),
    Profile(Profile),
}

/// The routes, for `axum::serve`.
pub fn router(handle: SenderHandle) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/rate", post(rate))
        .route("/stop", post(stop))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(handle)
}

pub(crate) const EXPOSITION: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(handle): State<SenderHandle>) -> impl IntoResponse {
    ([(CONTENT_TYPE, EXPOSITION)], handle.metrics())
}

async fn status(State(handle): State<SenderHandle>) -> Json<Report> {
    Json(handle.snapshot())
}

async fn stop(State(handle): State<SenderHandle>) -> Json<Report> {
    Json(handle.stop().await)
}

async fn rate(State(handle): State<SenderHandle>, Json(change): Json<Change>) -> Result<StatusCode, (StatusCode, String)> {
    let profile = match change {
        Change::Profile(profile) => profile,
        Change::RecordsPerSecond(rate) if rate.is_finite() && rate >= 0.0 => Profile::constant(rate),
        Change::RecordsPerSecond(rate) => {
            let problem = format!("{rate} is no rate: a finite number, at least 0\n");
            return Err((StatusCode::UNPROCESSABLE_ENTITY, problem));
        }
    };
    handle.set_profile(profile);
    Ok(StatusCode::NO_CONTENT)
}
