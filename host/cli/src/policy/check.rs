//! `weir policy check`: every gate of the operator, and then inputs that a rule meets on a bad day.
//! Every problem is printed with what to do about it. Touches files and the Wasm engine.

use super::anatomy::{self, Anatomy};
use super::input::Input;
use super::load::{self, Component, LimitOptions};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use weir_core::ids::Digest;
use weir_core::scaling::{FailureKind, MAX_SENSIBLE_REPLICAS, Outcome, ScalingInput, ScalingPolicy as _};
use weir_engine::{Limits, LoadError, Policy, Wasi};

/// Bytes of a ConfigMap (kubernetes.io, "ConfigMaps": "cannot exceed 1 MiB").
const CONFIG_MAP: usize = 1 << 20;

/// Options of `weir policy check`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component (raw, gzip or zstd), the folder of a built project, or `builtin:NAME`.
    #[arg(default_value = ".")]
    file: PathBuf,
    /// Params as a JSON object.
    #[arg(long)]
    params: Option<String>,
    /// Digest that the component must have.
    #[arg(long)]
    digest: Option<Digest>,
    #[command(flatten)]
    limits: LimitOptions,
}

/// What is wrong, and what to do.
struct Problem {
    what: String,
    advice: String,
}

impl Problem {
    fn new(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what: what.into(), advice: advice.into() }
    }
}

/// Runs the command: exit code 1 when there is a problem.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let component = Component::open(&args.file)?;
    let params = load::params(args.params.as_deref())?;
    let mut text = String::new();
    let mut problems = Vec::new();
    if let Some(found) = component.unpacked().ok().and_then(|bytes| anatomy::look(&bytes).ok()) {
        about_component(&component, &found, &mut text)?;
        let refused = found.imports.iter().filter(|_| args.limits.wasi() == Wasi::Deny);
        problems.extend(refused.map(|import| Problem::new(format!("it imports `{import}`"), anatomy::advice(import))));
    }
    // loaded under the highest limits, so that what it needs can be measured and said
    let (loaded, stages) = component.load(params, args.limits.over(Limits::default_ceiling()), args.limits.wasi(), args.digest);
    match loaded {
        Ok(policy) => {
            writeln!(text, "compiled  in {:.1} ms", stages.compile.as_secs_f64() * 1e3)?;
            about_policy(&policy, &mut text)?;
            problems.extend(try_out(&policy, args.limits.over(Limits::default()), &mut text)?);
        }
        Err(LoadError::HasImports { .. }) if args.limits.wasi() == Wasi::Deny => {}
        Err(error) => problems.push(Problem::new(format!("{error} [{}]", error.reason()), String::new())),
    }
    for problem in &problems {
        writeln!(text, "problem   {}", problem.what)?;
        if !problem.advice.is_empty() {
            writeln!(text, "          {}", problem.advice)?;
        }
    }
    match problems.len() {
        0 => writeln!(text, "ok        the operator takes this policy")?,
        1 => writeln!(text, "1 problem")?,
        count => writeln!(text, "{count} problems")?,
    }
    super::print(&text);
    Ok(ExitCode::from(u8::from(!problems.is_empty())))
}

fn about_component(component: &Component, found: &Anatomy, text: &mut String) -> anyhow::Result<()> {
    let bytes = component.unpacked()?;
    let packed = packed_size(&bytes)?;
    writeln!(text, "digest    {}", Digest::of(&bytes))?;
    writeln!(text, "size      {} bytes as shipped, {} as a component, {packed} with gzip", component.shipped.len(), bytes.len())?;
    if component.shipped.len() > CONFIG_MAP {
        let advice = if packed < CONFIG_MAP { "packed with gzip it fits" } else { "ship it in a folder or an OCI registry" };
        writeln!(text, "          more than the 1 MiB of a ConfigMap: {advice}")?;
    }
    writeln!(text, "imports   {}", if found.imports.is_empty() { "none".to_owned() } else { found.imports.join(", ") })?;
    writeln!(text, "exports   {}", found.exports.join(", "))?;
    if !found.tools.is_empty() {
        writeln!(text, "made with {}", found.tools.join(", "))?;
    }
    Ok(())
}

/// Bytes of a component once packed.
pub(super) fn packed_size(bytes: &[u8]) -> anyhow::Result<usize> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn about_policy(policy: &Policy, text: &mut String) -> anyhow::Result<()> {
    let (stamp, description) = (policy.stamp(), policy.description());
    writeln!(text, "name      {} {}", stamp.name, stamp.version)?;
    writeln!(text, "summary   {}", description.summary)?;
    for need in &description.series {
        writeln!(text, "series    {} ({})", need.name, if need.required { "required" } else { "optional" })?;
    }
    if description.state.version() > 0 {
        writeln!(text, "state     {}", description.state)?;
    }
    writeln!(text, "params    {}", policy.params())?;
    Ok(())
}

