//! Reads one pod's metrics over HTTP. May touch: the network, the monotonic clock. Called by the operator
//! per tick and pod; what it reads goes as [`Readings`] into the pure [`crate::Intake`].
//!
//! The whole scrape has one deadline, from the connection to the last byte, so neither a server that
//! drips bytes nor a body without end outlives it. The body is parsed as it arrives and is never held.

use crate::exposition::{Format, Limits, ParseError};
use crate::http::{AUTH_HEADER, Auth, HttpClients, Lost, Scheme, TlsOptions, chain, classify};
use crate::profile::Profile;
use crate::reading::Readings;
use crate::time::Mono;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, Request, StatusCode, Url};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How pods are scraped: `spec.metrics.scrape`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScrapeOptions {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Port on the pod.
    pub port: u16,
    /// Path, with a query if need be.
    pub path: String,
    /// Milliseconds for the whole scrape, body included.
    pub timeout_ms: u32,
    /// Bytes of the body after decompression.
    pub max_body: usize,
    /// Ask for gzip. Off by default: inside a cluster it costs both sides more time than it saves.
    pub gzip: bool,
    /// How the pod's certificate is checked.
    pub tls: TlsOptions,
    /// Who asks.
    pub auth: Auth,
}

impl Default for ScrapeOptions {
    /// A collector's own: `http`, 8888, `/metrics`, 900 ms, 8 MiB.
    fn default() -> Self {
        Self {
            scheme: Scheme::Http,
            port: 8888,
            path: "/metrics".to_owned(),
            timeout_ms: 900,
            max_body: Limits::default().max_body,
            gzip: false,
            tls: TlsOptions::default(),
            auth: Auth::None,
        }
    }
}

/// Why a scrape gave nothing. Each has a stable [`reason`](Self::reason); the text is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// Address, path or token can't be used.
    #[error("the scrape address can't be used: {0}")]
    BadAddress(String),
    /// The TLS setting can't be used, or the handshake failed.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Nobody listens on the port.
    #[error("connection refused: nothing listens on port {0}; check the port, and that the telemetry listens on the pod's address and not on localhost")]
    Refused(u16),
    /// The host's name has no address.
    #[error("the host name has no address: {0}")]
    Dns(String),
    /// No connection, or one that broke before an answer.
    #[error("no connection: {0}")]
    Connect(String),
    /// The deadline passed.
    #[error("no complete answer within {0} ms")]
    Timeout(u32),
    /// The pod wants other credentials.
    #[error("the pod answered {0}: check the token or password")]
    Unauthorized(u16),
    /// Another status than 200.
    #[error("the pod answered {0} instead of 200; check path and port")]
    Status(u16),
    /// The answer sends elsewhere.
    #[error("the answer sends elsewhere, which is not followed: {0}")]
    Redirect(String),
    /// The answer is a web page, JSON or something else.
    #[error("the answer is `{0}` and no metrics in text; check path and port")]
    NotMetrics(String),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// The body broke off.
    #[error("the body broke off after {0} bytes")]
    Incomplete(usize),
    /// The body is no exposition format.
    #[error("{0}")]
    Malformed(ParseError),
}

impl ScrapeError {
    /// The stable word, for conditions, metrics and pods' states.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::BadAddress(_) => "BadAddress",
            Self::Tls(_) => "TlsFailed",
            Self::Refused(_) => "ConnectionRefused",
            Self::Dns(_) => "DnsFailed",
            Self::Connect(_) => "ConnectFailed",
            Self::Timeout(_) => "Timeout",
            Self::Unauthorized(_) => "Unauthorized",
            Self::Status(_) => "BadStatus",
            Self::Redirect(_) => "Redirected",
            Self::NotMetrics(_) => "NotMetrics",
            Self::TooLarge(_) => "BodyTooLarge",
            Self::Incomplete(_) => "BodyIncomplete",
            Self::Malformed(_) => "Malformed",
        }
    }
}

/// One pod's address with all that a scrape needs; made once per pod.
#[derive(Clone, Debug)]
pub struct ScrapeTarget {
    url: Url,
    headers: HeaderMap,
    client: Client,
    options: Arc<ScrapeOptions>,
}

