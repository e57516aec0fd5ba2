//! The model behind HTTP. Touches the network and the clock. Served by the binary's `model`.
//!
//! | | |
//! |---|---|
//! | `GET`/`POST /api/v1/query` | `query=…`: an instant vector, as Prometheus answers |
//! | `GET /metrics` | every platform's readings as text |
//! | `POST /replicas` | `{"ready": 3}`, with `"name": "a"` for another platform than `default` |
//! | `POST /rate` | `{"records_per_second": n}` or `{"profile": "…"}`, for all platforms |
//! | `GET /healthz` | 200 |
//!
//! An expression is not evaluated: the first `weir_model_…` name in it that exists is answered,
//! whatever functions are around it; around a `…_total`, `rate(…)` or `irate(…)` answer the
//! current rate. A matcher `name="a"` chooses a platform; one that is asked for and unknown begins
//! then, at the model's present time, so that a thousand objects need no list. Without a matcher
//! it is `default`.
use super::{Model, ModelConfig, Readings};
use crate::control::EXPOSITION;
use crate::num::unix_nanos;
use crate::profile::Profile;
use axum::extract::{Query, RawForm, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

const PREFIX: &str = "weir_model_";
const DEFAULT: &str = "default";
/// More platforms than this are refused: a mistyped test should not fill the memory.
const MOST: usize = 100_000;

/// All platforms of one process.
pub struct Platforms {
    config: Mutex<ModelConfig>,
    started: Instant,
    models: Mutex<BTreeMap<String, Model>>,
}

impl Platforms {
    /// Platforms that all follow `config`; `default` exists at once.
    #[must_use]
    pub fn new(config: ModelConfig) -> Self {
        let models = BTreeMap::from([(DEFAULT.to_owned(), Model::new(&config))]);
        Self { config: Mutex::new(config), started: Instant::now(), models: Mutex::new(models) }
    }

    /// Does something to the platform `name` as of now, beginning it if need be.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Model) -> T) -> Option<T> {
        let now = self.started.elapsed();
        let mut models = self.models.lock();
        if !models.contains_key(name) && models.len() >= MOST {
            return None;
        }
        let model = models.entry(name.to_owned()).or_insert_with(|| {
            let mut model = Model::new(&self.config.lock());
            model.now = now;
            model
        });
        model.advance(now);
        Some(act(model))
    }
}

/// The routes, for `axum::serve`.
pub fn router(platforms: Platforms) -> Router {
    Router::new()
        .route("/api/v1/query", get(query_get).post(query_post))
        .route("/metrics", get(metrics))
        .route("/replicas", post(replicas))
        .route("/rate", post(rate))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(Arc::new(platforms))
}

type Shared = State<Arc<Platforms>>;

#[derive(Deserialize)]
struct Instantly {
    query: Option<String>,
}

async fn query_get(State(p): Shared, Query(q): Query<Instantly>) -> (StatusCode, Json<Value>) {
    answer(&p, q.query.as_deref().unwrap_or_default())
}

async fn query_post(State(p): Shared, RawForm(body): RawForm) -> (StatusCode, Json<Value>) {
    let uri = format!("/?{}", String::from_utf8_lossy(&body));
    let query = uri.parse().ok().and_then(|uri: http::Uri| Query::<Instantly>::try_from_uri(&uri).ok()).and_then(|q| q.0.query);
    answer(&p, query.as_deref().unwrap_or_default())
}

fn answer(platforms: &Platforms, expression: &str) -> (StatusCode, Json<Value>) {
    let result = match Asked::read(expression) {
        None => json!([]),
        Some(asked) => {
            let Some(readings) = platforms.with(&asked.name, |m| m.readings) else {
                let full = json!({"status": "error", "errorType": "internal", "error": "too many platforms"});
                return (StatusCode::SERVICE_UNAVAILABLE, Json(full));
            };
            let seconds = unix_nanos() as f64 / 1e9;
            let metric = json!({"__name__": format!("{PREFIX}{}", asked.metric), "name": asked.name});
            let value = prometheus(asked.value(&readings));
            json!([{"metric": metric, "value": [seconds, value]}])
        }
    };
    let data = json!({"resultType": "vector", "result": result});
    (StatusCode::OK, Json(json!({"status": "success", "data": data})))
}

/// A number as Prometheus writes it.
fn prometheus(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() }
}

/// What an expression asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    metric: &'static str,
    name: String,
}

