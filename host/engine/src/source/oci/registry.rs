//! One repository of one registry, spoken to over HTTP. Touches the network. Used by [`super::OciRegistry`].
//!
//! The requests of a pull are made here and not by oci-client: it reads manifests, tokens and refusals into
//! memory however long they are, and follows redirects from https to http. A registry is a stranger: every
//! answer has a bound in bytes and in time, at most five redirects are followed and none to plain HTTP,
//! credentials go to the registry and the token service that it names and nowhere else.

use super::auth::{Challenge, Login};
use super::error::{OciError, tame};
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use std::time::Duration;
use weir_core::errors::chain;
use weir_core::ids::Digest;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is no layer, in time.
const SHORT: Duration = Duration::from_secs(15);
/// Longest download of a layer: 32 MiB at 280 kB/s.
const LONG: Duration = Duration::from_secs(120);
/// Bytes of a token's answer.
const MOST_TOKEN_BYTES: u64 = 256 << 10;
/// Bytes of a refusal that are read for its words.
const MOST_REFUSAL_BYTES: u64 = 16 << 10;
/// Bytes of a manifest; the distribution specification asks registries to take 4 MiB, and ours has one layer.
pub(super) const MOST_MANIFEST_BYTES: u64 = 1 << 20;
const MOST_REDIRECTS: usize = 5;

/// A client for all registries with one set of authorities; plain HTTP needs none, and works in an image
/// that has none.
pub(super) fn client(ca_pem: Option<&[u8]>, insecure: bool) -> Result<Client, OciError> {
    // reqwest takes the process's provider; an error says that there is one already
    let _ = rustls::crypto::ring::default_provider().install_default();
    let invalid = |detail: String| {
        OciError::InvalidRequest(format!(
            "the CA of spec.source.oci.caSecretRef can't be used ({detail}): give PEM that begins with -----BEGIN CERTIFICATE-----"
        ))
    };
    let builder = Client::builder()
        .http1_only()
        // What is hashed are the bytes as the registry has them.
        .no_gzip()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(redirect::Policy::custom(follow))
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")));
    let builder = match ca_pem {
        None if insecure => builder.tls_certs_only([]),
        None => builder,
        Some(pem) => {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|error| invalid(tame(error)))?;
            if authorities.is_empty() {
                return Err(invalid("it holds no certificate".to_owned()));
            }
            builder.tls_certs_only(authorities)
        }
    };
    builder.build().map_err(|error| match ca_pem {
        Some(_) => invalid(tame(chain(&error))),
        None => OciError::InvalidRequest(format!(
            "this operator can't speak https ({}): its image needs the certificates of public authorities, or set spec.source.oci.caSecretRef",
            tame(chain(&error))
        )),
    })
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from_tls = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MOST_REDIRECTS {
        attempt.error("more than five redirects")
    } else if from_tls && attempt.url().scheme() != "https" {
        attempt.error("a redirect from https to another scheme")
    } else {
        attempt.follow()
    }
}

/// A repository and who asks.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// Host and port of the API.
    pub(super) host: String,
    /// Repository there.
    pub(super) repository: String,
    /// Plain HTTP.
    pub(super) insecure: bool,
    /// User and password, if any.
    pub(super) login: Option<Login>,
}

impl Endpoint {
    /// For people.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.host, self.repository)
    }

    const fn scheme(&self) -> &'static str {
        if self.insecure { "http" } else { "https" }
    }
}

/// Requests to one endpoint, with what it has answered to the first of them.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<RefusalError>,
}

#[derive(Deserialize)]
struct RefusalError {
    code: String,
    #[serde(default)]
    message: String,
}

impl Session {
    pub(super) const fn new(client: Client, endpoint: Endpoint) -> Self {
        Self { client, endpoint, authorization: None }
    }

    /// Which manifest a tag means: one request without a body.
    pub(super) async fn resolve(&mut self, tag: &str) -> Result<Digest, OciError> {
        let path = format!("manifests/{tag}");
        let response = self.send(Method::HEAD, &path, super::artifact::MANIFESTS, SHORT).await?;
        let response = self.accepted(response, &format!("tag {tag}")).await?;
        let header = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match header.and_then(|text| text.parse().ok()) {
            Some(digest) => Ok(digest),
            // An older registry: the digest is that of the bytes.
            None => Ok(Digest::of(&self.get(&path, super::artifact::MANIFESTS, &format!("tag {tag}"), MOST_MANIFEST_BYTES, SHORT).await?)),
        }
    }

    /// A manifest by its digest, checked.
    pub(super) async fn manifest(&mut self, digest: &Digest) -> Result<Bytes, OciError> {
        let what = format!("manifest {digest}");
        let bytes = self.get(&format!("manifests/{digest}"), super::artifact::MANIFESTS, &what, MOST_MANIFEST_BYTES, SHORT).await?;
        self.checked("manifest", digest, bytes)
    }

