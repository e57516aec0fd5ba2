//! The command line. Called by `main`; each command fills in a configuration of the library.
pub(crate) mod check;
pub(crate) mod model;
pub(crate) mod send;

use clap::{Parser, Subcommand};

/// Load for log platforms, and proof of what became of it.
#[derive(Debug, Parser)]
#[command(name = "weir-loadgen", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send numbered log records over OTLP until each is acknowledged.
    Send(Box<send::SendArgs>),
    /// Count in VictoriaLogs what arrived; exit 0 only when no acknowledged record is missing
    /// (1: some are, 2: could not check).
    Check(check::CheckArgs),
    /// Answer Prometheus queries as a platform with fake replicas would.
    Model(model::ModelArgs),
}

/// `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?}: expected key=value"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Resolves on SIGINT or SIGTERM.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut int), Ok(mut term)) => {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
        }
        // Without handlers the signal ends the process by itself.
        _ => std::future::pending().await,
    }
}