impl ScrapeTarget {
    /// A target at `host`: an IPv4 or IPv6 address (without brackets), or a name.
    ///
    /// # Errors
    /// [`ScrapeError::BadAddress`] or [`ScrapeError::Tls`] when host, path, token or certificates can't be used.
    pub fn new(clients: &HttpClients, host: &str, options: &Arc<ScrapeOptions>) -> Result<Self, ScrapeError> {
        let scheme = match options.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) if named => host.to_owned(),
            Err(_) => return Err(ScrapeError::BadAddress(format!("`{}` is no address and no name", host.chars().take(80).collect::<String>()))),
        };
        let slash = if options.path.starts_with('/') { "" } else { "/" };
        let url =
            Url::parse(&format!("{scheme}://{host}:{}{slash}{}", options.port, options.path)).map_err(|error| ScrapeError::BadAddress(error.to_string()))?;
        let client = clients.client(options.scheme, &options.tls).map_err(|error| ScrapeError::Tls(error.to_string()))?;
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(ACCEPT, HeaderValue::from_static("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(if options.gzip { "gzip" } else { "identity" }));
        if let Some(value) = options.auth.header().map_err(|why| ScrapeError::BadAddress(why.to_owned()))? {
            headers.insert(AUTH_HEADER, value);
        }
        Ok(Self { url, headers, client, options: Arc::clone(options) })
    }
}

/// Scrapes; one for the process.
#[derive(Clone, Copy, Debug)]
pub struct Scraper {
    start: Instant,
}

impl Scraper {
    /// With the `start` from which the operator counts its [`Mono`] time.
    #[must_use]
    pub const fn new(start: Instant) -> Self {
        Self { start }
    }

    /// Scrapes one pod into `into`, which is of use only when this returns `Ok`.
    ///
    /// # Errors
    /// [`ScrapeError`]; never later than the options' timeout.
    pub async fn scrape(&self, target: &ScrapeTarget, profile: &Profile, into: &mut Readings) -> Result<(), ScrapeError> {
        let timeout = target.options.timeout_ms;
        match tokio::time::timeout(Duration::from_millis(u64::from(timeout)), self.ask(target, profile, into)).await {
            Ok(result) => result,
            Err(_) => Err(ScrapeError::Timeout(timeout)),
        }
    }

    async fn ask(&self, target: &ScrapeTarget, profile: &Profile, into: &mut Readings) -> Result<(), ScrapeError> {
        let mut request = Request::new(Method::GET, target.url.clone());
        request.headers_mut().clone_from(&target.headers);
        let mut response = target.client.execute(request).await.map_err(|error| lost(error, target))?;
        // the pod gathers its values before it sends the first byte
        let received = Mono::since_start(self.start);
        match response.status() {
            StatusCode::OK => {}
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => return Err(ScrapeError::Unauthorized(status.as_u16())),
            status => return Err(ScrapeError::Status(status.as_u16())),
        }
        let format = format(response.headers())?;
        let limits = Limits { max_body: target.options.max_body, ..Limits::default() };
        if response.content_length().is_some_and(|length| length > u64::try_from(limits.max_body).unwrap_or(u64::MAX)) {
            return Err(ScrapeError::TooLarge(limits.max_body));
        }
        into.start(received, format, limits, profile);
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => into.feed(&chunk, profile).map_err(unreadable)?,
                Ok(None) => return into.finish().map_err(|error| cut(error, into.body_bytes())),
                Err(_) => return Err(ScrapeError::Incomplete(into.body_bytes())),
            }
        }
    }
}

fn lost(error: reqwest::Error, target: &ScrapeTarget) -> ScrapeError {
    let kind = classify(&error);
    let text = chain(&error.without_url());
    match kind {
        Lost::Refused => ScrapeError::Refused(target.options.port),
        Lost::Dns => ScrapeError::Dns(text),
        Lost::Tls => ScrapeError::Tls(text),
        Lost::Redirect => ScrapeError::Redirect(text),
        Lost::Body => ScrapeError::Incomplete(0),
        Lost::Connect => ScrapeError::Connect(text),
    }
}

fn unreadable(error: ParseError) -> ScrapeError {
    match error {
        ParseError::BodyTooLarge(limit) => ScrapeError::TooLarge(limit),
        other => ScrapeError::Malformed(other),
    }
}

fn cut(error: ParseError, bytes: usize) -> ScrapeError {
    match error {
        ParseError::Truncated(_) | ParseError::MissingEof => ScrapeError::Incomplete(bytes),
        other => unreadable(other),
    }
}

/// The format that the answer says it has. Without a `Content-Type` it is taken for the text format.
fn format(headers: &HeaderMap) -> Result<Format, ScrapeError> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Format::Text) };
    let value = value.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/openmetrics-text") {
        Ok(Format::OpenMetrics)
    } else if essence.eq_ignore_ascii_case("text/plain") || essence.is_empty() {
        Ok(Format::Text)
    } else {
        Err(ScrapeError::NotMetrics(essence.chars().take(80).collect()))
    }
}
