//! From bytes to a policy that may decide, stage by stage: unpack → digest → signature → inspect → compile →
//! `describe` → params against its schema → probe on recent inputs. The first stage that fails ends
//! it with a [`LoadError`]. Touches the Wasm engine and, through [`crate::compile`], the compiler, on
//! threads for blocking work, never on the decision path. Called by [`crate::slot`], and directly by simulator and replay.

use crate::abi;
use crate::call;
use crate::compiled::Compiled;
use crate::config::Limits;
use crate::description::Description;
use crate::engine::{CompiledFrom, Engine, Inner};
use crate::error::LoadError;
use crate::kind::PolicyKind;
use crate::policy::Policy;
use crate::probe::{Probe, probe};
use crate::unpack::unpack;
use crate::verify::Trust;
use crate::wasi::Wasi;
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::ids::{Digest, ObjectRef};
use weir_core::scaling::{PolicyStamp, ScalingInput};

/// Bytes that a description may take in the host: a schema of full size and everything around it.
const DESCRIPTION_BYTES: u64 = 256 << 10;

/// A policy that somebody wants to have taken into use.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The WasmPolicy object.
    pub object: ObjectRef,
    /// What it is meant to decide on.
    pub kind: PolicyKind,
    /// The component as shipped: as it is, or packed with gzip or zstd.
    pub bytes: Bytes,
    /// Digest that the component must have. Always of the uncompressed component, so that it is the
    /// same however the bytes travel.
    pub digest: Option<Digest>,
    /// Params: a JSON object, or null for none.
    pub params: serde_json::Value,
    /// Limits that its object asks for; the operator's ceiling is applied to them.
    pub limits: Limits,
    /// Whether it may import WASI.
    pub wasi: Wasi,
}

/// How long each stage took, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageTimes {
    /// Unpacking, and the digest.
    pub unpack: Duration,
    /// Checking signatures.
    pub verify: Duration,
    /// Looking at imports, exports and size.
    pub inspect: Duration,
    /// Waiting for a turn in the queue of the compiler.
    pub queue: Duration,
    /// Compiling, or getting compiled code.
    pub compile: Duration,
    /// The call of `describe`.
    pub describe: Duration,
    /// Checking params.
    pub params: Duration,
    /// All probes together.
    pub probe: Duration,
    /// Exchanging the running policy.
    pub swap: Duration,
    /// From the call of `load` to its end, waiting included.
    pub total: Duration,
    /// Where the machine code came from.
    pub compiled: CompiledFrom,
    /// Inputs that were probed.
    pub probes: usize,
    /// Probes that the policy refused, which is a legal answer.
    pub refusals: usize,
}

/// What came of loading.
#[derive(Debug)]
pub struct Loading {
    /// The policy, or why there is none.
    pub result: Result<Arc<Policy>, LoadError>,
    /// What each stage took; zero for a stage that was not reached.
    pub stages: StageTimes,
}

/// A component whose bytes are trusted to be what they should be, and what it is to be loaded as.
#[derive(Clone, Debug)]
pub(crate) struct Unpacked {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
    pub(crate) kind: PolicyKind,
}

impl Engine {
    /// Loads a policy and probes it on `probes`. Each stage runs on a thread for blocking work, and
    /// is waited for as long as the engine's `stage_timeout`.
    ///
    /// # Errors
    /// In [`Loading::result`].
    pub async fn load(&self, candidate: &Candidate, probes: &[ScalingInput]) -> Loading {
        let mut stages = StageTimes::default();
        let begun = Instant::now();
        let probes = probes.iter().cloned().map(Probe::from).collect();
        let result = self.load_stages(candidate, probes, &mut stages).await;
        stages.total = begun.elapsed();
        Loading { result, stages }
    }

    /// The same on the calling thread and with the compiler of this process, for a simulator or a replay.
    /// Waits for no other compilation and sets no bound on the time of a stage.
    ///
    /// # Errors
    /// In [`Loading::result`].
    #[must_use]
    pub fn load_blocking(&self, candidate: &Candidate, probes: &[ScalingInput]) -> Loading {
        let mut stages = StageTimes::default();
        let begun = Instant::now();
        let result = self.0.unpack(candidate, &mut stages).and_then(|unpacked| {
            let compiled = self.0.compile_blocking(&unpacked, candidate.wasi, &mut stages)?;
            self.0.describe_stage(candidate, &unpacked.digest, compiled, &mut stages)
        });
        let probes: Vec<Probe> = probes.iter().cloned().map(Probe::from).collect();
        let result = result.and_then(|policy| probe(&policy, &probes, None, &mut stages).map(|()| Arc::new(policy)));
        stages.total = begun.elapsed();
        Loading { result, stages }
    }

