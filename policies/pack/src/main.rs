//! `weir-pack`: turns compiled policies into components.
//!
//! - `weir-pack component OUT.wasm IN.wasm`: the core module `IN` (which carries its interface in a
//!   custom section, put there by the bindings) as a component; fails when it imports anything.
//! - `weir-pack fixtures OUTDIR INDIR WITDIR`: the deliberately bad components for the tests of the
//!   host, from the texts in `INDIR` (see `fixtures.rs`).
//! - `weir-pack bindings LANG OUTDIR WITDIR`: the bindings of C or Go that a new project carries; a test
//!   compares those in `template/support` with what this writes.
//!
//! Called by `build.sh`; touches the named files only.

mod bindings;
mod component;
mod fixtures;

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // without a backtrace: the reader is the author of a policy, not of this tool
            let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", chain.join(": "));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["component", out, module] => {
            let bytes = component::from_module(&std::fs::read(module).with_context(|| format!("can't read {module}"))?)?;
            component::refuse_imports(&bytes)?;
            component::write(Path::new(out), &bytes)
        }
        ["fixtures", out, texts, wit] => fixtures::build(Path::new(out), Path::new(texts), Path::new(wit)),
        ["bindings", lang, out, wit] => bindings::write(lang, Path::new(out), Path::new(wit)),
        _ => bail!("usage: weir-pack component OUT.wasm IN.wasm | weir-pack fixtures OUTDIR INDIR WITDIR | weir-pack bindings c|go OUTDIR WITDIR"),
    }
}
