//! The binary `weir-loadgen`: `send`, `check` and `model`. Touches arguments, the terminal and
//! signals; everything else is the library.
#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main(flavor = "multi_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()))
        .init();
    let done = match cli::Args::parse().command {
        cli::Command::Send(args) => cli::send::run(*args).await,
        cli::Command::Check(args) => cli::check::run(args).await,
        cli::Command::Model(args) => cli::model::run(args).await,
    };
    done.unwrap_or_else(|error| {
        tracing::error!("{error:#}");
        ExitCode::from(2)
    })
}
