//! Public keys and what they verify. Touches nothing. The algorithms and the parsing of keys are those
//! of rustls-webpki and ring, which TLS stands on here too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use std::fmt;
use webpki::RawPublicKeyEntity;

/// What a SubjectPublicKeyInfo of an Ed25519 key begins with (RFC 8410, section 10.1); the 32 bytes of
/// the key follow.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What cosign signs with, each over SHA-256; P-384 also over SHA-384, as newer versions do. Each fits one
/// kind of key, and is refused at once for another.
static ALGORITHMS: [&dyn SignatureVerificationAlgorithm; 5] = [
    webpki::ring::ECDSA_P256_SHA256,
    webpki::ring::ED25519,
    webpki::ring::ECDSA_P384_SHA384,
    webpki::ring::ECDSA_P384_SHA256,
    webpki::ring::RSA_PKCS1_2048_8192_SHA256,
];

/// No public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// A private one.
    #[error(
        "this is a private key: whoever can read it can sign, so make a new pair and put only the public key here (cosign.pub, or what `weir policy keygen` writes to the .pub file)"
    )]
    Private,
    /// Something else.
    #[error("this is no public key: give PEM that begins with -----BEGIN PUBLIC KEY-----, or the 32 bytes of an Ed25519 key in base64")]
    Unknown,
    /// A key of a kind that is not supported.
    #[error(
        "this public key is of a kind that Weir does not verify with: use ECDSA P-256 (what `cosign generate-key-pair` makes), ECDSA P-384, Ed25519, or RSA with 2048 bits or more"
    )]
    Unsupported,
}

/// A public key: ECDSA P-256 or P-384, Ed25519, or RSA.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(SubjectPublicKeyInfoDer<'static>);

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl PublicKey {
    /// From PEM, or from the 32 bytes of an Ed25519 key in base64.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if text.contains("PRIVATE KEY-----") {
            return Err(InvalidKey::Private);
        }
        if text.contains("-----BEGIN") {
            let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| InvalidKey::Unknown)?;
            return Self::checked(der.into_owned());
        }
        let bytes = STANDARD.decode(text.trim()).map_err(|_| InvalidKey::Unknown)?;
        match bytes.len() {
            32 => Self::checked(SubjectPublicKeyInfoDer::from([ED25519_PREFIX.as_slice(), &bytes].concat())),
            _ => Self::checked(SubjectPublicKeyInfoDer::from(bytes)),
        }
    }

    /// All keys of a PEM file, in its order.
    ///
    /// # Errors
    /// [`InvalidKey`], also when there is none.
    pub fn parse_all(pem: &str) -> Result<Vec<Self>, InvalidKey> {
        if pem.contains("PRIVATE KEY-----") {
            return Err(InvalidKey::Private);
        }
        let keys: Result<Vec<Self>, InvalidKey> = SubjectPublicKeyInfoDer::pem_slice_iter(pem.as_bytes())
            .map(|der| der.map_err(|_| InvalidKey::Unknown).and_then(|der| Self::checked(der.into_owned())))
            .collect();
        keys.and_then(|keys| if keys.is_empty() { Err(InvalidKey::Unknown) } else { Ok(keys) })
    }

    fn checked(der: SubjectPublicKeyInfoDer<'static>) -> Result<Self, InvalidKey> {
        let key = RawPublicKeyEntity::try_from(&der).map_err(|_| InvalidKey::Unknown)?;
        // A key of a supported kind says that the signature is wrong; for others no algorithm fits.
        let fits = ALGORITHMS.iter().any(|algorithm| matches!(key.verify_signature(*algorithm, b"", b""), Err(webpki::Error::InvalidSignatureForPublicKey)));
        if fits { Ok(Self(der)) } else { Err(InvalidKey::Unsupported) }
    }

    /// Whether the holder of this key made `signature` over `message`: ASN.1 for ECDSA, PKCS #1 v1.5 for
    /// RSA, 64 bytes for Ed25519.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(&self.0) else { return false };
        ALGORITHMS.iter().any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    }

    /// First digits of the digest of the key, for people who compare keys.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        weir_core::ids::Digest::of(self.0.as_ref()).short()
    }
}
