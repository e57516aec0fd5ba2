//! `spec.source`: where the module comes from. Touches nothing.

use super::oci::OciSource;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Exactly one of four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A key of a ConfigMap in the policy's namespace. A ConfigMap holds at most 1 MiB; the module
    /// may be compressed with gzip or zstd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapSource>,
    /// A file in the operator's policy folder (its flag --policy-dir), for example of a mounted volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// A WebAssembly artifact in an OCI registry, as `wkg oci push` and `weir policy push` make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<OciSource>,
    /// A policy that Weir brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<BuiltinSource>,
}

/// The source that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceChoice<'a> {
    /// A key of a ConfigMap.
    ConfigMap(&'a ConfigMapSource),
    /// A file of the operator.
    File(&'a FileSource),
    /// An artifact in a registry.
    Oci(&'a OciSource),
    /// A policy that Weir brings.
    Builtin(&'a BuiltinSource),
}

impl Source {
    /// The one that is set; `None` when there is none or more than one, which the API server
    /// admits only where the CRD is older than this program.
    #[must_use]
    pub const fn choice(&self) -> Option<SourceChoice<'_>> {
        match (&self.config_map, &self.file, &self.oci, &self.builtin) {
            (Some(map), None, None, None) => Some(SourceChoice::ConfigMap(map)),
            (None, Some(file), None, None) => Some(SourceChoice::File(file)),
            (None, None, Some(oci), None) => Some(SourceChoice::Oci(oci)),
            (None, None, None, Some(builtin)) => Some(SourceChoice::Builtin(builtin)),
            _ => None,
        }
    }

    /// A key of a ConfigMap in the policy's namespace.
    #[must_use]
    pub fn config_map(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self { config_map: Some(ConfigMapSource { name: name.into(), key: key.into() }), ..Self::default() }
    }

    /// A file in the operator's policy folder.
    #[must_use]
    pub fn file(path: impl Into<String>) -> Self {
        Self { file: Some(FileSource { path: path.into() }), ..Self::default() }
    }

    /// An artifact in a registry, with every option at its default.
    #[must_use]
    pub fn oci(reference: impl Into<String>) -> Self {
        Self { oci: Some(OciSource { reference: reference.into(), ..OciSource::default() }), ..Self::default() }
    }

    /// A policy that Weir brings.
    #[must_use]
    pub fn builtin(name: impl Into<String>) -> Self {
        Self { builtin: Some(BuiltinSource { name: name.into() }), ..Self::default() }
    }
}

/// Short text for people and for the printer column, for example `configmap/drain:policy.wasm`.
impl fmt::Display for SourceChoice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConfigMap(map) => write!(f, "configmap/{}:{}", map.name, map.key),
            Self::File(file) => write!(f, "file/{}", file.path),
            Self::Oci(oci) => write!(f, "oci/{}", oci.reference),
            Self::Builtin(builtin) => write!(f, "builtin/{}", builtin.name),
        }
    }
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapSource {
    /// Name of the ConfigMap, in the namespace of the policy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key under binaryData (or data, for a component in text form) that holds the module. A
    /// detached signature stands beside it under the same key with .sig at its end.
    #[serde(default = "policy_wasm")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

fn policy_wasm() -> String {
    "policy.wasm".to_owned()
}

/// A file of the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Path of the module inside the operator's policy folder, for example team-a/drain.wasm; or of
    /// a folder that holds exactly one module. The module may be compressed (.wasm.gz, .wasm.zst). A
    /// detached signature is a file beside it, with .sig after the module's name.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.endsWith('/') && self.split('/').all(part, !(part in ['', '.', '..']))")
        .message("file.path is a path inside the operator's policy folder: write it without a leading or trailing / and without parts that are empty, . or .."))]
    pub path: String,
}

/// A policy that Weir brings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BuiltinSource {
    /// Name of the policy: threshold (rate against capacity with hysteresis) or backlog (drains the
    /// backlog by a deadline).
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}
