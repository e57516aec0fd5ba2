//! `weir policy keygen` and `weir policy sign`: detached signatures for modules in ConfigMaps and folders.
//! Touches files.

use super::key::{Algorithm, PrivateKey};
use anyhow::Context as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Options of `weir policy keygen`.
#[derive(clap::Args)]
pub(crate) struct KeygenArgs {
    /// Files to write: NAME.key, which signs and stays with you, and NAME.pub, which goes into
    /// spec.verification. Existing files are not overwritten.
    #[arg(default_value = "policy")]
    name: PathBuf,
    /// Kind of key.
    #[arg(long, value_enum, default_value_t)]
    algorithm: Algorithm,
}

/// Options of `weir policy sign`.
#[derive(clap::Args)]
pub(crate) struct SignArgs {
    /// The module as it will be shipped: a packed one is signed packed.
    file: PathBuf,
    /// Private key that `weir policy keygen` made.
    #[arg(long)]
    key: PathBuf,
    /// Where the signature goes; without it FILE.sig, which is where Weir looks for it.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// Makes a pair of keys.
pub(crate) fn keygen(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let (key, private) = PrivateKey::generate(args.algorithm)?;
    let (private_file, public_file) = (with_ending(&args.name, ".key"), with_ending(&args.name, ".pub"));
    create(&private_file, 0o600, private.as_bytes())?;
    create(&public_file, 0o644, key.public_pem().as_bytes())?;
    println!("{} signs: keep it to yourself", private_file.display());
    println!("{} verifies: put it into spec.verification of the WasmPolicy", public_file.display());
    Ok(ExitCode::SUCCESS)
}

/// Signs a file.
pub(crate) fn sign(args: &SignArgs) -> anyhow::Result<ExitCode> {
    let bytes = std::fs::read(&args.file).with_context(|| format!("{} can't be read", args.file.display()))?;
    let signature = private_key(&args.key)?.sign(&bytes)?;
    let output = args.output.clone().unwrap_or_else(|| with_ending(&args.file, ".sig"));
    std::fs::write(&output, format!("{signature}\n")).with_context(|| format!("{} can't be written", output.display()))?;
    println!("{}", output.display());
    Ok(ExitCode::SUCCESS)
}

/// Reads a private key from a file.
pub(super) fn private_key(file: &Path) -> anyhow::Result<PrivateKey> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?;
    PrivateKey::parse(&text).with_context(|| format!("{} can't sign", file.display()))
}

fn with_ending(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn create(file: &Path, mode: u32, contents: &[u8]) -> anyhow::Result<()> {
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let mut opened = opened.with_context(|| format!("{} can't be made (existing keys are not overwritten)", file.display()))?;
    opened.write_all(contents).with_context(|| format!("{} can't be written", file.display()))
}
