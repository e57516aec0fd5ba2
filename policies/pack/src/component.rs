//! Core module to component, and what is checked and printed about it.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::io::Write as _;
use std::path::Path;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

/// The module as a validated component, without the producers and name sections that cost bytes.
pub(crate) fn from_module(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .context("the module does not fit the interface that it claims; was it made with `weir_policy::scaling!`?")?
        .encode()
        .context("the module can't be made a component")
}

/// The one import that is none: the interface that holds nothing but types, which an exported
/// interface that uses them refers to this way.
const TYPES_ONLY: &str = "weir:policy/types@";

/// A policy imports nothing.
pub(crate) fn refuse_imports(component: &[u8]) -> Result<()> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                let names: Vec<String> = imports
                    .into_iter()
                    .map(|import| import.map(|import| import.name.name.to_owned()))
                    .filter(|name| !name.as_ref().is_ok_and(|name| name.starts_with(TYPES_ONLY)))
                    .collect::<Result<_, _>>()?;
                if !names.is_empty() {
                    bail!(
                        "a policy imports nothing, but this one imports {}: leave out what needs a clock, files, the network or random numbers",
                        names.join(", ")
                    );
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes the component unless the file already holds these bytes, and prints name, size, digest.
pub(crate) fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    let name = out.file_stem().unwrap_or_default().to_string_lossy();
    if std::fs::read(out).ok().as_deref() != Some(bytes) {
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(out, bytes).with_context(|| format!("can't write {}", out.display()))?;
    }
    writeln!(std::io::stdout(), "{name:<20} {:>8} bytes  sha256:{}", bytes.len(), hex::encode(Sha256::digest(bytes)))?;
    Ok(())
}
