//! A component as an artifact in an OCI registry. Touches the network and one folder. The operator has
//! one [`OciRegistry`], which all its WasmPolicies with `source.oci` share.
//!
//! Nothing that comes from a registry is believed: manifest and layer must have the digests that were asked
//! for, every answer is bounded in bytes and time, and who made the module is the business of
//! [`crate::verify`].
//!
//! | module | what it is |
//! |---|---|
//! | [`question`], [`registry`] | what is asked, and requests to one repository |
//! | [`auth`] | pull Secrets and challenges |
//! | [`artifact`] | what a manifest says |
//! | [`store`] | what was pulled, on disk |
//! | [`error`] | why nothing could be got |

pub mod artifact;
pub mod auth;
mod error;
mod question;
mod registry;
mod store;

pub use auth::{Credentials, Login};
pub use error::OciError;

use crate::cache::CacheError;
use crate::verify::Artifact;
use crate::verify::cosign::CosignSignature;
use bytes::Bytes;
use oci_client::Reference;
use parking_lot::Mutex;
use question::{Pull, Question, Resolve, SignaturesOf};
use registry::{Endpoint, MOST_MANIFEST_BYTES, Session};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Note, Store};
use weir_core::ids::Digest;

/// Pauses before an endpoint that did not answer is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Distinct authorities whose connections are kept.
const MOST_CLIENTS: usize = 64;

/// What to pull, from where, as whom.
#[derive(Clone, Debug)]
pub struct OciRequest {
    reference: Reference,
    endpoints: Vec<Endpoint>,
    ca_pem: Option<Vec<u8>>,
    insecure: bool,
    scope: String,
    max_bytes: u64,
}

/// Where an artifact is pulled from and with what.
#[derive(Clone, Debug, Default)]
pub struct OciAccess {
    /// Asked first, in this order: host, optional port and path.
    pub mirrors: Vec<String>,
    /// Plain HTTP.
    pub insecure: bool,
    /// PEM of the only authorities to trust.
    pub ca_pem: Option<Vec<u8>>,
    /// Logins.
    pub credentials: Credentials,
    /// Who pulls: what one scope has pulled, another does not get from the cache. The namespace.
    pub scope: String,
}

impl OciRequest {
    /// A request for at most `max_bytes` of layer.
    ///
    /// # Errors
    /// [`OciError::InvalidRequest`] when the reference does not name registry, repository and a tag or
    /// sha256 digest.
    pub fn new(reference: &str, access: &OciAccess, max_bytes: u64) -> Result<Self, OciError> {
        let invalid = || {
            OciError::InvalidRequest(format!(
                "{} is no reference to an artifact: write registry, repository and a tag or digest, such as ghcr.io/team/drain:1.2.0",
                error::tame(reference)
            ))
        };
        let parsed: Reference = reference.parse().map_err(|_| invalid())?;
        let host = reference.split('/').next().unwrap_or_default();
        let explicit = host == "localhost" || host.contains(['.', ':']);
        let marked = reference.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        if !explicit || !marked || !reference.contains('/') || parsed.digest().is_some_and(|digest| digest.parse::<Digest>().is_err()) {
            return Err(invalid());
        }
        let endpoint = |registry: &str, api: &str, repository: String| Endpoint {
            login: access.credentials.get(registry, &repository).cloned(),
            host: api.to_owned(),
            repository,
            insecure: access.insecure,
        };
        let mirrors = access.mirrors.iter().map(|mirror| {
            let (host, path) = mirror.split_once('/').unwrap_or((mirror.as_str(), ""));
            let repository = if path.is_empty() { parsed.repository().to_owned() } else { format!("{path}/{}", parsed.repository()) };
            endpoint(host, host, repository)
        });
        let origin = endpoint(parsed.registry(), parsed.resolve_registry(), parsed.repository().to_owned());
        let endpoints = mirrors.chain([origin]).collect();
        Ok(Self { endpoints, reference: parsed, ca_pem: access.ca_pem.clone(), insecure: access.insecure, scope: access.scope.clone(), max_bytes })
    }

    /// The digest that the reference names; none for a tag.
    #[must_use]
    pub fn pinned(&self) -> Option<Digest> {
        self.reference.digest().and_then(|digest| digest.parse().ok())
    }
}

/// An artifact that was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digest of the layer.
    pub layer: Digest,
    /// The layer: the component as it was pushed.
    pub bytes: Bytes,
    /// True when no registry was asked.
    pub from_cache: bool,
}

