//! `weir policy push`: a module as an artifact in the layout that `wkg` and the CNCF's guidance for
//! WebAssembly in OCI registries use. Touches a file and a registry.

use super::key::PrivateKey;
use super::registry::RegistryArgs;
use super::sign::private_key;
use anyhow::{Context as _, bail};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use weir_core::ids::{Digest, ObjectRef};
use weir_core::scaling::ScalingPolicy as _;
use weir_engine::source::oci::artifact::{CONFIG, LAYER};
use weir_engine::source::oci::{OciAccess, OciRequest};
use weir_engine::verify::cosign::{SIGNATURE_ANNOTATION, SIMPLE_SIGNING};
use weir_engine::{Candidate, Engine, EngineConfig, Limits, LoadError, PolicyKind, Wasi};

/// Time for a registry to take a connection, and longest silence after that.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a policy exports, for the config of the artifact.
const EXPORT: &str = "weir:policy/scaling@0.1.0";

/// Options of `weir policy push`.
#[derive(clap::Args)]
pub(crate) struct PushArgs {
    /// The module, unpacked: registries keep it as it is, and other tools expect it so.
    file: PathBuf,
    /// Where to: registry, repository and tag, such as ghcr.io/team/drain:1.2.0.
    reference: String,
    /// Sign it too, as `cosign sign --key` does, with this private key that `weir policy keygen` made.
    #[arg(long)]
    key: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Pushes a module.
pub(crate) fn push(args: &PushArgs) -> anyhow::Result<ExitCode> {
    let module = std::fs::read(&args.file).with_context(|| format!("{} can't be read", args.file.display()))?;
    let key = args.key.as_deref().map(private_key).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let pushed = runtime.block_on(push_all(args, module, key.as_ref()))?;
    println!("{pushed}");
    Ok(ExitCode::SUCCESS)
}

async fn push_all(args: &PushArgs, module: Vec<u8>, key: Option<&PrivateKey>) -> anyhow::Result<String> {
    // The same words about a reference as those of the operator.
    OciRequest::new(&args.reference, &OciAccess::default(), 0)?;
    let reference: Reference = args.reference.parse()?;
    if reference.digest().is_some() {
        bail!("push to a tag: a digest is what comes out");
    }
    let annotations = describe(&args.file.display().to_string(), &module)?;
    let target = Target::connect(args, reference).await?;
    let layer = target.blob(&module, LAYER, None).await?;
    let config = serde_json::json!({
        // Fixed, so that the same module is the same artifact whoever pushes it and when.
        "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2", "layerDigests": [layer.digest],
        "component": { "exports": [EXPORT], "imports": [] },
    });
    let config = target.blob(config.to_string().as_bytes(), CONFIG, None).await?;
    let digest = target.manifest(&target.reference, config, vec![layer], annotations).await?;
    if let Some(key) = key {
        target.sign(&digest, key).await?;
    }
    Ok(format!("{}/{}@{digest}", target.reference.registry(), target.reference.repository()))
}

/// Loads the module as the operator would, so that what is pushed can be run; gives what it says about
/// itself, as annotations.
fn describe(name: &str, module: &[u8]) -> anyhow::Result<Option<BTreeMap<String, String>>> {
    let engine = Engine::new(EngineConfig { concurrent_instances: 1, ..EngineConfig::default() })?;
    let candidate = Candidate {
        object: ObjectRef::new("local", name),
        kind: PolicyKind::Scaling,
        bytes: module.to_vec().into(),
        digest: None,
        params: serde_json::Value::Null,
        limits: Limits::default_ceiling(),
        // Whether it may have that is for the WasmPolicy to say.
        wasi: Wasi::Deterministic,
    };
    match engine.load_blocking(&candidate, &[]).result {
        Ok(policy) => {
            let (stamp, description) = (policy.stamp(), policy.description());
            let annotations = [("title", &stamp.name), ("version", &stamp.version), ("description", &description.summary)];
            Ok(Some(annotations.map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.clone())).into()))
        }
        // It needs params, which are the business of who uses it.
        Err(LoadError::InvalidParams { .. }) => Ok(None),
        Err(error) => bail!("{name} is no policy that Weir can run: {error} [{}]", error.reason()),
    }
}

