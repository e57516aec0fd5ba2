//! From a file, a project's folder or the binary itself to a loaded policy. Touches files and the Wasm
//! engine. Used by every subcommand that runs a policy.

use super::AtFault;
use super::project::Project;
use anyhow::Context as _;
use bytes::Bytes;
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use weir_core::ids::{Digest, ObjectRef};
use weir_engine::{Candidate, Engine, EngineConfig, Limits, LoadError, Policy, PolicyKind, StageTimes, Wasi};

/// Options that say which limits a call has.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct LimitOptions {
    /// Fuel of one call, as spec.limits.fuel.
    #[arg(long)]
    fuel: Option<u64>,
    /// Memory of one call, as spec.limits.memory: for example 64Mi.
    #[arg(long)]
    memory: Option<weir_crds::Bytes>,
    /// Time of one call, as spec.limits.deadline: for example 200ms.
    #[arg(long)]
    deadline: Option<weir_crds::Duration>,
    /// What it may import of WASI, as spec.wasi.
    #[arg(long, value_enum, default_value = "Deny")]
    wasi: WasiOption,
}

/// `spec.wasi` as an option.
#[derive(Clone, Copy, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
enum WasiOption {
    /// Nothing.
    Deny,
    /// A virtual world with no outside.
    Deterministic,
}

impl LimitOptions {
    /// What it may import of WASI.
    pub(crate) const fn wasi(&self) -> Wasi {
        match self.wasi {
            WasiOption::Deny => Wasi::Deny,
            WasiOption::Deterministic => Wasi::Deterministic,
        }
    }

    /// These limits, where an option says nothing those of `base`.
    pub(crate) fn over(&self, base: Limits) -> Limits {
        Limits {
            fuel: self.fuel.unwrap_or(base.fuel),
            memory_bytes: self.memory.map_or(base.memory_bytes, weir_crds::Bytes::get),
            deadline: self.deadline.map_or(base.deadline, weir_crds::Duration::as_std),
            ..base
        }
    }
}

/// Params as an option gives them.
pub(crate) fn params(text: Option<&str>) -> anyhow::Result<serde_json::Value> {
    Ok(text.map(serde_json::from_str).transpose().context("--params is not JSON")?.unwrap_or(serde_json::Value::Null))
}

/// A component, and the engine that runs it.
pub(crate) struct Component {
    /// How it was named.
    pub(crate) name: String,
    /// The bytes as shipped: raw, gzip or zstd.
    pub(crate) shipped: Bytes,
    engine: Engine,
    /// The policy that was loaded last: while it lives, so does its machine code, and what is loaded next of
    /// the same component is not compiled again.
    last: RefCell<Option<Arc<Policy>>>,
}

impl Component {
    /// Opens `builtin:NAME`, a component's file, or the component that was built of a project's folder.
    ///
    /// # Errors
    /// There is none; the message says how to get one.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let shipped = match path.to_str().and_then(|name| name.strip_prefix("builtin:")) {
            Some(name) => weir_engine::source::builtin::builtin(name)?,
            None if path.is_dir() => {
                let file = Project::open(path)?.component();
                let hint = || format!("{} can't be read: build it first, with `weir policy build {}`", file.display(), path.display());
                Bytes::from(std::fs::read(&file).with_context(hint)?)
            }
            None => Bytes::from(std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?),
        };
        let engine = Engine::new(EngineConfig { concurrent_instances: 4, parallel_compilation: true, ..EngineConfig::default() })?;
        Ok(Self { name: path.display().to_string(), shipped, engine, last: RefCell::default() })
    }

    /// The uncompressed bytes.
    ///
    /// # Errors
    /// They are packed and can't be unpacked.
    pub(crate) fn unpacked(&self) -> Result<Bytes, LoadError> {
        weir_engine::unpack::unpack(&self.shipped, self.engine.config().max_component_bytes)
    }

    /// Loads it through the gates of the operator.
    ///
    /// # Errors
    /// Which gate refused it, and why.
    pub(crate) fn load(&self, params: serde_json::Value, limits: Limits, wasi: Wasi, digest: Option<Digest>) -> (Result<Arc<Policy>, LoadError>, StageTimes) {
        let (object, kind) = (ObjectRef::new("local", &self.name), PolicyKind::Scaling);
        let candidate = Candidate { object, kind, bytes: self.shipped.clone(), digest, params, limits, wasi };
        let loading = self.engine.load_blocking(&candidate, &[]);
        if let Ok(policy) = &loading.result {
            self.last.replace(Some(policy.clone()));
        }
        (loading.result, loading.stages)
    }

    /// The same where a refusal ends the command.
    ///
    /// # Errors
    /// Which gate refused it, and why.
    pub(crate) fn require(&self, params: serde_json::Value, limits: Limits, wasi: Wasi) -> anyhow::Result<(Arc<Policy>, StageTimes)> {
        let (result, stages) = self.load(params, limits, wasi, None);
        Ok((result.map_err(at_fault)?, stages))
    }
}

/// A refusal to load as an error of the policy.
pub(crate) fn at_fault(error: LoadError) -> AtFault {
    let advice = if matches!(error, LoadError::DescribeFailed(_)) { "; `weir policy check` says what it needs" } else { "" };
    AtFault(format!("{error}{advice} [{}]", error.reason()))
}
