//! `weir compile-module`: the child process in which the operator compiles one module. Not for people.

use std::process::ExitCode;
use weir_engine::compiler::server::{self, Job};

/// Options of `weir compile-module`, as [`Job::arguments`] writes them.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Bytes of address space beyond what the program has at its start.
    #[arg(long)]
    memory_bytes: u64,
    /// Seconds of processor time.
    #[arg(long)]
    cpu_seconds: u64,
    /// Threads that compile.
    #[arg(long)]
    threads: u32,
}

/// Compiles what comes by standard input.
pub(crate) fn run(args: &Args) -> ExitCode {
    let Args { memory_bytes, cpu_seconds, threads } = *args;
    server::serve(&Job { memory_bytes, cpu_seconds, threads })
}