    /// Unpacks and checks the digest; also what tells a slot whether anything has changed at all.
    pub(crate) async fn unpack(&self, candidate: &Candidate, stages: &mut StageTimes) -> Result<Unpacked, LoadError> {
        let candidate = candidate.clone();
        self.stage("unpacking", stages, move |inner, stages| inner.unpack(&candidate, stages)).await
    }

    /// Checks who signed the bytes as they were shipped.
    pub(crate) async fn verify(&self, candidate: &Candidate, trust: &Trust, stages: &mut StageTimes) -> Result<(), LoadError> {
        if trust.rules.is_empty() {
            return Ok(());
        }
        let (shipped, trust) = (candidate.bytes.clone(), trust.clone());
        self.stage("verifying", stages, move |_, stages| {
            let begun = Instant::now();
            let checked = trust.check(&shipped);
            stages.verify = begun.elapsed();
            Ok(checked?)
        })
        .await
    }

    async fn load_stages(&self, candidate: &Candidate, probes: Vec<Probe>, stages: &mut StageTimes) -> Result<Arc<Policy>, LoadError> {
        let unpacked = self.unpack(candidate, stages).await?;
        self.load_unpacked(candidate, unpacked, (probes, None), stages).await
    }

    pub(crate) async fn load_unpacked(
        &self,
        candidate: &Candidate,
        unpacked: Unpacked,
        (probes, before): (Vec<Probe>, Option<Arc<Policy>>),
        stages: &mut StageTimes,
    ) -> Result<Arc<Policy>, LoadError> {
        let digest = unpacked.digest;
        let compiled = self.compile_stage(&candidate.object.namespace, unpacked, candidate.wasi, stages).await?;
        let described = candidate.clone();
        let policy = self.stage("describing", stages, move |inner, stages| inner.describe_stage(&described, &digest, compiled, stages)).await?;
        self.stage("probing", stages, move |_, stages| probe(&policy, &probes, before.as_deref(), stages).map(|()| Arc::new(policy))).await
    }

    pub(crate) async fn stage<R: Send + 'static>(
        &self,
        name: &'static str,
        stages: &mut StageTimes,
        work: impl FnOnce(&Inner, &mut StageTimes) -> Result<R, LoadError> + Send + 'static,
    ) -> Result<R, LoadError> {
        let inner = Arc::clone(&self.0);
        let mut own = std::mem::take(stages);
        let before = own.clone();
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&inner, &mut own);
            (result, own)
        });
        let after = self.0.config.stage_timeout;
        match tokio::time::timeout(after, done).await {
            Ok(Ok((result, own))) => {
                *stages = own;
                result
            }
            Ok(Err(panicked)) => {
                *stages = before;
                Err(internal(panicked))
            }
            Err(_) => {
                *stages = before;
                Err(LoadError::TimedOut { stage: name, after })
            }
        }
    }
}

fn internal(error: impl std::fmt::Display) -> LoadError {
    LoadError::Internal(error.to_string())
}

impl Inner {
    fn unpack(&self, candidate: &Candidate, stages: &mut StageTimes) -> Result<Unpacked, LoadError> {
        let begun = Instant::now();
        let bytes = unpack(&candidate.bytes, self.config.max_component_bytes)?;
        let digest = Digest::of(&bytes);
        let result = match candidate.digest {
            Some(wanted) if wanted != digest => {
                let shipped_matches = Digest::of(&candidate.bytes) == wanted;
                Err(LoadError::DigestMismatch { wanted, actual: digest, shipped_matches })
            }
            _ => Ok(Unpacked { bytes, digest, kind: candidate.kind }),
        };
        stages.unpack = begun.elapsed();
        result
    }

    pub(crate) fn describe_stage(&self, candidate: &Candidate, digest: &Digest, compiled: Arc<Compiled>, stages: &mut StageTimes) -> Result<Policy, LoadError> {
        let limits = candidate.limits.capped_by(&self.config.ceiling);
        let begun = Instant::now();
        let described = compiled.check_types(&self.runtime, &limits).and_then(|()| {
            let called = call::call(compiled.at_load(&self.runtime), &compiled.describe, (), &limits, DESCRIPTION_BYTES);
            let (out,): abi::DescribeResult = called.result.map_err(|failure| LoadError::DescribeFailed(call::sentence(&failure)))?;
            Ok(out)
        });
        stages.describe = begun.elapsed();
        let begun = Instant::now();
        let checked = Description::read(described?).and_then(|(description, schema)| Ok((schema.check(&candidate.params)?, description)));
        stages.params = begun.elapsed();
        let (params, description) = checked?;
        let stamp = PolicyStamp { object: candidate.object.clone(), digest: *digest, name: description.name.clone(), version: description.version.clone() };
        Ok(Policy { stamp, description, params, limits, wasi: candidate.wasi, compiled, runtime: Arc::clone(&self.runtime) })
    }
}
