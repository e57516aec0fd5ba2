//! Prints what a fresh, isolated decision costs, and what loading does:
//! `cargo run --release -p weir-engine --example decide_bench [COMPONENT.wasm]`.
//! Without a file it measures every built-in policy.

use std::time::{Duration, Instant};
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::scaling::{Capacity, Objectives, Outcome, Replicas, ScalingInput, ScalingPolicy};
use weir_core::window::{Series, Window};
use weir_engine::{CacheConfig, Candidate, Engine, EngineConfig, Limits, PolicySlot, source};

const CALLS: usize = 100_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let components = match std::env::args().nth(1) {
        Some(file) => vec![(file.clone(), std::fs::read(file)?.into())],
        None => source::builtin::names().map(|name| Ok((name.to_owned(), source::builtin::builtin(name)?))).collect::<Result<_, source::SourceError>>()?,
    };
    let folder = std::env::temp_dir().join(format!("weir-decide-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build()?;
    for (name, bytes) in components {
        let candidate = Candidate { object: ObjectRef::new("bench", &name), bytes, digest: None, params: serde_json::Value::Null, limits: Limits::default() };
        println!("{name}: {} bytes", candidate.bytes.len());
        for _ in 0..2 {
            let cache = Some(CacheConfig { folder: folder.clone(), max_bytes: 256 << 20 });
            let slot = PolicySlot::new(Engine::new(EngineConfig { cache, ..EngineConfig::default() })?);
            slot.observe(&input(8, 60));
            let report = runtime.block_on(slot.load(&candidate));
            println!("  load: {:?}", report.stages);
            if let Some(policy) = slot.current() {
                decide(&*policy, 8, 60);
                decide(&*policy, 1, 60);
                println!("  resident: {}", resident());
            }
        }
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn decide(policy: &impl ScalingPolicy, series: usize, points: i64) {
    let input = input(series, points);
    let mut times: Vec<Duration> = Vec::with_capacity(CALLS);
    let begun = Instant::now();
    let mut last = None;
    for _ in 0..CALLS {
        let at = Instant::now();
        last = Some(policy.decide(&input));
        times.push(at.elapsed());
    }
    let total = begun.elapsed();
    times.sort_unstable();
    let at = |per_mille: usize| times.get(CALLS * per_mille / 1000).copied().unwrap_or_default();
    let outcome = match last.map(|invocation| (invocation.outcome, invocation.fuel)) {
        Some((Outcome::Proposal(proposal), fuel)) => format!("{} replicas, {fuel} fuel", proposal.replicas),
        other => format!("{other:?}"),
    };
    println!(
        "  decide, {series} series of {points} points: p50 {:?}, p99 {:?}, p99.9 {:?}, mean {:?} ({outcome})",
        at(500),
        at(990),
        at(999),
        total / u32::try_from(CALLS).unwrap_or(u32::MAX)
    );
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("unknown").to_owned()
}

fn input(series: usize, points: i64) -> ScalingInput {
    let names = ["offered", "accepted", "refused", "sent", "failed", "backlog", "memory", "cpu"];
    let times: Vec<i64> = (0..points).map(|n| 1_700_000_000_000 + n * 1000).collect();
    let column =
        |name: &&str| Series { name: (*name).to_owned(), unit: "records/s".to_owned(), values: times.iter().map(|t| (t % 1000) as f64 + 1500.0).collect() };
    let series = names.iter().take(series).map(column).collect();
    ScalingInput {
        now: UnixMs(1_700_000_000_000 + points * 1000),
        object: ObjectRef::new("logging", "edge"),
        replicas: Replicas { desired: 3, ready: 3, starting: 0, min: 1, max: 50 },
        capacity: Capacity { per_replica: Some(1000.0), learnt: true, start_up: 8.0 },
        objectives: Objectives { freshness: Some(30.0), refused_share: Some(0.01), replica_hours: None },
        window: Window { times, series },
        params: "{}".to_owned(),
        state: Vec::new(),
    }
}
