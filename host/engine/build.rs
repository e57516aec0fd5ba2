//! Embeds the built-in policies: every `*.wasm` of one folder becomes an entry of a generated table.
//! The folder is `policies/target/components` of the workspace, or what WEIR_POLICIES_DIR names.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            // Cargo shows what a build script writes to stderr when the script fails.
            eprintln!("\nerror: {problem}\n");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), String> {
    println!("cargo::rerun-if-env-changed=WEIR_POLICIES_DIR");
    println!("cargo::rerun-if-changed=build.rs");
    let folder = folder()?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let missing = || format!("no built-in policies in {}: run `make policies` first", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .map_err(|_| missing())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(missing());
    }
    let mut table = String::from("pub(super) static COMPONENTS: &[(&str, &[u8])] = &[\n");
    for file in &files {
        let name = name(file)?;
        println!("cargo::rerun-if-changed={}", file.display());
        writeln!(table, "    ({name:?}, include_bytes!({:?})),", file.display().to_string()).map_err(|error| error.to_string())?;
    }
    table.push_str("];\n");
    let out = env::var("OUT_DIR").map_err(|error| format!("OUT_DIR: {error}"))?;
    fs::write(Path::new(&out).join("builtin_policies.rs"), table).map_err(|error| error.to_string())
}

fn folder() -> Result<PathBuf, String> {
    let folder = match env::var_os("WEIR_POLICIES_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            let here = env::var("CARGO_MANIFEST_DIR").map_err(|error| format!("CARGO_MANIFEST_DIR: {error}"))?;
            Path::new(&here).join("../../policies/target/components")
        }
    };
    // include_bytes! needs an absolute path; a folder that is missing is reported as it was written.
    Ok(folder.canonicalize().unwrap_or(folder))
}

fn name(file: &Path) -> Result<&str, String> {
    file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(|| format!("{}: the name is not text", file.display()))
}
