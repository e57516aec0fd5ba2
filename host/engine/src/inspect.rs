//! Looks at a component before it is compiled: is it one, what does it import and export, and how much
//! work would compiling it be? Touches nothing. Second stage of [`crate::load`]; the folder source uses
//! [`is_whole`] to tell a half-written file from a finished one.

use crate::abi;
use crate::complexity::{Complexity, Problem};
use crate::config::EngineConfig;
use crate::error::LoadError;
use crate::kind::PolicyKind;
use crate::wasi::{self, Wasi};
use wasmparser::{BinaryReaderError, ComponentTypeRef, Encoding, Parser, Payload};

/// The one import that is allowed: wit-bindgen writes it for an interface that holds nothing but types,
/// so there is nothing to call behind it. That it holds only types is checked when the component is linked.
const TYPES_ONLY: &str = "weir:policy/types@";

/// The package of all policies' interfaces.
const PACKAGE: &str = "weir:policy/";

/// What a component wants from outside, in its order; nothing for most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports(Vec<String>);

impl Imports {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }

    /// Whether random numbers are among them.
    pub(crate) fn random(&self) -> bool {
        self.0.iter().any(|name| name.starts_with("wasi:random/"))
    }

    /// Refuses imports that the object does not allow or that nobody has.
    pub(crate) fn admit(&self, wasi: Wasi) -> Result<(), LoadError> {
        let missing = self.0.iter().filter(|name| wasi == Wasi::Deny || !wasi::provides(name));
        match (wasi, missing.count()) {
            (_, 0) => Ok(()),
            (Wasi::Deny, _) => Err(LoadError::HasImports { imports: self.0.clone() }),
            (Wasi::Deterministic, _) => {
                let (of_wasi, others): (Vec<_>, Vec<_>) =
                    self.0.iter().filter(|name| !wasi::provides(name)).cloned().partition(|name| name.starts_with("wasi:"));
                Err(if others.is_empty() { LoadError::UnsupportedImports { imports: of_wasi } } else { LoadError::HasImports { imports: others } })
            }
        }
    }
}

