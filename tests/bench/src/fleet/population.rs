//! The objects: thousands of LogProcessors, and, where the controllers of Kubernetes would take half
//! an hour for them, their pods and the statuses of their Deployments. Touches the API server.

use super::stand_in::{self, StandIn};
use super::watch::Watch;
use crate::report::progress;
use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::future::Future;
use std::time::{Duration, Instant};
use weir_crds::LogProcessor;

/// Requests under way at once.
const IN_FLIGHT: usize = 50;
/// Longest time for one request for each object.
const WITHIN: Duration = Duration::from_secs(900);

/// Where an object's load is measured.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A Prometheus, asked that often.
    Prometheus(&'static str),
    /// Its pod, at each interval.
    Pod,
}

/// Name of an object.
pub(super) fn name(object: usize) -> String {
    format!("lp-{object:05}")
}

/// The object that a workload of ours belongs to.
pub(super) fn object_of(workload: &str) -> Option<usize> {
    workload.strip_prefix("lp-")?.strip_suffix("-collector")?.parse().ok()
}

/// Load at which `replicas` are wanted: ten records/s short of what 80 % of them can process.
pub(super) fn load_for(replicas: u32) -> f64 {
    f64::from(replicas) * 80.0 - 10.0
}

/// Params of `threshold`: the newest sample counts alone, so that a spike is answered in full by the
/// first decision that sees it; and only a load near zero scales down.
pub(super) fn params() -> Value {
    json!({ "target": 0.8, "up": 0.801, "down": 0.05, "seconds": 0.1, "downSeconds": 1 })
}

/// `spec.metrics` of an object.
pub(super) fn metrics(object: usize, interval: &str, source: Source, stand_in: &StandIn) -> Value {
    let series = |more: Value| {
        let mut series = json!({ "name": "offered", "unit": "records/s" });
        weir_e2e::manifests::merge(&mut series, more);
        json!([series])
    };
    match source {
        Source::Prometheus(every) => json!({
            "interval": interval, "window": "60s", "scrape": { "enabled": false },
            "prometheus": { "url": stand_in.url, "interval": every },
            "series": series(json!({ "prometheus": { "query": format!("offered_{object}") } })),
        }),
        // A merge patch removes what is null.
        Source::Pod => json!({
            "interval": interval, "window": "60s", "scrape": { "enabled": true, "port": stand_in.pods },
            "prometheus": null,
            "series": series(json!({ "scrape": { "metric": "offered_records", "kind": "Gauge" } })),
        }),
    }
}

fn log_processor(object: usize, metrics: Value) -> Value {
    let container = json!({ "name": "main", "image": "weir.local/busybox:test", "imagePullPolicy": "Never", "args": ["-c", "sleep 100000"] });
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": name(object) },
        "spec": {
            "engine": { "template": { "spec": { "containers": [container] } } },
            "replicas": { "min": 1, "max": 1000 },
            "capacityPerReplica": { "recordsPerSecond": 100, "learn": false },
            "metrics": metrics,
            "scaling": { "policyRef": { "name": "rule" } },
        },
    })
}

/// Does something for each object, some of them at a time, within a deadline.
async fn each<F>(what: &str, objects: usize, work: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    let (begun, mut done) = (Instant::now(), 0_usize);
    let mut all = futures::stream::iter((0..objects).map(work)).buffer_unordered(IN_FLIGHT);
    while all.try_next().await.with_context(|| format!("{what}, after {done} of {objects}"))?.is_some() {
        done += 1;
        if done.is_multiple_of(1000) {
            progress(&format!("{what}: {done} of {objects}, {:.0} s", begun.elapsed().as_secs_f64()));
        }
        if begun.elapsed() > WITHIN {
            bail!("{what}: only {done} of {objects} were done within {} s", WITHIN.as_secs());
        }
    }
    Ok(())
}

fn log_processors(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<LogProcessor>(&()))
}

/// Creates all objects.
pub(super) async fn create(client: &Client, namespace: &str, objects: usize, metrics: impl Fn(usize) -> Value) -> Result<()> {
    let api = log_processors(client, namespace);
    each("creating LogProcessors", objects, |object| {
        let (api, manifest) = (api.clone(), log_processor(object, metrics(object)));
        async move {
            api.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
            Ok(())
        }
    })
    .await
}

