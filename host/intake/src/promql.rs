//! Asks a server that speaks the Prometheus HTTP API for one number. May touch: the network. Called by the
//! operator for each series with a query; the answer goes into [`crate::Intake`] as a
//! [`crate::QueryReport`].
//!
//! An empty result is missing, not zero. More than one result is an error: which one was meant is not
//! Weir's to guess. The timestamp of an instant vector is the time at which the server evaluated it,
//! not that of the newest sample (servers look back, 5 minutes by default): it shows a server whose clock or
//! cache is off. To see stale samples, query `x and (time() - timestamp(x) < 30)`.

use crate::http::{AUTH_HEADER, Auth, HttpClients, Lost, Scheme, TlsOptions, chain, classify};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;
use weir_core::ids::UnixMs;

/// Which server is asked, and how: `spec.metrics.prometheus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromOptions {
    /// Base, for example `http://prometheus.monitoring:9090` or `https://host/select/0/prometheus`; `/api/v1/query` is added.
    pub url: String,
    /// Who asks.
    pub auth: Auth,
    /// Further headers, for example `X-Scope-OrgID`.
    pub headers: Vec<(String, String)>,
    /// How the server's certificate is checked.
    pub tls: TlsOptions,
    /// Milliseconds for the whole query, body included.
    pub timeout_ms: u32,
    /// Bytes of the answer.
    pub max_body: usize,
    /// Milliseconds by which an answer's timestamp may differ from now.
    pub staleness_ms: u32,
}

impl Default for PromOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            auth: Auth::None,
            headers: Vec::new(),
            tls: TlsOptions::default(),
            timeout_ms: 5_000,
            max_body: 1 << 20,
            staleness_ms: 60_000,
        }
    }
}

/// What a query gave.
#[derive(Clone, Debug, PartialEq)]
pub struct PromAnswer {
    /// The number, may be NaN or infinite; `None` for an empty result.
    pub value: Option<f64>,
    /// The timestamp of the number; that of the question when there is none.
    pub at: UnixMs,
    /// What the server warns of, for example a partial result; at most 8.
    pub warnings: Vec<String>,
}

/// Why a query gave no answer. Each has a stable [`reason`](Self::reason).
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PromError {
    /// URL, header or token can't be used.
    #[error("the Prometheus URL can't be used: {0}")]
    BadAddress(String),
    /// No answer.
    #[error("Prometheus can't be reached ({reason}): {detail}")]
    Unreachable {
        /// A stable word: `ConnectionRefused`, `DnsFailed`, `TlsFailed`, `Redirected`, `ConnectFailed`, `BodyIncomplete`.
        reason: &'static str,
        /// The error's own words.
        detail: String,
    },
    /// The deadline passed.
    #[error("no complete answer from Prometheus within {0} ms")]
    Timeout(u32),
    /// The server wants other credentials.
    #[error("Prometheus answered {0}: check the token, password or headers")]
    Unauthorized(u16),
    /// A status without an error of the API.
    #[error("Prometheus answered {0} without saying why; check the URL")]
    Status(u16),
    /// The API says `status: error`.
    #[error("Prometheus refused the query ({kind}): {message}")]
    Api {
        /// `errorType`, for example `bad_data`, `timeout`, `execution`.
        kind: String,
        /// `error`.
        message: String,
    },
    /// The answer is larger than the limit.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not what the API promises.
    #[error("the answer is no answer of the Prometheus API: {0}")]
    Malformed(String),
    /// The result is a matrix, a string or a histogram.
    #[error("the query gives a {0}; write one that gives a single number")]
    WrongType(String),
    /// More than one series.
    #[error("the query gives {count} series instead of one, the first two {first} and {second}; aggregate them, for example with sum()")]
    Many {
        /// How many.
        count: usize,
        /// Labels of the first.
        first: String,
        /// Labels of the second.
        second: String,
    },
    /// The answer's timestamp is far from now.
    #[error("the answer is {age_ms} ms away from now, more than {limit_ms} ms")]
    Stale {
        /// Distance in milliseconds; negative when the answer is from the future.
        age_ms: i64,
        /// The limit in milliseconds.
        limit_ms: u32,
    },
}

impl PromError {
    /// The stable word.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::BadAddress(_) => "BadAddress",
            Self::Unreachable { reason, .. } => reason,
            Self::Timeout(_) => "Timeout",
            Self::Unauthorized(_) => "Unauthorized",
            Self::Status(_) => "BadStatus",
            Self::Api { .. } => "QueryRefused",
            Self::TooLarge(_) => "BodyTooLarge",
            Self::Malformed(_) => "Malformed",
            Self::WrongType(_) => "WrongResultType",
            Self::Many { .. } => "ManyResults",
            Self::Stale { .. } => "Stale",
        }
    }
}

/// One server.
#[derive(Clone, Debug)]
pub struct PromClient {
    url: Url,
    headers: HeaderMap,
    client: Client,
    timeout_ms: u32,
    max_body: usize,
    staleness_ms: u32,
}

