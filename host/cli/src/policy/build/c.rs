//! C: clang with wasi-libc, of which only what needs no system is of use. Touches the project.

use super::component::{self, Encoded};
use super::tools;
use crate::policy::project::Project;
use anyhow::{Context as _, bail};
use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Names that clang has on one system or another, the newest first.
const CLANG: [&str; 9] = ["clang", "clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-16", "clang-15", "clang-14"];

/// What Debian calls the parts.
const DEBIAN: [&str; 4] = ["clang", "lld", "wasi-libc", "libclang-rt-dev-wasm32"];

/// Builds a project: every C file in its folder, and those below `weir`.
///
/// # Errors
/// clang is missing, or the policy does not compile.
pub(crate) fn build(project: &Project) -> anyhow::Result<Encoded> {
    let (clang, sysroot) = toolchain()?;
    std::fs::create_dir_all(project.scratch())?;
    let out = project.scratch().join("policy.wasm");
    let mut command = Command::new(clang);
    command.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-std=c11", "-Os", "-Wall", "-Wextra", "-fno-ident", "-ffile-prefix-map=.=/policy"]);
    if let Some(sysroot) = sysroot {
        command.arg("--sysroot").arg(sysroot);
    }
    command.args(["-I", "weir", "-Wl,--strip-all,-z,stack-size=131072", "-o"]).arg(&out).current_dir(&project.dir);
    for folder in [".", "weir"] {
        let mut sources: Vec<PathBuf> = std::fs::read_dir(project.dir.join(folder))?
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
            .map(|name| PathBuf::from(folder).join(name))
            .collect();
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
        sources.sort();
        command.args(sources);
    }
    command.arg("-lm");
    tools::step(&mut command, "the policy does not compile")?;
    component::encode(&std::fs::read(&out).context("clang wrote no module")?, Some(&project.dir.join("wit")))
}

/// clang, and where the libc is when clang does not know by itself.
fn toolchain() -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    if let Some(sdk) = env::var_os("WASI_SDK_PATH").filter(|path| !path.is_empty()).map(PathBuf::from) {
        let clang = sdk.join("bin/clang");
        anyhow::ensure!(clang.is_file(), "WASI_SDK_PATH is {}, and there is no bin/clang in it: point it at an unpacked wasi-sdk, or unset it", sdk.display());
        return Ok((clang, Some(sdk.join("share/wasi-sysroot"))));
    }
    let found = || tools::find(&CLANG).filter(|_| tools::find(&["wasm-ld"]).is_some() && PathBuf::from("/usr/include/wasm32-wasi").is_dir());
    if let Some(clang) = found().or_else(|| if tools::install(&DEBIAN) { found() } else { None }) {
        return Ok((clang, None));
    }
    bail!(
        "C policies are built with clang, wasm-ld and wasi-libc: on Debian run `sudo apt-get install {}`; elsewhere unpack a wasi-sdk (https://github.com/WebAssembly/wasi-sdk) and set WASI_SDK_PATH to it",
        DEBIAN.join(" ")
    )
}
