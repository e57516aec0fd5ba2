//! VictoriaLogs: the same program is a storage node and, with the addresses of others, the query endpoint
//! over them (its documentation, "Cluster"). Touches nothing.

use super::{StoreEngine, Vitals};
use crate::build::pod::{extend, list, restricted};
use crate::build::revision::to_json;
use crate::build::routing::PARTITION;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
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

    fn weigh_query(&self, window: Duration) -> (&'static str, String) {
        // The partition is a field of the stream: one value for each block, which costs next to nothing to read.
        ("/select/logsql/query", format!("_time:{}s | stats by (\"{PARTITION}\") sum_len(*) as bytes", window.as_secs()))
    }

    fn weigh(&self, answer: &[u8], bytes: &mut [f64]) -> Result<(), String> {
        for line in answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: BTreeMap<String, String> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            // Records that came in by another way than a routing table have no partition.
            let Some(partition) = row.get(PARTITION).and_then(|partition| partition.parse::<usize>().ok()) else { continue };
            let stored = row.get("bytes").and_then(|stored| stored.parse::<f64>().ok());
            match (bytes.get_mut(partition), stored) {
                (Some(sum), Some(stored)) => *sum += stored,
                (None, _) => return Err(format!("partition {partition} is beyond the {} that there are", bytes.len())),
                (_, None) => return Err(format!("no bytes for partition {partition}")),
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_its_partitions_is_added_up_and_nonsense_is_refused() {
        let engine = VictoriaLogs::new(&log_storage::VictoriaLogs::default());
        let mut bytes = vec![1.0, 0.0];
        engine
            .weigh(
                b"{\"weir.partition\":\"1\",\"bytes\":\"300\"}\n{\"weir.partition\":\"\",\"bytes\":\"7\"}\n\n{\"weir.partition\":\"0\",\"bytes\":\"40\"}\n",
                &mut bytes,
            )
            .unwrap();
        assert_eq!(bytes, [41.0, 300.0]);
        for (answer, words) in [
            (&b"{\"weir.partition\":\"2\",\"bytes\":\"1\"}"[..], "beyond the 2"),
            (b"{\"weir.partition\":\"1\"}", "no bytes for partition 1"),
            (b"<html>", "expected value"),
        ] {
            let refused = engine.weigh(answer, &mut bytes).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
        let (path, query) = engine.weigh_query(Duration::from_secs(60));
        assert_eq!((path, query.as_str()), ("/select/logsql/query", "_time:60s | stats by (\"weir.partition\") sum_len(*) as bytes"));
    }
}
