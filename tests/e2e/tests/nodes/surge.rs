//! From a surge of real records to `spec.replicas` written, by scrapes of real collectors each second.

use crate::setting::{PATIENCE, STORES, Setting};
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};
use weir_cluster::eventually;
use weir_e2e::manifests::{gateway, merge};

const ROUNDS: usize = 12;
/// Records/s, thirty times what came before: the second in which it begins tells of it, unless it is the last tenth.
const SURGE: f64 = 3_000.0;
/// docs/design.md, "Promises": p99 at the default interval of 1 s.
const PROMISE: f64 = 1.2;

#[tokio::test(flavor = "multi_thread")]
async fn a_surge_is_answered_within_seconds() -> Result<()> {
    let Some(setting) = Setting::new("surge").await? else { return Ok(()) };
    setting.stores()?;
    setting.quick_rule(2)?;
    let mut object = gateway("edge", STORES, "rule", 2);
    merge(
        &mut object,
        json!({ "spec": {
        "engine": { "otelCollector": { "maxConnectionAge": "2s" } },
        "scaling": { "guardrails": { "scaleDown": { "stabilizationWindow": "1s" } } },
    } }),
    );
    setting.apply(&object)?;
    setting.settled("edge", 1).await?;
    let sender = setting.send("edge", "surge", "100")?;
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        setting.settled("edge", 1).await?;
        setting.condition("edge", "MetricsReady", "True", "AsExpected").await?;
        // A surge comes at any moment between two scrapes.
        let moment = Instant::now() + Duration::from_millis(rand::random_range(0..1000));
        eventually("the moment of the surge", PATIENCE, async || Ok((Instant::now() >= moment).then_some(()))).await?;
        let before = setting.observer.now().scaled.len();
        let begun = Instant::now();
        sender.set_rate(SURGE);
        let scaled = setting.until("the surge is answered", PATIENCE, |seen| seen.scaled[before..].iter().find(|scaled| scaled.replicas == 2).cloned()).await?;
        let seconds = scaled.at.duration_since(begun).as_secs_f64();
        println!("surge {}: {seconds:.2} s", round + 1);
        took.push(seconds);
        sender.set_rate(100.0);
    }
    sender.stop().await;
    took.sort_by(f64::total_cmp);
    let (median, last) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "surge to spec.replicas, {ROUNDS} times: p50 {median:.2} s, p99 {last:.2} s; promised: p99 {PROMISE} s{}",
        if last <= PROMISE { "" } else { ", MISSED on this machine" }
    );
    assert!(last < 5.0, "{took:?}\n{}", setting.story());
    setting.nothing_forbidden()
}