/// A repository to push to.
struct Target {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

impl Target {
    async fn connect(args: &PushArgs, reference: Reference) -> anyhow::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authorities = args.registry.ca_pem()?.map(|data| Certificate { encoding: CertificateEncoding::Pem, data });
        let config = ClientConfig {
            protocol: if args.registry.insecure() { ClientProtocol::Http } else { ClientProtocol::Https },
            tls_certs_only: authorities.into_iter().collect(),
            connect_timeout: Some(TIMEOUT),
            read_timeout: Some(TIMEOUT),
            user_agent: concat!("weir/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let credentials = args.registry.credentials()?;
        let auth = match credentials.get(reference.registry(), reference.repository()) {
            Some(login) => RegistryAuth::Basic(login.user.clone(), login.password.clone()),
            None => RegistryAuth::Anonymous,
        };
        let client = Client::try_from(config).context("no connection to a registry can be made")?;
        client.auth(&reference, &auth, RegistryOperation::Push).await.with_context(|| format!("{} does not let you push", reference.registry()))?;
        Ok(Self { client, reference, auth })
    }

    async fn blob(&self, bytes: &[u8], media_type: &str, annotations: Option<BTreeMap<String, String>>) -> anyhow::Result<OciDescriptor> {
        let digest = Digest::of(bytes).to_string();
        self.client
            .push_blob(&self.reference, bytes.to_vec(), &digest)
            .await
            .with_context(|| format!("{} does not take a layer", self.reference.registry()))?;
        Ok(OciDescriptor { media_type: media_type.to_owned(), digest, size: i64::try_from(bytes.len())?, annotations, ..OciDescriptor::default() })
    }

    async fn manifest(
        &self,
        reference: &Reference,
        config: OciDescriptor,
        layers: Vec<OciDescriptor>,
        annotations: Option<BTreeMap<String, String>>,
    ) -> anyhow::Result<Digest> {
        let manifest = OciImageManifest { media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()), config, layers, annotations, ..OciImageManifest::default() };
        let body = serde_json::to_vec(&manifest)?;
        let digest = Digest::of(&body);
        let pushed = self.client.push_manifest_raw(reference, body, OCI_IMAGE_MEDIA_TYPE.parse()?).await;
        pushed.with_context(|| format!("{} does not take the manifest", self.reference.registry()))?;
        Ok(digest)
    }

    /// Puts a signature beside the artifact, as cosign does; those that are there stay.
    async fn sign(&self, digest: &Digest, key: &PrivateKey) -> anyhow::Result<()> {
        let payload = serde_json::json!({
            "critical": {
                "identity": { "docker-reference": format!("{}/{}", self.reference.registry(), self.reference.repository()) },
                "image": { "docker-manifest-digest": digest.to_string() },
                "type": "cosign container image signature",
            },
            "optional": null,
        })
        .to_string();
        let signature = BTreeMap::from([(SIGNATURE_ANNOTATION.to_owned(), key.sign(payload.as_bytes())?)]);
        let layer = self.blob(payload.as_bytes(), SIMPLE_SIGNING, Some(signature)).await?;
        let tag = format!("{}.sig", digest.to_string().replace(':', "-"));
        let beside = Reference::with_tag(self.reference.registry().to_owned(), self.reference.repository().to_owned(), tag);
        let mut layers = match self.client.pull_image_manifest(&beside, &self.auth).await {
            Ok((found, _)) => found.layers,
            Err(_) => Vec::new(),
        };
        layers.push(layer);
        let diffs: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
        let config = serde_json::json!({ "architecture": "", "os": "", "config": {}, "rootfs": { "type": "layers", "diff_ids": diffs } });
        let config = self.blob(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json", None).await?;
        self.manifest(&beside, config, layers, None).await.map(drop)
    }
}
