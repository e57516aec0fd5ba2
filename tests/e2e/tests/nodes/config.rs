//! Configurations that are wrong: one that the collector's own check refuses, one that only fails
//! when it runs. Neither costs a replica.

use crate::setting::{PATIENCE, STORES, Setting};
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use weir_e2e::manifests::{gateway, merge};

/// Uids of the replicas that are ready.
fn ready(setting: &Setting) -> BTreeSet<String> {
    let seen = setting.observer.now();
    let pods = seen.pods_of("edge").filter(|pod| weir_e2e::observer::is_ready(pod));
    pods.filter_map(|pod| pod.metadata.uid.clone()).collect()
}

fn with_config(base: &Value, config: Value) -> Value {
    let mut object = base.clone();
    merge(&mut object, json!({ "spec": { "engine": { "otelCollector": { "config": config } } } }));
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_refused_or_crashes_never_costs_a_replica() -> Result<()> {
    let Some(setting) = Setting::new("config").await? else { return Ok(()) };
    setting.quick_rule(2)?;
    let mut good = gateway("edge", STORES, "rule", 4);
    merge(&mut good, json!({ "spec": { "replicas": { "min": 2 } } }));
    setting.apply(&good)?;
    setting.settled("edge", 2).await?;
    setting.condition("edge", "ConfigAccepted", "True", "AsExpected").await?;
    setting.condition("edge", "ConfigConfirmed", "True", "AsExpected").await?;
    // Proven by half a minute of service.
    let proven = setting
        .until("the configuration counts as good", PATIENCE, |seen| {
            seen.deployments.get("edge-collector")?.metadata.annotations.as_ref()?.get("weir.dev/last-good-config").cloned()
        })
        .await?;
    let before = ready(&setting);

    let refused = with_config(&good, json!({ "processors": { "batch": { "timeot": "1s" } } }));
    setting.apply(&refused)?;
    let message = setting.condition("edge", "ConfigAccepted", "False", "ConfigRejected").await?;
    println!("ConfigRejected: {message}");
    assert!(message.contains("timeot"), "{message}");
    setting.more_decisions(6.0)?;
    assert_eq!(ready(&setting), before, "replicas must go on as they were\n{}", setting.story());

    // Two receivers on one port: `validate` does not listen, so it can't know.
    setting.apply(&good)?;
    setting.condition("edge", "ConfigAccepted", "True", "AsExpected").await?;
    let crashes = with_config(
        &good,
        json!({
            "receivers": { "otlp/2": { "protocols": { "http": { "endpoint": "0.0.0.0:4318" } } } },
            "service": { "pipelines": { "logs/in": { "receivers": ["otlp", "otlp/2"] } } },
        }),
    );
    setting.apply(&crashes)?;
    let message = setting.condition("edge", "ConfigConfirmed", "False", "RolledBack").await?;
    println!("RolledBack: {message}");
    setting
        .until("the last good configuration runs on all replicas", PATIENCE, |seen| {
            let deployment = seen.deployments.get("edge-collector")?;
            let template = deployment.spec.as_ref()?.template.metadata.as_ref()?.annotations.as_ref()?.get("weir.dev/config-hash")?;
            (*template == proven).then_some(())
        })
        .await?;
    setting.settled("edge", 2).await?;

    // The user mends it.
    let mended = with_config(&good, json!({ "processors": { "batch": { "timeout": "300ms" } } }));
    setting.apply(&mended)?;
    setting.condition("edge", "ConfigAccepted", "True", "AsExpected").await?;
    setting.condition("edge", "ConfigConfirmed", "True", "AsExpected").await?;
    setting.settled("edge", 2).await?;
    setting.nothing_forbidden()
}
