//! `weir-loadgen check`.
use anyhow::Context;
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;
use weir_loadgen::{Checker, Report, duration};

/// What to compare with what.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A VictoriaLogs node, http://host:9428; repeat it for every node.
    #[arg(long = "url", required = true, value_delimiter = ',')]
    urls: Vec<String>,
    /// Id of the run. Default: the report's.
    #[arg(long)]
    run: Option<String>,
    /// The report: a file that `send --report` wrote, or the URL of a /status.
    #[arg(long)]
    expect: String,
    /// The longest to wait for missing records.
    #[arg(long, default_value = "60s", value_parser = duration)]
    deadline: Duration,
    /// Give up earlier when counts have not changed for this long.
    #[arg(long, default_value = "15s", value_parser = duration)]
    quiet: Duration,
    /// Print the verdict as JSON.
    #[arg(long)]
    json: bool,
}

/// Exit 0: nothing missing; 1: something is.
pub(crate) async fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let report = expected(&args.expect).await.with_context(|| format!("cannot read the report from {}", args.expect))?;
    let checker = Checker { deadline: args.deadline, quiet: args.quiet, ..Checker::new(&args.urls, args.run.as_deref().unwrap_or(&report.run)) };
    let verdict = checker.check(&report).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&verdict)?);
    } else {
        print!("{verdict}");
    }
    Ok(ExitCode::from(u8::from(!verdict.complete())))
}

async fn expected(from: &str) -> anyhow::Result<Report> {
    if from.starts_with("http://") || from.starts_with("https://") {
        // Fails when there is one already, which does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = reqwest::get(from).await?.error_for_status()?;
        return Ok(answer.json().await?);
    }
    Ok(serde_json::from_slice(&std::fs::read(from)?)?)
}
