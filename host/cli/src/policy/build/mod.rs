//! `weir policy build`: from a project to a component that imports nothing. Touches the project's folder
//! `target`, the cache, and runs the language's own tools.

mod c;
mod component;
mod go;
mod js;
mod python;
mod rust;
mod tools;

use super::project::{Lang, Project};
use anyhow::Context as _;
use component::Encoded;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_core::ids::Digest;

/// Options of `weir policy build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    build(&Project::open(&args.dir)?, false)?;
    Ok(ExitCode::SUCCESS)
}

/// Builds a project. `quiet`: its result is told to standard error, because standard output is another
/// command's.
///
/// # Errors
/// A tool is missing, and the message says how to get it; or the policy does not compile.
pub(crate) fn build(project: &Project, quiet: bool) -> anyhow::Result<PathBuf> {
    super::new::complete(&project.dir, &project.name, project.lang)?;
    let Encoded { bytes, stood_in } = match project.lang {
        Lang::Rust => rust::build(project)?,
        Lang::Js => js::build(project)?,
        Lang::Python => python::build(project)?,
        Lang::C => c::build(project)?,
        Lang::Go => go::build(project)?,
    };
    if !stood_in.is_empty() {
        eprintln!("note: {} of WASI are stood in for: no clock, files, environment or output, and a fixed sequence of random numbers", stood_in.join(", "));
    }
    let file = project.component();
    let folder = file.parent().context("a component lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
    // the same bytes keep their time, so that nothing downstream runs again
    if std::fs::read(&file).ok().as_deref() != Some(bytes.as_slice()) {
        std::fs::write(&file, &bytes).with_context(|| format!("{} can't be written", file.display()))?;
    }
    let line = format!("{}  {} bytes  {}\n", file.display(), bytes.len(), Digest::of(&bytes));
    if quiet {
        eprint!("{line}")
    } else {
        super::print(&line)
    }
    Ok(file)
}
