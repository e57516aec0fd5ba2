//! Where the programs come from: a folder named by the user, or a build kept in the cache.
//!
//! The cache lies outside the checkout, so that it survives `git clean` and serves every checkout:
//! `$WEIR_CACHE`, else `$XDG_CACHE_HOME/weir`, else `~/.cache/weir`. A program there is found by one
//! `stat`; a missing one is compiled under a lock, written to a temporary name and renamed, so that
//! nobody ever sees half of one.

use std::env;
use std::fs::{self, File};
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::parts::Part;
use crate::process::tail;

/// The parts that a folder of envtest binaries (`KUBEBUILDER_ASSETS`) brings.
const ENVTEST: [Part; 3] = [Part::Etcd, Part::KubeApiserver, Part::Kubectl];

/// The oldest Go toolchain that compiles all parts, as the `go.mod` files say.
const GO_VERSION: &str = "1.26";

/// The folder of everything that is kept between runs.
///
/// # Errors
/// When neither `WEIR_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
pub fn dir() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WEIR_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("weir")))
        .or_else(|| set("HOME").map(|dir| dir.join(".cache/weir")))
        .context("no folder for the cache: set WEIR_CACHE")
}

/// The path of a part's program; compiles it when it is neither in `KUBEBUILDER_ASSETS` nor cached.
///
/// # Errors
/// When it must be compiled and cannot be; the message says where the compiler's output is.
pub fn program(part: Part) -> Result<PathBuf> {
    ensure(&[part])?;
    path(part)
}

/// Makes all these parts available, compiling what is missing one after the other and showing
/// progress on stderr.
///
/// # Errors
/// When one must be compiled and cannot be; the message says where the compiler's output is.
pub fn ensure(parts: &[Part]) -> Result<()> {
    if missing(parts)?.is_empty() {
        return Ok(());
    }
    check_toolchain()?;
    let cache = dir()?;
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    let lock = File::create(cache.join("build.lock")).context("creating the build lock")?;
    if lock.try_lock().is_err() {
        eprintln!("weir-cluster: another process is compiling into {}; waiting", cache.display());
        lock.lock().context("waiting for the build lock")?;
    }
    // Another process may have compiled them while this one waited.
    let missing = missing(parts)?;
    for (index, part) in missing.iter().enumerate() {
        compile(*part, index + 1, missing.len(), &cache)?;
    }
    Ok(())
}

/// Which of these parts would have to be compiled.
///
/// # Errors
/// When there is no folder for the cache.
pub fn missing(parts: &[Part]) -> Result<Vec<Part>> {
    let mut missing = Vec::new();
    for part in parts {
        if !path(*part)?.is_file() {
            missing.push(*part);
        }
    }
    Ok(missing)
}

fn path(part: Part) -> Result<PathBuf> {
    if ENVTEST.contains(&part)
        && let Some(assets) = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty())
    {
        let given = Path::new(&assets).join(part.name());
        if given.is_file() {
            return Ok(given);
        }
    }
    Ok(dir()?.join("bin").join(part.key()).join(part.name()))
}

fn check_toolchain() -> Result<()> {
    let advice = format!(
        "Install Go {GO_VERSION} or newer and put `go` on the PATH. A control plane alone also runs \
         from envtest binaries named by KUBEBUILDER_ASSETS (what they lack is compiled), and with \
         WEIR_KUBECONFIG set to a kubeconfig nothing is compiled at all."
    );
    let output = Command::new("go").args(["env", "GOVERSION"]).output();
    let Ok(output) = output else {
        bail!("parts of the test cluster must be compiled, and there is no Go toolchain. {advice}");
    };
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if minor_of(&version) < minor_of(GO_VERSION) {
        bail!("parts of the test cluster must be compiled, and {version} is too old. {advice}");
    }
    Ok(())
}

/// 26 of `go1.26.8`.
fn minor_of(version: &str) -> u32 {
    version.trim_start_matches("go1.").trim_start_matches("1.").split(|c: char| !c.is_ascii_digit()).next().and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

fn compile(part: Part, index: usize, count: usize, cache: &Path) -> Result<()> {
    let recipe = part.recipe();
    let source = cache.join("src").join(part.key());
    fs::create_dir_all(&source).with_context(|| format!("creating {}", source.display()))?;
    for (name, contents) in recipe.module.files {
        fs::write(source.join(name), contents).with_context(|| format!("writing {name}"))?;
    }
    let target = path(part)?;
    let folder = target.parent().context("a program lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let temporary = folder.join(format!(".{part}.{}", std::process::id()));
    let log_path = cache.join("log").join(format!("build-{part}.log"));
    fs::create_dir_all(cache.join("log")).context("creating the folder of logs")?;
    let log = File::create(&log_path).with_context(|| format!("creating {}", log_path.display()))?;

    let title = format!("weir-cluster: compiling {part} ({index} of {count})");
    let mut progress = Progress::start(title, &log_path);
    let mut go = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-ldflags", recipe.ldflags, "-o"])
        .arg(&temporary)
        .arg(recipe.package)
        .current_dir(&source)
        .env("CGO_ENABLED", "0")
        .env("GOWORK", "off")
        .env("GOFLAGS", "-buildvcs=false")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("opening the log twice")?)
        .stderr(log)
        .spawn()
        .context("starting go")?;
    let status = loop {
        if let Some(status) = go.try_wait().context("waiting for go")? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(100));
        progress.tick();
    };
    progress.finish(status.success());
    if !status.success() {
        let _ = fs::remove_file(&temporary);
        bail!(
            "compiling {part} failed ({status}). The end of {}:\n{}\n\
             Usual causes: the Go module proxy cannot be reached (see `go env GOPROXY`), a full disk \
             ({} and `go env GOCACHE`), or too little memory.",
            log_path.display(),
            tail(&log_path, 20),
            cache.display(),
        );
    }
    fs::rename(&temporary, &target).with_context(|| format!("moving {part} into place"))?;
    fs::remove_dir_all(&source).context("removing the folder of the build")?;
    Ok(())
}

/// One line per part that counts seconds on a terminal, and a line every half a minute elsewhere.
struct Progress {
    title: String,
    started: Instant,
    shown: u64,
    terminal: bool,
}

impl Progress {
    fn start(title: String, log: &Path) -> Self {
        let terminal = stderr().is_terminal();
        let end = if terminal { "" } else { "\n" };
        eprint!("{title}, output in {}{end}", log.display());
        Self { title, started: Instant::now(), shown: 0, terminal }
    }

    fn tick(&mut self) {
        let seconds = self.started.elapsed().as_secs();
        let step = if self.terminal { 1 } else { 30 };
        if seconds < self.shown + step {
            return;
        }
        self.shown = seconds;
        if self.terminal {
            // Erase the line: the first one, with the path of the log, is longer than this one.
            eprint!("\r\x1b[K{} {seconds} s", self.title);
            let _ = stderr().flush();
        } else {
            eprintln!("{} {seconds} s", self.title);
        }
    }

    fn finish(&self, well: bool) {
        let start = if self.terminal { "\r\x1b[K" } else { "" };
        let word = if well { "done" } else { "failed" };
        eprintln!("{start}{} {word} in {:.0} s", self.title, self.started.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_compare_by_their_minor_number() {
        assert_eq!(minor_of("go1.26.8"), 26);
        assert_eq!(minor_of("1.26"), 26);
        assert_eq!(minor_of("go1.27rc1"), 27);
        assert_eq!(minor_of("devel"), 0);
    }
}
