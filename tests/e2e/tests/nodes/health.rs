//! What can be wrong with pods stands in the condition Healthy, with words that help.

use crate::setting::Setting;
use anyhow::Result;
use serde_json::{Value, json};

fn sick(name: &str, container: Value) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": name },
        "spec": {
            "engine": { "template": { "spec": { "terminationGracePeriodSeconds": 1, "containers": [container] } } },
            "replicas": { "min": 1, "max": 1 }, "metrics": { "scrape": { "enabled": false } },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_pods_stands_in_a_condition() -> Result<()> {
    let Some(setting) = Setting::new("health").await? else { return Ok(()) };
    let busybox = "weir.local/busybox:test";
    let sleeps = json!(["-c", "sleep 100000"]);
    let cases = [
        ("image", "ImageError", json!({ "name": "main", "image": "weir.local/nothing:test", "imagePullPolicy": "Never" }), "weir.local/nothing:test"),
        (
            "crash",
            "CrashLoop",
            json!({ "name": "main", "image": busybox, "imagePullPolicy": "Never", "args": ["-c", "echo the disk is full >&2; exit 3"] }),
            "exit code 3",
        ),
        (
            "room",
            "Unschedulable",
            json!({ "name": "main", "image": busybox, "imagePullPolicy": "Never", "args": sleeps, "resources": { "requests": { "cpu": "900" } } }),
            "cpu",
        ),
        (
            "volume",
            "ContainerConfig",
            json!({ "name": "main", "image": busybox, "imagePullPolicy": "Never", "args": sleeps, "envFrom": [{ "configMapRef": { "name": "missing" } }] }),
            "missing",
        ),
    ];
    for (name, _, container, _) in &cases {
        setting.apply(&sick(name, container.clone()))?;
    }
    for (name, reason, _, word) in cases {
        let message = setting.condition(name, "Healthy", "False", reason).await?;
        println!("{name}: {reason}: {message}");
        assert!(message.contains(word), "{message}");
    }
    // A repair is seen too.
    setting.apply(&sick("image", json!({ "name": "main", "image": busybox, "imagePullPolicy": "Never", "args": sleeps })))?;
    setting.condition("image", "Healthy", "True", "AsExpected").await?;
    setting.nothing_forbidden()
}
