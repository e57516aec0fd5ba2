//! Signatures that cosign keeps beside an artifact. Touches nothing; they are fetched by
//! [`crate::source::oci`].
//!
//! Two forms: up to version 2 cosign signs a small JSON payload that names the digest of the manifest
//! ("simple signing", the specification of cosign's signatures); the sigstore bundle of later versions
//! holds an in-toto statement in an envelope (DSSE). In both, the signature counts only for the manifest
//! that the signed text names.

use super::key::PublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_core::ids::Digest;

/// Media type of a layer that holds a payload of simple signing.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation of that layer that holds the signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What the payload of an image's signature says that it is.
const PAYLOAD_TYPE: &str = "cosign container image signature";
/// What an envelope says that its payload is.
const STATEMENT: &str = "application/vnd.in-toto+json";
/// The one predicate that `cosign sign` makes; attestations of other things say nothing about trust.
const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// One signature, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CosignSignature {
    /// Simple signing.
    Simple {
        /// The signed text.
        payload: String,
        /// Base64.
        signature: String,
    },
    /// A sigstore bundle.
    Bundle {
        /// Its JSON.
        json: String,
    },
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigstoreBundle {
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: std::collections::BTreeMap<String, String>,
}

impl CosignSignature {
    /// True when one of the keys made it for the manifest, false when none of them made it.
    ///
    /// # Errors
    /// A sentence, when it is no signature, or one of another manifest.
    pub fn check<'a>(&self, keys: impl Iterator<Item = &'a PublicKey>, manifest: &Digest) -> Result<bool, String> {
        match self {
            Self::Simple { payload, signature } => simple(payload.as_bytes(), signature, keys, manifest),
            Self::Bundle { json } => bundle(json.as_bytes(), keys, manifest),
        }
    }
}

fn simple<'a>(payload: &[u8], signature: &str, mut keys: impl Iterator<Item = &'a PublicKey>, manifest: &Digest) -> Result<bool, String> {
    let malformed = || "the signature beside the artifact is not one of cosign: sign the artifact again with `cosign sign --key`".to_owned();
    let signature = STANDARD.decode(signature.trim()).map_err(|_| malformed())?;
    if !keys.any(|key| key.verifies(payload, &signature)) {
        return Ok(false);
    }
    // Only what a key holder signed is read at all.
    let parsed: Payload = serde_json::from_slice(payload).map_err(|_| malformed())?;
    if parsed.critical.kind != PAYLOAD_TYPE {
        return Err(malformed());
    }
    if parsed.critical.image.digest.parse::<Digest>().ok().as_ref() != Some(manifest) {
        return Err(other(&parsed.critical.image.digest, manifest));
    }
    Ok(true)
}

fn bundle<'a>(json: &[u8], keys: impl Iterator<Item = &'a PublicKey>, manifest: &Digest) -> Result<bool, String> {
    let malformed = || "the signature bundle beside the artifact can't be read: sign the artifact again with `cosign sign --key`".to_owned();
    let parsed: SigstoreBundle = serde_json::from_slice(json).map_err(|_| malformed())?;
    let envelope = parsed.dsse_envelope.ok_or_else(malformed)?;
    let payload = STANDARD.decode(envelope.payload.trim()).map_err(|_| malformed())?;
    let signed = pre_authentication(&envelope.payload_type, &payload);
    let signatures: Vec<Vec<u8>> = envelope.signatures.iter().filter_map(|signature| STANDARD.decode(signature.sig.trim()).ok()).collect();
    let made = keys.into_iter().any(|key| signatures.iter().any(|signature| key.verifies(&signed, signature)));
    if !made {
        return Ok(false);
    }
    let statement: Statement = serde_json::from_slice(&payload).map_err(|_| malformed())?;
    if envelope.payload_type != STATEMENT || statement.predicate_type != SIGN_PREDICATE {
        // An attestation of a key holder, for example a bill of materials.
        return Ok(false);
    }
    let wanted = hex::encode(manifest.as_bytes());
    let subjects = || statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
    if subjects().any(|digest| *digest == wanted) { Ok(true) } else { Err(other(subjects().next().map_or("nothing", String::as_str), manifest)) }
}

fn other(signed: &str, manifest: &Digest) -> String {
    let signed: String = signed.chars().filter(|c| !c.is_control()).take(80).collect();
    format!(
        "it is one of another artifact ({signed}), and this is {manifest}: sign this one with `cosign sign --key cosign.key REGISTRY/REPOSITORY@{manifest}`"
    )
}

/// What is signed of an envelope (DSSE v1, "PAE").
fn pre_authentication(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut text = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    text.extend_from_slice(payload);
    text
}
