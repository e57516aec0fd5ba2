//! The one binary of Weir.

mod cluster;
mod compile;
mod operator;
mod partitions;
mod policy;
mod supply;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

// The operator makes and drops thousands of small values a second in many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "weir", version, about = "A Kubernetes operator for log platforms whose rules are WebAssembly components", propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator: watch, decide, apply.
    Operator(Box<operator::Args>),
    /// Print the CRDs, for `kubectl apply --server-side -f -`.
    Crd,
    /// Check or run a policy without a cluster.
    #[command(subcommand)]
    Policy(policy::Command),
    /// Print which node of a LogStorage owns which partitions, and who did before.
    Partitions(partitions::Args),
    /// Run the sidecar that lets a collector empty its queue before it ends.
    Agent(weir_agent::Options),
    /// Compile one module for the operator that started this process.
    #[command(hide = true)]
    CompileModule(compile::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Operator(args) => operator::run(*args),
        Command::Crd => crd(),
        Command::Policy(command) => policy::run(command),
        Command::Partitions(args) => partitions::run(&args),
        Command::Agent(config) => agent(config),
        Command::CompileModule(args) => Ok(compile::run(&args)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn crd() -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    // A reader that closes early (`weir crd | head`) is no fault.
    let _ = std::io::stdout().write_all(weir_crds::yaml()?.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn agent(config: weir_agent::Options) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(weir_agent::run(config))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints lines to standard output; a reader that closes early (`| head`) is no fault.
pub(crate) fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
