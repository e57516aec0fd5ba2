//! From an inspected component to machine code: what is in use already, else what lies on disk, else the
//! compiler, in a bounded queue. Touches the cache's folder, and the compiler of [`crate::compiler`].
//! A stage of [`crate::load`].

use crate::compiled::{self, Compiled};
use crate::compiler::{Compiler, child};
use crate::engine::{CompiledFrom, Engine, Inner};
use crate::error::LoadError;
use crate::inspect::{Imports, inspect};
use crate::load::{StageTimes, Unpacked};
use crate::wasi::Wasi;
use std::sync::Arc;
use std::time::Instant;
use wasmtime::component::Component;
use weir_core::ids::Digest;

/// What is known of a component before it is compiled.
enum Found {
    /// Its machine code.
    Code(Arc<Compiled>),
    /// Only what it wants from outside.
    Nothing(Imports),
}

impl Engine {
    /// Machine code of a component. `namespace` is whose turn it takes in the queue.
    pub(crate) async fn compile_stage(&self, namespace: &str, unpacked: Unpacked, wasi: Wasi, stages: &mut StageTimes) -> Result<Arc<Compiled>, LoadError> {
        let looked_at = unpacked.clone();
        let imports = match self.stage("inspecting", stages, move |inner, stages| inner.find(&looked_at, wasi, stages)).await? {
            Found::Code(compiled) => return Ok(compiled),
            Found::Nothing(imports) => imports,
        };
        let queued = Instant::now();
        let turn = self.0.queue.enter(namespace).await;
        stages.queue = queued.elapsed();
        // Held until the compiler is done. In this process that is also when nobody waits any more: a slow
        // component never makes two compilations of one.
        let turn = turn?;
        if let Some(compiled) = self.0.shared(&unpacked.digest, unpacked.kind) {
            stages.compiled = CompiledFrom::Memory;
            return Ok(compiled);
        }
        match &self.0.config.compiler {
            Compiler::InProcess => {
                self.stage("compiling", stages, move |inner, stages| {
                    let _turn = turn;
                    inner.compile_here(&unpacked, imports, stages)
                })
                .await
            }
            Compiler::Child(program) => {
                let begun = Instant::now();
                let code = child::compile(program, &self.0.config, &unpacked.bytes).await;
                stages.compile = begun.elapsed();
                let code = code?;
                self.stage("loading", stages, move |inner, stages| {
                    let _turn = turn;
                    let begun = Instant::now();
                    let taken = inner.take_in(&unpacked, imports, &code);
                    stages.compile += begun.elapsed();
                    taken
                })
                .await
            }
        }
    }
}

impl Inner {
    /// The same on the calling thread and in this process, without a queue.
    pub(crate) fn compile_blocking(&self, unpacked: &Unpacked, wasi: Wasi, stages: &mut StageTimes) -> Result<Arc<Compiled>, LoadError> {
        match self.find(unpacked, wasi, stages)? {
            Found::Code(compiled) => Ok(compiled),
            Found::Nothing(imports) => self.compile_here(unpacked, imports, stages),
        }
    }

    fn find(&self, unpacked: &Unpacked, wasi: Wasi, stages: &mut StageTimes) -> Result<Found, LoadError> {
        if let Some(compiled) = self.shared(&unpacked.digest, unpacked.kind) {
            // Whoever runs it already may have been granted more than this one.
            compiled.imports.admit(wasi)?;
            stages.compiled = CompiledFrom::Memory;
            return Ok(Found::Code(compiled));
        }
        let begun = Instant::now();
        let inspected = inspect(&unpacked.bytes, unpacked.kind, wasi, &self.config);
        stages.inspect = begun.elapsed();
        let imports = inspected?;
        let begun = Instant::now();
        let Some(component) = self.read_compiled(&unpacked.digest) else { return Ok(Found::Nothing(imports)) };
        let compiled = self.share(unpacked, &component, imports);
        stages.compile = begun.elapsed();
        stages.compiled = CompiledFrom::Disk;
        compiled.map(Found::Code)
    }

    fn compile_here(&self, unpacked: &Unpacked, imports: Imports, stages: &mut StageTimes) -> Result<Arc<Compiled>, LoadError> {
        let begun = Instant::now();
        let compiled = compiled::compile(&self.runtime, &unpacked.bytes).and_then(|component| {
            if let Some(cache) = &self.cache {
                match component.serialize() {
                    Ok(code) => cache.write(&unpacked.digest, &code),
                    Err(error) => tracing::warn!(digest = %unpacked.digest, %error, "compiled policy could not be serialised"),
                }
            }
            self.share(unpacked, &component, imports)
        });
        stages.compile = begun.elapsed();
        compiled
    }

    /// Takes machine code in that a child process made.
    fn take_in(&self, unpacked: &Unpacked, imports: Imports, code: &[u8]) -> Result<Arc<Compiled>, LoadError> {
        let component = deserialize(&self.runtime.engine, code).map_err(|error| {
            let text = format!("{error:#}");
            if compiled::is_too_large(&text) { compiled::refused(&text) } else { LoadError::CompilerCrashed(format!("what it made can't be used: {text}")) }
        })?;
        if let Some(cache) = &self.cache {
            cache.write(&unpacked.digest, code);
        }
        self.share(unpacked, &component, imports)
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

    /// Links machine code, and lets everybody have it who loads the same component.
    fn share(&self, unpacked: &Unpacked, component: &Component, imports: Imports) -> Result<Arc<Compiled>, LoadError> {
        let compiled = Arc::new(compiled::link(&self.runtime, component, unpacked.kind, imports, unpacked.bytes.len() as u64)?);
        self.remember(unpacked.digest, &compiled);
        Ok(compiled)
    }
}

#[allow(
    unsafe_code,
    reason = "Wasmtime runs what it deserialises, so the bytes must be its own. They are: `DiskCache::read` gives only \
              bytes that this operator's user wrote into a folder nobody else may write to, whose digest over code, \
              engine and component matches; and `child::compile` gives what this operator's own program, started by \
              itself, wrote into a pipe that nobody else holds. Both are held against this engine's settings, which \
              Wasmtime writes into what it serialises"
)]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: see the reason above.
    unsafe { Component::deserialize(engine, code) }
}
