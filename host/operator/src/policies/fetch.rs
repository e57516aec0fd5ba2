//! The source `spec.source.oci` of one WasmPolicy: pulls, looks tags up again, rides out outages. Touches the
//! network. Part of [`super::runner`].
//!
//! While a registry does not answer, what runs goes on, and what was pulled before is found on disk. That
//! is said in the condition, and is a fault only of a policy that has nothing to run.

use super::sources::Fetched;
use super::trust::secret;
use crate::context::Context;
use std::time::Duration;
use tokio::time::Instant;
use weir_core::ids::Digest;
use weir_crds::wasm_policy::OciSource;
use weir_crds::{SecretKeyRef, WasmPolicy};
use weir_engine::LoadError;
use weir_engine::source::SourceError;
use weir_engine::source::oci::{Credentials, OciAccess, OciError, OciRequest, Pulled};
use weir_engine::verify::cosign::CosignSignature;
use weir_engine::verify::{Rules, Signatures, Trust};

/// Key of a Secret of type kubernetes.io/dockerconfigjson.
const DOCKER_CONFIG: &str = ".dockerconfigjson";
/// Pause after the first failure; it doubles with each one more, up to the interval.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Reason of what a registry that does not answer brings about.
pub(super) const OUTAGE: &str = "RegistryUnreachable";

/// What is known of the source from one pass to the next.
#[derive(Default)]
pub(super) struct Oci {
    /// When to look again.
    next: Option<Instant>,
    failures: u32,
    /// The manifest that was fetched last.
    manifest: Option<Digest>,
    /// The module was refused for its signatures, which may still come.
    unsigned: bool,
    /// The last fetch brought nothing: whatever a look finds, it is fetched again.
    broken: bool,
    /// Why it is not known whether the newest module runs.
    stale: Option<String>,
}

impl Oci {
    /// Why it is not known whether the newest module runs; none when it is known.
    pub(super) fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// Ends when it is time to look again; never for what needs no look.
    pub(super) async fn due(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Forgets all, for a policy with another source.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes the reason in for which the module was refused, if it was.
    pub(super) fn judged(&mut self, policy: &WasmPolicy, refused: Option<&str>) {
        let Some(source) = &policy.spec.source.oci else { return };
        self.unsigned = refused.is_some_and(|reason| matches!(reason, "SignatureMissing" | "SignatureInvalid" | "NoKeyMatches"));
        if self.unsigned && self.next.is_none() {
            self.next = Some(Instant::now() + jitter(source.interval.as_std()));
        }
    }

    /// Looks a tag up again. True: there is something to fetch.
    pub(super) async fn recheck(&mut self, context: &Context, policy: &WasmPolicy) -> bool {
        let Some(source) = &policy.spec.source.oci else { return false };
        let Ok(request) = request(context, policy, source).await else { return true };
        if request.pinned().is_some() || self.unsigned || self.broken || self.manifest.is_none() {
            return true;
        }
        match context.registry.resolve(&request).await {
            Ok(found) if Some(found) == self.manifest => {
                self.answered(source, &request);
                false
            }
            Err(error) if error.is_outage() => {
                self.outage(source, &error);
                false
            }
            _ => true,
        }
    }

    /// Pulls the artifact and, where rules ask for them, its signatures.
    pub(super) async fn fetch(&mut self, context: &Context, policy: &WasmPolicy, source: &OciSource, rules: &[Rules], running: bool) -> Fetched {
        let request = match request(context, policy, source).await {
            Ok(request) => request,
            Err(failed) => {
                self.next = None;
                return failed;
            }
        };
        let result = self.pull(context, source, &request, rules).await;
        self.broken = result.is_err();
        match result {
            Ok((pulled, cosign)) => {
                self.manifest = Some(pulled.manifest);
                let revision = Some(pulled.manifest.to_string());
                let signatures = Box::new(Signatures { detached: None, artifact: Some(pulled.signed(cosign)) });
                Fetched::Bytes { bytes: pulled.bytes, revision, signatures }
            }
            Err(error) if error.is_outage() && running => {
                self.outage(source, &error);
                Fetched::Pending
            }
            Err(error) => {
                self.failed(source);
                let error = LoadError::from(SourceError::from(error));
                Fetched::failed(error.reason(), error.to_string())
            }
        }
    }

    async fn pull(&mut self, context: &Context, source: &OciSource, request: &OciRequest, rules: &[Rules]) -> Result<(Pulled, Vec<CosignSignature>), OciError> {
        let registry = &context.registry;
        let mut outage = None;
        let pulled = match registry.resolve(request).await {
            Ok(manifest) => registry.pull(request, &manifest).await?,
            Err(error) if error.is_outage() => {
                let known = registry.last_known(request).await;
                let cached = match known {
                    Some(manifest) => registry.cached(request, &manifest).await?,
                    None => None,
                };
                let Some(pulled) = cached else { return Err(error) };
                outage = Some(error);
                pulled
            }
            Err(error) => return Err(error),
        };
        let cosign = signatures(context, request, rules, &pulled, outage.as_ref()).await?;
        match outage {
            Some(error) => self.outage(source, &error),
            None => self.answered(source, request),
        }
        Ok((pulled, cosign))
    }

    fn answered(&mut self, source: &OciSource, request: &OciRequest) {
        if self.stale.take().is_some() {
            tracing::info!(source = source.reference, "the registry answers again");
        }
        self.failures = 0;
        self.next = request.pinned().is_none().then(|| Instant::now() + jitter(source.interval.as_std()));
    }

    fn outage(&mut self, source: &OciSource, error: &OciError) {
        let sentence = format!("{error}; what was pulled before goes on, and the registry is asked again");
        if self.stale.is_none() {
            tracing::warn!(source = source.reference, %error, "a registry does not answer: what was pulled before goes on");
        }
        self.stale = Some(sentence);
        self.failed(source);
    }

    fn failed(&mut self, source: &OciSource) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(source.interval.as_std());
        self.failures = self.failures.saturating_add(1);
        self.next = Some(Instant::now() + jitter(pause));
    }
}

