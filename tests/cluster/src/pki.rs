//! Certificates and kubeconfigs of one cluster, made anew at every start.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

/// The group of users that may do everything.
pub const MASTERS: &str = "system:masters";
/// The group of kubelets.
pub const NODES: &str = "system:nodes";

/// A certificate authority and the folder that its files go to.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Makes a certificate authority (`ca.crt`) and the key with which tokens of service accounts are
    /// signed (`sa.key`, `sa.pub`) in `dir`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let key = KeyPair::generate().context("generating a key")?;
        let mut params = CertificateParams::new([]).context("describing the authority")?;
        params.distinguished_name = name("weir-test-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).context("signing the authority")?.pem();
        write(&dir.join("ca.crt"), &certificate)?;

        let accounts = KeyPair::generate().context("generating a key")?;
        write(&dir.join("sa.key"), &accounts.serialize_pem())?;
        write(&dir.join("sa.pub"), &accounts.public_key_pem())?;
        Ok(Self { dir: dir.to_owned(), certificate, issuer: Issuer::new(params, key) })
    }

    /// Writes `<file>.crt` and `<file>.key` for a server or a client.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn issue(&self, file: &str, user: &str, group: Option<&str>, names: &[String]) -> Result<()> {
        let (certificate, key) = self.sign(user, group, names)?;
        write(&self.dir.join(format!("{file}.crt")), &certificate)?;
        write(&self.dir.join(format!("{file}.key")), &key)
    }

    /// Writes a kubeconfig with its certificate inside, so that the file can be copied anywhere.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kubeconfig(&self, path: &Path, server: &str, user: &str, group: Option<&str>) -> Result<()> {
        let (certificate, key) = self.sign(user, group, &[])?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "weir", "cluster": {
                "server": server,
                "certificate-authority-data": STANDARD.encode(&self.certificate),
            }}],
            "users": [{"name": "weir", "user": {
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            }}],
            "contexts": [{"name": "weir", "context": {"cluster": "weir", "user": "weir"}}],
            "current-context": "weir",
        });
        // JSON is YAML.
        write(path, &format!("{config:#}\n"))
    }

    fn sign(&self, user: &str, group: Option<&str>, names: &[String]) -> Result<(String, String)> {
        let key = KeyPair::generate().context("generating a key")?;
        let mut params = CertificateParams::new(names).context("describing a certificate")?;
        params.distinguished_name = name(user, group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).context("signing a certificate")?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}

/// The names under which an API server is reached at `address` and, from pods, at `service`.
pub fn api_server_names(address: IpAddr, service: IpAddr) -> Vec<String> {
    let mut names = vec![address.to_string(), service.to_string(), "127.0.0.1".to_owned()];
    for name in ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"] {
        names.push(name.to_owned());
    }
    names
}

fn name(user: &str, group: Option<&str>) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    if let Some(group) = group {
        name.push(DnType::OrganizationName, group);
    }
    name.push(DnType::CommonName, user);
    name
}

fn write(path: &Path, contents: &str) -> Result<()> {
    fs::write(path, contents).with_context(|| format!("writing {}", path.display()))
}