impl Pulled {
    /// The artifact with its signatures, as [`crate::verify`] wants it.
    #[must_use]
    pub const fn signed(&self, cosign: Vec<CosignSignature>) -> Artifact {
        Artifact { manifest: self.manifest, layer: self.layer, cosign }
    }
}

/// Whom a client trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Authorities {
    /// Nobody: plain HTTP.
    None,
    /// Those of the system.
    System,
    /// Those of a PEM bundle with this digest.
    Given(Digest),
}

/// Pulls artifacts. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct OciRegistry {
    clients: Arc<Mutex<HashMap<Authorities, reqwest::Client>>>,
    store: Option<Arc<Store>>,
}

impl OciRegistry {
    /// With a folder for what was pulled, of at most `max_bytes`.
    ///
    /// # Errors
    /// The folder can't be used.
    pub fn with_cache(folder: &Path, max_bytes: u64) -> Result<Self, CacheError> {
        Ok(Self { clients: Arc::default(), store: Some(Arc::new(Store::open(folder, max_bytes)?)) })
    }

    /// Without one: each start pulls again.
    #[must_use]
    pub fn without_cache() -> Self {
        Self::default()
    }

    /// Which manifest the reference means now. A digest means itself, and nobody is asked.
    ///
    /// # Errors
    /// [`OciError`]; the one of the registry itself when mirrors fail too.
    pub async fn resolve(&self, request: &OciRequest) -> Result<Digest, OciError> {
        if let Some(pinned) = request.pinned() {
            return Ok(pinned);
        }
        let tag = request.reference.tag().unwrap_or("latest");
        let digest = self.ask(request, &Resolve { tag }).await?;
        let (scope, whole) = (request.scope.clone(), request.reference.whole());
        self.on_disk(move |store| store.put_digest(&scope, Note::Tag(&whole), &digest)).await;
        Ok(digest)
    }

    /// Which manifest the reference meant when it was last resolved.
    pub async fn last_known(&self, request: &OciRequest) -> Option<Digest> {
        if let Some(pinned) = request.pinned() {
            return Some(pinned);
        }
        let (scope, whole) = (request.scope.clone(), request.reference.whole());
        self.on_disk(move |store| store.digest(&scope, Note::Tag(&whole))).await.flatten()
    }

    /// The artifact of a manifest, from disk when it is there.
    ///
    /// # Errors
    /// [`OciError`].
    pub async fn pull(&self, request: &OciRequest, manifest: &Digest) -> Result<Pulled, OciError> {
        if let Some(pulled) = self.cached(request, manifest).await? {
            return Ok(pulled);
        }
        let (raw, part, bytes) = self.ask(request, &Pull { manifest, limit: request.max_bytes }).await?;
        let pulled = Pulled { manifest: *manifest, layer: part.digest, bytes: bytes.clone(), from_cache: false };
        let (scope, manifest) = (request.scope.clone(), *manifest);
        self.on_disk(move |store| {
            store.put_blob(&part.digest, &bytes);
            store.put_blob(&manifest, &raw);
            store.put_digest(&scope, Note::Pulled(&manifest), &manifest);
        })
        .await;
        Ok(pulled)
    }

    /// The artifact of a manifest, when it is on disk and this scope has pulled it.
    ///
    /// # Errors
    /// It is no policy, or larger than the request allows.
    pub async fn cached(&self, request: &OciRequest, manifest: &Digest) -> Result<Option<Pulled>, OciError> {
        let (scope, limit, manifest) = (request.scope.clone(), request.max_bytes, *manifest);
        let found = self
            .on_disk(move |store| {
                store.digest(&scope, Note::Pulled(&manifest))?;
                let raw = store.blob(&manifest, MOST_MANIFEST_BYTES)?;
                Some(artifact::component(&raw, limit).map(|part| {
                    let bytes = store.blob(&part.digest, part.bytes)?;
                    Some(Pulled { manifest, layer: part.digest, bytes, from_cache: true })
                }))
            })
            .await;
        found.flatten().transpose().map(Option::flatten)
    }

    /// Signatures of a manifest that were fetched before.
    pub async fn known_signatures(&self, request: &OciRequest, manifest: &Digest) -> Vec<CosignSignature> {
        let (scope, manifest) = (request.scope.clone(), *manifest);
        self.on_disk(move |store| store.signatures(&scope, &manifest)).await.flatten().unwrap_or_default()
    }

