//! How `push` and `pull` reach a registry: options, and credentials as Docker keeps them. Touches files.

use anyhow::Context as _;
use std::path::PathBuf;
use weir_engine::source::oci::Credentials;

/// Options that both have.
#[derive(clap::Args)]
pub(crate) struct RegistryArgs {
    /// Speak plain HTTP, for a registry on this machine.
    #[arg(long)]
    insecure: bool,
    /// PEM file of the authorities to trust instead of those of the system.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Docker configuration with credentials; without it config.json in $DOCKER_CONFIG or ~/.docker.
    #[arg(long)]
    docker_config: Option<PathBuf>,
}

impl RegistryArgs {
    /// Plain HTTP.
    pub(super) const fn insecure(&self) -> bool {
        self.insecure
    }

    /// The authorities to trust.
    pub(super) fn ca_pem(&self) -> anyhow::Result<Option<Vec<u8>>> {
        self.ca.as_ref().map(|file| std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))).transpose()
    }

    /// Logins; none where Docker keeps none.
    pub(super) fn credentials(&self) -> anyhow::Result<Credentials> {
        let (file, named) = match &self.docker_config {
            Some(file) => (file.clone(), true),
            None => {
                let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
                let folder = folder.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
                let Some(folder) = folder else { return Ok(Credentials::default()) };
                (folder.join("config.json"), false)
            }
        };
        if !named && !file.exists() {
            return Ok(Credentials::default());
        }
        let json = std::fs::read(&file).with_context(|| format!("{} can't be read", file.display()))?;
        match Credentials::from_docker_config(&json) {
            Ok(credentials) => Ok(credentials),
            // Docker's own file may hold no logins at all, or leave them to a helper program.
            Err(_) if !named => Ok(Credentials::default()),
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }
}