/// Checks everything that can be seen without compiling.
pub(crate) fn inspect(bytes: &[u8], kind: PolicyKind, wasi: Wasi, config: &EngineConfig) -> Result<Imports, LoadError> {
    header(bytes)?;
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    let mut complexity = Complexity::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            Payload::ComponentImportSection(section) if complexity.depth() == 0 => {
                for import in section.clone() {
                    let import = import.map_err(malformed)?;
                    let name = import.name.name;
                    let types_only = matches!(import.ty, ComponentTypeRef::Instance(_)) && name.starts_with(TYPES_ONLY);
                    if !types_only && !matches!(import.ty, ComponentTypeRef::Type(_)) {
                        imports.push(name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if complexity.depth() == 0 => {
                for export in section.clone() {
                    exports.push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
        complexity.see(&payload).map_err(|problem| match problem {
            Problem::Malformed(error) => malformed(error),
            Problem::TooComplex(why) => LoadError::TooComplex(why),
        })?;
    }
    let imports = Imports(imports);
    imports.admit(wasi)?;
    world(kind, exports)?;
    complexity.check(config)?;
    Ok(imports)
}

/// Whether the bytes are a whole Wasm binary, as far as its sections can tell.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    header(bytes).is_ok() && Parser::new(0).parse_all(bytes).all(|payload| payload.is_ok())
}

fn header(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.starts_with(b"\0asm") {
        match Parser::new(0).parse_all(bytes).next() {
            Some(Ok(Payload::Version { encoding: Encoding::Component, .. })) => Ok(()),
            Some(Ok(Payload::Version { encoding: Encoding::Module, .. })) => Err(LoadError::CoreModule),
            Some(Err(error)) => Err(malformed(error)),
            _ => Err(LoadError::Malformed { offset: 0, detail: "no version".to_owned() }),
        }
    } else {
        Err(LoadError::NotWasm { looks_like: looks_like(bytes) })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn malformed(error: BinaryReaderError) -> LoadError {
    LoadError::Malformed { offset: error.offset(), detail: crate::call::shorten(error.message(), 200) }
}

fn world(kind: PolicyKind, exports: Vec<String>) -> Result<(), LoadError> {
    let mut missing = Vec::new();
    for wanted in [abi::DESCRIBE, kind.interface()] {
        if exports.iter().any(|name| same_track(name, wanted)) {
            continue;
        }
        let interface = wanted.split('@').next().unwrap_or(wanted);
        let other = exports.iter().find(|name| name.split('@').next() == Some(interface));
        if let Some(found) = other {
            return Err(LoadError::WrongVersion { found: found.clone(), supported: wanted });
        }
        missing.push(wanted.to_owned());
    }
    if missing.is_empty() { Ok(()) } else { Err(LoadError::WrongWorld { kind, missing, exports: shown(exports) }) }
}

/// Whether two names of one interface have compatible versions: the same major, and below 1.0 the same minor.
fn same_track(name: &str, wanted: &str) -> bool {
    let track = |name: &str| {
        let (interface, version) = name.split_once('@')?;
        let mut parts = version.split('.').map(str::to_owned);
        let (major, minor) = (parts.next()?, parts.next()?);
        Some((interface.to_owned(), if major == "0" { format!("0.{minor}") } else { major }))
    };
    track(name).is_some_and(|found| Some(found) == track(wanted))
}

/// Names of exports as they are put into an error: those of the package first.
fn shown(mut exports: Vec<String>) -> Vec<String> {
    exports.sort_by_key(|name| !name.starts_with(PACKAGE));
    exports.iter().map(|name| crate::call::shorten(name, 100)).collect()
}

/// What bytes that are not Wasm seem to be.
fn looks_like(bytes: &[u8]) -> String {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if bytes.is_empty() {
        return "an empty file".to_owned();
    }
    if starts(b"\x7fELF") {
        return "an ELF binary (perhaps a precompiled .cwasm, which is never accepted)".to_owned();
    }
    if starts(b"PK\x03\x04") {
        return "a zip archive".to_owned();
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return "a tar archive".to_owned();
    }
    let head = String::from_utf8_lossy(bytes.get(..512).unwrap_or(bytes)).into_owned();
    let head = head.trim_start();
    let lower = head.to_ascii_lowercase();
    let kind = if lower.starts_with("<!doctype") || lower.starts_with("<html") {
        "an HTML page (perhaps the answer of a proxy or a login)"
    } else if lower.starts_with("version https://git-lfs") {
        "a Git LFS pointer (the file itself was not fetched)"
    } else if lower.starts_with("agfzbq") {
        "base64 text of a WebAssembly file (a ConfigMap takes it under binaryData, where Kubernetes decodes it)"
    } else if lower.starts_with("(component") || lower.starts_with("(module") || lower.starts_with(";;") {
        "WebAssembly text (compile it: `wasm-tools parse`)"
    } else if lower.starts_with('{') || lower.starts_with('[') {
        "JSON"
    } else if lower.starts_with("<?xml") || lower.starts_with('<') {
        "XML"
    } else if lower.starts_with("#!") {
        "a script"
    } else if !bytes.iter().take(512).any(|byte| *byte == 0) && head.chars().filter(|c| *c == '\u{fffd}').count() < 2 {
        "text"
    } else {
        let first: Vec<String> = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        return format!("unknown binary data (first bytes {})", first.join(" "));
    };
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> LoadError {
        inspect(bytes, PolicyKind::Scaling, Wasi::Deny, &EngineConfig::default()).unwrap_err()
    }

    #[test]
    fn what_is_not_wasm_is_called_by_its_name() {
        for (bytes, word) in [
            (b"".as_slice(), "empty"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (b"\x7fELF\x02", "ELF"),
            (b"{\"a\": 1}", "JSON"),
            (b"AGFzbQ0AAQA=", "base64"),
            (b"(component)", "WebAssembly text"),
            (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
            (b"hello there", "text"),
            (b"\x00\x01\x02\xff", "00 01 02 ff"),
        ] {
            let error = refused(bytes);
            assert_eq!(error.reason(), "NotWasm");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn a_component_that_is_cut_off_is_malformed() {
        let whole = wat::parse_str("(component (core module (func (export \"f\"))))").unwrap();
        assert!(is_whole(&whole));
        assert!(!is_whole(&whole[..whole.len() - 3]));
        assert_eq!(refused(&whole[..whole.len() - 3]).reason(), "Malformed");
        assert_eq!(refused(b"\0asm\x0d\0").reason(), "Malformed");
    }

    #[test]
    fn versions_of_one_track_are_taken_and_others_named() {
        assert!(same_track("weir:policy/scaling@0.1.7", abi::SCALING));
        assert!(!same_track("weir:policy/scaling@0.2.0", abi::SCALING));
        assert!(!same_track("weir:policy/scaling", abi::SCALING));
    }

    #[test]
    fn components_that_nest_without_end_are_refused_without_following_them() {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        for _ in 0..10_000 {
            let mut length = bytes.len();
            let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
            while length >= 0x80 {
                outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            outer.push(u8::try_from(length).unwrap());
            outer.extend_from_slice(&bytes);
            bytes = outer;
        }
        assert_eq!(refused(&bytes).reason(), "TooComplex");
        // What only asks whether the file is whole comes back too.
        let _ = is_whole(&bytes);
    }

    #[test]
    fn too_many_functions_are_refused_before_they_are_compiled() {
        let functions = "(func)".repeat(11);
        let exports = format!("(instance $i) (export \"{}\" (instance $i)) (export \"{}\" (instance $i))", abi::DESCRIBE, abi::SCALING);
        let bytes = wat::parse_str(format!("(component (core module {functions}) {exports})")).unwrap();
        let config = EngineConfig { max_functions: 10, ..EngineConfig::default() };
        assert_eq!(inspect(&bytes, PolicyKind::Scaling, Wasi::Deny, &config).unwrap_err().reason(), "TooComplex");
    }
}
