//! VictoriaLogs: the same program is a storage node and, with the addresses of others, the query endpoint
//! over them (its documentation, "Cluster"). Touches nothing.

use super::{StoreEngine, Vitals};
use crate::build::pod::{extend, list, restricted};
use crate::build::revision::to_json;
use serde_json::{Value, json};
use weir_crds::log_processor::ImagePullPolicy;
use weir_crds::log_storage;
use weir_intake::{Aggregate, Kind, Profile, Readings, SeriesSpec, Source};

/// Where the volume is mounted.
const DATA: &str = "/storage";

/// Gauges of a node (`app/vlstorage/main.go`): series, metric, how its children are put together.
const GAUGES: [(&str, &str, Aggregate); 3] = [
    ("disk-free", "vl_free_disk_space_bytes", Aggregate::Max),
    ("data", "vl_data_size_bytes", Aggregate::Sum),
    ("read-only", "vl_storage_is_read_only", Aggregate::Max),
];

/// VictoriaLogs as a spec wants it.
#[derive(Debug)]
pub(super) struct VictoriaLogs {
    spec: log_storage::VictoriaLogs,
}

impl VictoriaLogs {
    pub(super) fn new(spec: &log_storage::VictoriaLogs) -> Self {
        Self { spec: spec.clone() }
    }

    fn container(&self, name: &str, args: Vec<String>) -> Value {
        json!({
            "name": name,
            "image": self.spec.image,
            "imagePullPolicy": self.spec.image_pull_policy.map(ImagePullPolicy::as_str),
            "args": args,
            "ports": [{ "name": "http", "containerPort": self.spec.port, "protocol": "TCP" }],
            "readinessProbe": { "httpGet": { "path": "/health", "port": self.spec.port }, "periodSeconds": 2, "failureThreshold": 3 },
            "securityContext": restricted(),
        })
    }
}

impl StoreEngine for VictoriaLogs {
    fn port(&self) -> u16 {
        self.spec.port
    }

    fn metrics_path(&self) -> &'static str {
        "/metrics"
    }

    fn profile(&self) -> Profile {
        let gauges = GAUGES.map(|(name, metric, aggregate)| SeriesSpec {
            name: name.to_owned(),
            unit: "By".to_owned(),
            source: Source::Scrape { metric: metric.to_owned(), labels: Vec::new(), kind: Kind::Gauge, aggregate },
        });
        // Three different names can't be refused; without them nothing would be known, which holds.
        Profile::custom(&gauges).unwrap_or_default()
    }

    fn vitals(&self, profile: &Profile, readings: &Readings) -> Vitals {
        let gauge = |name: &str| readings.gauge(profile, name);
        Vitals { disk_free: gauge("disk-free"), data_bytes: gauge("data"), read_only: gauge("read-only").is_some_and(|value| value > 0.0) }
    }

    fn node(&self, retention: &str, volume: &str) -> Value {
        let own = [format!("-storageDataPath={DATA}"), format!("-httpListenAddr=:{}", self.spec.port), format!("-retentionPeriod={retention}")];
        let mut container = self.container("storage", own.into_iter().chain(self.spec.args.iter().cloned()).collect());
        extend(
            &mut container,
            json!({
                "resources": self.spec.resources.as_ref().map(to_json),
                "volumeMounts": [{ "name": volume, "mountPath": DATA }],
            }),
        );
        container
    }

    fn query(&self, nodes: &[String]) -> Value {
        // What comes in here would be spread without regard to partitions.
        let own = [format!("-httpListenAddr=:{}", self.spec.port), "-insert.disable".to_owned()];
        let mut container = self.container("query", own.into_iter().chain(nodes.iter().map(|node| format!("-storageNode={node}"))).collect());
        extend(&mut container, json!({ "resources": self.spec.query.resources.as_ref().map(to_json) }));
        container
    }

    fn query_replicas(&self) -> u32 {
        self.spec.query.replicas
    }

    fn pod(&self) -> Value {
        json!({
            "imagePullSecrets": list(&self.spec.image_pull_secrets),
            "priorityClassName": self.spec.priority_class_name,
            "nodeSelector": self.spec.node_selector,
            "tolerations": list(&self.spec.tolerations),
            "affinity": self.spec.affinity.as_ref().map(|affinity| affinity.as_json().clone()),
        })
    }
}
