//! How soon replicas follow the load of all objects at once. Touches nothing but what the setting has.

use super::operator::Operator;
use super::population::load_for;
use super::setting::Setting;
use crate::report::progress;
use crate::stats::Times;
use anyhow::Result;
use std::time::{Duration, Instant};

/// Longest time until all replicas are written.
const PATIENCE: Duration = Duration::from_secs(300);

/// Raises the load step by step, each time by what one more replica of each object needs. `replicas`
/// are those that each object has.
pub(super) async fn several(setting: &Setting, operator: &Operator, replicas: &mut u32, times: u32) -> Result<Times> {
    let mut taken = Vec::new();
    for time in 1..=times {
        if setting.objects > 1 {
            setting.wait_until_quiet(operator).await;
        }
        // Anywhere in the interval of an object.
        tokio::time::sleep(Duration::from_millis(rand::random_range(1000..2000))).await;
        *replicas += 1;
        setting.watch.expect(*replicas);
        let before = setting.processor_times(operator)?;
        let begun = Instant::now();
        setting.stand_in.say(load_for(*replicas));
        let reached = setting.watch.reached(PATIENCE).await?;
        taken.extend(reached.iter().map(|at| at.saturating_duration_since(begun)));
        if setting.objects > 1 || time % 20 == 0 {
            let took = begun.elapsed().as_secs_f64();
            let used = setting.processor_times(operator)?.into_iter().zip(before).map(|((name, after), (_, before))| format!("{name} {:.2}", after - before));
            progress(&format!("spike {time} of {times}: all replicas written after {took:.2} s; processor seconds: {}", used.collect::<Vec<_>>().join(", ")));
        }
    }
    Ok(Times::new(taken))
}
