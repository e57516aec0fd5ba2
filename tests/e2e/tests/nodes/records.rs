//! Records through everything that moves replicas: each one that was acknowledged must be found.

use crate::setting::{PATIENCE, STORES, Setting};
use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_cluster::eventually;
use weir_e2e::manifests::{METRICS, gateway, merge};
use weir_e2e::{Observer, component, http, ship, wasm_policy};

const ACCEPTED: &str = "otelcol_receiver_accepted_log_records";
/// Between two readings of the replicas' load.
const SAMPLE: Duration = Duration::from_secs(2);
const QUEUE: &str = "otelcol_exporter_queue_size";

/// A metric of each replica that answers.
fn each(observer: &Observer, metric: &str) -> BTreeMap<String, f64> {
    let pods: Vec<(String, String)> =
        observer.now().pods_of("edge").filter_map(|pod| Some((pod.metadata.name.clone()?, pod.status.as_ref()?.pod_ip.clone()?))).collect();
    let read = |ip: &str| Some(http::sum(&http::get(format!("{ip}:{METRICS}").parse().ok()?, "/metrics").ok()?.1, metric, "").unwrap_or(0.0));
    pods.into_iter().filter_map(|(name, ip)| Some((name, read(&ip)?))).collect()
}

/// Most loaded replica over the mean, of what came in between two readings.
fn skew(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> f64 {
    let gained: Vec<f64> = after.iter().map(|(name, total)| total - before.get(name).unwrap_or(&0.0)).collect();
    gained.iter().copied().fold(0.0, f64::max) * gained.len() as f64 / gained.iter().sum::<f64>()
}

/// Pods that were deleted, with what their queues held at that moment.
type Held = Arc<Mutex<Vec<(String, Option<f64>)>>>;

/// What each pod held in its queues at the moment in which it was deleted.
fn watch_deletions(observer: &Observer) -> Held {
    let held = Arc::new(Mutex::new(Vec::new()));
    let (mut seen, log) = (observer.subscribe(), held.clone());
    tokio::spawn(async move {
        let mut known = 0;
        while seen.changed().await.is_ok() {
            let new: Vec<(String, Option<String>)> = {
                let now = seen.borrow_and_update();
                let ip = |name: &str| now.pods.get(name)?.status.as_ref()?.pod_ip.clone();
                let new = now.deleted[known..]
                    .iter()
                    .filter(|deleted| deleted.pod.starts_with("edge-collector"))
                    .map(|deleted| (deleted.pod.clone(), ip(&deleted.pod)));
                let new = new.collect();
                known = now.deleted.len();
                new
            };
            for (pod, ip) in new {
                let queue = ip.and_then(|ip| http::sum(&http::get(format!("{ip}:{METRICS}").parse().ok()?, "/metrics").ok()?.1, QUEUE, ""));
                log.lock().push((pod, queue));
            }
        }
    });
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_lost_through_scale_up_swap_outage_and_scale_down() -> Result<()> {
    let Some(setting) = Setting::new("records").await? else { return Ok(()) };
    let stores = setting.stores()?;
    ship(&setting.namespace, "rule", &component("threshold")?)?;
    setting.apply(&wasm_policy("rule", json!({ "configMap": { "name": "rule" } }), json!({})))?;
    let mut object = gateway("edge", STORES, "rule", 4);
    merge(&mut object, json!({ "spec": { "scaling": { "guardrails": { "scaleDown": { "stabilizationWindow": "2s" } } } } }));
    setting.apply(&object)?;
    setting.settled("edge", 1).await?;
    let held = watch_deletions(&setting.observer);
    let sender = setting.send("edge", "records", "150")?;
    setting.condition("edge", "MetricsReady", "True", "AsExpected").await?;

    // Up. Clients hold on to the one replica that they know, until their connections reach their age.
    sender.set_rate(1_300.0);
    setting.settled("edge", 4).await?;
    let first = each(&setting.observer, ACCEPTED);
    let mut last = first.clone();
    let mut all = Vec::new();
    let mut at = Instant::now();
    let spread = eventually("the load to be spread over all replicas", PATIENCE, async || {
        if at.elapsed() < SAMPLE {
            return Ok(None);
        }
        at = Instant::now();
        let now = each(&setting.observer, ACCEPTED);
        let (skew, idle) = (skew(&last, &now), now.iter().filter(|(name, total)| **total <= last.get(*name).copied().unwrap_or(0.0)).count());
        last = now;
        all.push(skew);
        Ok((skew < 2.0 && idle == 0 && last.len() == 4).then_some(skew))
    })
    .await
    .with_context(|| format!("skew, every 2 s: {all:.2?}\n{}", setting.story()))?;
    println!("skew (most loaded over mean) every 2 s after the scale-up: {all:.2?}, then {spread:.2}");

    // Both stores are gone, so that every replica holds records, whichever streams it gets; and a rule
    // comes that wants fewer replicas.
    setting.kubectl().run(["scale", "deploy", STORES[0], STORES[1], "--replicas=0"])?;
    setting.until("the stores are gone", PATIENCE, |seen| seen.pods.keys().all(|name| !name.starts_with("store-")).then_some(())).await?;
    eventually("queues to fill", PATIENCE, async || {
        let queues = each(&setting.observer, QUEUE);
        Ok((queues.len() == 4 && queues.values().all(|queue| *queue > 0.0)).then_some(()))
    })
    .await
    .with_context(|| setting.story())?;
    let before = setting.observer.now().deleted.len();
    ship(&setting.namespace, "rule", &component("fixtures/fixed-2")?)?;
    setting
        .until("two replicas leave", PATIENCE, |seen| (seen.pods_of("edge").filter(|pod| weir_e2e::observer::is_draining(pod)).count() == 2).then_some(()))
        .await?;
    setting.more_decisions(12.0)?;
    {
        let seen = setting.observer.now();
        let gone: Vec<_> = seen.deleted[before..].iter().filter(|deleted| deleted.pod.starts_with("edge-collector")).collect();
        assert!(gone.is_empty() && seen.replicas("edge-collector") == Some(4), "deleted with the stores gone and a queue: {gone:?}\n{}", setting.story());
    }
    println!("the stores are gone, queues hold {:?}, and no replica was deleted", each(&setting.observer, QUEUE));
    setting.kubectl().run(["scale", "deploy", STORES[0], STORES[1], "--replicas=1"])?;
    setting.settled("edge", 2).await?;
    sender.set_rate(300.0);

    let report = sender.stop().await;
    setting
        .until("deletions have been looked at", PATIENCE, |seen| {
            (seen.deleted.iter().filter(|deleted| deleted.pod.starts_with("edge-collector")).count() == held.lock().len()).then_some(())
        })
        .await?;
    println!("queues of deleted replicas at that moment: {:?}", held.lock());
    assert!(held.lock().len() == 2 && held.lock().iter().all(|(_, queue)| *queue == Some(0.0)), "{:?}", held.lock());
    setting.all_found(&report, &stores).await?;
    setting.nothing_forbidden()
}
