//! `weir policy run`: one decision, printed as JSON. Touches files and the Wasm engine.

use super::input::Input;
use super::load::{self, Component, LimitOptions};
use super::{FAILED, REFUSED};
use std::path::PathBuf;
use std::process::ExitCode;
use weir_core::scaling::{Outcome, ScalingPolicy as _};
use weir_engine::Limits;

/// Options of `weir policy run`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component (raw, gzip or zstd), the folder of a built project, or `builtin:NAME`.
    file: PathBuf,
    /// The input as JSON or YAML: a file, `-` for standard input, or the JSON itself. `{}` is an empty input.
    #[arg(long)]
    input: String,
    /// Params as a JSON object.
    #[arg(long)]
    params: Option<String>,
    #[command(flatten)]
    limits: LimitOptions,
}

/// Runs the command: exit code 3 for a refusal, 4 for a call that failed.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let input = Input::read(&args.input)?;
    let component = Component::open(&args.file)?;
    // without options the most that an operator grants by default: what is asked here is the answer
    let limits = args.limits.over(Limits::default_ceiling());
    let (policy, _) = component.require(load::params(args.params.as_deref())?, limits, args.limits.wasi())?;
    let input = input.build(policy.params())?;
    for need in policy.description().series.iter().filter(|need| need.required && input.window.get(&need.name).is_none()) {
        eprintln!("note: the input has no series `{}`, which the policy requires: the operator would hold the replicas and not ask", need.name);
    }
    let invocation = policy.decide(&input);
    let (mut answer, code) = match &invocation.outcome {
        Outcome::Proposal(proposal) => (serde_json::json!({ "proposal": proposal }), ExitCode::SUCCESS),
        Outcome::Refusal(refusal) => (serde_json::json!({ "refusal": refusal }), ExitCode::from(REFUSED)),
        Outcome::Failure(failure) => (serde_json::json!({ "failure": failure }), ExitCode::from(FAILED)),
    };
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("fuel".to_owned(), invocation.fuel.into());
    }
    super::print(&format!("{}\n", serde_json::to_string_pretty(&answer)?));
    Ok(code)
}
