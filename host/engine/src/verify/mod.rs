//! Who signed a module: a stage of loading between the digest check and the compiler. Touches nothing.
//! Called by [`crate::load`]; rules and signatures come from the operator, which reads keys from specs,
//! Secrets and ConfigMaps, and signatures from where the module lies.
//!
//! | module | what it is |
//! |---|---|
//! | [`key`] | public keys: PEM, or the 32 bytes of an Ed25519 key |
//! | [`detached`] | a signature in a file beside the module: raw, base64, or a bundle of cosign |
//! | [`cosign`] | signatures that cosign keeps beside an artifact in a registry |
//!
//! A signature of a key holder says nothing about when it was made or whether a newer module exists:
//! `spec.digest` pins one module.

pub mod cosign;
pub mod detached;
pub mod key;

use bytes::Bytes;
use cosign::CosignSignature;
pub use key::{InvalidKey, PublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use weir_core::ids::Digest;

/// A module whose signatures do not satisfy the rules. Whatever was running goes on running.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// There is none.
    #[error("the module carries no signature, and {by} demands one: {mend}")]
    Missing {
        /// Which rules demand it.
        by: RuleSource,
        /// How to make one for a module of this source.
        mend: &'static str,
    },
    /// There is one, and it is none, or is one of something else.
    #[error("the module's signature is not valid: {detail}")]
    Invalid {
        /// What is wrong and what to do.
        detail: String,
    },
    /// Well-formed, and made by none of the keys over these bytes.
    #[error("none of the keys of {by} ({}) has made the module's signature over these bytes: either another key signed it, or the module was changed after it was signed; sign it again with the key that belongs to one of these, or add the signer's public key", keys.join(", "))]
    NoKeyMatches {
        /// Which rules hold the keys.
        by: RuleSource,
        /// Names of the keys.
        keys: Vec<String>,
    },
    /// The operator demands a signature, and nobody said by whom.
    #[error(
        "signatures are required in this namespace, and there is no key to check one with: set spec.verification with the public key of who signs your modules"
    )]
    NoKeys,
}

impl VerifyError {
    /// The stable CamelCase word for conditions, Events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "SignatureMissing",
            Self::Invalid { .. } => "SignatureInvalid",
            Self::NoKeyMatches { .. } => "NoKeyMatches",
            Self::NoKeys => "NoVerificationKeys",
        }
    }
}

/// Who set up rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSource {
    /// `spec.verification`.
    Spec,
    /// `--require-signatures` and `--trusted-keys`.
    Operator,
}

impl fmt::Display for RuleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spec => "spec.verification",
            Self::Operator => "the operator (--require-signatures)",
        })
    }
}

/// A key and what people know it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedKey {
    /// For example `spec.verification.cosign[0]`.
    pub name: String,
    /// The key.
    pub key: PublicKey,
}

/// Keys of which one must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who demands it.
    pub source: RuleSource,
    /// The keys.
    pub keys: Vec<NamedKey>,
    /// False: no signature at all is taken too.
    pub required: bool,
}

/// Signatures that were found with a module. They prove nothing by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signatures {
    /// Contents of `policy.wasm.sig`.
    pub detached: Option<Bytes>,
    /// The artifact that the module is the layer of, when it comes from a registry.
    pub artifact: Option<Artifact>,
}

/// An artifact and the signatures that lie beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Digest of its manifest: what cosign signs.
    pub manifest: Digest,
    /// Digest of its one layer, as the manifest names it: binds the module to the manifest.
    pub layer: Digest,
    /// What lies beside it.
    pub cosign: Vec<CosignSignature>,
}

/// What a module has to satisfy, and what it has to show for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// All of these.
    pub rules: Vec<Rules>,
    /// What there is.
    pub signatures: Signatures,
}

impl Trust {
    /// Checks a module as it was shipped (perhaps compressed): those are the bytes that were signed.
    ///
    /// # Errors
    /// The first of the rules that is not satisfied.
    pub fn check(&self, shipped: &[u8]) -> Result<(), VerifyError> {
        self.rules.iter().try_for_each(|rules| rules.check(shipped, &self.signatures))
    }
}

impl Rules {
    fn check(&self, shipped: &[u8], signatures: &Signatures) -> Result<(), VerifyError> {
        if self.keys.is_empty() {
            return if self.required { Err(VerifyError::NoKeys) } else { Ok(()) };
        }
        let beside = signatures.artifact.as_ref().filter(|artifact| !artifact.cosign.is_empty());
        if signatures.detached.is_none() && beside.is_none() {
            return if self.required { Err(self.missing(signatures)) } else { Ok(()) };
        }
        let mut invalid = None;
        let mut note = |detail: String| invalid = invalid.take().or(Some(detail));
        if let Some(file) = &signatures.detached {
            match detached::parse(file) {
                Ok(found) if self.keys.iter().any(|key| found.is_made_by(&key.key, shipped)) => return Ok(()),
                Ok(_) => {}
                Err(detail) => note(detail),
            }
        }
        if let Some(artifact) = beside {
            if Digest::of(shipped) != artifact.layer {
                return Err(VerifyError::Invalid { detail: "these are not the bytes of the artifact's layer: pull the artifact again".to_owned() });
            }
            for signature in &artifact.cosign {
                match signature.check(self.keys.iter().map(|key| &key.key), &artifact.manifest) {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(detail) => note(detail),
                }
            }
        }
        Err(match invalid {
            Some(detail) => VerifyError::Invalid { detail },
            None => VerifyError::NoKeyMatches { by: self.source, keys: self.keys.iter().map(|key| key.name.clone()).collect() },
        })
    }

    const fn missing(&self, signatures: &Signatures) -> VerifyError {
        let mend = match signatures.artifact {
            Some(_) => "sign the artifact with `cosign sign --key cosign.key REGISTRY/REPOSITORY@DIGEST`",
            None => {
                "sign the file with `weir policy sign policy.wasm --key policy.key` or `cosign sign-blob --key cosign.key --output-signature policy.wasm.sig policy.wasm` and ship policy.wasm.sig beside it (in a ConfigMap: the module's key with .sig at its end)"
            }
        };
        VerifyError::Missing { by: self.source, mend }
    }
}

#[cfg(test)]
mod tests;
