//! The real cosign for tests: makes keys, signs artifacts and files, and checks them. It writes nothing to
//! the public transparency log and asks nobody on the network but the registry of the test.

use crate::cache;
use crate::parts::Part;
use crate::process::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// cosign with a folder for its keys.
#[derive(Debug)]
pub struct Cosign {
    program: PathBuf,
    dir: TempDir,
    docker_config: Option<PathBuf>,
    ca: Option<PathBuf>,
}

impl Cosign {
    /// With no keys yet.
    ///
    /// # Errors
    /// It can't be compiled.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("weir-cosign-").tempdir().context("creating a folder")?;
        Ok(Self { program: cache::program(Part::Cosign)?, dir, docker_config: None, ca: None })
    }

    /// Logs in with the Docker configuration in a folder, and trusts the authority in a file.
    #[must_use]
    pub fn with_access(mut self, docker_config: &Path, ca: &Path) -> Self {
        self.docker_config = Some(docker_config.to_owned());
        self.ca = Some(ca.to_owned());
        self
    }

    /// Makes a pair of keys; gives the public one in PEM.
    ///
    /// # Errors
    /// cosign fails.
    pub fn generate(&self, name: &str) -> Result<String> {
        run(self.command().args(["generate-key-pair", "--output-key-prefix", name]))?;
        self.public(name)
    }

    /// Takes a private key in PEM; gives the public one.
    ///
    /// # Errors
    /// cosign refuses it.
    pub fn import(&self, name: &str, private_pem: &str) -> Result<String> {
        fs::write(self.dir.path().join("imported.pem"), private_pem).context("writing the key")?;
        run(self.command().args(["import-key-pair", "--key", "imported.pem", "--output-key-prefix", name]))?;
        self.public(name)
    }

    fn public(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.dir.path().join(format!("{name}.pub"))).context("reading the public key")
    }

    /// Signs an artifact, `registry/repository@sha256:…`, beside which the registry then holds the signature.
    ///
    /// # Errors
    /// cosign or the registry refuses.
    pub fn sign(&self, key: &str, artifact: &str) -> Result<()> {
        self.sign_with(key, artifact, &[])
    }

    /// As [`Cosign::sign`], with more options.
    ///
    /// # Errors
    /// cosign or the registry refuses.
    pub fn sign_with(&self, key: &str, artifact: &str, more: &[&str]) -> Result<()> {
        let mut command = self.command();
        command.args(["sign", "--yes", "--tlog-upload=false", "--key", &format!("{key}.key")]).args(more);
        if self.ca.is_none() {
            command.args(["--allow-http-registry", "--allow-insecure-registry"]);
        }
        run(command.arg(artifact)).map(drop)
    }

    /// Checks the signature of an artifact.
    ///
    /// # Errors
    /// cosign does not accept it.
    pub fn verify(&self, key: &str, artifact: &str) -> Result<()> {
        let public = format!("{key}.pub");
        run(self.command().args(["verify", "--insecure-ignore-tlog=true", "--allow-http-registry", "--key", &public, artifact])).map(drop)
    }

    /// The detached signature of bytes, as `sign-blob` writes it.
    ///
    /// # Errors
    /// cosign fails.
    pub fn sign_blob(&self, key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        self.signed_file(key, bytes, "--output-signature")
    }

    /// The same in a bundle.
    ///
    /// # Errors
    /// cosign fails.
    pub fn sign_blob_bundle(&self, key: &str, bytes: &[u8]) -> Result<Vec<u8>> {
        self.signed_file(key, bytes, "--bundle")
    }

    fn signed_file(&self, key: &str, bytes: &[u8], option: &str) -> Result<Vec<u8>> {
        fs::write(self.dir.path().join("blob"), bytes).context("writing what to sign")?;
        run(self.command().args(["sign-blob", "--yes", "--tlog-upload=false", "--key", &format!("{key}.key"), option, "blob.sig", "blob"]))?;
        fs::read(self.dir.path().join("blob.sig")).context("reading the signature")
    }

    /// Checks a detached signature with a public key in PEM.
    ///
    /// # Errors
    /// cosign does not accept it.
    pub fn verify_blob(&self, public_pem: &str, bytes: &[u8], signature: &[u8]) -> Result<()> {
        for (name, contents) in [("blob", bytes), ("blob.sig", signature), ("other.pub", public_pem.as_bytes())] {
            fs::write(self.dir.path().join(name), contents).with_context(|| format!("writing {name}"))?;
        }
        run(self.command().args(["verify-blob", "--insecure-ignore-tlog=true", "--key", "other.pub", "--signature", "blob.sig", "blob"])).map(drop)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.dir.path()).env("COSIGN_PASSWORD", "").env("HOME", self.dir.path()).env_remove("KUBECONFIG");
        if let Some(folder) = &self.docker_config {
            command.env("DOCKER_CONFIG", folder);
        }
        if let Some(ca) = &self.ca {
            command.env("SSL_CERT_FILE", ca);
        }
        command
    }
}
