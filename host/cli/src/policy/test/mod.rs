//! `weir policy test`: a policy against its cases. Touches files, the toolchains (a project is built
//! first) and the Wasm engine.

mod cases;
mod expect;
mod play;
mod property;

use super::load::Component;
use super::project::Project;
use anyhow::Context as _;
use cases::File;
use play::{Played, Wrong};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weir_engine::Limits;

/// Decisions of one case that are printed when they are wrong; a walk may have thousands.
const SHOWN: usize = 5;

/// Options of `weir policy test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A project's folder, which is built first; or a component (raw, gzip or zstd); or `builtin:NAME`.
    #[arg(default_value = ".")]
    target: PathBuf,
    /// The file of cases; without it `cases.yaml` in the project, or beside the component.
    #[arg(long)]
    cases: Option<PathBuf>,
    /// Only the cases whose names hold this text.
    #[arg(long)]
    only: Option<String>,
    /// Print every answer.
    #[arg(long)]
    show: bool,
    /// Take the project's component as it is.
    #[arg(long)]
    no_build: bool,
}

/// Runs the command: exit code 1 when a case failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cases = cases_of(args)?;
    let file = File::read(&cases)?;
    let chosen: Vec<_> = file.cases.iter().filter(|case| args.only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))).collect();
    anyhow::ensure!(!chosen.is_empty(), "no case of {} has a name that holds `{}`", cases.display(), args.only.as_deref().unwrap_or_default());
    if args.target.is_dir() && !args.no_build {
        super::build::build(&Project::open(&args.target)?, true)?;
    }
    let component = Component::open(&args.target)?;
    let limits = file.limits.map_or_else(Limits::default, weir_operator::policies::limits);
    let (mut passed, mut failed, mut unversioned) = (0_usize, 0_usize, false);
    for case in chosen {
        let played = play::play(&component, &file, case, &limits).with_context(|| format!("{}: the case `{}`", cases.display(), case.name))?;
        if played.wrong.is_empty() {
            passed = passed.saturating_add(1);
        } else {
            failed = failed.saturating_add(1);
        }
        unversioned |= played.unversioned;
        super::print(&told(&case.name, &played, args.show)?);
    }
    if unversioned {
        eprintln!("note: it remembers and tells no version of its state, so the next module of this policy begins without");
    }
    super::print(&format!("{passed} passed, {failed} failed\n"));
    Ok(ExitCode::from(u8::from(failed > 0)))
}

fn cases_of(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(cases) = &args.cases {
        return Ok(cases.clone());
    }
    let found = if args.target.is_dir() { Project::open(&args.target)?.cases() } else { args.target.parent().unwrap_or(Path::new(".")).join("cases.yaml") };
    anyhow::ensure!(
        found.is_file(),
        "there are no cases at {}: write them (docs/policy-authoring.md says how), or name the file with --cases",
        found.display()
    );
    Ok(found)
}

fn told(name: &str, played: &Played, show: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "{}  {name}", if played.wrong.is_empty() { "ok  " } else { "FAIL" })?;
    for wrong in played.wrong.iter().take(SHOWN) {
        wrong_text(wrong, &mut text)?;
    }
    if played.wrong.len() > SHOWN {
        writeln!(text, "        and {} more decisions that are not as expected", played.wrong.len().saturating_sub(SHOWN))?;
    }
    if show {
        for answer in &played.answers {
            writeln!(text, "      {answer}")?;
        }
    }
    Ok(text)
}

fn wrong_text(wrong: &Wrong, text: &mut String) -> anyhow::Result<()> {
    if !wrong.place.is_empty() {
        writeln!(text, "      {}", wrong.place)?;
    }
    let width = wrong.differ.iter().map(|mismatch| mismatch.what.chars().count()).max().unwrap_or(0);
    for mismatch in &wrong.differ {
        writeln!(text, "        {:<width$}  expected  {}", mismatch.what, mismatch.expected)?;
        writeln!(text, "        {:<width$}  got       {}", "", mismatch.got)?;
    }
    if !wrong.answer.is_empty() {
        writeln!(text, "        {:<width$}  answer    {}", "", wrong.answer)?;
    }
    Ok(())
}
