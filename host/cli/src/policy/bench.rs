//! `weir policy bench`: what a decision costs, in a fresh instance (as the operator makes one for each
//! decision) and in a kept one (what the isolation costs). Touches files, the Wasm engine, the clock.

use super::input::Input;
use super::load::{self, Component, LimitOptions};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use weir_core::scaling::{Invocation, Outcome, ScalingInput, ScalingPolicy as _};
use weir_engine::{Limits, Policy};

/// Options of `weir policy bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component (raw, gzip or zstd), the folder of a built project, or `builtin:NAME`.
    #[arg(default_value = ".")]
    file: PathBuf,
    /// The input as JSON or YAML, as for `run`; without it 60 seconds of every series of a collector.
    #[arg(long)]
    input: Option<String>,
    /// Params as a JSON object.
    #[arg(long)]
    params: Option<String>,
    /// Calls to measure, of each kind.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    calls: u32,
    /// Longest time for each kind, in seconds; fewer calls are measured when it passes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: LimitOptions,
}

/// Times of many calls of one kind.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    calls: usize,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    calls_per_second: f64,
}

/// Everything that is measured.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    digest: String,
    component_bytes: u64,
    compile_ms: f64,
    fuel: u64,
    memory_bytes: u64,
    fresh: Times,
    kept: Times,
}

/// Runs the command: exit code 1 when the policy fails on the input.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let component = Component::open(&args.file)?;
    let (policy, stages) = component.require(load::params(args.params.as_deref())?, args.limits.over(Limits::default_ceiling()), args.limits.wasi())?;
    let input = match &args.input {
        Some(input) => Input::read(input)?.build(policy.params())?,
        None => super::check::typical(&policy)?,
    };
    let mut kept = policy.keep().map_err(|failure| super::AtFault(format!("{}: {}", failure.kind.as_str(), failure.message)))?;
    let first = kept.decide(&input);
    if let Outcome::Failure(failure) = &first.outcome {
        return Err(super::AtFault(format!("it fails on this input, so there is nothing to measure: {}: {}", failure.kind.as_str(), failure.message)).into());
    }
    let memory_bytes = kept.memory_bytes();
    let at_most = Duration::from_secs(args.seconds);
    let fresh = measure(args.calls, at_most, || policy.decide(&input))?;
    // a collector of garbage may let memory grow from call to call, so an instance that fails is made anew
    let kept = measure_kept(&policy, &input, args.calls, at_most)?;
    let figures = Figures {
        digest: policy.stamp().digest.to_string(),
        component_bytes: policy.component_bytes(),
        compile_ms: stages.compile.as_secs_f64() * 1e3,
        fuel: policy.decide(&input).fuel,
        memory_bytes,
        fresh,
        kept,
    };
    super::print(&if args.json { format!("{}\n", serde_json::to_string_pretty(&figures)?) } else { figures.text()? });
    Ok(ExitCode::SUCCESS)
}

fn measure_kept(policy: &Policy, input: &ScalingInput, calls: u32, at_most: Duration) -> anyhow::Result<Times> {
    let again = || policy.keep().map_err(|failure| super::AtFault(format!("{}: {}", failure.kind.as_str(), failure.message)));
    let mut kept = again()?;
    let mut times = Vec::new();
    let begun = Instant::now();
    for _ in 0..calls {
        let at = Instant::now();
        let invocation = kept.decide(input);
        let took = at.elapsed();
        if matches!(invocation.outcome, Outcome::Failure(_)) {
            kept = again()?;
        } else {
            times.push(took);
        }
        if begun.elapsed() > at_most {
            break;
        }
    }
    Times::of(times)
}

fn measure(calls: u32, at_most: Duration, mut call: impl FnMut() -> Invocation) -> anyhow::Result<Times> {
    // the first calls find nothing in the processor's caches and no instance in the pool
    for _ in 0..(calls / 10).min(100) {
        call();
    }
    let mut times = Vec::new();
    let begun = Instant::now();
    for _ in 0..calls {
        let at = Instant::now();
        call();
        times.push(at.elapsed());
        if begun.elapsed() > at_most {
            break;
        }
    }
    Times::of(times)
}

impl Times {
    fn of(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        anyhow::ensure!(!times.is_empty(), "no call in a kept instance came to an end");
        times.sort_unstable();
        let total: Duration = times.iter().sum();
        let at = |per_mille: usize| times.get(times.len().saturating_sub(1).saturating_mul(per_mille) / 1000).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Ok(Self {
            calls: times.len(),
            p50_us: at(500),
            p99_us: at(990),
            p999_us: at(999),
            max_us: at(1000),
            calls_per_second: times.len() as f64 / total.as_secs_f64(),
        })
    }

    fn line(&self) -> String {
        format!("{:>9.1} {:>9.1} {:>9.1} {:>9.1}   {:>9.0}   {}", self.p50_us, self.p99_us, self.p999_us, self.max_us, self.calls_per_second, self.calls)
    }
}

impl Figures {
    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        writeln!(text, "digest    {}", self.digest)?;
        writeln!(text, "size      {} bytes, compiled in {:.1} ms", self.component_bytes, self.compile_ms)?;
        writeln!(text, "a call    {} of fuel, {} KiB of memory", self.fuel, self.memory_bytes >> 10)?;
        writeln!(text, "in µs          p50       p99     p99.9       max     calls/s   measured")?;
        writeln!(text, "fresh    {}", self.fresh.line())?;
        writeln!(text, "kept     {}", self.kept.line())?;
        writeln!(text, "fresh: a new instance for each decision, as in the operator; kept: one instance for all, to compare")?;
        Ok(text)
    }
}
