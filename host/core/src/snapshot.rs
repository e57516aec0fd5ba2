//! Everything that a decision may depend on, frozen as one value. Touches nothing.
//!
//! A snapshot has canonical bytes (postcard: one encoding per value, floats bit by bit) and a
//! digest. The decision is a function of these bytes, so a record that keeps them can be replayed.

use crate::guardrails::{GuardMemory, Guardrails};
use crate::ids::Digest;
use crate::scaling::{PolicyStamp, ScalingInput};
use crate::state::DroppedState;
use serde::{Deserialize, Serialize};

/// Version of the canonical form; written first, raised with every change of a type inside.
pub const SCHEMA: u16 = 2;

/// Whether the measured series may be decided on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetricsHealth {
    /// Complete and fresh enough.
    Ready,
    /// Missing, stale, partial or senseless: the replicas are held.
    NotReady {
        /// Stable CamelCase word, for example `MetricsUnreachable`.
        reason: String,
        /// One sentence that names what is missing.
        sentence: String,
    },
}

/// Whether decisions take effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// They do.
    #[default]
    Enforce,
    /// They are recorded and change nothing.
    DryRun,
}

/// Something outside the policy that keeps the replicas as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Stable CamelCase word, for example `OtherAutoscaler`.
    pub code: String,
    /// One sentence that names what stands in the way.
    pub sentence: String,
}

/// Why another module than the object's own is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Digest of the module whose breaker is open.
    pub instead_of: Digest,
    /// One sentence with what it did.
    pub sentence: String,
}

/// The whole input of one decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// [`SCHEMA`].
    pub schema: u16,
    /// What the policy sees.
    pub input: ScalingInput,
    /// Who is asked; absent when no policy is configured or loaded.
    pub policy: Option<PolicyStamp>,
    /// Set when that is a fallback: the module that should be asked keeps failing.
    pub fallback: Option<Fallback>,
    /// The state of another module that this policy can't read, so that `input.state` is empty.
    pub dropped_state: Option<DroppedState>,
    /// Why there is no policy, where one is configured.
    pub unresolved: Option<Block>,
    /// Whether the window may be decided on.
    pub metrics: MetricsHealth,
    /// Bounds on change.
    pub guardrails: Guardrails,
    /// What the guardrails remember.
    pub memory: GuardMemory,
    /// Replicas that a person or another controller pinned.
    pub pin: Option<u32>,
    /// Enforce or dry run.
    pub mode: Mode,
    /// Changes are stopped.
    pub paused: bool,
    /// Something else that stops changes.
    pub block: Option<Block>,
}

/// A snapshot that can't be read back.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are of another version of the canonical form.
    #[error("the snapshot has schema {0}, this build reads schema {SCHEMA}: replay it with the version that recorded it")]
    Schema(u16),
    /// The bytes are not a snapshot.
    #[error("the bytes are not a snapshot: {0}")]
    Malformed(#[from] postcard::Error),
}

impl Snapshot {
    /// The canonical bytes.
    ///
    /// # Errors
    /// Never for a snapshot that was built in memory; the encoder's signature asks for it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SnapshotError> {
        Ok(postcard::to_stdvec(self)?)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    /// Another schema, or bytes that are not a snapshot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let (schema, _) = postcard::take_from_bytes::<u16>(bytes)?;
        if schema != SCHEMA {
            return Err(SnapshotError::Schema(schema));
        }
        Ok(postcard::from_bytes(bytes)?)
    }

    /// The digest of the canonical bytes.
    ///
    /// # Errors
    /// As [`Snapshot::to_bytes`].
    pub fn digest(&self) -> Result<Digest, SnapshotError> {
        Ok(Digest::of(&self.to_bytes()?))
    }
}
