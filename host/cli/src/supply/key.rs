//! Private keys that sign modules: Ed25519 or ECDSA P-256, as PKCS #8 in PEM, which openssl reads and
//! `cosign import-key-pair` takes. Touches nothing.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

/// What PKCS #8 of an Ed25519 key begins with (RFC 8410, section 7); its seed of 32 bytes follows. Version 1,
/// which every tool reads.
const ED25519_PRIVATE: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// What a SubjectPublicKeyInfo of an Ed25519 key begins with (RFC 8410, section 4).
const ED25519_PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What a SubjectPublicKeyInfo of a P-256 key begins with (RFC 5480, section 2); the point of 65 bytes follows.
const P256_PUBLIC: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Kinds of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Algorithm {
    /// Short keys and signatures.
    #[default]
    Ed25519,
    /// What cosign makes by itself.
    EcdsaP256,
}

/// A private key.
pub(super) enum PrivateKey {
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
    /// ECDSA P-256 over SHA-256.
    P256(EcdsaKeyPair),
}

impl PrivateKey {
    /// Makes a key; gives the private one in PEM too.
    pub(super) fn generate(algorithm: Algorithm) -> anyhow::Result<(Self, String)> {
        let random = SystemRandom::new();
        let failed = |_| anyhow::anyhow!("this system gives no random numbers");
        let der = match algorithm {
            Algorithm::Ed25519 => {
                let mut seed = [0; 32];
                random.fill(&mut seed).map_err(failed)?;
                [ED25519_PRIVATE.as_slice(), &seed].concat()
            }
            Algorithm::EcdsaP256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).map_err(failed)?.as_ref().to_vec(),
        };
        Ok((Self::from_der(&der)?, pem("PRIVATE KEY", &der)))
    }

    /// Reads PEM.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        if text.contains("BEGIN ENCRYPTED") {
            bail!(
                "this key is encrypted, as those of cosign are: sign with `cosign sign-blob --key FILE --output-signature MODULE.sig MODULE`, or make a key with `weir policy keygen`"
            );
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| anyhow::anyhow!("this is no private key in PEM (-----BEGIN PRIVATE KEY-----): make one with `weir policy keygen`"))?;
        Self::from_der(der.secret_pkcs8_der())
    }

    fn from_der(der: &[u8]) -> anyhow::Result<Self> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(pair));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &SystemRandom::new());
        pair.map(Self::P256).ok().context("this key is neither Ed25519 nor ECDSA P-256: make one with `weir policy keygen`")
    }

    /// Signs; gives base64, as cosign does.
    pub(super) fn sign(&self, message: &[u8]) -> anyhow::Result<String> {
        Ok(match self {
            Self::Ed25519(pair) => STANDARD.encode(pair.sign(message)),
            Self::P256(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message);
                STANDARD.encode(signed.map_err(|_| anyhow::anyhow!("this system gives no random numbers"))?)
            }
        })
    }

    /// The public key in PEM.
    pub(super) fn public_pem(&self) -> String {
        let der = match self {
            Self::Ed25519(pair) => [ED25519_PUBLIC.as_slice(), pair.public_key().as_ref()].concat(),
            Self::P256(pair) => [P256_PUBLIC.as_slice(), pair.public_key().as_ref()].concat(),
        };
        pem("PUBLIC KEY", &der)
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::new();
    for (index, character) in text.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::verify::{PublicKey, detached};

    #[test]
    fn what_a_made_key_signs_its_public_key_verifies() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
            let (made, private) = PrivateKey::generate(algorithm).unwrap();
            let read = PrivateKey::parse(&private).unwrap();
            assert_eq!(read.public_pem(), made.public_pem());
            let signature = detached::parse(read.sign(b"module").unwrap().as_bytes()).unwrap();
            let public = PublicKey::parse(&made.public_pem()).unwrap();
            assert!(signature.is_made_by(&public, b"module"), "{algorithm:?}");
            assert!(!signature.is_made_by(&public, b"Module"), "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_that_cannot_sign_says_what_to_do() {
        let said = |text: &str| PrivateKey::parse(text).err().unwrap().to_string();
        assert!(said("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n").contains("cosign sign-blob"));
        assert!(said("hello").contains("weir policy keygen"));
        assert!(said(&PrivateKey::generate(Algorithm::Ed25519).unwrap().0.public_pem()).contains("weir policy keygen"));
    }
}
