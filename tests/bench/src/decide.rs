//! What one decision costs: in a fresh instance, with all else warm and with all else cold, in two
//! threads, as part of the whole way from snapshot to verdict; and what its peers cost in the same run.
//! Touches the Wasm engine and, for the peers, the loopback network.

use crate::policies::{self, component, engine, load};
use crate::report::{Report, progress};
use crate::scaler;
use crate::stats::{Times, grouped, rate, short};
use anyhow::{Context as _, Result, ensure};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::guardrails::{GuardMemory, Guardrails};
use weir_core::scaling::{Outcome, ScalingInput, ScalingPolicy as _};
use weir_core::snapshot::{MetricsHealth, Mode, SCHEMA, Snapshot};
use weir_engine::{Engine, Policy, PolicySlot};

const PROMISE: &str = "p50 ≤ 10 µs, p99 ≤ 50 µs";
/// Bytes that are written between two decisions to push everything out of the caches.
const OTHER_MEMORY: usize = 64 << 20;

/// How much is measured.
struct Amount {
    calls: usize,
    distinct: u32,
    cold: usize,
    seconds: f64,
}

impl Amount {
    const fn of(quick: bool) -> Self {
        if quick { Self { calls: 2_000, distinct: 20, cold: 100, seconds: 0.3 } } else { Self { calls: 100_000, distinct: 1_000, cold: 2_000, seconds: 5.0 } }
    }
}

/// Measures and reports.
pub(crate) fn run(report: &mut Report, quick: bool) -> Result<()> {
    let amount = Amount::of(quick);
    let engine = engine(None)?;
    let mut warm = Vec::new();
    for name in ["threshold", "backlog", "minimal"] {
        let policy = load(&engine, &policies::candidate(name, component(name)?))?;
        let input = policies::input(policy.params());
        let fuel = proposal_fuel(&policy, &input)?;
        let times = in_a_loop(&policy, &input, amount.calls);
        promised(report, format!("decision of `{name}`, warm ({} fuel)", grouped(fuel)), &times);
        let cold = after_other_memory(&policy, &input, amount.cold);
        report.note(format!("decision of `{name}`, caches emptied before each"), cold.to_string());
        warm.push((name, policy, input, times));
    }
    let (_, policy, input, times) = warm.first().context("nothing was measured")?;
    distinct(report, &engine, &amount)?;
    threads(report, &engine, &amount)?;
    whole(report, policy, input, &amount);
    peers(report, input, times, &amount)?;
    report.remark(
        "Decisions are asked with eight series of sixty points, each in a fresh instance. Warm: one policy in a loop on one thread. \
         Caches emptied: 64 MiB of other memory is written before each decision. Distinct policies: components that differ in a custom \
         section, so each has compiled code of its own; asked in turn, none is in the processor's caches when its turn comes.",
    );
    Ok(())
}

fn promised(report: &mut Report, what: String, times: &Times) {
    let kept = times.p50() <= Duration::from_micros(10) && times.p99() <= Duration::from_micros(50);
    report.promise(what, times.to_string(), PROMISE, kept);
}

fn proposal_fuel(policy: &Policy, input: &ScalingInput) -> Result<u64> {
    let invocation = policy.decide(input);
    ensure!(matches!(invocation.outcome, Outcome::Proposal(_)), "{} does not propose: {invocation:?}", policy.stamp().name);
    Ok(invocation.fuel)
}

fn in_a_loop(policy: &Policy, input: &ScalingInput, calls: usize) -> Times {
    for _ in 0..calls / 10 {
        black_box(policy.decide(input));
    }
    Times::new((0..calls).map(|_| timed(|| policy.decide(input))).collect())
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let begun = Instant::now();
    black_box(work());
    begun.elapsed()
}

fn after_other_memory(policy: &Policy, input: &ScalingInput, calls: usize) -> Times {
    let mut other = vec![0_u8; OTHER_MEMORY];
    let mut cold = || {
        for line in other.chunks_mut(64) {
            if let Some(byte) = line.first_mut() {
                *byte = byte.wrapping_add(1);
            }
        }
        black_box(&other);
        timed(|| policy.decide(input))
    };
    Times::new((0..calls).map(|_| cold()).collect())
}

