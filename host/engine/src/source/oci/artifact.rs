//! What a manifest says of a policy. Touches nothing.
//!
//! The layout is the one of the CNCF's guidance for WebAssembly in OCI registries, which `wkg` and others
//! write: a manifest with the config `application/vnd.wasm.config.v0+json` and one layer
//! `application/wasm`, the component as it is. The older layer type of wasm-to-oci is read too. The config
//! tells nothing that the component does not tell itself, so it is not fetched.

use super::error::{OciError, tame};
use crate::verify::cosign::{SIGNATURE_ANNOTATION, SIMPLE_SIGNING};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OciDescriptor, OciImageIndex, OciImageManifest};
use serde::Deserialize;
use weir_core::ids::Digest;

/// Media type of the config.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media type of the layer.
pub const LAYER: &str = "application/wasm";
/// Media type of the layer that older tools wrote.
pub const OLD_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// How the artifact type of a sigstore bundle begins.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// Type of a config that says nothing.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// Signatures of one artifact that are looked at.
const MOST_SIGNATURES: usize = 32;
/// Bytes of one signature's payload or bundle.
const MOST_SIGNATURE_BYTES: u64 = 128 << 10;

/// A part of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// What its bytes must hash to.
    pub(super) digest: Digest,
    /// How many they are.
    pub(super) bytes: u64,
}

/// A part that holds a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignaturePart {
    pub(super) part: Part,
    /// The signature itself, when the part is what was signed; `None` for a bundle, which holds both.
    pub(super) signature: Option<String>,
}

/// An index of what refers to a manifest. oci-client's type for it knows no artifact types of entries.
#[derive(Deserialize)]
struct Referrers {
    manifests: Vec<Referrer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    digest: String,
    artifact_type: Option<String>,
}

/// The layer that holds the component.
pub(super) fn component(manifest: &[u8], limit: u64) -> Result<Part, OciError> {
    let wrong = OciError::WrongArtifact;
    let Ok(parsed) = serde_json::from_slice::<OciImageManifest>(manifest) else {
        let index = serde_json::from_slice::<OciImageIndex>(manifest).is_ok();
        return Err(wrong(if index {
            "it is an index over several platforms, and a policy is one module".to_owned()
        } else {
            "its manifest is no OCI image manifest".to_owned()
        }));
    };
    let types = || tame(parsed.layers.iter().map(|layer| layer.media_type.as_str()).collect::<Vec<_>>().join(", "));
    match parsed.layers.as_slice() {
        [layer] if layer.media_type == LAYER || layer.media_type == OLD_LAYER => {
            let part = part(layer).ok_or_else(|| wrong("its layer has no sha256 digest or no size".to_owned()))?;
            if part.bytes > limit {
                return Err(OciError::TooLarge { what: format!("the layer ({} bytes)", part.bytes), limit, declared: true });
            }
            Ok(part)
        }
        [_] => Err(wrong(format!("its layer is of type {}, and a policy's is {LAYER}", types()))),
        layers => Err(wrong(format!("it has {} layers ({}), and a policy has one of type {LAYER}", layers.len(), types()))),
    }
}

/// The signatures that a manifest under cosign's tag holds.
pub(super) fn signatures(manifest: &[u8]) -> Vec<SignaturePart> {
    let Ok(parsed) = serde_json::from_slice::<OciImageManifest>(manifest) else { return Vec::new() };
    let found = parsed.layers.iter().filter_map(|layer| {
        let part = part(layer).filter(|part| part.bytes <= MOST_SIGNATURE_BYTES)?;
        if layer.media_type == SIMPLE_SIGNING {
            let signature = layer.annotations.as_ref()?.get(SIGNATURE_ANNOTATION)?.clone();
            Some(SignaturePart { part, signature: Some(signature) })
        } else if layer.media_type.starts_with(BUNDLE) {
            Some(SignaturePart { part, signature: None })
        } else {
            None
        }
    });
    found.take(MOST_SIGNATURES).collect()
}

/// Digests of the manifests that an index of referrers lists as sigstore bundles.
pub(super) fn bundles(index: &[u8]) -> Vec<Digest> {
    let Ok(parsed) = serde_json::from_slice::<Referrers>(index) else { return Vec::new() };
    // cosign writes no type into its manifests, and takes that of the empty config into the index; the layers tell.
    let is_bundle = |entry: &&Referrer| entry.artifact_type.as_deref().is_none_or(|kind| kind.starts_with(BUNDLE) || kind == EMPTY);
    parsed.manifests.iter().filter(is_bundle).filter_map(|entry| entry.digest.parse().ok()).take(MOST_SIGNATURES).collect()
}

/// Types of manifests that are asked for.
pub(super) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                                    application/vnd.docker.distribution.manifest.v2+json";

/// Type of an index of referrers.
pub(super) const INDEX: &str = OCI_IMAGE_INDEX_MEDIA_TYPE;

fn part(layer: &OciDescriptor) -> Option<Part> {
    Some(Part { digest: layer.digest.parse().ok()?, bytes: u64::try_from(layer.size).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(layers: &[(&str, i64)]) -> Vec<u8> {
        let layers: Vec<_> = layers.iter().map(|(kind, size)| json!({ "mediaType": kind, "size": size, "digest": Digest::of(b"x").to_string() })).collect();
        let config = json!({ "mediaType": CONFIG, "size": 2, "digest": Digest::of(b"{}").to_string() });
        json!({ "schemaVersion": 2, "config": config, "layers": layers }).to_string().into_bytes()
    }

    #[test]
    fn a_manifest_with_one_layer_of_wasm_is_a_policy() {
        for kind in [LAYER, OLD_LAYER] {
            assert_eq!(component(&manifest(&[(kind, 7)]), 7).unwrap(), Part { digest: Digest::of(b"x"), bytes: 7 });
            assert_eq!(component(&manifest(&[(kind, 8)]), 7).unwrap_err().reason(), "TooLarge");
        }
    }

    #[test]
    fn anything_else_is_none_and_says_why() {
        let index = json!({ "schemaVersion": 2, "manifests": [] }).to_string();
        for (bytes, words) in [
            (manifest(&[("application/vnd.oci.image.layer.v1.tar+gzip", 1)]), "of type application/vnd.oci.image.layer.v1.tar+gzip"),
            (manifest(&[(LAYER, 1), (LAYER, 1)]), "2 layers"),
            (manifest(&[]), "0 layers"),
            (manifest(&[(LAYER, -1)]), "no size"),
            (index.into_bytes(), "several platforms"),
            (b"<html>".to_vec(), "no OCI image manifest"),
        ] {
            let error = component(&bytes, 100).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
