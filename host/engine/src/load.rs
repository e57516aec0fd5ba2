//! From bytes to a policy that may decide, stage by stage: unpack → digest → signature → inspect → compile →
//! `describe` → params against its schema → probe on recent inputs. The first stage that fails ends
//! it with a [`LoadError`]. Touches the compiler and the Wasm engine, on threads for blocking work,
//! never on the decision path. Called by [`crate::slot`], and directly by simulator and replay.

use crate::abi;
use crate::call;
use crate::compiled::Compiled;
use crate::config::Limits;
use crate::description::Description;
use crate::engine::{CompiledFrom, Engine, Inner};
use crate::error::LoadError;
use crate::inspect::inspect;
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
    /// Compiling, or getting compiled code; without the wait for other compilations.
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

/// A component whose bytes are trusted to be what they should be.
#[derive(Debug)]
pub(crate) struct Unpacked {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
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

    /// The same on the calling thread, for a simulator or a replay. Waits for no other compilation
    /// and sets no bound on the time of a stage.
    ///
    /// # Errors
    /// In [`Loading::result`].
    #[must_use]
    pub fn load_blocking(&self, candidate: &Candidate, probes: &[ScalingInput]) -> Loading {
        let mut stages = StageTimes::default();
        let begun = Instant::now();
        let result = self.0.unpack(candidate, &mut stages).and_then(|unpacked| {
            let compiled = self.0.compile_stage(&unpacked, candidate.kind, candidate.wasi, &mut stages)?;
            self.0.describe_stage(candidate, &unpacked.digest, compiled, &mut stages)
        });
        let probes: Vec<Probe> = probes.iter().cloned().map(Probe::from).collect();
        let result = result.and_then(|policy| probe(&policy, &probes, &mut stages).map(|()| Arc::new(policy)));
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
        self.load_unpacked(candidate, unpacked, probes, stages).await
    }

    pub(crate) async fn load_unpacked(
        &self,
        candidate: &Candidate,
        unpacked: Unpacked,
        probes: Vec<Probe>,
        stages: &mut StageTimes,
    ) -> Result<Arc<Policy>, LoadError> {
        let (digest, kind, wasi) = (unpacked.digest, candidate.kind, candidate.wasi);
        let compiled = match self.0.shared(&digest, kind) {
            Some(compiled) => {
                // Whoever runs it already may have been granted more than this one.
                compiled.imports.admit(wasi)?;
                stages.compiled = CompiledFrom::Memory;
                compiled
            }
            None => {
                let permit = Arc::clone(&self.0.compiling).acquire_owned().await.map_err(internal)?;
                self.stage("compiling", stages, move |inner, stages| {
                    // Held until the compiler is done, also when nobody waits any more: a slow
                    // component never makes two compilations of one.
                    let _permit = permit;
                    inner.compile_stage(&unpacked, kind, wasi, stages)
                })
                .await?
            }
        };
        let described = candidate.clone();
        let policy = self.stage("describing", stages, move |inner, stages| inner.describe_stage(&described, &digest, compiled, stages)).await?;
        self.stage("probing", stages, move |_, stages| probe(&policy, &probes, stages).map(|()| Arc::new(policy))).await
    }

    async fn stage<R: Send + 'static>(
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
            _ => Ok(Unpacked { bytes, digest }),
        };
        stages.unpack = begun.elapsed();
        result
    }

    fn compile_stage(&self, unpacked: &Unpacked, kind: PolicyKind, wasi: Wasi, stages: &mut StageTimes) -> Result<Arc<Compiled>, LoadError> {
        let begun = Instant::now();
        let inspected = inspect(&unpacked.bytes, kind, wasi, &self.config);
        stages.inspect = begun.elapsed();
        let imports = inspected?;
        let begun = Instant::now();
        let compiled = self.compile(&unpacked.digest, kind, imports, &unpacked.bytes);
        stages.compile = begun.elapsed();
        let (compiled, from) = compiled?;
        stages.compiled = from;
        Ok(compiled)
    }

    fn describe_stage(&self, candidate: &Candidate, digest: &Digest, compiled: Arc<Compiled>, stages: &mut StageTimes) -> Result<Policy, LoadError> {
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
