//! `weir policy`: what the author of a policy needs, without a cluster. Touches files, the toolchains
//! that build policies, and the Wasm engine. A module for each subcommand; what they share:
//!
//! | module | what it is |
//! |---|---|
//! | `input`, `series` | the input of a decision as people write it |
//! | `load` | a component from a file, a project or the binary itself, with limits, as a policy |
//! | `anatomy` | what a component holds, without running it |
//! | `project` | a folder with a policy in it: language, name, where its component is |
//! | `build` | the toolchains, one module for each language |
//! | `cluster` | trials of new modules in a cluster, also as `kubectl weir policy` |
//!
//! Exit codes, for scripts: 0 good; 1 the policy is at fault (it does not build, a check or a case
//! failed, it was refused); 2 the command could not do its work (usage, a missing file or toolchain);
//! and of `run` alone 3 for a refusal, 4 for a call that failed.

mod anatomy;
mod bench;
mod build;
mod check;
mod cluster;
mod input;
mod inspect;
mod load;
mod new;
mod project;
mod run;
mod series;
mod test;

use crate::cluster::Args;
use crate::print;
use crate::supply;
use std::process::ExitCode;

/// Subcommands of `weir policy`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a project for a policy of your own, with a test.
    New(new::Args),
    /// Build a project to a component.
    Build(build::Args),
    /// Check a component through every gate that the operator has, and try it on hard inputs.
    Check(check::Args),
    /// Run a policy's cases: inputs and what is expected of the answers.
    Test(test::Args),
    /// Ask a policy once and print its answer as JSON.
    Run(run::Args),
    /// Measure what a decision costs.
    Bench(bench::Args),
    /// Print what a component says about itself and what it consists of.
    Inspect(inspect::Args),
    /// Make a pair of keys that sign and verify policies.
    Keygen(supply::KeygenArgs),
    /// Sign a policy that is shipped in a ConfigMap or folder.
    Sign(supply::SignArgs),
    /// Push a policy to an OCI registry, and sign it there.
    Push(supply::PushArgs),
    /// Pull a policy from an OCI registry, and check who signed it.
    Pull(supply::PullArgs),
    /// Print what a WasmPolicy of a cluster runs, what is on trial, and how trials ended.
    Status(Args),
    /// Have the module on trial take over now, or the one that was dropped last.
    Promote(Args),
    /// Drop the module on trial.
    Abort(Args),
    /// Drop the module that runs; the one before takes over.
    Rollback(Args),
}

/// The policy is at fault, not the command: exit code 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct AtFault(pub String);

/// The code for an answer that is a refusal.
const REFUSED: u8 = 3;
/// The code for a call that failed.
const FAILED: u8 = 4;

/// Runs a subcommand.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    let result = match command {
        Command::New(args) => new::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Keygen(args) => supply::keygen(&args),
        Command::Sign(args) => supply::sign(&args),
        Command::Push(args) => supply::push(&args),
        Command::Pull(args) => supply::pull(&args),
        Command::Status(args) => cluster::status(&args),
        Command::Promote(args) => cluster::say(&args, cluster::Word::Promote),
        Command::Abort(args) => cluster::say(&args, cluster::Word::Abort),
        Command::Rollback(args) => cluster::say(&args, cluster::Word::RollBack),
    };
    result.or_else(|error| {
        eprintln!("weir: {error:#}");
        Ok(ExitCode::from(if error.is::<AtFault>() { 1 } else { 2 }))
    })
}
