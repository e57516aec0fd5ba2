//! The engine that a process has one of: the pool of instances, the queue in front of the compiler, and
//! what was compiled as long as somebody uses it. Touches the cache's folder.
//! Made by the operator, the simulator and the replay; loading is in [`crate::load`].

use crate::cache::DiskCache;
use crate::call::Runtime;
use crate::compiled::Compiled;
use crate::config::EngineConfig;
use crate::kind::PolicyKind;
use crate::queue::Queue;
use crate::runtime::{self, EngineError};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use weir_core::ids::Digest;

/// Compiles and runs policies. A handle: clones share one pool of instances.
#[derive(Clone, Debug)]
pub struct Engine(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) cache: Option<DiskCache>,
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
        let queue = Queue::new(config.concurrent_compilations, config.queued_compilations);
        Ok(Self(Arc::new(Inner { config, runtime, queue, cache, in_use: Mutex::default() })))
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

    /// Notes that machine code is in use, as long as somebody holds it.
    pub(crate) fn remember(&self, digest: Digest, compiled: &Arc<Compiled>) {
        let mut in_use = self.in_use.lock();
        in_use.retain(|_, compiled| compiled.strong_count() > 0);
        in_use.insert((digest, compiled.kind), Arc::downgrade(compiled));
    }
}
