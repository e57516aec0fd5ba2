//! The rights of `deploy/kustomize` are enough, for every engine, from creation to deletion.

use crate::setting::{PATIENCE, STORES, Setting};
use anyhow::Result;
use serde_json::json;
use weir_cluster::wait_until;
use weir_e2e::manifests::{gateway, merge};

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_needs_no_right_that_it_does_not_have() -> Result<()> {
    let Some(setting) = Setting::new("rights").await? else { return Ok(()) };
    setting.quick_rule(2)?;
    let pod = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "main", "image": "weir.local/busybox:test", "imagePullPolicy": "Never", "args": ["-c", "sleep 100000"] }] },
    });
    let spec = json!({ "replicas": 1, "serviceName": "web", "selector": { "matchLabels": { "app": "web" } }, "template": pod });
    setting.apply(&json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "web" }, "spec": spec }))?;
    setting.apply(&json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": "adopted" },
        "spec": { "engine": { "targetRef": { "kind": "StatefulSet", "name": "web" } }, "replicas": { "min": 1, "max": 3, "pin": 2 }, "metrics": { "scrape": { "enabled": false } } },
    }))?;
    let mut owned = gateway("edge", STORES, "rule", 3);
    merge(&mut owned, json!({ "spec": { "replicas": { "pin": 2 } } }));
    setting.apply(&owned)?;
    setting.settled("edge", 2).await?;
    wait_until("the adopted workload has two replicas", PATIENCE, || {
        let found = setting.kubectl().json(["get", "statefulset", "web"])?;
        Ok((found.pointer("/spec/replicas") == Some(&json!(2))).then_some(()))
    })?;
    let events = setting.kubectl().run(["get", "events.events.k8s.io", "-o", "wide"])?;
    println!("{events}");
    setting.kubectl().run(["delete", "lp", "--all", "--timeout=60s"])?;
    wait_until("everything that Weir owned is gone", PATIENCE, || {
        let left = setting.kubectl().run(["get", "deploy,service,pdb,job,configmap", "-l", "app.kubernetes.io/managed-by=weir", "-o", "name"])?;
        anyhow::ensure!(left.trim().is_empty(), "{left}");
        Ok(Some(()))
    })?;
    setting.nothing_forbidden()
}