    /// Signatures that cosign put beside a manifest: under the tag `sha256-….sig`, or as bundles that refer
    /// to it. None is no error.
    ///
    /// # Errors
    /// [`OciError`].
    pub async fn signatures(&self, request: &OciRequest, manifest: &Digest) -> Result<Vec<CosignSignature>, OciError> {
        let found = self.ask(request, &SignaturesOf { manifest }).await?;
        if !found.is_empty() {
            let (scope, manifest, kept) = (request.scope.clone(), *manifest, found.clone());
            self.on_disk(move |store| store.put_signatures(&scope, &manifest, &kept)).await;
        }
        Ok(found)
    }

    /// Asks one endpoint after the other, each up to three times while it does not answer.
    async fn ask<Q: Question>(&self, request: &OciRequest, question: &Q) -> Result<Q::Answer, OciError> {
        let client = self.client(request.ca_pem.as_deref(), request.insecure)?;
        let mut outage = None;
        let mut failure = None;
        for endpoint in &request.endpoints {
            let mut session = Session::new(client.clone(), endpoint.clone());
            let mut pauses = PAUSES.iter();
            let error = loop {
                match question.ask(&mut session).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) if error.is_outage() => match pauses.next() {
                        Some(pause) => tokio::time::sleep(*pause).await,
                        None => break error,
                    },
                    Err(error) => break error,
                }
            };
            tracing::debug!(endpoint = endpoint.name(), %error, "an endpoint did not give the artifact");
            if error.is_outage() { outage = Some(error) } else { failure = Some(error) }
        }
        // While somebody could not be asked, nobody can say that it is not there.
        outage.or(failure).map_or_else(|| Err(OciError::InvalidRequest("there is no registry to ask".to_owned())), Err)
    }

    fn client(&self, ca_pem: Option<&[u8]>, insecure: bool) -> Result<reqwest::Client, OciError> {
        let key = ca_pem.map_or(if insecure { Authorities::None } else { Authorities::System }, |pem| Authorities::Given(Digest::of(pem)));
        if let Some(client) = self.clients.lock().get(&key) {
            return Ok(client.clone());
        }
        let client = registry::client(ca_pem, insecure)?;
        let mut clients = self.clients.lock();
        // Authorities rotate; who still uses an old client has a clone of it.
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(key, client.clone());
        Ok(client)
    }

    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Store) -> T + Send + 'static) -> Option<T> {
        let store = self.store.clone()?;
        tokio::task::spawn_blocking(move || work(&store)).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_everything_or_is_refused() {
        let access = OciAccess::default();
        for good in ["ghcr.io/a/b:1", "localhost/a:1", "r:5000/a:1", "127.0.0.1:5000/a/b:v1.2_x"] {
            assert_eq!(OciRequest::new(good, &access, 1).unwrap().pinned(), None, "{good}");
        }
        let digest = Digest::of(b"x");
        assert_eq!(OciRequest::new(&format!("ghcr.io/a:1@{digest}"), &access, 1).unwrap().pinned(), Some(digest));
        for bad in ["", "a", "a:1", "team/a:1", "ghcr.io/a", "ghcr.io/A:1", "ghcr.io/a@sha256:12", "https://ghcr.io/a:1", "ghcr.io/../a:1", "ghcr.io:1"] {
            assert_eq!(OciRequest::new(bad, &access, 1).unwrap_err().reason(), "SourceRefused", "{bad}");
        }
    }

    #[test]
    fn mirrors_come_first_with_their_path_and_their_login() {
        let login = |user: &str| Login { user: user.to_owned(), password: "p".to_owned() };
        let credentials = Credentials::of("mirror.example.com", login("m"));
        let access = OciAccess { mirrors: vec!["mirror.example.com/cache".to_owned(), "other:5000".to_owned()], credentials, ..OciAccess::default() };
        let request = OciRequest::new("docker.io/team/a:1", &access, 1).unwrap();
        let names: Vec<String> = request.endpoints.iter().map(Endpoint::name).collect();
        assert_eq!(names, ["mirror.example.com/cache/team/a", "other:5000/team/a", "index.docker.io/team/a"]);
        assert_eq!(request.endpoints.iter().map(|endpoint| endpoint.login.is_some()).collect::<Vec<_>>(), [true, false, false]);
    }
}
