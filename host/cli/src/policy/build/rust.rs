//! Rust: cargo for wasm32-unknown-unknown, which knows no WASI. Touches the project and the cache.

use super::component::{self, Encoded};
use super::tools;
use crate::policy::AtFault;
use crate::policy::project::Project;
use anyhow::{Context as _, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

/// With these packages Debian compiles for the target; the standard library comes as source.
const DEBIAN: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];

/// Builds a project.
///
/// # Errors
/// There is no toolchain for the target, or the policy does not compile.
pub(crate) fn build(project: &Project) -> anyhow::Result<Encoded> {
    let mut command = toolchain()?;
    // one folder for all policies: what they have in common is compiled once
    let target = match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => PathBuf::from(dir),
        None => tools::cache()?.join("rust"),
    };
    let home = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo"))).unwrap_or_default();
    // small and fast to instantiate; a policy needs little stack; paths of this machine stay out
    let flags = ["-Clink-arg=-zstack-size=131072".to_owned(), format!("--remap-path-prefix={home}=/cargo")];
    command
        .args(["--target", TARGET, "--release", "--lib"])
        .current_dir(&project.dir)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .envs(
            [("OPT_LEVEL", "s"), ("LTO", "true"), ("CODEGEN_UNITS", "1"), ("PANIC", "abort"), ("STRIP", "true"), ("DEBUG", "false")]
                .map(|(name, value)| (format!("CARGO_PROFILE_RELEASE_{name}"), value)),
        );
    // policies of one name would overwrite each other's module between compiling and reading
    let _lock = tools::lock("rust")?;
    tools::step(&mut command, "the policy does not compile")?;
    let module = target.join(TARGET).join("release").join(format!("{}.wasm", project.name.replace('-', "_")));
    let missing = || AtFault(format!("{} makes no WebAssembly module: set crate-type = [\"cdylib\", \"rlib\"] under [lib] in its Cargo.toml", project.name));
    component::encode(&std::fs::read(&module).with_context(missing)?, None)
}

/// A cargo that compiles for the target: the installed toolchain, with the target added if need be, or
/// Debian's.
fn toolchain() -> anyhow::Result<Command> {
    let cargo = tools::find(&["cargo"]);
    let rustc = tools::find(&["rustc"]);
    let ready = || rustc.as_deref().is_some_and(has_target);
    if let Some(cargo) = cargo.as_deref().filter(|_| ready()) {
        return Ok(plain(cargo));
    }
    if let Some(debian) = debian() {
        return Ok(debian);
    }
    if let (Some(cargo), Some(rustup)) = (cargo.as_deref(), tools::find(&["rustup"]))
        && tools::ask(&rustup, &["target", "add", TARGET]).is_some()
        && ready()
    {
        return Ok(plain(cargo));
    }
    if tools::install(&DEBIAN)
        && let Some(debian) = debian()
    {
        eprintln!("compiling the standard library for {TARGET} for the first time; this takes a few minutes");
        return Ok(debian);
    }
    if cargo.is_none() {
        bail!("cargo is missing: install Rust (https://rustup.rs), then run: rustup target add {TARGET}");
    }
    bail!("no Rust toolchain here compiles for {TARGET}: run `rustup target add {TARGET}`, or on Debian `sudo apt-get install {}`", DEBIAN.join(" "))
}

fn plain(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    command.arg("build");
    command
}

fn has_target(rustc: &Path) -> bool {
    tools::ask(rustc, &["--print", "target-libdir", "--target", TARGET]).is_some_and(|dir| Path::new(&dir).is_dir())
}

/// Debian's cargo, which compiles the standard library along: the stable compiler does when told that it
/// is allowed to (RUSTC_BOOTSTRAP).
fn debian() -> Option<Command> {
    let (cargo, rustc) = (Path::new("/usr/bin/cargo"), Path::new("/usr/bin/rustc"));
    let root = tools::ask(rustc, &["--print", "sysroot"])?;
    let whole = cargo.is_file() && tools::find(&["wasm-ld"]).is_some() && Path::new(&root).join("lib/rustlib/src/rust/library").is_dir();
    whole.then(|| {
        let mut command = Command::new(cargo);
        command.args(["build", "-Z", "build-std=std,panic_abort"]).env("RUSTC_BOOTSTRAP", "1").env("RUSTC", rustc);
        command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld");
        command
    })
}
