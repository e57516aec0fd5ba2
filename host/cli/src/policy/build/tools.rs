//! Programs that a build needs: found, installed where that is possible, run. Touches the cache folder
//! outside of every project, and on Debian, as root, the system's packages. Called by each language.

use crate::policy::AtFault;
use anyhow::{Context as _, bail};
use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where toolchains are kept that come from package registries, and what compilers keep for the next
/// build: `$WEIR_CACHE/policy`, else below the user's cache folder.
///
/// # Errors
/// None of the variables that say where is set.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = set("WEIR_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("weir")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/weir")))
        .context("no folder for the cache: set WEIR_CACHE")?;
    let dir = dir.join("policy");
    std::fs::create_dir_all(&dir).with_context(|| format!("{} can't be made", dir.display()))?;
    Ok(dir)
}

/// Waits until no other build uses this part of the cache; until the returned file is dropped.
pub(crate) fn lock(name: &str) -> anyhow::Result<File> {
    let path = cache()?.join(format!("{name}.lock"));
    let file = File::create(&path).with_context(|| format!("{} can't be made", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another build that uses {}", path.display());
        file.lock()?;
    }
    Ok(file)
}

/// The first of these programs that is in the PATH.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names.iter().find_map(|name| env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()))
}

/// Installs Debian's packages; false where that is not possible or does not work.
pub(crate) fn install(packages: &[&str]) -> bool {
    if !nix::unistd::geteuid().is_root() || find(&["apt-get"]).is_none() {
        return false;
    }
    eprintln!("installing {} with apt-get", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let install = [["install", "-y", "--no-install-recommends"].as_slice(), packages].concat();
    apt(&install) || (apt(&["update"]) && apt(&install))
}

/// Runs a step of a build whose failure is the policy's; what it prints goes to standard error.
///
/// # Errors
/// The program can't be started, or fails.
pub(crate) fn step(command: &mut Command, what: &str) -> anyhow::Result<()> {
    if run(command)? { Ok(()) } else { Err(AtFault(format!("{what}: see above")).into()) }
}

/// Runs a step that fetches or prepares a toolchain.
///
/// # Errors
/// The program can't be started, or fails.
pub(crate) fn prepare(command: &mut Command, what: &str) -> anyhow::Result<()> {
    if run(command)? { Ok(()) } else { bail!("{what} failed: see above; it needs the package registry once") }
}

fn run(command: &mut Command) -> anyhow::Result<bool> {
    let program = command.get_program().to_string_lossy().into_owned();
    // standard output is for what the command of weir says
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| format!("{program} can't be started"))?;
    if let Some(mut output) = child.stdout.take() {
        std::io::copy(&mut output, &mut std::io::stderr())?;
    }
    Ok(child.wait()?.success())
}

/// What a program prints, trimmed; none when it fails.
pub(crate) fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes a folder of the cache once: `fill` fills another one, which then gets the name, so that nobody
/// sees half of one.
///
/// # Errors
/// It can't be filled.
pub(crate) fn once(name: &str, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<PathBuf> {
    let dir = cache()?.join(name);
    let _lock = lock(name)?;
    let done = dir.join(".complete");
    if !done.is_file() {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        std::fs::create_dir_all(&dir)?;
        fill(&dir)?;
        std::fs::write(done, "")?;
    }
    Ok(dir)
}
