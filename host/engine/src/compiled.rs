//! A component as machine code, linked and with its two functions found. Touches the compiler.
//! Made by [`crate::engine`], which also keeps what it made; held by [`crate::policy`].

use crate::abi;
use crate::call::{self, Runtime};
use crate::config::Limits;
use crate::error::LoadError;
use crate::meter::Meter;
use std::fmt;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

/// Machine code of one component.
pub(crate) struct Compiled {
    pub(crate) pre: InstancePre<Meter>,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) decide: ComponentExportIndex,
    pub(crate) component_bytes: u64,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("component_bytes", &self.component_bytes).finish_non_exhaustive()
    }
}

/// Compiles a component. Takes 15 ms for a small rule, seconds for one with an interpreter inside.
pub(crate) fn compile(runtime: &Runtime, bytes: &[u8]) -> Result<Component, LoadError> {
    Component::from_binary(&runtime.engine, bytes).map_err(|error| {
        let text = format!("{error:#}");
        if text.contains("exceeds the limit") || text.contains("exceeds the maximum") {
            LoadError::TooComplex(crate::call::shorten(&text, 512))
        } else {
            LoadError::CompileFailed(crate::call::shorten(&text, 512))
        }
    })
}

/// Links a component and finds its functions.
pub(crate) fn link(runtime: &Runtime, component: &Component, component_bytes: u64) -> Result<Compiled, LoadError> {
    // Nothing is ever put into this linker: what a component imports, it cannot have.
    let pre = Linker::new(&runtime.engine).instantiate_pre(component).map_err(|error| {
        let imports: Vec<String> = component.component_type().imports(&runtime.engine).map(|(name, _)| name.to_owned()).collect();
        if imports.is_empty() { LoadError::CompileFailed(format!("{error:#}")) } else { LoadError::HasImports { imports } }
    })?;
    let describe = function(component, abi::DESCRIBE, "describe")?;
    let decide = function(component, abi::SCALING, "decide")?;
    Ok(Compiled { pre, describe, decide, component_bytes })
}

fn function(component: &Component, interface: &str, name: &str) -> Result<ComponentExportIndex, LoadError> {
    let found = component.get_export_index(None, interface).and_then(|index| component.get_export_index(Some(&index), name));
    found.ok_or_else(|| LoadError::WrongWorld { missing: vec![format!("{interface}#{name}")], exports: Vec::new() })
}

impl Compiled {
    /// Compares the types of both functions with the contract's, in an instance that is thrown away.
    pub(crate) fn check_types(&self, runtime: &Runtime, limits: &Limits) -> Result<(), LoadError> {
        let checked = call::in_instance(runtime, &self.pre, limits, |store, instance| {
            Ok((
                instance.get_typed_func::<(), abi::DescribeResult>(&mut *store, &self.describe).map(|_| ()),
                instance.get_typed_func::<abi::DecideParams<'_>, abi::DecideResult>(&mut *store, &self.decide).map(|_| ()),
            ))
        });
        let (describe, decide) = checked.result.map_err(|failure| LoadError::DescribeFailed(call::sentence(&failure)))?;
        let wrong = |function| move |error: wasmtime::Error| LoadError::WrongTypes { function, detail: call::shorten(&format!("{error:#}"), 300) };
        describe.map_err(wrong("describe"))?;
        decide.map_err(wrong("decide"))
    }
}
