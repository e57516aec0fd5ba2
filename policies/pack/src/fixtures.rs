//! The deliberately bad components in `fixtures/`: from WebAssembly text to components.
//!
//! A text holds the fields of a core module without what all of them share. Its first line may be a
//! directive: `;; world: …`, `;; version: …`, `;; describe: own`, `;; form: module` (see
//! `fixtures/README.md`).

use crate::component;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::path::Path;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, SourceMap};

/// Version of the package `weir:policy` that the texts are written for.
const VERSION: &str = "@0.1.0";

/// The world of `other-world`.
const OTHER: &str = "package weir:fixtures; world other { export greet: func() -> string; }";

/// What `imports-clock` imports, and its world.
const CLOCK: &str = "package wasi:clocks@0.2.0; interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; }";
const IMPORTING: &str =
    "package weir:fixtures; world importing { import wasi:clocks/wall-clock@0.2.0; export weir:policy/describe@0.1.0; export weir:policy/scaling@0.1.0; }";

/// Builds each text of `texts` into `out`, against the interfaces in `wit`.
pub(crate) fn build(out: &Path, texts: &Path, wit: &Path) -> Result<()> {
    let mut sources = read_all(texts, "wat")?;
    let prelude = sources.remove("prelude").ok_or_else(|| anyhow!("{} has no prelude.wat", texts.display()))?;
    let describe = sources.remove("describe").ok_or_else(|| anyhow!("{} has no describe.wat", texts.display()))?;
    let wit = read_all(wit, "wit")?;
    for (name, text) in sources {
        let bytes = one(&text, &prelude, &describe, &wit).with_context(|| format!("fixture {name}"))?;
        component::write(&out.join(format!("{name}.wasm")), &bytes)?;
    }
    Ok(())
}

fn one(text: &str, prelude: &str, describe: &str, wit: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let directive = text.lines().next().and_then(|line| line.strip_prefix(";; ")).and_then(|line| line.split_once(": "));
    let (version, world) = match directive {
        Some(("version", version)) => (format!("@{version}"), "scaling"),
        Some(("world", world)) => (VERSION.to_owned(), world),
        _ => (VERSION.to_owned(), "scaling"),
    };
    let describe = if matches!(directive, Some(("describe", "own") | ("world", "other"))) { "" } else { describe };
    // the fixture's own fields first: imports come before everything else in a module
    let module = format!("(module\n{text}\n{describe}\n{prelude}\n)").replace(VERSION, &version);
    let mut module = wat::parse_str(module)?;
    if matches!(directive, Some(("form", "module"))) {
        return Ok(module);
    }
    let mut resolve = Resolve::default();
    let packages = match world {
        "other" => vec![resolve.push_str("other.wit", OTHER)?],
        "importing" => vec![push(&mut resolve, wit, &version)?, resolve.push_str("clock.wit", CLOCK)?, resolve.push_str("importing.wit", IMPORTING)?],
        "scaling" => vec![push(&mut resolve, wit, &version)?],
        other => bail!("there is no world {other}"),
    };
    let name = if world == "scaling" { "scaling-policy" } else { world };
    let last = packages.last().copied().into_iter().collect::<Vec<_>>();
    let world = resolve.select_world(&last, Some(name))?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
    component::from_module(&module)
}

/// The policy package, its version replaced.
fn push(resolve: &mut Resolve, wit: &BTreeMap<String, String>, version: &str) -> Result<wit_parser::PackageId> {
    let mut sources = SourceMap::new();
    for (name, text) in wit {
        sources.push_str(&format!("{name}.wit"), text.replace(VERSION, version));
    }
    let group = sources.parse().map_err(|(_, error)| anyhow!("{error:#?}"))?;
    Ok(resolve.push_group(group)?)
}

/// All files of `folder` with that extension, by name.
fn read_all(folder: &Path, extension: &str) -> Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("can't read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            texts.insert(name, std::fs::read_to_string(&path)?);
        }
    }
    Ok(texts)
}
