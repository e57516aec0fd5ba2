//! A signature in a file beside the module. Touches nothing. Four forms are read: the 64 bytes of an
//! Ed25519 signature, base64 as `weir policy sign` and `cosign sign-blob --output-signature` write it, and
//! the two bundles of `cosign sign-blob --bundle`. Of a bundle only the signature counts: certificates and
//! log entries in it prove nothing to whoever has the key.

use super::key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// Bytes that a signature file may have: a bundle with log entries has some 10 KB.
pub const MOST_BYTES: usize = 128 << 10;

/// A signature that has been read and not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detached {
    /// What it may be; binary Ed25519 signatures could by chance be base64 too.
    candidates: Vec<Vec<u8>>,
}

impl Detached {
    /// Whether the holder of `key` made it over `message`.
    #[must_use]
    pub fn is_made_by(&self, key: &PublicKey, message: &[u8]) -> bool {
        self.candidates.iter().any(|signature| key.verifies(message, signature))
    }
}

/// Both bundles of cosign, as far as they concern a key holder.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    /// Of `--bundle` up to cosign 2.
    base64_signature: Option<String>,
    /// Of the sigstore bundle.
    message_signature: Option<MessageSignature>,
}

#[derive(Deserialize)]
struct MessageSignature {
    signature: String,
}

/// Reads a signature file.
///
/// # Errors
/// A sentence, when it is none.
pub fn parse(file: &[u8]) -> Result<Detached, String> {
    let none = || {
        "the .sig file holds no signature: it should be what `weir policy sign`, `cosign sign-blob --output-signature` or `cosign sign-blob --bundle` writes"
            .to_owned()
    };
    if file.len() > MOST_BYTES {
        return Err(format!("the .sig file has more than {MOST_BYTES} bytes: ship the signature, not the module"));
    }
    let text = std::str::from_utf8(file).map(str::trim).unwrap_or_default();
    let mut candidates = Vec::new();
    if text.starts_with('{') {
        let bundle: Bundle = serde_json::from_str(text).map_err(|_| none())?;
        let signature = bundle.base64_signature.or(bundle.message_signature.map(|found| found.signature)).ok_or_else(none)?;
        candidates.push(STANDARD.decode(signature.trim()).map_err(|_| none())?);
    } else if let Ok(signature) = STANDARD.decode(text)
        && !signature.is_empty()
    {
        candidates.push(signature);
    }
    if file.len() == 64 {
        candidates.push(file.to_vec());
    }
    if candidates.is_empty() { Err(none()) } else { Ok(Detached { candidates }) }
}