/// Many policies: the first decision of each, and then each in its turn.
fn distinct(report: &mut Report, engine: &Engine, amount: &Amount) -> Result<()> {
    let count = amount.distinct;
    let base = component("threshold")?;
    let mut loaded = Vec::new();
    for number in 0..count {
        if number % 100 == 0 {
            progress(&format!("compiling policy {number} of {count}"));
        }
        loaded.push(load(engine, &policies::candidate("rule", policies::variant(&base, number)))?);
    }
    let input = loaded.first().map(|policy| policies::input(policy.params())).context("no policy was loaded")?;
    // `describe` was called at load: this is the first call of `decide`.
    let first = Times::new(loaded.iter().map(|policy| timed(|| policy.decide(&input))).collect());
    let count = grouped(count.into());
    promised(report, format!("first decision of each of {count} distinct policies (`threshold`)"), &first);
    let rounds = (amount.calls / loaded.len()).max(1);
    let turns = (0..rounds).flat_map(|_| &loaded).map(|policy| timed(|| policy.decide(&input))).collect();
    promised(report, format!("decision, {count} distinct policies in turn"), &Times::new(turns));
    Ok(())
}

/// Two threads that decide with what one slot holds.
fn threads(report: &mut Report, engine: &Engine, amount: &Amount) -> Result<()> {
    let slot = PolicySlot::new(engine.clone());
    let policy = load(engine, &policies::candidate("rule", component("threshold")?))?;
    let input = policies::input(policy.params());
    drop(slot.swap(policy));
    let span = Duration::from_secs_f64(amount.seconds);
    let for_a_while = || {
        let (begun, mut made) = (Instant::now(), 0_u64);
        while begun.elapsed() < span {
            if let Some(policy) = slot.current() {
                black_box(policy.decide(&input));
                made += 1;
            }
        }
        made
    };
    for count in [1, 2] {
        let begun = Instant::now();
        let made: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..count).map(|_| scope.spawn(for_a_while)).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        });
        let plural = if count == 1 { "" } else { "s" };
        report.note(format!("decisions of `threshold` in {count} thread{plural}"), format!("{}/s", rate(made, begun.elapsed())));
    }
    Ok(())
}

/// From snapshot to verdict: digest, policy, guardrails.
fn whole(report: &mut Report, policy: &Arc<Policy>, input: &ScalingInput, amount: &Amount) {
    let snapshot = Snapshot {
        schema: SCHEMA,
        input: input.clone(),
        policy: Some(policy.stamp().clone()),
        fallback: None,
        dropped_state: None,
        unresolved: None,
        metrics: MetricsHealth::Ready,
        guardrails: Guardrails::default(),
        memory: GuardMemory::seeded(input.now, input.replicas.desired, None),
        pin: None,
        mode: Mode::Enforce,
        paused: false,
        block: None,
    };
    let times = Times::new((0..amount.calls).map(|_| timed(|| weir_core::decision::decide(&snapshot, Some(policy.as_ref())))).collect());
    report.note("from snapshot to verdict: digest, `threshold`, guardrails", times.to_string());
}

fn peers(report: &mut Report, input: &ScalingInput, warm: &Times, amount: &Amount) -> Result<()> {
    let native = policies::native(input);
    let rule = || weir_policy::policy::call::<threshold::Policy>(&native, &input.params, &[]);
    ensure!(rule().is_ok(), "the rule in plain Rust does not propose");
    let plain = Times::new((0..amount.calls).map(|_| timed(rule)).collect());
    report.note("peer: the same rule in plain Rust, not isolated", plain.to_string());

    let process = scaler::Process::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (metrics, polls) = runtime.block_on(ask(&process, amount.calls / 5))?;
    let text = "peer: the same rule behind gRPC (KEDA's external scaler)";
    report.note(format!("{text}, IsActive + GetMetricSpec + GetMetrics"), polls.to_string());
    report.note(format!("{text}, GetMetrics"), metrics.to_string());
    let times = metrics.p50().as_secs_f64() / warm.p50().as_secs_f64();
    let measured = format!("{times:.1} × at the median ({} to {})", short(metrics.p50()), short(warm.p50()));
    report.promise("a decision of Weir against one GetMetrics", measured, "≥ 10 × faster", times >= 10.0);
    report.remark(
        "The gRPC peer (tonic) is a process of its own on the loopback address and holds the window in memory already, so it is \
         measured without what it would cost to get the data there; one connection, one call at a time.",
    );
    Ok(())
}

async fn ask(process: &scaler::Process, calls: usize) -> Result<(Times, Times)> {
    let mut client = scaler::Client::connect(process).await?;
    for _ in 0..calls / 10 {
        client.metrics().await?;
    }
    let (mut metrics, mut polls) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    for _ in 0..calls {
        let begun = Instant::now();
        let replicas = client.metrics().await?;
        metrics.push(begun.elapsed());
        ensure!(replicas >= 1.0, "the scaler proposes {replicas} replicas");
        let begun = Instant::now();
        client.poll().await?;
        polls.push(begun.elapsed());
    }
    Ok((Times::new(metrics), Times::new(polls)))
}
