//! How soon a standby decides after its leader was killed, and after it was told to end. Touches
//! processes and metrics.

use super::operator::Operator;
use super::setting::Setting;
use crate::report::{Report, progress};
use crate::stats::Times;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Longest time until a standby has decided on everything.
const PATIENCE: Duration = Duration::from_secs(120);

/// Times from the end of a leader.
#[derive(Default)]
struct Taken {
    first: Vec<Duration>,
    all: Vec<Duration>,
}

/// Kills and ends leaders in turn, reports, and returns the last leader.
pub(super) async fn several(report: &mut Report, setting: &Setting, mut leader: Operator, how: &str, times: u32) -> Result<Operator> {
    let (mut killed, mut ended) = (Taken::default(), Taken::default());
    for round in 0..times * 2 {
        let standby = setting.operator(&format!("standby-{round}"))?;
        // Anywhere between two renewals of the Lease.
        tokio::time::sleep(Duration::from_millis(rand::random_range(500..1000))).await;
        ensure!(standby.counters()?.decisions == 0.0, "a standby decides while another leads");
        let begun = Instant::now();
        let taken = if round % 2 == 0 {
            leader.kill()?;
            &mut killed
        } else {
            leader.terminate()?;
            &mut ended
        };
        let (first, all) = takes_over(setting, &standby, begun)?;
        taken.first.push(first);
        taken.all.push(all);
        leader.wait()?;
        leader = standby;
        progress(&format!("a standby decided after {first:?}, on all after {all:?}"));
    }
    for (what, taken, promise) in [("leader killed", killed, 3), ("leader told to end", ended, 1)] {
        let (first, all) = (Times::new(taken.first), Times::new(taken.all));
        let promise = Duration::from_secs(promise);
        report.promise(
            format!("{what} → the standby decides, {}, {how}", setting.title()),
            format!("{first}; on all of them: {all}"),
            format!("≤ {} s", promise.as_secs()),
            first.max() <= promise,
        );
    }
    report.remark("Standby: from the signal to its first decision that is not a hold, and to as many as there are objects. It has listed everything before.");
    Ok(leader)
}

fn takes_over(setting: &Setting, standby: &Operator, begun: Instant) -> Result<(Duration, Duration)> {
    let mut first = None;
    loop {
        let counters = standby.counters_so_far();
        if counters.decided > 0.0 {
            first.get_or_insert_with(|| begun.elapsed());
        }
        if let Some(first) = first.filter(|_| counters.decided >= setting.objects as f64) {
            return Ok((first, begun.elapsed()));
        }
        ensure!(begun.elapsed() < PATIENCE, "the standby has not decided on everything: {counters:?}\n{}", standby.log_end());
        std::thread::sleep(Duration::from_millis(5));
    }
}
