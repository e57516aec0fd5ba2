//! What a namespace notices of another one whose policies use their whole deadline: latency of decisions in
//! the operator's pool, in which namespaces take turns, beside one queue for all. Touches the Wasm engine.

use crate::policies::{self, component, engine};
use crate::report::Report;
use crate::stats::{Times, short};
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use weir_core::scaling::{Outcome, ScalingInput, ScalingPolicy as _};
use weir_engine::{Candidate, Limits, Policy};
use weir_operator::pool::Pool;

/// Objects of the noisy namespace, each with a policy of its own that never returns.
const NOISY: u32 = 20;
/// A quiet decision every so often.
const EVERY: Duration = Duration::from_millis(20);

/// Who is let in next.
#[derive(Clone)]
enum Queue {
    /// The operator's: namespaces take turns.
    Turns(Arc<Pool>),
    /// Whoever came first.
    Naive(Arc<Semaphore>),
}

impl Queue {
    /// One decision on a thread for blocking work; from the wish to the answer.
    async fn decide(&self, namespace: &str, policy: &Arc<Policy>, input: &Arc<ScalingInput>) -> Result<(Outcome, Duration)> {
        let begun = Instant::now();
        let (policy, input) = (policy.clone(), input.clone());
        let asked = match self {
            Self::Turns(pool) => {
                let place = pool.enter(namespace).await;
                tokio::task::spawn_blocking(move || {
                    let _place = place;
                    policy.decide(&input).outcome
                })
            }
            Self::Naive(places) => {
                let place = places.clone().acquire_owned().await?;
                tokio::task::spawn_blocking(move || {
                    let _place = place;
                    policy.decide(&input).outcome
                })
            }
        };
        Ok((asked.await?, begun.elapsed()))
    }
}

/// Measures and reports.
pub(crate) fn run(report: &mut Report, quick: bool) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores).enable_all().build()?;
    let engine = engine(None)?;
    let quiet = policies::load(&engine, &policies::candidate("quiet", component("threshold")?))?;
    let endless: Bytes = weir_e2e::component("fixtures/endless-loop")?.into();
    let limits = Limits { fuel: 1_000_000_000_000, ..Limits::default() };
    let deadline = limits.deadline;
    let noisy = (0..NOISY)
        .map(|number| {
            policies::load(
                &engine,
                &Candidate { limits: limits.clone(), ..policies::candidate(&format!("noisy-{number}"), policies::variant(&endless, number)) },
            )
        })
        .collect::<Result<Vec<_>>>()?;
    let decisions = if quick { 50 } else { 500 };
    let turns = || Queue::Turns(Pool::new(cores));
    let naive = || Queue::Naive(Arc::new(Semaphore::new(cores)));
    let settings = [
        ("alone", turns(), 0),
        ("beside the noisy one, namespaces take turns", turns(), noisy.len()),
        ("beside the noisy one, one queue for all", naive(), noisy.len()),
    ];
    for (what, queue, count) in settings {
        let noise: Vec<_> = noisy.iter().take(count).map(|policy| runtime.spawn(make_noise(queue.clone(), policy.clone()))).collect();
        let measured = runtime.block_on(quiet_decisions(&queue, &quiet, decisions));
        noise.iter().for_each(JoinHandle::abort);
        let times = measured.with_context(|| format!("the quiet namespace {what}"))?;
        let title = format!("a quiet namespace's decision {what}");
        if matches!(queue, Queue::Turns(_)) && count > 0 {
            // A deadline is processor time, and ends some ticks late.
            let most = deadline + Duration::from_millis(10);
            report.promise(title, times.to_string(), format!("p99 ≤ one deadline and 10 ms ({})", short(most)), times.p99() <= most);
        } else {
            report.note(title, times.to_string());
        }
    }
    report.remark(format!(
        "Fairness: a quiet namespace decides every {} ms with `threshold`; the noisy one has {NOISY} objects, each with a policy that uses its whole deadline of {} and is asked again at once. {cores} places, as many as cores.",
        EVERY.as_millis(),
        short(deadline),
    ));
    Ok(())
}

async fn make_noise(queue: Queue, policy: Arc<Policy>) -> Result<()> {
    let input = Arc::new(policies::input(policy.params()));
    loop {
        queue.decide("noisy", &policy, &input).await?;
    }
}

async fn quiet_decisions(queue: &Queue, policy: &Arc<Policy>, count: u32) -> Result<Times> {
    let input = Arc::new(policies::input(policy.params()));
    let mut times = Vec::new();
    // Until the noise is there.
    tokio::time::sleep(EVERY * 10).await;
    for _ in 0..count {
        let (outcome, took) = queue.decide("quiet", policy, &input).await?;
        ensure!(matches!(outcome, Outcome::Proposal(_)), "the quiet policy did not propose: {outcome:?}");
        times.push(took);
        tokio::time::sleep(EVERY).await;
    }
    Ok(Times::new(times))
}
