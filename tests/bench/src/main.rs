//! `weir-bench`: measures what the end of `docs/design.md` promises and prints one table. A promise
//! that is not kept is shown as missed and is no error: the exit code tells only whether everything
//! worked. `make bench` builds and runs it.
//!
//! | module | what it is |
//! |---|---|
//! | [`decide`] | what one decision costs, beside the same rule in plain Rust and as a gRPC scaler |
//! | [`scaler`] | that gRPC scaler: KEDA's protocol, in a process of its own |
//! | [`place`] | what one decision about owners of partitions costs |
//! | [`swap`] | exchanging a policy while 10,000 decisions a second are made with it |
//! | [`fairness`] | what one namespace notices of another one's slow policies |
//! | [`idle`] | a process that loads a thousand policies and does nothing else |
//! | [`fleet`] | an operator with thousands of objects on a real control plane |
//! | [`policies`] | components and inputs that are measured |
//! | [`machine`], [`stats`], [`report`] | what it ran on, quantiles, the table |

mod decide;
mod fairness;
mod fleet;
mod idle;
mod machine;
mod place;
mod policies;
mod report;
mod scaler;
mod stats;
mod swap;

use anyhow::Result;
use clap::{Parser, Subcommand};
use report::Report;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures Weir against its promises and prints a table.
#[derive(Parser)]
#[command(name = "weir-bench", version)]
struct Cli {
    #[command(subcommand)]
    part: Part,
    /// Small numbers: shows that it works, not what Weir can do.
    #[arg(long, global = true)]
    quick: bool,
}

#[derive(Subcommand)]
enum Part {
    /// One decision: alone, among a thousand policies, in two threads, and its peers.
    Decide,
    /// Owners for ten thousand partitions on five hundred nodes.
    Place,
    /// Exchanging a policy under load, and a start with a thousand policies.
    Swap,
    /// A quiet namespace beside one whose policies use their whole deadline.
    Fairness,
    /// An operator with many objects on a real control plane.
    Fleet(fleet::Args),
    /// Everything.
    All(fleet::Args),
    /// The peer of `decide`.
    #[command(hide = true)]
    Scaler,
    /// The process that `swap` measures.
    #[command(hide = true)]
    Idle {
        /// Folder of compiled policies.
        #[arg(long)]
        cache: PathBuf,
        /// How many.
        #[arg(long)]
        policies: u32,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.part {
        Part::Scaler => scaler::serve(),
        Part::Idle { cache, policies } => idle::run(cache, policies),
        part => measure(&part, cli.quick),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures one part, and shows what was measured also when something failed after it.
fn measure(part: &Part, quick: bool) -> Result<()> {
    let mut report = Report::new();
    let done = match part {
        Part::Decide => decide::run(&mut report, quick),
        Part::Place => place::run(&mut report, quick),
        Part::Swap => swap::run(&mut report, quick),
        Part::Fairness => fairness::run(&mut report, quick),
        Part::Fleet(args) => fleet::run(&mut report, args, quick),
        Part::All(args) => all(&mut report, args, quick),
        Part::Scaler | Part::Idle { .. } => Ok(()),
    };
    report.print();
    done
}

fn all(report: &mut Report, args: &fleet::Args, quick: bool) -> Result<()> {
    decide::run(report, quick)?;
    place::run(report, quick)?;
    swap::run(report, quick)?;
    fairness::run(report, quick)?;
    fleet::run(report, args, quick)
}
