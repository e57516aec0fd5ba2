//! `spec.verification`: who must have signed a module. Touches nothing.

use crate::SecretKeyRef;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of which one must have signed the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("size(self.cosign) + size(self.ed25519) > 0")
        .message("verification needs a key: set verification.cosign or verification.ed25519")
)]
pub struct Verification {
    /// Public keys of cosign, PEM as `cosign generate-key-pair` writes it to cosign.pub (ECDSA P-256
    /// or P-384, Ed25519, RSA). An artifact in a registry must carry a signature of `cosign sign`; a
    /// module of a ConfigMap or folder one of `cosign sign-blob` beside it.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub cosign: Vec<VerificationKey>,

    /// Public keys for detached Ed25519 signatures over the bytes of the module: PEM as `weir policy
    /// keygen` writes it, or the 32 bytes in base64.
    #[serde(default)]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub ed25519: Vec<VerificationKey>,

    /// True: a module without a signature is refused. False: it is taken, for the time until all are
    /// signed; a signature that no key matches is refused all the same.
    #[serde(default = "required")]
    pub required: bool,
}

impl Default for Verification {
    fn default() -> Self {
        Self { cosign: Vec::new(), ed25519: Vec::new(), required: required() }
    }
}

const fn required() -> bool {
    true
}

/// One public key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.key) ? 1 : 0) + (has(self.keySecretRef) ? 1 : 0) + (has(self.keyConfigMapRef) ? 1 : 0) == 1")
        .message("set exactly one of key (the public key itself), keySecretRef and keyConfigMapRef")
)]
pub struct VerificationKey {
    /// The public key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub key: Option<String>,
    /// Key of a Secret in the namespace of the policy that holds the public key, for example
    /// cosign.pub of the Secret that `cosign generate-key-pair k8s://` makes. It is read when the
    /// module is loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<SecretKeyRef>,
    /// Key of a ConfigMap in the namespace of the policy that holds the public key. A change of the
    /// ConfigMap is taken in at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_config_map_ref: Option<ConfigMapKeyRef>,
}

/// A key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKeyRef {
    /// Name of the ConfigMap, in the namespace of the object that refers to it.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the ConfigMap's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