impl Asked {
    fn read(expression: &str) -> Option<Self> {
        let metrics = Readings::default().named().map(|(name, _, _)| name);
        let known = |word: &str| metrics.iter().find(|m| **m == word).copied();
        let mut words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let metric = words.find_map(|w| known(w.strip_prefix(PREFIX)?))?;
        let rates = ["rate(", "irate("].iter().any(|f| expression.contains(f));
        let metric = match metric {
            "offered_total" if rates => "offered",
            "accepted_total" if rates => "accepted",
            "refused_total" if rates => "refused",
            other => other,
        };
        let name = expression.split_once("name=\"").and_then(|(_, rest)| rest.split_once('"')).map_or(DEFAULT, |(name, _)| name).to_owned();
        Some(Self { metric, name })
    }

    fn value(&self, readings: &Readings) -> f64 {
        let found = readings.named().into_iter().find(|n| n.0 == self.metric);
        found.map_or(f64::NAN, |n| n.2)
    }
}

async fn metrics(State(p): Shared) -> impl IntoResponse {
    let now = p.started.elapsed();
    let mut models = p.models.lock();
    let readings: Vec<(&String, Readings)> = models.iter_mut().map(|(name, model)| (name, model.advance(now))).collect();
    let mut text = String::new();
    for (place, (metric, help, _)) in Readings::default().named().into_iter().enumerate() {
        let (family, kind) = match metric.strip_suffix("_total") {
            Some(family) => (format!("{PREFIX}{family}_records"), "counter"),
            None => (format!("{PREFIX}{metric}"), "gauge"),
        };
        // Writing to a String does not fail. A counter's family must not share a gauge's name.
        let _ = writeln!(text, "# HELP {family} {help}\n# TYPE {family} {kind}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        for (name, readings) in &readings {
            let value = readings.named().get(place).map_or(f64::NAN, |n| n.2);
            let value = prometheus(value);
            let _ = writeln!(text, "{family}{suffix}{{name=\"{name}\"}} {value}");
        }
    }
    text.push_str("# EOF\n");
    ([(CONTENT_TYPE, EXPOSITION)], text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ready {
    ready: u32,
    #[serde(default = "default_name")]
    name: String,
}

fn default_name() -> String {
    DEFAULT.to_owned()
}

async fn replicas(State(p): Shared, Json(said): Json<Ready>) -> StatusCode {
    match p.with(&said.name, |model| model.set_ready(said.ready)) {
        Some(()) => StatusCode::NO_CONTENT,
        None => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Change {
    RecordsPerSecond(f64),
    Profile(Profile),
}

async fn rate(State(p): Shared, Json(change): Json<Change>) -> StatusCode {
    let profile = match change {
        Change::Profile(profile) => profile,
        Change::RecordsPerSecond(rate) => Profile::constant(rate.max(0.0)),
    };
    let now = p.started.elapsed();
    p.config.lock().profile = profile.clone();
    for model in p.models.lock().values_mut() {
        model.advance(now);
        model.set_profile(profile.clone());
    }
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(expression: &str) -> Option<(&'static str, String)> {
        Asked::read(expression).map(|a| (a.metric, a.name))
    }

    #[test]
    fn an_expression_is_answered_by_the_first_metric_it_names() {
        assert_eq!(asked("weir_model_offered"), Some(("offered", "default".into())));
        assert_eq!(asked("sum(weir_model_backlog_seconds{name=\"a\"})"), Some(("backlog_seconds", "a".into())));
        assert_eq!(asked("sum(rate(weir_model_accepted_total[1m]))"), Some(("accepted", "default".into())));
        assert_eq!(asked("weir_model_accepted_total").unwrap().0, "accepted_total");
        assert_eq!(asked("up"), None);
        assert_eq!(asked("weir_model_nonsense"), None);
    }

    #[test]
    fn a_platform_begins_when_it_is_first_asked_for() {
        let platforms = Platforms::new(ModelConfig { profile: Profile::constant(10.0), capacity_per_replica: 100.0, replicas: 1, max_backlog: 1e6 });
        let (status, Json(body)) = answer(&platforms, "weir_model_replicas{name=\"new\"}");
        assert_eq!(status, StatusCode::OK);
        assert_eq!(body["data"]["result"][0]["value"][1], "1");
        assert_eq!(body["data"]["result"][0]["metric"]["name"], "new");
        platforms.with("new", |m| m.set_ready(7));
        let (_, Json(body)) = answer(&platforms, "weir_model_replicas{name=\"new\"}");
        assert_eq!(body["data"]["result"][0]["value"][1], "7");
        let (_, Json(body)) = answer(&platforms, "weir_model_replicas");
        assert_eq!(body["data"]["result"][0]["value"][1], "1");
    }
}
