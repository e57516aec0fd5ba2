//! The engine that a process has one of: it compiles components, keeps what it compiled as long as
//! somebody uses it, and finds the rest on disk. Touches the compiler and the cache's folder.
//! Made by the operator, the simulator and the replay; loading is in [`crate::load`].

use crate::cache::DiskCache;
use crate::call::Runtime;
use crate::compiled::{self, Compiled};
use crate::config::EngineConfig;
use crate::error::LoadError;
use crate::inspect::Imports;
use crate::kind::PolicyKind;
use crate::runtime::{self, EngineError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use wasmtime::component::Component;
use weir_core::ids::Digest;

/// Compiles and runs policies. A handle: clones share one pool of instances.
#[derive(Clone, Debug)]
pub struct Engine(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) compiling: Arc<tokio::sync::Semaphore>,
    cache: Option<DiskCache>,
    /// What is in use somewhere, so that a thousand objects with one policy share its code.
    in_use: Mutex<HashMap<(Digest, PolicyKind), Weak<Compiled>>>,
}

/// Where the machine code of a loaded policy came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompiledFrom {
    /// It was compiled.
    #[default]
    Compiler,
    /// It was found in the cache's folder.
    Disk,
    /// The same component was in use already.
    Memory,
}

impl Engine {
    /// Sets the engine up. Reserves address space (4 GiB for each memory of each concurrent
    /// instance), of which only what is used becomes resident.
    ///
    /// # Errors
    /// The settings contradict each other or this machine; the cache's folder cannot be used.
    pub fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let runtime = Arc::new(runtime::start(&config)?);
        let cache = config.cache.as_ref().map(|cache| DiskCache::open(cache, &runtime.engine)).transpose()?;
        let compiling = Arc::new(tokio::sync::Semaphore::new(config.concurrent_compilations.max(1)));
        Ok(Self(Arc::new(Inner { config, runtime, compiling, cache, in_use: Mutex::default() })))
    }

    /// How it was set up.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }
}

impl Inner {
    /// Machine code that somebody uses already.
    pub(crate) fn shared(&self, digest: &Digest, kind: PolicyKind) -> Option<Arc<Compiled>> {
        self.in_use.lock().get(&(*digest, kind)).and_then(Weak::upgrade)
    }

    /// Machine code of a component, compiled only when it is neither in use nor on disk. Blocks.
    pub(crate) fn compile(&self, digest: &Digest, kind: PolicyKind, imports: Imports, bytes: &[u8]) -> Result<(Arc<Compiled>, CompiledFrom), LoadError> {
        if let Some(compiled) = self.shared(digest, kind) {
            return Ok((compiled, CompiledFrom::Memory));
        }
        let (component, from) = match self.read_compiled(digest) {
            Some(component) => (component, CompiledFrom::Disk),
            None => (self.compile_anew(digest, bytes)?, CompiledFrom::Compiler),
        };
        let compiled = Arc::new(compiled::link(&self.runtime, &component, kind, imports, bytes.len() as u64)?);
        let mut in_use = self.in_use.lock();
        in_use.retain(|_, compiled| compiled.strong_count() > 0);
        in_use.insert((*digest, kind), Arc::downgrade(&compiled));
        Ok((compiled, from))
    }

    fn compile_anew(&self, digest: &Digest, bytes: &[u8]) -> Result<Component, LoadError> {
        let component = compiled::compile(&self.runtime, bytes)?;
        if let Some(cache) = &self.cache {
            match component.serialize() {
                Ok(code) => cache.write(digest, &code),
                Err(error) => tracing::warn!(%digest, %error, "compiled policy could not be serialised"),
            }
        }
        Ok(component)
    }

    fn read_compiled(&self, digest: &Digest) -> Option<Component> {
        let cache = self.cache.as_ref()?;
        let code = cache.read(digest)?;
        match deserialize(&self.runtime.engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%digest, %error, "compiled policy does not fit this machine and is compiled again");
                cache.forget(digest);
                None
            }
        }
    }
}

#[allow(
    unsafe_code,
    reason = "Wasmtime runs what it deserialises, so the bytes must be its own. They are: `DiskCache::read` gives only \
              bytes that this operator's user wrote into a folder nobody else may write to, whose digest over code, \
              engine and component matches"
)]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see the reason above.
    unsafe { Component::deserialize(engine, code) }
}
