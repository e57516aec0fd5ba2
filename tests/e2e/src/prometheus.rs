//! A Prometheus that answers each query with what the test set last, also wrongly.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::routing::any;
use parking_lot::Mutex;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The value of each query.
#[derive(Clone)]
pub struct Values(Arc<dyn Fn(&str) -> f64 + Send + Sync>);

impl Values {
    /// Values that `of` computes from the query.
    pub fn new(of: impl Fn(&str) -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

/// What the server answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// One sample, taken now.
    Value(f64),
    /// One sample, taken now, that depends on the query.
    By(Values),
    /// No sample at all.
    Empty,
    /// 500.
    Fault,
    /// A page instead of JSON.
    Html,
    /// A body that ends in the middle.
    Half,
    /// A sample that is old, in seconds.
    Old(f64, f64),
}

struct Shared {
    answer: Mutex<Answer>,
    asked: AtomicU64,
}

/// The server. Ends with the test's runtime.
pub struct Prometheus {
    /// Its URL.
    pub url: String,
    shared: Arc<Shared>,
}

impl Prometheus {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(answer: Answer) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { answer: Mutex::new(answer), asked: AtomicU64::new(0) });
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let routes = Router::new().route("/api/v1/query", any(query)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { url, shared })
    }

    /// Changes the answer.
    pub fn say(&self, answer: Answer) {
        *self.shared.answer.lock() = answer;
    }

    /// Queries so far.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

async fn query(State(shared): State<Arc<Shared>>, form: String) -> Response<Body> {
    // Tests ask for plain names, which are encoded as they are.
    let asked = form.split('&').find_map(|pair| pair.strip_prefix("query=")).unwrap_or_default();
    shared.asked.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let vector = |at: f64, value: f64| {
        let value = if value.is_nan() { "NaN".to_owned() } else { value.to_string() };
        format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{}},"value":[{at},"{value}"]}}]}}}}"#)
    };
    let (status, kind, body) = match shared.answer.lock().clone() {
        Answer::Value(value) => (StatusCode::OK, "application/json", vector(now, value)),
        Answer::By(values) => (StatusCode::OK, "application/json", vector(now, (values.0)(asked))),
        Answer::Old(value, age) => (StatusCode::OK, "application/json", vector(now - age, value)),
        Answer::Empty => (StatusCode::OK, "application/json", r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned()),
        Answer::Fault => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "out of memory".to_owned()),
        Answer::Html => (StatusCode::OK, "text/html", "<html><body>Sign in</body></html>".to_owned()),
        Answer::Half => (StatusCode::OK, "application/json", r#"{"status":"success","data":{"resul"#.to_owned()),
    };
    Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(Body::from(body)).unwrap_or_default()
}
