//! Embeds what `weir policy new` writes: the templates, the sources of the Rust SDK and the contract.
//! Every file of those folders becomes an entry of a generated table, so a new one is not forgotten.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// Folders relative to the repository, and what they are called in the table.
const FOLDERS: [(&str, &str); 3] = [("policies/template", "template"), ("policies/sdk/src", "sdk/src"), ("wit", "wit")];

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("\nerror: {problem}\n");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("../..").canonicalize().map_err(|error| error.to_string())?;
    let mut files = Vec::new();
    for (folder, name) in FOLDERS {
        let folder = root.join(folder);
        // a folder is watched with everything in it
        println!("cargo::rerun-if-changed={}", folder.display());
        collect(&folder, name, &mut files)?;
    }
    files.sort();
    let mut table = String::from("/// Path and text of every embedded file, sorted by path.\nstatic FILES: &[(&str, &str)] = &[\n");
    for (name, file) in &files {
        writeln!(table, "    ({name:?}, include_str!({:?})),", file.display().to_string()).map_err(|error| error.to_string())?;
    }
    table.push_str("];\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join("embedded.rs"), table).map_err(|error| error.to_string())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let file = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| format!("{}: the name is not text", path.display()))?;
        // what a build or an editor left behind is none of ours
        if file.starts_with('.') || file == "target" || file.starts_with("__") {
            continue;
        }
        let name = format!("{name}/{file}");
        if path.is_dir() { collect(&path, &name, files)? } else { files.push((name, path)) }
    }
    Ok(())
}
