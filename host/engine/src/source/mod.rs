//! Where the bytes of a policy come from. Called by the operator, which gives what it gets here to
//! [`crate::slot::PolicySlot::load`].
//!
//! | module | source | may touch |
//! |---|---|---|
//! | [`builtin`] | a component inside this binary | nothing |
//! | [`config_map`] | a key of a ConfigMap that the operator watches | nothing |
//! | [`folder`] | a file in a mounted folder, watched | files under one root |
//! | [`oci`] | an artifact in a registry | the network, one folder for what was pulled |

pub mod builtin;
pub mod config_map;
pub mod folder;
mod locate;
pub mod oci;

use std::path::PathBuf;

/// The bytes of a policy could not be got. Whatever was running goes on running.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such built-in policy.
    #[error("there is no built-in policy `{name}`: this Weir has {}", known.join(", "))]
    UnknownBuiltin {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The ConfigMap has no such key.
    #[error("ConfigMap {config_map} has no key `{key}` under binaryData: `kubectl create configmap {config_map} --from-file={key}=FILE.wasm` makes one")]
    NoKey {
        /// Name of the ConfigMap.
        config_map: String,
        /// Name of the key.
        key: String,
    },
    /// The ConfigMap has the key as text.
    #[error(
        "ConfigMap {config_map} has the key `{key}` under data, as text: a component is binary and belongs under binaryData, base64-encoded, as `kubectl create configmap --from-file` writes it"
    )]
    KeyIsText {
        /// Name of the ConfigMap.
        config_map: String,
        /// Name of the key.
        key: String,
    },
    /// There is no such file.
    #[error("{} is not there: mount the volume that holds it, or correct spec.source.file", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// The path leaves the folder for policies.
    #[error("{} is refused: it is not inside {}, the operator's folder for policies (--policy-dir), once `..` and symbolic links are followed", path.display(), root.display())]
    OutsideRoot {
        /// The path as it was asked for.
        path: PathBuf,
        /// The folder.
        root: PathBuf,
    },
    /// A folder with no component, or with several.
    #[error("{} holds {found} components (files ending in .wasm, .wasm.gz or .wasm.zst): name one of them in spec.source.file", path.display())]
    NotOne {
        /// The folder.
        path: PathBuf,
        /// How many.
        found: usize,
    },
    /// Nothing came from the registry.
    #[error(transparent)]
    Oci(#[from] oci::OciError),
    /// Larger than the operator allows.
    #[error("{} has more than {limit} bytes, the operator's ceiling for a component", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The ceiling in bytes.
        limit: u64,
    },
}

impl SourceError {
    /// The stable CamelCase word for conditions, Events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownBuiltin { .. } | Self::NoKey { .. } | Self::Missing { .. } => "SourceNotFound",
            Self::KeyIsText { .. } | Self::Unreadable { .. } => "SourceUnreadable",
            Self::OutsideRoot { .. } | Self::NotOne { .. } => "SourceRefused",
            Self::Oci(error) => error.reason(),
            Self::TooLarge { .. } => "TooLarge",
        }
    }
}
