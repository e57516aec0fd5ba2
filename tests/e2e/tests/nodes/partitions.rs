//! Records through everything that moves partitions: a storage that grows, a table that sends streams elsewhere,
//! a table that can't be used, a storage node that goes away and comes back. Each record that was acknowledged
//! must be found.

use crate::setting::{PATIENCE, STORES, Setting};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use weir_cluster::wait_until;
use weir_core::placement::Map;
use weir_e2e::condition;
use weir_e2e::manifests::STORE;
use weir_e2e::platform::cluster_ip;

/// Nodes of the storage at most.
const NODES: usize = 3;
/// Label of the Kubernetes nodes on which storage nodes may start.
const PLACE: &str = "weir.test/stores";
/// A table that runs for this long is the last one.
const STEADY: Duration = Duration::from_secs(3);
/// Until a storage node that does not answer counts as lost.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Volumes on this machine's disk, below a folder that every node sees. They are of no namespace, so they are
/// deleted by whoever made them.
struct Volumes<'a> {
    setting: &'a Setting,
    folder: PathBuf,
    names: Vec<String>,
}

impl<'a> Volumes<'a> {
    fn make(setting: &'a Setting) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("weir-volumes-{}", setting.namespace.name()));
        let mut volumes = Self { setting, folder: folder.clone(), names: Vec::new() };
        for node in 0..NODES {
            let (namespace, name) = (setting.namespace.name(), format!("{}-{node}", setting.namespace.name()));
            let path = folder.join(format!("logs-{node}"));
            std::fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
            // The stores don't run as root.
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777))?;
            setting.apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": name },
                "spec": {
                    "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": { "path": path }, "claimRef": { "namespace": namespace, "name": format!("storage-logs-{node}") },
                },
            }))?;
            volumes.names.push(name);
        }
        Ok(volumes)
    }
}

impl Drop for Volumes<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = self.setting.kubectl().run(["delete", "pv", name, "--wait=false"]);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn storage() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogStorage", "metadata": { "name": "logs" },
        "spec": {
            "engine": { "victoriaLogs": {
                "image": "weir.local/victorialogs:test", "imagePullPolicy": "Never", "nodeSelector": { PLACE: "yes" },
                "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
                "query": { "replicas": 1, "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } } },
            } },
            "nodes": { "min": 1, "max": NODES, "pin": 2 },
            "volume": { "size": "1Gi" },
            "placement": {
                "policyRef": { "name": "balanced" },
                "guardrails": { "maxMovesPerStep": 64, "maxMovesPerHour": 1000, "minInterval": "0s" },
            },
            "failover": { "nodeTimeout": format!("{}s", TIMEOUT.as_secs()) },
        },
    })
}

/// A table whose streams all go to the storage, but those that `rules` send elsewhere.
fn table(rules: Value) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "RoutingTable", "metadata": { "name": "base" },
        "spec": {
            "default": "main", "rules": rules,
            "destinations": [
                { "name": "main", "storageRef": { "name": "logs" } },
                { "name": "apart", "otlp": { "endpoint": format!("http://{}:{STORE}/insert/opentelemetry", STORES[0]) } },
            ],
        },
    })
}

fn edge() -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": "edge" },
        "spec": {
            "routingTableRef": { "name": "base" },
            "engine": { "otelCollector": {
                "image": "weir.local/otelcol:test", "imagePullPolicy": "Never",
                "config": {
                    "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": "0.0.0.0:4317" } } } },
                    "service": { "pipelines": { "logs": { "receivers": ["otlp"] } } },
                },
                "queueVolume": { "sizeLimit": "256Mi" },
                "resources": { "requests": { "cpu": "50m", "memory": "64Mi" } },
            } },
            "replicas": { "min": 2, "max": 2 },
            "metrics": { "interval": "1s", "window": "20s", "staleness": "4s" },
        },
    })
}

impl Setting {
    fn told<T>(&self, what: &str, found: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait_until(what, PATIENCE, found).with_context(|| {
            let look = |args: &[&str]| self.kubectl().run(args.iter().copied()).unwrap_or_else(|error| format!("{error:#}\n"));
            format!("{}\n{}\n{}", look(&["get", "lst,rt,pvc", "-o", "wide"]), look(&["get", "lst,rt", "-o", "yaml"]), self.story())
        })
    }

    fn says(&self, kind: &str, name: &str, of: &str, status: &str, reason: &str) -> Result<String> {
        self.told(&format!("{kind} {name} says {of}={status} {reason}"), || {
            let found = condition(&self.kubectl().json(["get", kind, name])?, of);
            Ok(found.filter(|(is, why, _)| is == status && why == reason).map(|(.., message)| message))
        })
    }

    fn map(&self) -> Result<Option<Map>> {
        let Ok(found) = self.kubectl().json(["get", "configmap", "logs-partitions"]) else { return Ok(None) };
        let text = found.pointer("/data/map.json").and_then(Value::as_str);
        text.map(|text| Map::from_json(text).context("the map can't be read")).transpose()
    }

    fn map_when(&self, what: &str, wanted: impl Fn(&[usize], &Map) -> bool) -> Result<Map> {
        self.told(what, || Ok(self.map()?.filter(|map| wanted(&counts(map), map))))
    }

