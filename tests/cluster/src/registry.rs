//! A real OCI registry for tests: the reference implementation on a port of the loopback address, with
//! TLS of an authority of its own and with logins where a test wants them. Ends with its owner.

use crate::cache;
use crate::parts::Part;
use crate::pki::Pki;
use crate::process::{Daemon, Program, free_ports, wait_while_running};
use anyhow::{Context, Result};
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// The one user of a registry with logins.
pub const USER: &str = "weir";
/// The user's password.
pub const PASSWORD: &str = "weir-test-password";
/// Its bcrypt hash, the one form that the registry takes.
const PASSWORD_HASH: &str = "$2y$05$weirtestregistrysaltxuUq.451b2ZGlTrucDtr58iMIhJXwPoEC";

/// What a registry is like.
#[derive(Debug, Clone, Copy, Default)]
pub struct RegistryOptions {
    /// https with a certificate of an authority that nobody knows.
    pub tls: bool,
    /// Only [`USER`] is let in.
    pub login: bool,
}

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    daemon: Daemon,
    dir: TempDir,
    port: u16,
}

impl Registry {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// It can't be compiled or started; the message shows the end of its log.
    pub fn start(options: RegistryOptions) -> Result<Self> {
        let program = cache::program(Part::Registry)?;
        let dir = tempfile::Builder::new().prefix("weir-registry-").tempdir().context("creating a folder")?;
        let [port] = free_ports()?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let tls = if options.tls {
            Pki::create(dir.path())?.issue("registry", "registry", None, &["127.0.0.1".to_owned(), "localhost".to_owned()])?;
            format!("  tls: {{ certificate: {}, key: {} }}\n", path("registry.crt"), path("registry.key"))
        } else {
            String::new()
        };
        let auth = if options.login {
            fs::write(dir.path().join("htpasswd"), format!("{USER}:{PASSWORD_HASH}\n")).context("writing the passwords")?;
            format!("auth: {{ htpasswd: {{ realm: weir, path: {} }} }}\n", path("htpasswd"))
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog: {{ level: warn }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\n  delete: {{ enabled: true }}\nhttp:\n  addr: 127.0.0.1:{port}\n{tls}{auth}",
            path("storage")
        );
        fs::write(dir.path().join("config.yaml"), config).context("writing the configuration")?;
        let program = Program::new("registry", program, dir.path()).args(["serve", &path("config.yaml")]);
        let mut registry = Self { daemon: Daemon::start(program)?, dir, port };
        registry.wait()?;
        Ok(registry)
    }

    fn wait(&mut self) -> Result<()> {
        let port = self.port;
        wait_while_running("the registry listens", Duration::from_secs(20), &mut [&mut self.daemon], || {
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(()))
        })
    }

    /// Host and port, as they stand in references.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// PEM of its authority.
    ///
    /// # Errors
    /// It speaks plain HTTP.
    pub fn ca_pem(&self) -> Result<Vec<u8>> {
        fs::read(self.ca_path()).context("this registry has no authority")
    }

    /// File of its authority.
    #[must_use]
    pub fn ca_path(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Where it keeps a blob or manifest, `sha256:…`.
    #[must_use]
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let folder = hex.get(..2).unwrap_or_default();
        self.dir.path().join("storage/docker/registry/v2/blobs/sha256").join(folder).join(hex).join("data")
    }

    /// Stops it; nothing listens any more.
    pub fn stop(&mut self) {
        self.daemon.kill();
    }

    /// Starts it again with what it holds.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.daemon.restart()?;
        self.wait()
    }

    /// A Docker configuration with the login, and its folder for `DOCKER_CONFIG`.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn docker_config(&self) -> Result<(String, &Path)> {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        let json = serde_json::json!({ "auths": { self.host(): { "auth": auth } } }).to_string();
        fs::write(self.dir.path().join("config.json"), &json).context("writing the Docker configuration")?;
        Ok((json, self.dir.path()))
    }
}