/// Has all objects measured in another way.
pub(super) async fn measure_by(client: &Client, namespace: &str, objects: usize, metrics: impl Fn(usize) -> Value) -> Result<()> {
    let api = log_processors(client, namespace);
    each("changing spec.metrics", objects, |object| {
        let (api, patch) = (api.clone(), json!({ "spec": { "metrics": metrics(object) } }));
        async move {
            api.patch(&name(object), &PatchParams::default(), &Patch::Merge(&patch)).await?;
            Ok(())
        }
    })
    .await
}

/// Plays the Deployment controller and the kubelet once for each object: one pod that is ready, and
/// a Deployment that says so.
pub(super) async fn play(client: &Client, namespace: &str, objects: usize, watch: &Watch) -> Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let begun = Instant::now();
    while watch.known() < objects {
        if begun.elapsed() > WITHIN {
            bail!("the operator has made only {} of {objects} Deployments within {} s", watch.known(), WITHIN.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    progress(&format!("the operator made {objects} Deployments {:.0} s after the last LogProcessor", begun.elapsed().as_secs_f64()));
    let first = deployments.get(&format!("{}-collector", name(0))).await?;
    let template = serde_json::to_value(first.spec.context("a Deployment without a spec")?.template)?;
    let now = jiff::Timestamp::now().strftime("%FT%TZ").to_string();
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    each("playing pods", objects, |object| {
        let (pods, deployments, template, now) = (&pods, &deployments, &template, &now);
        async move {
            let pod = format!("{}-collector-0", name(object));
            pods.create(&PostParams::default(), &serde_json::from_value(pod_of(template, object, &pod)?)?).await?;
            let status = json!({ "status": ready_status(now, &stand_in::address(object).to_string()) });
            pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(&status)).await?;
            let counts = json!({ "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1 });
            let mut status = json!({ "status": { "observedGeneration": watch.generation(object) } });
            weir_e2e::manifests::merge(&mut status, json!({ "status": counts }));
            deployments.patch_status(&format!("{}-collector", name(object)), &PatchParams::default(), &Patch::Merge(&status)).await?;
            Ok(())
        }
    })
    .await
}

/// The pod that a ReplicaSet would make of the template of object 0, for another object.
fn pod_of(template: &Value, object: usize, pod: &str) -> Result<Value> {
    let mut manifest: Value = serde_json::from_str(&template.to_string().replace(&name(0), &name(object)))?;
    // kwok leaves pods alone that have this annotation: their status is written here.
    let metadata = json!({ "name": pod, "annotations": { "test.weir.dev/not-ready": "played" } });
    weir_e2e::manifests::merge(&mut manifest, json!({ "metadata": metadata, "spec": { "nodeName": "fake-1" } }));
    Ok(manifest)
}

fn ready_status(now: &str, address: &str) -> Value {
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": now });
    json!({
        "phase": "Running", "startTime": now, "podIP": address, "podIPs": [{ "ip": address }],
        "conditions": [condition("PodScheduled"), condition("Initialized"), condition("ContainersReady"), condition("Ready")],
        "containerStatuses": [{
            "name": "main", "image": "weir.local/busybox:test", "imageID": "", "ready": true, "started": true, "restartCount": 0,
            "state": { "running": { "startedAt": now } },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_are_told_apart_by_their_names() {
        assert_eq!(object_of(&format!("{}-collector", name(4711))), Some(4711));
        assert_eq!(object_of("weir"), None);
    }

    #[test]
    fn each_load_asks_for_one_replica_more_than_the_one_before() {
        use weir_policy::policy::call;
        for replicas in 1..300 {
            let input = |desired: u32, load: f64| weir_policy::testing::input().capacity(100.0).replicas(desired).series("offered", &[load; 60]).build();
            let params = params().to_string();
            let wanted = |desired, load| call::<threshold::Policy>(&input(desired, load), &params, &[]).unwrap().replicas;
            assert_eq!(wanted(replicas, load_for(replicas + 1)), replicas + 1);
            assert_eq!(wanted(replicas, load_for(replicas)), replicas);
        }
    }
}