    /// Waits until every replica has run the newest table for a while, because one change may follow another;
    /// its version, and since when.
    fn confirmed(&self, before: u64) -> Result<(u64, Instant)> {
        let mut stretch: Option<(u64, Instant)> = None;
        self.told("every replica runs the newest table", || {
            let table = self.kubectl().json(["get", "rt", "base"])?;
            let number = |path: &str| table.pointer(path).and_then(Value::as_u64);
            let version = number("/status/applied/version").filter(|version| *version > before);
            let current = number("/status/observedGeneration") == number("/metadata/generation");
            let confirmed = condition(&table, "Confirmed").is_some_and(|(is, ..)| is == "True");
            let Some(version) = version.filter(|_| current && confirmed) else {
                stretch = None;
                return Ok(None);
            };
            if stretch.is_none_or(|(known, _)| known != version) {
                stretch = Some((version, Instant::now()));
            }
            Ok(stretch.filter(|(_, since)| since.elapsed() > STEADY))
        })
    }
}

/// Partitions of each slot.
fn counts(map: &Map) -> Vec<usize> {
    let of = |slot: usize| map.mirrors[0].iter().filter(|owner| usize::try_from(**owner) == Ok(slot)).count();
    (0..map.slots.len()).map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_lost_when_partitions_move_and_tables_change() -> Result<()> {
    let Some(setting) = Setting::new("partitions").await? else { return Ok(()) };
    let apart = setting.stores()?;
    let _volumes = Volumes::make(&setting)?;
    setting.kubectl().run(["label", "nodes", "node-1", "node-2", &format!("{PLACE}=yes"), "--overwrite"])?;
    setting.apply(&json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "WasmPolicy", "metadata": { "name": "balanced" },
        "spec": { "kind": "Placement", "source": { "builtin": { "name": "balanced" } } },
    }))?;
    setting.apply(&storage())?;
    setting.apply(&table(json!([])))?;
    setting.apply(&edge())?;
    setting.map_when("two nodes own all partitions", |counts, _| counts.len() == 2 && counts.iter().all(|count| *count <= 33))?;
    setting.says("lst", "logs", "Ready", "True", "AsExpected")?;
    setting.settled("edge", 2).await?;
    let (mut version, _) = setting.confirmed(0)?;
    let mut since;
    let before = setting.observer.now().pods_of("edge").filter_map(|pod| pod.metadata.uid.clone()).collect::<Vec<_>>();
    let sender = setting.send("edge", "partitions", "300")?;

    let begun = Instant::now();
    setting.kubectl().run(["scale", "lst/logs", "--replicas=3"])?;
    let grown = setting.map_when("the third node has its share", |counts, _| counts.get(2).is_some_and(|count| *count > 0))?;
    let moved = begun.elapsed();
    (version, since) = setting.confirmed(version)?;
    println!("scale-out: partitions {:?} after {moved:.1?}, confirmed by both replicas after {:.1?}", counts(&grown), since - begun);

    let begun = Instant::now();
    let rules = json!([{ "name": "some", "destination": "apart", "match": { "resourceAttributes": [
        { "key": "service.name", "operator": "In", "values": ["svc-00", "svc-03", "svc-07"] } ] } }]);
    setting.apply(&table(rules.clone()))?;
    (version, since) = setting.confirmed(version)?;
    println!("another table: confirmed by both replicas after {:.1?}", since - begun);

    let mut broken = table(rules);
    broken["spec"]["destinations"][0]["storageRef"]["name"] = json!("nowhere");
    setting.apply(&broken)?;
    let said = setting.says("rt", "base", "Compiled", "False", "DestinationUnreachable")?;
    assert!(said.contains("nowhere"), "{said}");
    assert_eq!(
        setting.kubectl().json(["get", "rt", "base"])?.pointer("/status/applied/version").and_then(Value::as_u64),
        Some(version),
        "the last good table stays"
    );
    setting.apply(&table(json!([])))?;
    (version, _) = setting.confirmed(version)?;

    // A node that is gone in good order, and for which there is no place.
    let label = |change: &str| setting.kubectl().run(["label", "nodes", "node-1", "node-2", change, "--overwrite"]).map(drop);
    label(&format!("{PLACE}-"))?;
    let begun = Instant::now();
    let gone = setting.kubectl().run(["delete", "pod", "logs-2", "--wait=false"]).and_then(|_| {
        let lost = setting.map_when("its partitions have other owners, and its queue another node", |counts, map| {
            counts.get(2) == Some(&0) && map.slots[2].target != "logs-2"
        })?;
        let moved = begun.elapsed();
        (version, since) = setting.confirmed(version)?;
        println!(
            "loss of a node: partitions {:?} after {moved:.1?} (its timeout is {TIMEOUT:?}), confirmed by both replicas after {:.1?}",
            counts(&lost),
            since - begun
        );
        let said = setting.says("lst", "logs", "Reachable", "False", "RecordsUnreachable")?;
        assert!(said.contains("logs-2"), "{said}");
        Ok(())
    });
    label(&format!("{PLACE}=yes"))?;
    gone?;
    setting.map_when("it is back and has its share", |counts, map| counts[2] > 0 && map.slots[2].target == "logs-2")?;
    setting.says("lst", "logs", "Ready", "True", "AsExpected")?;
    setting.confirmed(version)?;

    let report = sender.stop().await;
    let after = setting.observer.now().pods_of("edge").filter_map(|pod| pod.metadata.uid.clone()).collect::<Vec<_>>();
    assert_eq!(after, before, "tables reach running replicas");
    let query = format!("http://{}:{STORE}", cluster_ip(setting.kubectl(), "logs-query")?);
    setting.all_found(&report, &[vec![query], apart].concat()).await?;
    setting.nothing_forbidden()
}
