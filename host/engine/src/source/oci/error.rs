//! Why an artifact could not be got. Touches nothing.

use std::fmt;
use weir_core::ids::Digest;

/// Nothing came from a registry, or nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OciError {
    /// The reference, a mirror, the CA or the pull Secret can't be used as it is.
    #[error("{0}")]
    InvalidRequest(String),
    /// No answer, or one that says to come back later: it may work at another time.
    #[error("{endpoint} does not answer: {detail}")]
    Unreachable {
        /// Host, port and repository.
        endpoint: String,
        /// The last thing that went wrong.
        detail: String,
    },
    /// The registry wants to know who asks, or does not let them in.
    #[error("{endpoint} refuses access{}: set spec.source.oci.pullSecretRef to a Secret with the credentials of {}", because(detail), host(endpoint))]
    Unauthorized {
        /// Host, port and repository.
        endpoint: String,
        /// What the registry says.
        detail: String,
    },
    /// No such repository, tag or manifest.
    #[error("{endpoint} has no {what}{}: push it, or correct spec.source.oci.ref", because(detail))]
    NotFound {
        /// Host, port and repository.
        endpoint: String,
        /// The tag, manifest or layer.
        what: String,
        /// What the registry says.
        detail: String,
    },
    /// Any other refusal.
    #[error("{endpoint} answers {status}{}", because(detail))]
    Refused {
        /// Host, port and repository.
        endpoint: String,
        /// HTTP status.
        status: u16,
        /// What the registry says.
        detail: String,
    },
    /// An artifact of something else.
    #[error("the artifact is no policy: {0}; push it with `weir policy push` or `wkg oci push`")]
    WrongArtifact(String),
    /// Larger than the operator allows, or than it says itself.
    #[error("{what} has more than {limit} bytes, {}", if *declared { "the operator's ceiling for a component: build it smaller" } else { "all that may be of it: the registry sends something else than it should, and nothing of it is used" })]
    TooLarge {
        /// Manifest, layer, or answer.
        what: String,
        /// Bytes that are read at most.
        limit: u64,
        /// True: the manifest says so, and nothing was downloaded.
        declared: bool,
    },
    /// Other bytes than were asked for.
    #[error(
        "{endpoint} sent a {what} with the digest {actual} where {wanted} was asked for: the registry or somebody on the way changed it; nothing of it is used"
    )]
    Corrupt {
        /// Host, port and repository.
        endpoint: String,
        /// `manifest` or `layer`.
        what: &'static str,
        /// What was asked for.
        wanted: Digest,
        /// What came.
        actual: Digest,
    },
}

impl OciError {
    /// The stable CamelCase word for conditions, Events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "SourceRefused",
            Self::Unreachable { .. } => "RegistryUnreachable",
            Self::Unauthorized { .. } => "RegistryUnauthorized",
            Self::NotFound { .. } => "SourceNotFound",
            Self::Refused { .. } => "RegistryRefused",
            Self::WrongArtifact(_) => "WrongArtifact",
            Self::TooLarge { .. } => "TooLarge",
            Self::Corrupt { .. } => "DigestMismatch",
        }
    }

    /// True when it may work at another time without anybody doing anything.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

fn because(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(" ({detail})") }
}

fn host(endpoint: &str) -> &str {
    endpoint.split('/').next().unwrap_or_default()
}

/// Text of somebody else, made fit for a condition: one line, at most 200 characters.
pub(super) fn tame(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let mut tame: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
    if text.chars().nth(200).is_some() {
        tame.push('…');
    }
    tame
}
