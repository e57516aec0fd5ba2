//! What a component holds, seen without running it: imports, exports, sizes, the tools that made it, and
//! its interfaces as WIT. Touches nothing. Used by `check` and `inspect`.

use anyhow::Context as _;
use wasmparser::{ComponentTypeRef, Encoding, KnownCustom, Parser, Payload};

/// The one import that is none: an interface of types only, which bindings refer to this way.
const TYPES_ONLY: &str = "weir:policy/types@";

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Anatomy {
    /// What it wants from the host.
    pub(crate) imports: Vec<String>,
    /// What it offers.
    pub(crate) exports: Vec<String>,
    /// Core modules inside it.
    pub(crate) modules: u32,
    /// Functions of all modules.
    pub(crate) functions: u32,
    /// Bytes of all function bodies.
    pub(crate) code_bytes: u64,
    /// Bytes of all data segments.
    pub(crate) data_bytes: u64,
    /// Bytes of names and debug information, which a policy runs without.
    pub(crate) debug_bytes: usize,
    /// Memory that its modules begin with, in bytes.
    pub(crate) memory_bytes: u64,
    /// Languages and tools that it says it was made with.
    pub(crate) tools: Vec<String>,
}

/// Looks at a component.
///
/// # Errors
/// The bytes are no component; what they are instead, loading says better.
pub(crate) fn look(bytes: &[u8]) -> anyhow::Result<Anatomy> {
    let mut found = Anatomy::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => anyhow::bail!("a core module, not a component"),
            Payload::ModuleSection { .. } => {
                found.modules = found.modules.saturating_add(1);
                depth = depth.saturating_add(1);
            }
            Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, size, .. } => {
                found.functions = found.functions.saturating_add(count);
                found.code_bytes = found.code_bytes.saturating_add(u64::from(size));
            }
            Payload::DataSection(data) => {
                let range = data.range();
                found.data_bytes = found.data_bytes.saturating_add(range.end.saturating_sub(range.start));
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    found.memory_bytes = found.memory_bytes.saturating_add(memory?.initial.saturating_mul(64 << 10));
                }
            }
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let import = import?;
                    let name = import.name.name;
                    let types = matches!(import.ty, ComponentTypeRef::Instance(_)) && name.starts_with(TYPES_ONLY);
                    if !types && !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        found.imports.push(name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    found.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CustomSection(custom) => match custom.as_known() {
                KnownCustom::Producers(producers) => tools(producers, &mut found.tools),
                _ if custom.name() == "name" || custom.name().starts_with(".debug") => {
                    found.debug_bytes = found.debug_bytes.saturating_add(custom.data().len());
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(found)
}

fn tools(producers: wasmparser::ProducersSectionReader<'_>, tools: &mut Vec<String>) {
    for field in producers.into_iter().flatten() {
        for value in field.values.into_iter().flatten() {
            let tool = format!("{} {}", value.name, value.version).trim_end().to_owned();
            if !tools.contains(&tool) {
                tools.push(tool);
            }
        }
    }
}

/// The component's interfaces as WIT.
///
/// # Errors
/// The bytes are no component.
pub(crate) fn wit(bytes: &[u8]) -> anyhow::Result<String> {
    let decoded = wit_component::decode(bytes).context("the component's types can't be read")?;
    let mut printer = wit_component::WitPrinter::default();
    printer.emit_docs(false);
    let resolve = decoded.resolve();
    let nested: Vec<_> = resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != decoded.package()).collect();
    printer.print(resolve, decoded.package(), &nested)?;
    Ok(printer.output.to_string())
}

/// What to do about an import.
pub(crate) fn advice(import: &str) -> &'static str {
    let starts = |prefix: &str| import.starts_with(prefix);
    if starts("wasi:clocks/") {
        "a policy has no clock: use `input.now`"
    } else if starts("wasi:random/") {
        "a policy has no random numbers: leave them out (Rust: `HashMap` of std does not need them on wasm32-unknown-unknown)"
    } else if starts("wasi:filesystem/") || starts("wasi:sockets/") || starts("wasi:http/") {
        "a policy has no files and no network: what it needs to know belongs into params or into a series"
    } else if starts("wasi:cli/") || starts("wasi:io/") {
        "a policy has no environment and no output: say it in the rationale; the toolchain may bring it in by itself"
    } else if starts("weir:policy/") {
        "export this interface instead of importing it: the world is weir:policy/scaling-policy"
    } else {
        "remove what needs it: everything that a policy may know is an argument of `decide`"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_built_in_policy_is_seen_through() {
        let bytes = weir_engine::source::builtin::builtin("threshold").unwrap();
        let found = look(&bytes).unwrap();
        assert!(found.imports.is_empty(), "{:?}", found.imports);
        assert!(found.exports.iter().any(|name| name.starts_with("weir:policy/scaling@")));
        assert!(found.functions > 10 && found.code_bytes > 1000 && found.memory_bytes > 0);
        let wit = wit(&bytes).unwrap();
        assert!(wit.contains("decide: func(input: input) -> result<proposal, refusal>"), "{wit}");
    }
}
