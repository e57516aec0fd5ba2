//! `spec.source.oci`: a module in an OCI registry. Touches nothing.

use crate::{Duration, SecretKeyRef};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An artifact in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.ref.matches('^(localhost|[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*:[0-9]{1,5}|[A-Za-z0-9-]+([.][A-Za-z0-9-]+)+)(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$')")
        .message("oci.ref must name registry, repository and a tag or digest: write for example ghcr.io/team/drain:1.2.0 or ghcr.io/team/drain@sha256:... (64 lower-case hex digits)"),
    validation = Rule::new("!(has(self.caSecretRef) && self.insecure)")
        .message("oci.caSecretRef has no effect with insecure: true, which speaks plain HTTP; remove one of them")
)]
pub struct OciSource {
    /// Registry, repository, and a tag or a digest: ghcr.io/team/drain:1.2.0 or
    /// ghcr.io/team/drain@sha256:… A tag is looked up again every interval; a digest always means
    /// the same bytes and is never looked up again.
    #[serde(rename = "ref")]
    #[schemars(length(min = 1, max = 512))]
    pub reference: String,

    /// How often a tag is looked up, which costs the registry one request without a body. 10s to
    /// 24h. Without effect on a digest.
    #[serde(default = "interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')")
        .message("oci.interval must be from 10s to 24h: write for example 5m"))]
    pub interval: Duration,

    /// Secret of type kubernetes.io/dockerconfigjson in the namespace of the policy, as `kubectl
    /// create secret docker-registry` makes it. Absent: the registry is asked without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret_ref: Option<PullSecretRef>,

    /// PEM bundle of the authorities to trust, instead of those that the operator trusts by itself;
    /// for a registry with a certificate of one's own authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<SecretKeyRef>,

    /// Speak plain HTTP, to the registry and its mirrors. Whoever is on the network then reads the
    /// credentials and decides what a tag means: only for tests.
    #[serde(default)]
    pub insecure: bool,

    /// Registries that are asked first, in this order, before the one of ref; each a host with an
    /// optional port and path in front of the repository, such as mirror.example.com:5000/cache. What
    /// a mirror gives is checked against the digest as everything else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(mirror, mirror.matches('^[A-Za-z0-9-]+([.][A-Za-z0-9-]+)*(:[0-9]{1,5})?(/[a-z0-9]+(([.]|_|__|-+)[a-z0-9]+)*)*$'))")
        .message("each of oci.mirrors is a host with an optional port and path, without scheme, tag and trailing /: write for example mirror.example.com:5000/cache"))]
    pub mirrors: Vec<String>,
}

impl Default for OciSource {
    fn default() -> Self {
        Self { reference: String::new(), interval: interval(), pull_secret_ref: None, ca_secret_ref: None, insecure: false, mirrors: Vec::new() }
    }
}

/// A Secret with credentials of registries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecretRef {
    /// Name of the Secret, in the namespace of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

const fn interval() -> Duration {
    Duration::from_secs(300)
}