/// Asks the policy, measures what that takes, and asks again on hard inputs.
fn try_out(policy: &Policy, granted: Limits, text: &mut String) -> anyhow::Result<Vec<Problem>> {
    let typical = typical(policy)?;
    let mut kept = match policy.keep() {
        Ok(kept) => kept,
        Err(failure) => return Ok(vec![Problem::new(format!("no instance of it can be made: {}: {}", failure.kind.as_str(), failure.message), "")]),
    };
    let first = kept.decide(&typical);
    let memory = kept.memory_bytes();
    writeln!(text, "a call    {} of fuel, {} KiB of memory, on a typical input: {}", first.fuel, memory >> 10, outcome(&first.outcome))?;
    let remembers = matches!(&first.outcome, Outcome::Proposal(proposal) if !proposal.state.is_empty());
    if remembers && policy.description().state.version() == 0 {
        writeln!(text, "state     remembered without a version: the next module of this policy begins without it, unless `describe` tells versions")?;
    }
    if first.fuel > granted.fuel || memory > granted.memory_bytes {
        let mut needs = Vec::new();
        if memory > granted.memory_bytes {
            needs.push(format!("memory: {}Mi", memory.saturating_mul(3).div_euclid(2).div_ceil(16 << 20).saturating_mul(16)));
        }
        if first.fuel > granted.fuel {
            needs.push(format!("fuel: {}", first.fuel.saturating_mul(3).div_ceil(10_000_000).saturating_mul(10_000_000)));
        }
        writeln!(text, "needs     spec.limits: {{ {} }}, more than the defaults; the same under `limits:` in cases.yaml", needs.join(", "))?;
    }
    let mut problems = Vec::new();
    let mut tried = 0_usize;
    for (name, input) in hard(&typical) {
        tried = tried.saturating_add(1);
        if let Outcome::Failure(failure) = policy.decide(&input).outcome {
            let advice = match failure.kind {
                FailureKind::Trap => "answer with a refusal where the input makes no sense; a trap holds the replicas too, and tells nobody why",
                FailureKind::InvalidProposal => "clamp what is computed, and leave out numbers that are not finite",
                _ => "raise spec.limits, or do less in one call",
            };
            problems.push(Problem::new(format!("on {name}: {}: {}", failure.kind.as_str(), failure.message), advice));
        }
    }
    writeln!(text, "tried     {tried} hard inputs, it failed on {}", problems.len())?;
    Ok(problems)
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Proposal(proposal) => format!("{} replicas, {}", proposal.replicas, proposal.rationale.code),
        Outcome::Refusal(refusal) => format!("refused, {}", refusal.code),
        Outcome::Failure(failure) => format!("{}, {}", failure.kind.as_str(), failure.message),
    }
}

/// Sixty seconds of every series that a collector has, and of those that the policy names.
pub(super) fn typical(policy: &Policy) -> anyhow::Result<ScalingInput> {
    let mut names = vec!["offered", "accepted", "refused", "sent", "failed", "backlog", "memory", "cpu"];
    names.extend(policy.description().series.iter().map(|need| need.name.as_str()));
    let mut input: Input = serde_json::from_value(serde_json::json!({ "replicas": 3, "capacity": 1000, "objectives": { "freshness": 30 } }))?;
    for name in names {
        let value = serde_json::json!({ "from": 1500, "to": 2500 });
        input.series.insert(name.to_owned(), serde_json::from_value(value)?);
    }
    input.build(policy.params())
}

/// Inputs that a rule must answer with a proposal or a refusal.
fn hard(typical: &ScalingInput) -> Vec<(String, ScalingInput)> {
    let with = |change: &dyn Fn(&mut ScalingInput)| {
        let mut input = typical.clone();
        change(&mut input);
        input
    };
    let filled = |value: f64| with(&|input| input.window.series.iter_mut().for_each(|series| series.values.fill(value)));
    let mut inputs = vec![
        (
            "an empty window".to_owned(),
            with(&|input| {
                input.window.times.clear();
                input.window.series.iter_mut().for_each(|series| series.values.clear());
            }),
        ),
        ("a window without series".to_owned(), with(&|input| input.window.series.clear())),
        (
            "one sample".to_owned(),
            with(&|input| {
                input.window.times.truncate(1);
                input.window.series.iter_mut().for_each(|series| series.values.truncate(1));
            }),
        ),
        ("no replicas".to_owned(), with(&|input| (input.replicas.desired, input.replicas.ready, input.replicas.min) = (0, 0, 0))),
        (
            "as many replicas as a cluster can hold".to_owned(),
            with(&|input| {
                (input.replicas.desired, input.replicas.ready, input.replicas.starting, input.replicas.max) =
                    (MAX_SENSIBLE_REPLICAS, MAX_SENSIBLE_REPLICAS, 0, MAX_SENSIBLE_REPLICAS);
            }),
        ),
        ("a state that is not its own".to_owned(), with(&|input| input.state = (0..=255).cycle().take(1000).collect())),
        ("a time before 1970".to_owned(), with(&|input| input.now.0 = i64::MIN)),
        ("a start-up time that is not a number".to_owned(), with(&|input| input.capacity.start_up = f64::NAN)),
        ("no capacity".to_owned(), with(&|input| input.capacity.per_replica = None)),
    ];
    for value in [f64::NAN, f64::INFINITY, f64::MAX, -1.0, 0.0, f64::MIN_POSITIVE] {
        inputs.push((format!("series of {value:e}"), filled(value)));
        inputs.push((format!("a capacity of {value:e}"), with(&|input| input.capacity.per_replica = Some(value))));
    }
    inputs
}
