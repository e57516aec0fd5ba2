//! `weir policy`: what a policy author needs without a cluster. Touches files and the Wasm engine.

use anyhow::Context as _;
use bytes::Bytes;
use serde::Deserialize;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use weir_core::ids::{Digest, ObjectRef, UnixMs};
use weir_core::scaling::{Capacity, Objectives, Outcome, Replicas, ScalingInput, ScalingPolicy as _};
use weir_core::window::{Series, Window};
use weir_engine::{Candidate, Engine, EngineConfig, Limits, Policy};

/// Subcommands of `weir policy`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Load a policy through every gate that the operator has, and print what it says about itself.
    Check(CheckArgs),
    /// Ask a policy once and print its answer as JSON.
    Run(RunArgs),
}

/// Options of `weir policy check`.
#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// The component: raw, gzip or zstd; or `builtin:NAME`.
    file: PathBuf,
    /// Params as a JSON object.
    #[arg(long)]
    params: Option<String>,
    /// Digest that the component must have.
    #[arg(long)]
    digest: Option<Digest>,
}

/// Options of `weir policy run`.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// The component: raw, gzip or zstd; or `builtin:NAME`.
    file: PathBuf,
    /// The input as JSON: a file, `-` for standard input, or the JSON itself. `{}` is an empty input.
    #[arg(long)]
    input: String,
    /// Params as a JSON object.
    #[arg(long)]
    params: Option<String>,
}

/// The input of `weir policy run`, each part optional.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Input {
    now: i64,
    namespace: String,
    name: String,
    replicas: ReplicasJson,
    capacity: CapacityJson,
    objectives: ObjectivesJson,
    window: WindowJson,
    state: Vec<u8>,
}

impl Default for Input {
    fn default() -> Self {
        Self {
            now: 1_700_000_000_000,
            namespace: "default".to_owned(),
            name: "example".to_owned(),
            replicas: ReplicasJson::default(),
            capacity: CapacityJson::default(),
            objectives: ObjectivesJson::default(),
            window: WindowJson::default(),
            state: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct ReplicasJson {
    desired: u32,
    ready: Option<u32>,
    starting: u32,
    min: u32,
    max: u32,
}

impl Default for ReplicasJson {
    fn default() -> Self {
        Self { desired: 1, ready: None, starting: 0, min: 1, max: 100 }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct CapacityJson {
    per_replica: Option<f64>,
    learnt: bool,
    start_up: f64,
}

impl Default for CapacityJson {
    fn default() -> Self {
        Self { per_replica: None, learnt: false, start_up: 30.0 }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct ObjectivesJson {
    freshness: Option<f64>,
    refused_share: Option<f64>,
    replica_hours: Option<f64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct WindowJson {
    times: Vec<i64>,
    series: Vec<SeriesJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SeriesJson {
    name: String,
    #[serde(default = "one")]
    unit: String,
    /// `null` for a missing sample.
    values: Vec<Option<f64>>,
}

fn one() -> String {
    "1".to_owned()
}

/// Runs a subcommand.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => check(&args),
        Command::Run(args) => run_once(&args),
    }
}

fn load(
    file: &Path,
    params: Option<&str>,
    digest: Option<Digest>,
    probes: &[ScalingInput],
) -> anyhow::Result<(std::sync::Arc<Policy>, weir_engine::StageTimes, usize)> {
    let bytes = match file.to_str().and_then(|name| name.strip_prefix("builtin:")) {
        Some(name) => weir_engine::source::builtin::builtin(name)?,
        None => Bytes::from(std::fs::read(file).with_context(|| format!("{} can't be read", file.display()))?),
    };
    let shipped = bytes.len();
    let params = params.map(serde_json::from_str).transpose().context("--params is not JSON")?.unwrap_or(serde_json::Value::Null);
    let engine = Engine::new(EngineConfig { concurrent_instances: 4, ..EngineConfig::default() })?;
    let candidate = Candidate { object: ObjectRef::new("local", file.display().to_string()), bytes, digest, params, limits: Limits::default() };
    let loading = engine.load_blocking(&candidate, probes);
    let policy = loading.result.map_err(|error| anyhow::anyhow!("{} [{}]", error, error.reason()))?;
    Ok((policy, loading.stages, shipped))
}

fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (policy, stages, shipped) = load(&args.file, args.params.as_deref(), args.digest, &[])?;
    let stamp = policy.stamp();
    let description = policy.description();
    println!("name      {} {}", stamp.name, stamp.version);
    println!("summary   {}", description.summary);
    println!("digest    {}", stamp.digest);
    println!("size      {} bytes as shipped, {} as a component", shipped, policy.component_bytes());
    println!("imports   none");
    println!("compiled  in {:.1} ms", stages.compile.as_secs_f64() * 1e3);
    for need in &description.series {
        println!("series    {} ({})", need.name, if need.required { "required" } else { "optional" });
    }
    println!("params    {}", policy.params());
    if let Some(schema) = &description.params_schema {
        println!("schema    {schema}");
    }
    if shipped > 1_000_000 {
        println!("note      too big for a ConfigMap (1 MiB): compress it with gzip or zstd, or ship it in a folder");
    }
    Ok(ExitCode::SUCCESS)
}

fn run_once(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let text = match args.input.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text
        }
        json if json.trim_start().starts_with('{') => json.to_owned(),
        file => std::fs::read_to_string(file).with_context(|| format!("{file} can't be read"))?,
    };
    let input: Input = serde_json::from_str(&text).context("the input is not as `wit/scaling.wit` describes it")?;
    let (policy, _, _) = load(&args.file, args.params.as_deref(), None, &[])?;
    let input = scaling_input(input, policy.params())?;
    let invocation = policy.decide(&input);
    let (answer, code) = match &invocation.outcome {
        Outcome::Proposal(proposal) => (serde_json::json!({ "proposal": proposal }), ExitCode::SUCCESS),
        Outcome::Refusal(refusal) => (serde_json::json!({ "refusal": refusal }), ExitCode::from(3)),
        Outcome::Failure(failure) => (serde_json::json!({ "failure": failure }), ExitCode::from(4)),
    };
    let mut answer = answer;
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("fuel".to_owned(), invocation.fuel.into());
    }
    println!("{}", serde_json::to_string_pretty(&answer)?);
    Ok(code)
}

fn scaling_input(input: Input, params: &str) -> anyhow::Result<ScalingInput> {
    let length = input.window.times.len();
    for series in &input.window.series {
        anyhow::ensure!(
            series.values.len() == length,
            "series `{}` has {} values and window.times has {length}: give one value, or null, for each time",
            series.name,
            series.values.len()
        );
    }
    let series = input
        .window
        .series
        .into_iter()
        .map(|series| Series { name: series.name, unit: series.unit, values: series.values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect() })
        .collect();
    let replicas = input.replicas;
    Ok(ScalingInput {
        now: UnixMs(input.now),
        object: ObjectRef::new(input.namespace, input.name),
        replicas: Replicas {
            desired: replicas.desired,
            ready: replicas.ready.unwrap_or(replicas.desired),
            starting: replicas.starting,
            min: replicas.min,
            max: replicas.max,
        },
        capacity: Capacity { per_replica: input.capacity.per_replica, learnt: input.capacity.learnt, start_up: input.capacity.start_up },
        objectives: Objectives {
            freshness: input.objectives.freshness,
            refused_share: input.objectives.refused_share,
            replica_hours: input.objectives.replica_hours,
        },
        window: Window { times: input.window.times, series },
        params: params.to_owned(),
        state: input.state,
    })
}
