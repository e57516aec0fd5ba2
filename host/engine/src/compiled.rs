//! A component as machine code, linked and with its two functions found. Touches the compiler.
//! Made by [`crate::engine`], which also keeps what it made; held by [`crate::policy`].

use crate::abi::{self, placement};
use crate::call::{self, Callee, Data, Runtime};
use crate::config::Limits;
use crate::error::LoadError;
use crate::inspect::Imports;
use crate::kind::PolicyKind;
use crate::wasi::{self, World};
use std::fmt;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};
use weir_core::ids::{Digest, UnixMs};

/// Machine code of one component.
pub(crate) struct Compiled {
    pub(crate) pre: InstancePre<Data>,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) decide: ComponentExportIndex,
    pub(crate) kind: PolicyKind,
    pub(crate) component_bytes: u64,
    pub(crate) imports: Imports,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("component_bytes", &self.component_bytes).finish_non_exhaustive()
    }
}

/// Compiles a component in this process. Takes 15 ms for a small rule, seconds for one with an interpreter inside.
pub(crate) fn compile(runtime: &Runtime, bytes: &[u8]) -> Result<Component, LoadError> {
    // The compiler asserts what it takes for granted: of inner components that call each other it makes
    // adapters, which need several memories, which this engine does not have.
    let compiled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Component::from_binary(&runtime.engine, bytes)));
    let compiled = compiled.map_err(|_| LoadError::CompilerCrashed("it panicked".to_owned()))?;
    compiled.map_err(|error| refused(&format!("{error:#}")))
}

/// Whether what Wasmtime says is that a component has more than the pool has places for.
pub(crate) fn is_too_large(text: &str) -> bool {
    text.contains("exceeds the limit") || text.contains("exceeds the maximum")
}

/// What the compiler says of a component, as an error.
pub(crate) fn refused(text: &str) -> LoadError {
    let kind = if is_too_large(text) { LoadError::TooComplex } else { LoadError::CompileFailed };
    kind(call::shorten(text, 512))
}

/// Links a component and finds its functions. Only what is of WASI is ever put into the linker, and
/// only the virtual world of it: what else a component imports, it cannot have.
pub(crate) fn link(runtime: &Runtime, component: &Component, kind: PolicyKind, imports: Imports, component_bytes: u64) -> Result<Compiled, LoadError> {
    let mut linker = Linker::new(&runtime.engine);
    let linked = wasi::link(&mut linker, &runtime.engine, component);
    let unknown = linked.map_err(|error| LoadError::CompileFailed(call::shorten(&format!("{error:#}"), 512)))?;
    if !unknown.is_empty() {
        return Err(LoadError::UnsupportedImports { imports: unknown });
    }
    let pre = linker.instantiate_pre(component).map_err(|error| {
        let all = component.component_type();
        let others: Vec<String> = all.imports(&runtime.engine).map(|(name, _)| name.to_owned()).filter(|name| !wasi::provides(name)).collect();
        let detail = call::shorten(&format!("{error:#}"), 300);
        match (others.is_empty(), imports.is_empty()) {
            (false, _) => LoadError::HasImports { imports: others },
            (true, false) => LoadError::WrongImportTypes { detail },
            (true, true) => LoadError::CompileFailed(detail),
        }
    })?;
    let describe = function(component, kind, abi::DESCRIBE, "describe")?;
    let decide = function(component, kind, kind.interface(), "decide")?;
    Ok(Compiled { pre, describe, decide, kind, component_bytes, imports })
}

fn function(component: &Component, kind: PolicyKind, interface: &str, name: &str) -> Result<ComponentExportIndex, LoadError> {
    let found = component.get_export_index(None, interface).and_then(|index| component.get_export_index(Some(&index), name));
    found.ok_or_else(|| LoadError::WrongWorld { kind, missing: vec![format!("{interface}#{name}")], exports: Vec::new() })
}

impl Compiled {
    /// This code at a decision, in the virtual world of that decision if it imports one.
    pub(crate) fn at<'a>(&'a self, runtime: &'a Runtime, now: UnixMs, seed: impl FnOnce() -> Digest) -> Callee<'a> {
        // Only who asks for random numbers pays for what they are made from.
        let world = || World::new(now, &if self.imports.random() { seed() } else { Digest::of(b"") });
        Callee { runtime, compiled: self, world: (!self.imports.is_empty()).then(|| Box::new(world())) }
    }

    /// This code at load, where there is no input: the clocks stand at 1970, and the seed is that of nothing.
    pub(crate) fn at_load<'a>(&'a self, runtime: &'a Runtime) -> Callee<'a> {
        self.at(runtime, UnixMs(0), || Digest::of(b""))
    }

    /// Compares the types of both functions with the contract's, in an instance that is thrown away.
    pub(crate) fn check_types(&self, runtime: &Runtime, limits: &Limits) -> Result<(), LoadError> {
        let checked = call::in_instance(self.at_load(runtime), limits, |store, instance| {
            Ok((
                instance.get_typed_func::<(), abi::DescribeResult>(&mut *store, &self.describe).map(|_| ()),
                match self.kind {
                    PolicyKind::Scaling => instance.get_typed_func::<abi::DecideParams<'_>, abi::DecideResult>(&mut *store, &self.decide).map(|_| ()),
                    PolicyKind::Placement => {
                        instance.get_typed_func::<placement::DecideParams<'_>, placement::DecideResult>(&mut *store, &self.decide).map(|_| ())
                    }
                },
            ))
        });
        let (describe, decide) = checked.result.map_err(|failure| LoadError::DescribeFailed(call::sentence(&failure)))?;
        let wrong = |function| move |error: wasmtime::Error| LoadError::WrongTypes { function, detail: call::shorten(&format!("{error:#}"), 300) };
        describe.map_err(wrong("describe"))?;
        decide.map_err(wrong("decide"))
    }
}
