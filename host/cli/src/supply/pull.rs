//! `weir policy pull`: an artifact as the operator would get it, with the same bounds and checks. Touches a
//! registry and a file.

use super::registry::RegistryArgs;
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_engine::EngineConfig;
use weir_engine::source::oci::{OciAccess, OciRegistry, OciRequest};
use weir_engine::verify::{NamedKey, PublicKey, RuleSource, Rules, Signatures, Trust};

/// Options of `weir policy pull`.
#[derive(clap::Args)]
pub(crate) struct PullArgs {
    /// What: registry, repository, and a tag or digest.
    reference: String,
    /// Where the module goes.
    #[arg(long, short, default_value = "policy.wasm")]
    output: PathBuf,
    /// Public keys in PEM of which one must have signed it.
    #[arg(long)]
    key: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
}

/// Pulls a module.
pub(crate) fn pull(args: &PullArgs) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(pull_all(args))
}

async fn pull_all(args: &PullArgs) -> anyhow::Result<ExitCode> {
    let keys = match &args.key {
        Some(file) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
            PublicKey::parse_all(&text).with_context(|| file.display().to_string())?
        }
        None => Vec::new(),
    };
    let access =
        OciAccess { insecure: args.registry.insecure(), ca_pem: args.registry.ca_pem()?, credentials: args.registry.credentials()?, ..OciAccess::default() };
    let registry = OciRegistry::without_cache();
    let request = OciRequest::new(&args.reference, &access, EngineConfig::default().max_component_bytes)?;
    let manifest = registry.resolve(&request).await?;
    let pulled = registry.pull(&request, &manifest).await?;
    if !keys.is_empty() {
        let named = keys.into_iter().map(|key| NamedKey { name: format!("--key {}", key.fingerprint()), key }).collect();
        let artifact = pulled.signed(registry.signatures(&request, &manifest).await?);
        let trust = Trust {
            rules: vec![Rules { source: RuleSource::Spec, keys: named, required: true }],
            signatures: Signatures { detached: None, artifact: Some(artifact) },
        };
        trust.check(&pulled.bytes)?;
    }
    std::fs::write(&args.output, &pulled.bytes).with_context(|| format!("{} can't be written", args.output.display()))?;
    println!("manifest  {manifest}");
    println!("module    {} ({} bytes)", pulled.layer, pulled.bytes.len());
    println!("signed    {}", if args.key.is_some() { "yes, by one of the keys" } else { "not checked: name public keys with --key" });
    println!("file      {}", args.output.display());
    Ok(ExitCode::SUCCESS)
}
