//! From a core module to a component that imports nothing. Touches the project's `wit/`, to read. Called
//! by the languages whose compilers make core modules.

use crate::policy::AtFault;
use anyhow::{Context as _, anyhow};
use std::path::Path;
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

/// The module that a compiler for WASI 0.1 imports from.
const WASI: &str = "wasi_snapshot_preview1";

/// What takes its place.
const WITHOUT_WASI: &str = include_str!("without_wasi.wat");

/// The world that policies are written for.
const WORLD: &str = "scaling-policy";

/// A component, and which functions of WASI the module wanted and got a stand-in for.
pub(crate) struct Encoded {
    /// The component.
    pub(crate) bytes: Vec<u8>,
    /// For example `clock_time_get`.
    pub(crate) stood_in: Vec<String>,
}

/// Makes a component of a module. `wit` is the folder of the contract where the module does not carry
/// its interface itself.
///
/// # Errors
/// The module imports something that nobody gives it, or does not fit the contract.
pub(crate) fn encode(module: &[u8], wit: Option<&Path>) -> anyhow::Result<Encoded> {
    let mut module = module.to_vec();
    let (stood_in, others) = imports(&module)?;
    if !others.is_empty() {
        let all = others.join(", ");
        return Err(
            AtFault(format!("the compiled module imports {all}: define these functions, or leave out what needs them; a policy imports nothing")).into()
        );
    }
    if let Some(wit) = wit {
        let (resolve, world) = contract(wit)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    }
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true);
    let fits = || AtFault("the module does not fit the world weir:policy/scaling-policy: it must export `describe` and `decide` as the SDK does".to_owned());
    encoder.module(&module).with_context(fits)?;
    if !stood_in.is_empty() {
        encoder.adapter(WASI, &wat::parse_str(WITHOUT_WASI)?)?;
    }
    Ok(Encoded { bytes: encoder.encode().with_context(fits)?, stood_in })
}

/// Functions of WASI that a module imports, and everything else.
fn imports(module: &[u8]) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let (mut wasi, mut others) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload? {
            for import in section.into_imports() {
                let import = import?;
                match import.module {
                    WASI => wasi.push(import.name.to_owned()),
                    module => others.push(format!("`{}` of `{module}`", import.name)),
                }
            }
        }
    }
    Ok((wasi, others))
}

fn contract(folder: &Path) -> anyhow::Result<(Resolve, wit_parser::WorldId)> {
    let mut sources = SourceMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("{} can't be read", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            sources.push_str(&path.display().to_string(), std::fs::read_to_string(&path)?);
        }
    }
    let group = sources.parse().map_err(|(_, error)| anyhow!("{}: {error:?}", folder.display()))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group)?;
    let world = resolve.select_world(&[package], Some(WORLD))?;
    Ok((resolve, world))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_with_foreign_imports_is_told_which() {
        let module = wat::parse_str(r#"(module (import "env" "sqrtl" (func)) (import "wasi_snapshot_preview1" "sched_yield" (func (result i32))))"#).unwrap();
        let error = encode(&module, None).err().unwrap();
        assert!(error.is::<AtFault>() && error.to_string().contains("`sqrtl` of `env`"), "{error:#}");
        let (wasi, others) = imports(&module).unwrap();
        assert_eq!((wasi, others.len()), (vec!["sched_yield".to_owned()], 1));
    }

    #[test]
    fn a_module_without_the_exports_is_told_the_world() {
        let module = wat::parse_str("(module (memory (export \"memory\") 1))").unwrap();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let error = encode(&module, Some(&wit)).err().unwrap();
        assert!(error.is::<AtFault>() && error.to_string().contains("scaling-policy"), "{error:#}");
    }

    #[test]
    fn the_stand_in_has_every_function_of_wasi() {
        // `wasi_snapshot_preview1.witx` has 46 functions; Go's bindings want one more
        let module = wat::parse_str(WITHOUT_WASI).unwrap();
        let exports = Parser::new(0).parse_all(&module).find_map(|payload| match payload.unwrap() {
            Payload::ExportSection(exports) => Some(exports.count()),
            _ => None,
        });
        assert_eq!(exports, Some(47));
    }
}