/// A tenth more or less, so that a thousand policies do not ask at the same moment.
pub(super) fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.9..1.1))
}

/// Signatures of an artifact: those on disk when they are enough, else those of the registry.
async fn signatures(
    context: &Context,
    request: &OciRequest,
    rules: &[Rules],
    pulled: &Pulled,
    outage: Option<&OciError>,
) -> Result<Vec<CosignSignature>, OciError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    let known = context.registry.known_signatures(request, &pulled.manifest).await;
    let trust = Trust { rules: rules.to_vec(), signatures: Signatures { detached: None, artifact: Some(pulled.signed(known.clone())) } };
    let bytes = pulled.bytes.clone();
    let enough = tokio::task::spawn_blocking(move || trust.check(&bytes).is_ok()).await.unwrap_or(false);
    if enough || outage.is_some() && !known.is_empty() {
        return Ok(known);
    }
    match outage {
        Some(error) => Err(error.clone()),
        None => context.registry.signatures(request, &pulled.manifest).await,
    }
}

async fn request(context: &Context, policy: &WasmPolicy, source: &OciSource) -> Result<OciRequest, Fetched> {
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let refused = |error: OciError| Fetched::failed(error.reason(), error.to_string());
    let credentials = match &source.pull_secret_ref {
        Some(reference) => {
            let reference = SecretKeyRef { name: reference.name.clone(), key: DOCKER_CONFIG.to_owned() };
            Credentials::from_docker_config(&secret(context, &namespace, &reference).await?).map_err(refused)?
        }
        None => Credentials::default(),
    };
    let ca_pem = match &source.ca_secret_ref {
        Some(reference) => Some(secret(context, &namespace, reference).await?),
        None => None,
    };
    let access = OciAccess { mirrors: source.mirrors.clone(), insecure: source.insecure, ca_pem, credentials, scope: namespace };
    OciRequest::new(&source.reference, &access, context.policies.max_component_bytes()).map_err(refused)
}