impl PromClient {
    /// A client for one server.
    ///
    /// # Errors
    /// [`PromError::BadAddress`] when URL, headers, token or certificates can't be used.
    pub fn new(clients: &HttpClients, options: &PromOptions) -> Result<Self, PromError> {
        let bad = |why: &str| PromError::BadAddress(why.to_owned());
        let url = Url::parse(&format!("{}/api/v1/query", options.url.trim_end_matches('/'))).map_err(|error| PromError::BadAddress(error.to_string()))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(bad("write http:// or https://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("user and password belong into the authentication, not into the URL"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &options.headers {
            let name = HeaderName::try_from(name).map_err(|_| PromError::BadAddress(format!("`{name}` is no name of a header")))?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_| PromError::BadAddress(format!("the header `{name}` has characters that it can't have")))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        if let Some(value) = options.auth.header().map_err(bad)? {
            headers.insert(AUTH_HEADER, value);
        }
        let client = clients.client(scheme, &options.tls).map_err(|error| PromError::BadAddress(error.to_string()))?;
        Ok(Self { url, headers, client, timeout_ms: options.timeout_ms, max_body: options.max_body, staleness_ms: options.staleness_ms })
    }

    /// Asks for the value of `query` now.
    ///
    /// # Errors
    /// [`PromError`]; never later than the options' timeout.
    pub async fn instant(&self, query: &str, now: UnixMs) -> Result<PromAnswer, PromError> {
        let body = match tokio::time::timeout(Duration::from_millis(u64::from(self.timeout_ms)), self.ask(query)).await {
            Ok(body) => body?,
            Err(_) => return Err(PromError::Timeout(self.timeout_ms)),
        };
        let answer = read(&body, now)?;
        let age_ms = now.since(answer.at);
        if answer.value.is_some() && age_ms.saturating_abs() > i64::from(self.staleness_ms) {
            return Err(PromError::Stale { age_ms, limit_ms: self.staleness_ms });
        }
        Ok(answer)
    }

    async fn ask(&self, query: &str) -> Result<Vec<u8>, PromError> {
        let mut form = Url::parse("form:/").map_err(|error| PromError::BadAddress(error.to_string()))?;
        form.query_pairs_mut().append_pair("query", query).append_pair("timeout", &format!("{}ms", self.timeout_ms));
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().clone_from(&self.headers);
        *request.body_mut() = Some(form.query().unwrap_or_default().to_owned().into());
        let mut response = self.client.execute(request).await.map_err(lost)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > self.max_body {
                return Err(PromError::TooLarge(self.max_body));
            }
            body.extend_from_slice(&chunk);
        }
        // errors of the API come with 400, 422 and 503 and say more than the status
        if status.is_success() || serde_json::from_slice::<Envelope<'_>>(&body).is_ok_and(|answer| answer.status == "error") {
            Ok(body)
        } else if matches!(status.as_u16(), 401 | 403) {
            Err(PromError::Unauthorized(status.as_u16()))
        } else {
            Err(PromError::Status(status.as_u16()))
        }
    }
}

fn lost(error: reqwest::Error) -> PromError {
    let reason = match classify(&error) {
        Lost::Refused => "ConnectionRefused",
        Lost::Dns => "DnsFailed",
        Lost::Tls => "TlsFailed",
        Lost::Redirect => "Redirected",
        Lost::Body => "BodyIncomplete",
        Lost::Connect => "ConnectFailed",
    };
    PromError::Unreachable { reason, detail: chain(&error.without_url()) }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(default, rename = "errorType")]
    kind: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, rename = "resultType")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    result: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
}

fn read(body: &[u8], now: UnixMs) -> Result<PromAnswer, PromError> {
    let malformed = |error: serde_json::Error| PromError::Malformed(error.to_string());
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(malformed)?;
    if envelope.status != "success" {
        let short = |text: String| text.chars().take(300).collect();
        return Err(PromError::Api { kind: short(envelope.kind), message: short(envelope.error) });
    }
    let data = envelope.data.ok_or_else(|| PromError::Malformed("it has no data".to_owned()))?;
    let warnings = envelope.warnings.into_iter().take(8).map(|text| text.chars().take(300).collect()).collect();
    let sample = match &*data.kind {
        "scalar" => Some(serde_json::from_str::<(f64, String)>(data.result.get()).map_err(malformed)?),
        "vector" => {
            let mut elements: Vec<Element> = serde_json::from_str(data.result.get()).map_err(malformed)?;
            if let [first, second, ..] = elements.as_slice() {
                return Err(PromError::Many { count: elements.len(), first: labels(first), second: labels(second) });
            }
            match elements.pop() {
                None => None,
                Some(element) => Some(element.value.ok_or_else(|| PromError::WrongType("histogram".to_owned()))?),
            }
        }
        other => return Err(PromError::WrongType(other.chars().take(40).collect())),
    };
    let Some((seconds, text)) = sample else { return Ok(PromAnswer { value: None, at: now, warnings }) };
    let value = text.parse().map_err(|_| PromError::Malformed("a value is no number".to_owned()))?;
    Ok(PromAnswer { value: Some(value), at: UnixMs(millis(seconds)), warnings })
}

#[expect(clippy::cast_possible_truncation, reason = "saturates; what is that far away is stale")]
const fn millis(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

fn labels(element: &Element) -> String {
    let all = element.metric.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect::<Vec<_>>().join(", ");
    format!("{{{}}}", all.chars().take(120).collect::<String>())
}
