//! Routing tables on a control plane with fake nodes: compiled, checked, given to collectors in place,
//! confirmed replica by replica; a bad one changes nothing, a new map points slots elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_cluster::wait_until;
use weir_core::placement::{Map, Slot};
use weir_e2e::exposer::Says;
use weir_e2e::plane::PATIENCE;
use weir_e2e::{Exposer, Operator, Plane, condition};

const REPLICAS: usize = 2;
/// Collectors read their configuration anew only where an agent tells them to.
const OPTIONS: [&str; 2] = ["--agent-image", "weir.local/weir:test"];

/// A map of four partitions on two slots, the second of which points at `second`.
fn map(version: u64, epoch: u64, second: &str) -> Value {
    let slot = |node: &str, target: &str| Slot { node: node.into(), target: target.into(), endpoint: format!("http://{target}.logs-nodes.test.svc:9428") };
    let map = Map { schema: 1, version, epoch, slots: vec![slot("logs-a-0", "logs-a-0"), slot("logs-b-0", second)], mirrors: vec![vec![0, 1, 0, 1]] };
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "logs-partitions" }, "data": { "map.json": map.to_json().unwrap() } })
}

fn table(name: &str, spec: Value) -> Value {
    json!({ "apiVersion": "weir.dev/v1alpha1", "kind": "RoutingTable", "metadata": { "name": name }, "spec": spec })
}

fn base(rules: Value) -> Value {
    table(
        "base",
        json!({
            "default": "main", "rules": rules,
            "destinations": [{ "name": "main", "storageRef": { "name": "logs" } }, { "name": "none", "drop": {} }, { "name": "gone", "storageRef": { "name": "gone" } }],
        }),
    )
}

/// As [`base`], without the storage that does not exist.
fn good(rules: Value) -> Value {
    let mut table = base(rules);
    table["spec"]["destinations"].as_array_mut().unwrap().pop();
    table
}

fn noise() -> Value {
    json!({ "name": "noise", "destination": "none", "match": { "severity": { "atMost": "Debug" } } })
}

fn edge(metrics_port: u16) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor", "metadata": { "name": "edge" },
        "spec": {
            "routingTableRef": { "name": "base" },
            "engine": { "otelCollector": {
                "image": "weir.local/otelcol:test", "imagePullPolicy": "Never", "metricsPort": metrics_port,
                "queueVolume": { "sizeLimit": "1Gi" },
                "config": {
                    "receivers": { "otlp": { "protocols": { "grpc": {} } } },
                    "service": { "pipelines": { "logs": { "receivers": ["otlp"] } } },
                },
            } },
            "replicas": { "min": REPLICAS, "max": REPLICAS },
            "metrics": { "interval": "250ms", "window": "5s", "staleness": "2s" },
        },
    })
}

struct Setting {
    plane: Plane,
    exposer: Exposer,
    /// What every replica says that it runs.
    runs: Arc<Mutex<String>>,
}

impl Setting {
    async fn new(name: &str) -> Result<Self> {
        let runs = Arc::new(Mutex::new(String::new()));
        let labels = runs.clone();
        let says = Says::Metrics(Arc::new(move || format!("otelcol_process_uptime 100\ntarget_info{{{}}} 1\n", labels.lock())));
        let exposer = Exposer::start(u8::try_from(REPLICAS)?, says).await?;
        Ok(Self { plane: Plane::start(name, &OPTIONS).await?, exposer, runs })
    }

    fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.plane.namespace.kubectl().json(["get", kind, name])
    }

    fn until<T>(&self, what: &str, probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        wait_until(what, PATIENCE, probe).with_context(|| {
            let status = |kind, name| self.get(kind, name).map(|object| object["status"].clone()).unwrap_or_default();
            format!("{:#}\n{:#}\n{}", status("routingtable", "base"), status("logprocessor", "edge"), self.plane.operator.log())
        })
    }

    fn says(&self, kind: &str, name: &str, of: &str, status: &str, reason: &str) -> Result<String> {
        self.until(&format!("{kind} {name} says {of}={status} {reason}"), || {
            let found = condition(&self.get(kind, name)?, of);
            Ok(found.filter(|(is, why, _)| is == status && why == reason).map(|(.., message)| message))
        })
    }

    /// The configuration that the pods have mounted, once it holds a version of the table.
    fn mounted(&self, version: u64) -> Result<String> {
        self.until(&format!("the pods have version {version} mounted"), || {
            let deployment = self.get("deployment", "edge-collector")?;
            let name = deployment.pointer("/spec/template/spec/volumes/0/configMap/name").and_then(Value::as_str).context("a ConfigMap")?;
            let config = self.get("configmap", name)?["data"]["config.yaml"].as_str().context("a configuration")?.to_owned();
            Ok(config.contains(&format!("weir.table.version: \"{version}\"")).then_some(config))
        })
    }

    /// Plays what a collector does that reads its configuration anew.
    fn reload(&self, config: &str) {
        let label = |name: &str| {
            let line = config.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}: ")));
            format!("{}=\"{}\"", name.replace('.', "_"), line.unwrap_or_default().trim_matches('"'))
        };
        *self.runs.lock() = ["weir.config.hash", "weir.table.version", "weir.table.hash"].map(label).join(",");
    }

    async fn place_all(&self) -> Result<BTreeSet<String>> {
        let pods = self.until("all pods are ready", || {
            let pods: Vec<String> =
                self.plane.observer.now().pods_of("edge").filter(|pod| weir_e2e::observer::is_ready(pod)).filter_map(|pod| pod.metadata.name.clone()).collect();
            Ok((pods.len() == REPLICAS).then_some(pods))
        })?;
        for (at, pod) in pods.iter().enumerate() {
            self.plane.place(pod, &self.exposer.address(at)?).await?;
        }
        Ok(pods.into_iter().collect())
    }

    fn pods(&self) -> BTreeSet<String> {
        self.plane.observer.now().pods_of("edge").filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    /// Confirms a version and checks what status says of it.
    fn confirmed(&self, version: u64) -> Result<Value> {
        let config = self.mounted(version)?;
        self.reload(&config);
        let message = self.says("routingtable", "base", "Confirmed", "True", "AsExpected")?;
        assert!(message.starts_with(&format!("all {REPLICAS} replicas confirm version {version} ")), "{message}");
        let status = self.get("routingtable", "base")?["status"].clone();
        assert_eq!((&status["applied"]["version"], &status["summary"]["confirmed"]), (&json!(version), &json!(format!("{REPLICAS}/{REPLICAS}"))));
        assert!(
            config.contains(&format!("weir.table.hash: {}", status["applied"]["hash"].as_str().unwrap()))
                || config.contains(&format!("weir.table.hash: {}", status["applied"]["hash"])),
            "{config}"
        );
        Ok(status)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_confirmed_by_every_replica_and_what_is_bad_changes_nothing() -> Result<()> {
    let mut setting = Setting::new("table").await?;
    for object in [map(1, 1, "logs-b-0"), good(json!([noise()])), edge(setting.exposer.port())] {
        setting.plane.apply(&object).await?;
    }
    let pods = setting.place_all().await?;
    let first = setting.confirmed(1)?;
    assert_eq!(first["rules"], 1);
    let config = setting.mounted(1)?;
    assert!(config.contains("http://logs-b-0.logs-nodes.test.svc:9428/insert/opentelemetry/v1/logs"), "{config}");
    setting.says("logprocessor", "edge", "ConfigConfirmed", "True", "AsExpected")?;
    setting.says("logprocessor", "edge", "RoutingTableReady", "True", "AsExpected")?;

    // The second node is gone: its slot points at the first one, and keeps its queue.
    setting.plane.apply(&map(2, 2, "logs-a-0")).await?;
    let config = setting.mounted(2)?;
    assert!(!config.contains("logs-b-0.logs-nodes") && config.contains("otlphttp/weir.logs.logs-b-0"), "{config}");
    setting.confirmed(2)?;
    assert_eq!(setting.pods(), pods, "the pods stay");
    setting.until("kubelets are told", || {
        let seen = setting.plane.observer.now();
        let hash = |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.annotations.as_ref()?.get("weir.dev/config-hash").cloned();
        Ok(seen.pods_of("edge").all(|pod| hash(pod).is_some_and(|hash| config.contains(&hash))).then_some(()))
    })?;
    setting.until("one compiled table is kept", || {
        let kept = setting.plane.namespace.kubectl().json(["get", "configmaps", "-l", "weir.dev/routing-table=base"])?;
        Ok((kept["items"].as_array().context("items")?.len() == 1).then_some(()))
    })?;

    // A destination that leads nowhere, then a map that goes back: the table stays.
    setting.plane.apply(&base(json!([noise(), { "name": "lost", "destination": "gone" }]))).await?;
    let message = setting.says("routingtable", "base", "Compiled", "False", "DestinationUnreachable")?;
    println!("{message}");
    assert!(message.contains("LogStorage gone has published no map") && message.contains("version 2"), "{message}");
    setting.plane.apply(&good(json!([noise()]))).await?;
    setting.says("routingtable", "base", "Compiled", "True", "AsExpected")?;
    setting.plane.apply(&map(1, 1, "logs-b-0")).await?;
    println!("{}", setting.says("routingtable", "base", "Compiled", "False", "MapOutOfDate")?);
    assert_eq!(setting.mounted(2)?, config);

    // An operator that starts now goes on with the last good table.
    setting.plane.operator.kill()?;
    setting.plane.operator = Operator::start(setting.plane.cluster, setting.plane.namespace.name(), &OPTIONS)?;
    setting.until("the operator decides", || Ok((setting.plane.count("weir_leader", "")? == 1).then_some(())))?;
    setting.says("routingtable", "base", "Compiled", "False", "MapOutOfDate")?;
    setting.plane.apply(&map(3, 3, "logs-b-0")).await?;
    setting.confirmed(3)?;
    assert!(setting.mounted(3)?.contains("http://logs-b-0."));
    assert_eq!(setting.pods(), pods, "the pods stay");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_before_their_table_the_older_first_and_a_table_may_come_after_its_processor() -> Result<()> {
    let setting = Setting::new("parts").await?;
    setting.plane.apply(&edge(setting.exposer.port())).await?;
    setting.says("logprocessor", "edge", "RoutingTableReady", "False", "RoutingTableNotFound")?;
    setting.says("logprocessor", "edge", "Ready", "False", "RoutingTableNotFound")?;
    setting.plane.apply(&map(1, 1, "logs-b-0")).await?;
    setting.plane.apply(&good(json!([]))).await?;
    setting.place_all().await?;
    setting.confirmed(1)?;

    let shop = json!([{ "name": "shop", "destination": "none", "match": { "resourceAttributes": [{ "key": "service.name", "operator": "In", "values": ["shop"] }] } }]);
    let part = |name: &str| table(name, json!({ "parentRef": { "name": "base" }, "rules": shop, "destinations": [{ "name": "none", "drop": {} }] }));
    setting.plane.apply(&part("zebra")).await?;
    setting.confirmed(2)?;
    setting.says("routingtable", "zebra", "Compiled", "True", "AsExpected")?;
    // The creation time has whole seconds; of the same one, the name would count.
    let born = setting.get("routingtable", "zebra")?["metadata"]["creationTimestamp"].clone();
    let later = setting.until("another second", || {
        setting.plane.namespace.kubectl().apply(&part("ant").to_string())?;
        let ant = setting.get("routingtable", "ant")?;
        if ant["metadata"]["creationTimestamp"] == born {
            setting.plane.namespace.kubectl().run(["delete", "routingtable", "ant"])?;
            return Ok(None);
        }
        Ok(Some(ant))
    })?;
    assert_ne!(later["metadata"]["creationTimestamp"], born);
    let warnings = setting.until("the younger one is told", || {
        let warnings = setting.get("routingtable", "ant")?["status"]["warnings"].clone();
        Ok(warnings.as_array().is_some_and(|all| !all.is_empty()).then_some(warnings))
    })?;
    println!("{warnings}");
    assert!(warnings.to_string().contains("rule shop never matches: rule shop of RoutingTable zebra comes first"), "{warnings}");
    setting.plane.apply(&table("lost", json!({ "parentRef": { "name": "nobody" }, "destinations": [{ "name": "none", "drop": {} }] }))).await?;
    setting.says("routingtable", "lost", "Compiled", "False", "ParentNotFound")?;
    Ok(())
}