    /// A manifest or index by its tag, or a list of referrers; none when there is none.
    pub(super) async fn optional(&mut self, path: &str) -> Result<Option<Bytes>, OciError> {
        let accept = format!("{}, {}", super::artifact::MANIFESTS, super::artifact::INDEX);
        match self.get(path, &accept, path, MOST_MANIFEST_BYTES, SHORT).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(OciError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A blob by its digest, checked; its length is known from the manifest.
    pub(super) async fn blob(&mut self, digest: &Digest, bytes: u64) -> Result<Bytes, OciError> {
        let body = self.get(&format!("blobs/{digest}"), "*/*", "layer", bytes, LONG).await?;
        self.checked("layer", digest, body)
    }

    fn checked(&self, what: &'static str, wanted: &Digest, bytes: Bytes) -> Result<Bytes, OciError> {
        let actual = Digest::of(&bytes);
        if actual == *wanted { Ok(bytes) } else { Err(OciError::Corrupt { endpoint: self.endpoint.name(), what, wanted: *wanted, actual }) }
    }

    async fn get(&mut self, path: &str, accept: &str, what: &str, limit: u64, time: Duration) -> Result<Bytes, OciError> {
        let response = self.send(Method::GET, path, accept, time).await?;
        let response = self.accepted(response, what).await?;
        self.body(response, what, limit).await
    }

    async fn send(&mut self, method: Method, path: &str, accept: &str, time: Duration) -> Result<Response, OciError> {
        let url = format!("{}://{}/v2/{}/{path}", self.endpoint.scheme(), self.endpoint.host, self.endpoint.repository);
        let response = self.once(&method, &url, accept, time).await?;
        // A token may have run out, or have been for something else: one more is asked for.
        if response.status() == StatusCode::UNAUTHORIZED && self.authorize(response.headers()).await? {
            return self.once(&method, &url, accept, time).await;
        }
        Ok(response)
    }

    async fn once(&self, method: &Method, url: &str, accept: &str, time: Duration) -> Result<Response, OciError> {
        let mut request = self.client.request(method.clone(), url).timeout(time).header(ACCEPT, accept);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request.send().await.map_err(|error| self.unreachable(error))
    }

    /// Does what the registry asks for before it answers; false when nothing more can be done.
    async fn authorize(&mut self, headers: &HeaderMap) -> Result<bool, OciError> {
        let challenges = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let authorization = match (Challenge::read(challenges), &self.endpoint.login) {
            (Some(Challenge::Basic), Some(login)) => {
                use base64::Engine as _;
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", login.user, login.password)))
            }
            (Some(Challenge::Bearer { realm, service, scope }), _) => format!("Bearer {}", self.token(&realm, service.as_deref(), scope.as_deref()).await?),
            _ => return Ok(false),
        };
        let mut value = HeaderValue::from_str(&authorization).map_err(|_| self.unauthorized("what it wants to be sent is no header".to_owned()))?;
        value.set_sensitive(true);
        if self.authorization.as_ref() == Some(&value) {
            return Ok(false);
        }
        self.authorization = Some(value);
        Ok(true)
    }

    async fn token(&self, realm: &str, service: Option<&str>, scope: Option<&str>) -> Result<String, OciError> {
        let mut url = Url::parse(realm).map_err(|_| self.unauthorized("its token service is no URL".to_owned()))?;
        if url.scheme() != "https" && !(self.endpoint.insecure && url.scheme() == "http") {
            return Err(self.unauthorized("its token service does not speak https, so it gets no credentials".to_owned()));
        }
        let ours = format!("repository:{}:pull", self.endpoint.repository);
        url.query_pairs_mut().append_pair("scope", scope.unwrap_or(&ours));
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(url).timeout(SHORT);
        if let Some(login) = &self.endpoint.login {
            request = request.basic_auth(&login.user, Some(&login.password));
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(OciError::Unreachable { endpoint: self.endpoint.name(), detail: format!("its token service answers {}", status.as_u16()) });
        }
        if !status.is_success() {
            return Err(self.unauthorized(format!("its token service answers {}", status.as_u16())));
        }
        let body = self.body(response, "token", MOST_TOKEN_BYTES).await?;
        let token: Option<Token> = serde_json::from_slice(&body).ok();
        token.and_then(|token| token.token.or(token.access_token)).ok_or_else(|| self.unauthorized("its token service sends no token".to_owned()))
    }

    /// The answer, when it is one that brings what was asked for.
    async fn accepted(&self, response: Response, what: &str) -> Result<Response, OciError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response, "refusal", MOST_REFUSAL_BYTES).await.unwrap_or_default();
        // Only words of the form that the distribution specification gives refusals, so that nothing else
        // that might answer at this address is quoted.
        let detail = serde_json::from_slice::<Refusal>(&body).ok().and_then(|refusal| refusal.errors.into_iter().next());
        let detail = detail.map(|error| tame(format!("{} {}", error.code, error.message)).trim().to_owned()).unwrap_or_default();
        let endpoint = self.endpoint.name();
        Err(match status {
            StatusCode::NOT_FOUND => OciError::NotFound { endpoint, what: what.to_owned(), detail },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => OciError::Unauthorized { endpoint, detail },
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => OciError::Unreachable { endpoint, detail: answers(status, &detail) },
            status if status.is_server_error() => OciError::Unreachable { endpoint, detail: answers(status, &detail) },
            status => OciError::Refused { endpoint, status: status.as_u16(), detail },
        })
    }

    async fn body(&self, mut response: Response, what: &str, limit: u64) -> Result<Bytes, OciError> {
        let too_large = || OciError::TooLarge { what: format!("the {what} of {}", self.endpoint.name()), limit, declared: false };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if (body.len() as u64).saturating_add(chunk.len() as u64) > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn unauthorized(&self, detail: String) -> OciError {
        OciError::Unauthorized { endpoint: self.endpoint.name(), detail }
    }

    fn unreachable(&self, error: reqwest::Error) -> OciError {
        let text = chain(&error.without_url());
        let hint = if self.endpoint.insecure {
            ""
        } else if text.contains("certificate") {
            "; for a registry with an authority of its own set spec.source.oci.caSecretRef"
        } else if text.contains("InvalidContentType") || text.contains("corrupt message") {
            "; does it speak plain HTTP?"
        } else {
            ""
        };
        OciError::Unreachable { endpoint: self.endpoint.name(), detail: format!("{}{hint}", tame(text)) }
    }
}

fn answers(status: StatusCode, detail: &str) -> String {
    format!("it answers {} {detail}", status.as_u16()).trim().to_owned()
}
