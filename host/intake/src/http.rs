//! HTTP clients shared by scrapes and queries: one per distinct TLS setting, with keep-alive pools.
//! May touch: the network (by the clients it makes), the system's certificates. Called by
//! [`crate::scrape`] and [`crate::promql`].
//!
//! All clients: rustls with ring, HTTP/1.1, no proxy from the environment (a pod is never behind one), no
//! redirect to another scheme, host or port, at most three redirects.

use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Certificate, Client, redirect};
use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

/// `http` or `https`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

/// How a server's certificate is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsOptions {
    /// PEM of the only authorities to trust; absent: those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// Trust any certificate. Who can answer in the pod's place can then make up its numbers.
    pub insecure_skip_verify: bool,
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    None,
    /// A bearer token.
    Bearer(String),
    /// User and password.
    Basic {
        /// Name.
        user: String,
        /// Password.
        password: String,
    },
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Bearer(_) => "Bearer(…)",
            Self::Basic { .. } => "Basic(…)",
        })
    }
}

impl Auth {
    /// The header, marked as secret; `Err` when the token can't be a header.
    pub(crate) fn header(&self) -> Result<Option<HeaderValue>, &'static str> {
        use base64::Engine as _;
        let text = match self {
            Self::None => return Ok(None),
            Self::Bearer(token) => format!("Bearer {}", token.trim()),
            Self::Basic { user, password } => format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| "the token has characters that a header can't have")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The header's name, where both callers find it.
pub(crate) const AUTH_HEADER: reqwest::header::HeaderName = AUTHORIZATION;

/// A client can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The CA bundle holds no certificate that can be read.
    #[error("the CA bundle is no PEM with certificates: {0}")]
    Ca(String),
    /// Something else, such as a system without certificates.
    #[error("no TLS client can be made: {0}")]
    Tls(String),
}

/// The clients of the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HttpClients {
    by_tls: Arc<Mutex<HashMap<Key, Client>>>,
}

/// Distinct TLS settings that are kept.
const MOST_CLIENTS: usize = 64;

/// Idle connections that are kept per host: one for a pod, and more for a Prometheus that thousands of
/// objects ask.
const IDLE: usize = 32;

/// Plain HTTP needs no certificates: it works in an image that has none.
type Key = Option<TlsOptions>;

impl HttpClients {
    /// No client yet; each is made at its first use.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The client for a scheme and TLS setting.
    ///
    /// # Errors
    /// [`ClientError`] when the certificates can't be used.
    pub fn client(&self, scheme: Scheme, tls: &TlsOptions) -> Result<Client, ClientError> {
        let key = (scheme == Scheme::Https).then(|| tls.clone());
        let mut clients = self.by_tls.lock();
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = build(key.as_ref())?;
        // authorities rotate; who still uses an old client has a clone of it
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(tls: Option<&TlsOptions>) -> Result<Client, ClientError> {
    // reqwest takes the process's provider; an error says that there is one already
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .http1_only()
        .no_proxy()
        .tcp_nodelay(true)
        .pool_max_idle_per_host(IDLE)
        .pool_idle_timeout(Duration::from_secs(90))
        .redirect(redirect::Policy::custom(stay))
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    let builder = match tls {
        None => builder.tls_certs_only([]),
        Some(TlsOptions { insecure_skip_verify: true, .. }) => builder.tls_danger_accept_invalid_certs(true),
        Some(TlsOptions { ca_pem: Some(pem), .. }) => {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|error| ClientError::Ca(chain(&error)))?;
            if authorities.is_empty() {
                return Err(ClientError::Ca("it is empty".to_owned()));
            }
            builder.tls_certs_only(authorities)
        }
        Some(_) => builder,
    };
    builder.build().map_err(|error| ClientError::Tls(chain(&error)))
}

/// Follows a redirect that stays with the same scheme, host and port.
fn stay(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let same = attempt.previous().first().is_some_and(|first| {
        let next = attempt.url();
        (first.scheme(), first.host_str(), first.port_or_known_default()) == (next.scheme(), next.host_str(), next.port_or_known_default())
    });
    if same && attempt.previous().len() <= 3 {
        attempt.follow()
    } else {
        let to = attempt.url().to_string();
        attempt.error(format!("redirected to {}", to.chars().take(200).collect::<String>()))
    }
}

/// An error and its causes, outermost first, without what repeats and without the address (it may hold secrets).
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ").chars().take(300).collect()
}

/// Asks for a page over plain HTTP, and reads at most `most` bytes of the answer.
///
/// # Errors
/// One sentence without the address: no answer within `timeout`, one that is no success, or one that is larger.
pub async fn fetch(clients: &HttpClients, url: &str, query: &[(&str, &str)], timeout: Duration, most: usize) -> Result<Vec<u8>, String> {
    let url = reqwest::Url::parse_with_params(url, query).map_err(|error| error.to_string())?;
    let client = clients.client(Scheme::Http, &TlsOptions::default()).map_err(|error| error.to_string())?;
    let mut response = client.get(url).timeout(timeout).send().await.map_err(|error| chain(&error.without_url()))?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error.without_url()))? {
        if body.len() + chunk.len() > most {
            return Err(format!("its answer is larger than {most} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// In which way a request did not get an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Refused,
    Dns,
    Tls,
    Redirect,
    Body,
    Connect,
}

pub(crate) fn classify(error: &reqwest::Error) -> Lost {
    let unknown = if error.is_body() || error.is_decode() { Lost::Body } else { Lost::Connect };
    match error.source() {
        _ if error.is_redirect() => Lost::Redirect,
        Some(cause) => cause_of(cause).unwrap_or(unknown),
        None => unknown,
    }
}

fn cause_of(error: &(dyn StdError + 'static)) -> Option<Lost> {
    if error.is::<rustls::Error>() {
        return Some(Lost::Tls);
    }
    // hyper-util's connector names the step in its text only
    if error.to_string().starts_with("dns error") {
        return Some(Lost::Dns);
    }
    if let Some(io) = error.downcast_ref::<std::io::Error>() {
        if io.kind() == std::io::ErrorKind::ConnectionRefused {
            return Some(Lost::Refused);
        }
        // what an io::Error wraps is not among its sources
        if let Some(found) = io.get_ref().and_then(|inner| cause_of(inner)) {
            return Some(found);
        }
    }
    cause_of(error.source()?)
}
