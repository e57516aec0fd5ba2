//! Exchanging a policy while two threads make 10,000 decisions a second with it: how long from changed
//! bytes to the first decision by them, what the decisions notice of it, and whether one is lost.
//! Touches the Wasm engine.

use crate::idle;
use crate::policies::{self, component, engine_of_operator};
use crate::report::{Report, progress};
use crate::stats::{Times, grouped, rate, short};
use anyhow::{Context as _, Result, ensure};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_core::ids::Digest;
use weir_core::scaling::{Outcome, ScalingPolicy as _};
use weir_engine::{LoadOutcome, PolicySlot, StageTimes};

/// One decision of each thread every so often: 10,000 a second together.
const EVERY: Duration = Duration::from_micros(200);
const THREADS: u32 = 2;
/// Pause between two swaps.
const PAUSE: Duration = Duration::from_millis(150);

/// One decision.
struct Made {
    due: Instant,
    /// The call of the policy.
    took: Duration,
    /// From when it was due to when it was there.
    late: Duration,
    proposed: bool,
}

/// When a policy was first seen to decide.
type Sightings = Mutex<Vec<(Digest, Instant)>>;

struct Swapped {
    from: Instant,
    until: Instant,
    stages: StageTimes,
}

/// Measures and reports.
pub(crate) fn run(report: &mut Report, quick: bool) -> Result<()> {
    under_load(report, if quick { 5 } else { 50 })?;
    idle::measure(report, quick)
}

fn under_load(report: &mut Report, swaps: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let slot = PolicySlot::new(engine_of_operator()?);
    let base = component("threshold")?;
    let load = |number: u32| {
        let candidate = policies::candidate("rule", policies::variant(&base, number));
        let begun = Instant::now();
        let loaded = runtime.block_on(slot.load(&candidate));
        match loaded.outcome {
            LoadOutcome::Swapped { policy, .. } => Ok((begun, policy.stamp().digest, loaded.stages)),
            other => Err(anyhow::anyhow!("the policy was not taken into use: {other:?}")),
        }
    };
    load(0)?;
    let (sightings, stop) = (Sightings::default(), AtomicBool::new(false));
    let start = Instant::now() + Duration::from_millis(20);
    let (made, swapped) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let (slot, sightings, stop) = (&slot, &sightings, &stop);
                    move || decide(slot, sightings, stop, start + EVERY * thread / THREADS)
                })
            })
            .collect();
        let swapped = exchange(swaps, &sightings, load);
        stop.store(true, Ordering::SeqCst);
        let made: Vec<Made> = threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect();
        (made, swapped)
    });
    tell(report, &made, &swapped?)
}

/// Decides at a fixed rate. What was due while a decision took too long is made up for, none is skipped.
fn decide(slot: &PolicySlot, sightings: &Sightings, stop: &AtomicBool, start: Instant) -> Vec<Made> {
    let mut made = Vec::new();
    let (mut due, mut last) = (start, None);
    let Some(policy) = slot.current() else { return made };
    let input = policies::input(policy.params());
    while !stop.load(Ordering::Relaxed) {
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let begun = Instant::now();
        let Some(policy) = slot.current() else { break };
        let invocation = policy.decide(&input);
        slot.observe(&input);
        let done = Instant::now();
        made.push(Made { due, took: done - begun, late: done - due, proposed: matches!(invocation.outcome, Outcome::Proposal(_)) });
        let new = last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, &policy));
        if new {
            sightings.lock().push((policy.stamp().digest, done));
            last = Some(policy);
        }
        due += EVERY;
    }
    made
}

fn exchange(swaps: u32, sightings: &Sightings, load: impl Fn(u32) -> Result<(Instant, Digest, StageTimes)>) -> Result<Vec<Swapped>> {
    // As much time without swaps first as with them.
    std::thread::sleep(PAUSE * swaps);
    let mut swapped = Vec::new();
    for number in 1..=swaps {
        let (from, digest, stages) = load(number)?;
        let until = seen(sightings, &digest)?;
        swapped.push(Swapped { from, until, stages });
        std::thread::sleep(PAUSE);
    }
    Ok(swapped)
}

/// Waits until a policy has decided.
fn seen(sightings: &Sightings, digest: &Digest) -> Result<Instant> {
    let begun = Instant::now();
    loop {
        // The first of the two threads.
        if let Some((_, at)) = sightings.lock().iter().filter(|(seen, _)| seen == digest).min_by_key(|(_, at)| *at) {
            return Ok(*at);
        }
        ensure!(begun.elapsed() < Duration::from_secs(10), "no decision was made with the new policy within 10 s");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn tell(report: &mut Report, made: &[Made], swapped: &[Swapped]) -> Result<()> {
    let first = made.iter().map(|made| made.due).min().context("no decision was made")?;
    let done = made.iter().map(|made| made.due + made.late).max().context("no decision was made")?;
    let proposed = made.iter().filter(|made| made.proposed).count() as u64;
    // A thread skips nothing of its grid, so what is lost is what was asked and gave no proposal.
    let lost = (made.len() as u64).saturating_sub(proposed);
    let times = Times::new(swapped.iter().map(|swap| swap.until - swap.from).collect());
    let kept = times.max() <= Duration::from_millis(100) && lost == 0;
    report.promise(
        "hot swap at 10,000 decisions/s: changed bytes → first decision by them",
        format!("{times}; {lost} of {} decisions lost, {}/s made", grouped(made.len() as u64), rate(proposed, done - first)),
        "≤ 100 ms, none lost",
        kept,
    );
    let stage = |of: fn(&StageTimes) -> Duration| short(Times::new(swapped.iter().map(|swap| of(&swap.stages)).collect()).p50());
    report.note(
        "stages of a swap, medians",
        format!(
            "unpack and digest {}, inspect {}, compile {}, describe {}, params {}, probe on 16 inputs {}, exchange {}",
            stage(|stages| stages.unpack),
            stage(|stages| stages.inspect),
            stage(|stages| stages.compile),
            stage(|stages| stages.describe),
            stage(|stages| stages.params),
            stage(|stages| stages.probe),
            stage(|stages| stages.swap),
        ),
    );
    let during = |made: &&Made| swapped.iter().any(|swap| made.due >= swap.from && made.due <= swap.until);
    let (with, without): (Vec<&Made>, Vec<&Made>) = made.iter().partition(during);
    for (which, made) in [("between swaps", without), ("while a swap is under way", with)] {
        let took = Times::new(made.iter().map(|made| made.took).collect());
        let late = Times::new(made.iter().map(|made| made.late).collect());
        report.note(format!("decisions {which}"), format!("{took}; from due to done p99 {}", short(late.p99())));
    }
    progress(&format!("{} swaps among {} decisions", swapped.len(), made.len()));
    report.remark(
        "Swaps: two threads decide on a grid of 10,000 a second, each changed component is compiled on the same two cores. \
         “From due to done” includes that a sleeping thread wakes some 60 µs late.",
    );
    Ok(())
}
