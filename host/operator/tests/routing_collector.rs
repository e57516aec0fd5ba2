//! A routing table in a real collector in front of real stores: every record is found exactly once,
//! where the table says, and what waits for a store that is away follows its slot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod support;

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use support::{DEADLINE, Running, check, free_port, get, mount, post_logs};
use tempfile::TempDir;
use weir_cluster::{Part, cache, eventually};
use weir_core::ids::UnixMs;
use weir_core::placement::{Map, Slot};
use weir_core::routing::{Match, Otlp, Protocol, Record, Requirement, RoutingKey, Scope, SeverityRange, Source, Target, Test, Way, Wish, compile};
use weir_crds::LogProcessor;
use weir_operator::build::{Routed, Routing, validate};

const PARTITIONS: u32 = 16;

/// A VictoriaLogs.
struct Store {
    port: u16,
    process: Option<Running>,
}

impl Store {
    async fn start(folder: &Path, name: &str) -> Self {
        let port = free_port();
        let args = [format!("-storageDataPath={}", folder.join(name).display()), format!("-httpListenAddr=127.0.0.1:{port}")];
        let process = Running::start(&cache::program(Part::VictoriaLogs).unwrap(), &args, &folder.join(format!("{name}.log")));
        eventually(format!("store {name} answers"), DEADLINE, async || Ok(get(port, "/health").await)).await.unwrap();
        Self { port, process: Some(process) }
    }

    /// Number and partition of each record in it.
    async fn records(&self) -> Option<Vec<(usize, Option<u32>)>> {
        let body = get(self.port, "/select/logsql/query?query=*&limit=100000").await?;
        let number = |line: &Value, field: &str| line[field].as_str().and_then(|text| text.parse::<u32>().ok());
        body.lines()
            .map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                Some((usize::try_from(number(&line, "seq")?).ok()?, number(&line, "weir.partition")))
            })
            .collect()
    }
}

fn on(scope: Scope, key: &str, test: Test) -> Match {
    Match { requirements: BTreeSet::from([Requirement { scope, key: key.into(), test }]), severity: None }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn map(version: u64, endpoints: [(&str, u16); 2]) -> Map {
    let slots = [("a-0", endpoints[0]), ("b-0", endpoints[1])].map(|(node, (target, port))| Slot {
        node: node.into(),
        target: target.into(),
        endpoint: format!("http://127.0.0.1:{port}"),
    });
    Map { schema: 1, version, epoch: 1, slots: slots.into(), mirrors: vec![(0..PARTITIONS).map(|partition| u32::from(partition % 3 == 0)).collect()] }
}

const ODD: &str = r#"a"b\c ${env:HOME} $x"#;

fn table(version: u64, map: Map, outside: u16, key: RoutingKey) -> Routed {
    let wish = |target| Wish { target: Some(target), sample: None };
    let otlp = Otlp {
        endpoint: format!("http://127.0.0.1:{outside}/insert/opentelemetry"),
        protocol: Protocol::Http,
        ca: None,
        server_name: None,
        insecure_skip_verify: false,
        headers: BTreeMap::new(),
    };
    let way = |name: &str, when, destination: &str| Way { name: name.into(), when, destination: destination.into() };
    let mut both = on(Scope::Resource, "service.name", Test::Prefix(set(&["pay-"])));
    both.requirements.insert(Requirement { scope: Scope::Record, key: "status".into(), test: Test::In(set(&["500"])) });
    let root = Source {
        name: "base".into(),
        created: UnixMs(0),
        destinations: BTreeMap::from([
            ("main".into(), wish(Target::Storage("logs".into()))),
            ("none".into(), wish(Target::Drop)),
            ("outside".into(), wish(Target::Otlp(otlp))),
            ("half".into(), Wish { target: Some(Target::Storage("logs".into())), sample: Some(50) }),
        ]),
        rules: vec![
            way("noise", Match { severity: Some(SeverityRange { min: 1, max: 8 }), ..Match::default() }, "none"),
            way("failed-payments", both, "outside"),
            way("odd", on(Scope::Record, "odd", Test::In(set(&[ODD]))), "outside"),
            way("no-service", on(Scope::Resource, "service.name", Test::DoesNotExist), "outside"),
            way("chatty", on(Scope::Resource, "service.name", Test::In(set(&["chatty"]))), "half"),
            way("others", on(Scope::Record, "status", Test::NotIn(set(&["200", "500"]))), "main"),
        ],
        default: Some("main".into()),
        routing_key: key,
    };
    let outcome = compile(&root, &[], &BTreeMap::from([("logs".to_owned(), Ok(map))]), None);
    assert_eq!(outcome.warnings, []);
    let table = outcome.table.unwrap().table;
    Routed { version, hash: table.digest().unwrap().short(), table }
}

struct Ports {
    receiver: u16,
    own: u16,
}

/// What Weir makes of a LogProcessor with that table.
fn configuration(folder: &Path, ports: &Ports, routed: &Routed) -> std::path::PathBuf {
    let processor: LogProcessor = serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor",
        "metadata": { "namespace": "team", "name": "logs", "uid": "1" },
        "spec": { "replicas": { "max": 3 }, "routingTableRef": { "name": "base" }, "engine": { "otelCollector": {
            "image": "i", "metricsPort": ports.own, "queueVolume": { "sizeLimit": "1Gi", "mountPath": folder.display().to_string() },
            "config": {
                "receivers": { "otlp": { "protocols": { "http": { "endpoint": format!("127.0.0.1:{}", ports.receiver) } } } },
                "service": { "pipelines": { "logs": { "receivers": ["otlp"] } } },
            },
        } } },
    }))
    .unwrap();
    let valid = validate(&processor, Routing::Table(routed)).unwrap();
    let path = mount(folder, valid.revision().unwrap());
    assert_eq!(check(&path), Ok(()));
    path
}

/// Records that meet every rule, and what routing sees of each.
fn records(from: usize, count: usize) -> Vec<Record> {
    let one = |seq: usize| {
        let service = match seq % 23 {
            0 => None,
            1 => Some("chatty".to_owned()),
            2 | 3 => Some(format!("pay-{}", seq % 5)),
            _ => Some(format!("service-{}", seq % 40)),
        };
        let mut attributes = BTreeMap::from([("seq".to_owned(), seq.to_string()), ("status".to_owned(), ["200", "500", "404"][seq % 3].to_owned())]);
        if seq.is_multiple_of(17) {
            attributes.insert("odd".to_owned(), ODD.to_owned());
        }
        if seq.is_multiple_of(11) {
            attributes.remove("status");
        }
        let severity = [None, Some(5), Some(9), Some(17)][seq % 4];
        Record { resource: service.map(|service| ("service.name".to_owned(), service)).into_iter().collect(), attributes, severity }
    };
    (from..from + count).map(one).collect()
}

fn json_of(record: &Record) -> Value {
    let attributes = |all: &BTreeMap<String, String>| -> Value {
        let one = |(key, value): (&String, &String)| match value.parse::<i64>() {
            // Numbers stay numbers: they count in their text form.
            Ok(number) => json!({ "key": key, "value": { "intValue": number.to_string() } }),
            Err(_) => json!({ "key": key, "value": { "stringValue": value } }),
        };
        all.iter().map(one).collect()
    };
    json!({
        "resource": { "attributes": attributes(&record.resource) },
        "scopeLogs": [{ "logRecords": [{
            "timeUnixNano": format!("{}", now_nanos()), "severityNumber": record.severity.unwrap_or(0),
            "body": { "stringValue": format!("record {}", record.attributes["seq"]) }, "attributes": attributes(&record.attributes),
        }] }],
    })
}

fn now_nanos() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}

async fn send(port: u16, records: &[Record]) {
    for batch in records.chunks(50) {
        let body = json!({ "resourceLogs": batch.iter().map(json_of).collect::<Value>() });
        eventually("a request is taken", DEADLINE, async || Ok(post_logs(port, &body).await.filter(|answer| answer.starts_with("HTTP/1.1 200"))))
            .await
            .unwrap();
    }
}

/// Where each record is to be: store 0 or 1 of the storage with its partition, or 2, outside; `None`: nowhere.
fn expected(routed: &Routed, records: &[Record]) -> BTreeMap<usize, (usize, Option<u32>)> {
    let place = |record: &Record| match routed.table.route(record) {
        "base.main" => {
            let partition = routed.table.routing_key.partition(record, PARTITIONS);
            Some((usize::from(partition.is_multiple_of(3)), Some(partition)))
        }
        "base.outside" => Some((2, None)),
        _ => None,
    };
    let seq = |record: &Record| record.attributes["seq"].parse().unwrap();
    records.iter().filter_map(|record| Some((seq(record), place(record)?))).collect()
}

async fn found(stores: &[Store]) -> BTreeMap<usize, Vec<(usize, Option<u32>)>> {
    let mut found: BTreeMap<usize, Vec<(usize, Option<u32>)>> = BTreeMap::new();
    for (at, store) in stores.iter().enumerate().filter(|(_, store)| store.process.is_some()) {
        for (seq, partition) in store.records().await.unwrap_or_default() {
            found.entry(seq).or_default().push((at, partition));
        }
    }
    found
}

/// Waits until all that is expected is there, and says that nothing is there twice or elsewhere.
async fn all_in_place(stores: &[Store], routed: &Routed, records: &[Record]) {
    let wanted = expected(routed, records);
    let there = eventually("all records are found", DEADLINE, async || {
        let found = found(stores).await;
        Ok(wanted.keys().all(|seq| found.contains_key(seq)).then_some(found))
    })
    .await;
    let there = match there {
        Ok(there) => there,
        Err(error) => {
            let found = found(stores).await;
            panic!("{error}: missing {:?}", wanted.iter().filter(|(seq, _)| !found.contains_key(seq)).take(20).collect::<Vec<_>>());
        }
    };
    for (seq, place) in &wanted {
        assert_eq!(there[seq], [*place], "record {seq}");
    }
    // The sampled destination lets about half through, whole or not at all.
    let seq = |record: &Record| record.attributes["seq"].parse::<usize>().unwrap();
    for record in records.iter().filter(|record| routed.table.route(record) == "base.none") {
        assert!(!there.contains_key(&seq(record)), "record {} was dropped", seq(record));
    }
    assert!(there.values().all(|places| places.len() == 1));
}

#[tokio::test]
async fn each_record_is_found_once_where_the_table_says_and_queues_follow_their_slot() {
    let folder = TempDir::new().unwrap();
    let mut stores = Vec::new();
    for name in ["a-0", "b-0", "outside"] {
        stores.push(Store::start(folder.path(), name).await);
    }
    let ports = Ports { receiver: free_port(), own: free_port() };
    let [a, b, outside] = [0, 1, 2].map(|at: usize| stores[at].port);
    let first = table(1, map(1, [("a-0", a), ("b-0", b)]), outside, RoutingKey::default());
    let config = configuration(folder.path(), &ports, &first);
    let _collector = Running::collector(&config, &folder.path().join("collector.log"));
    let agent = weir_agent::Options {
        port: 0,
        metrics_hosts: vec!["127.0.0.1".into()],
        metrics_port: ports.own,
        grace_seconds: 60,
        patience_seconds: 60,
        quiet_seconds: 2,
        reload: Some(config.clone()),
    };
    tokio::spawn(async move { weir_agent::reload::run(&agent, &config).await });
    let sent = records(0, 2_000);
    send(ports.receiver, &sent).await;
    all_in_place(&stores, &first, &sent).await;

    let metrics = get(ports.own, "/metrics").await.unwrap();
    let info = metrics.lines().find(|line| line.starts_with("target_info{")).unwrap();
    assert!(info.contains(&format!("weir_table_hash=\"{}\"", first.hash)) && info.contains("weir_table_version=\"1\""), "{info}");
    let dropped: usize = sent.iter().filter(|record| first.table.route(record) == "base.none").count();
    let counted = metrics.lines().find(|line| line.starts_with("otelcol_processor_filter_logs_filtered") && line.contains("weir.to.base.none"));
    assert!(counted.is_some_and(|line| line.ends_with(&format!(" {dropped}"))), "{dropped}: {counted:?}");
    let chatty = sent.iter().filter(|record| first.table.route(record) == "base.half").count();
    let kept = found(&stores).await.len() - expected(&first, &sent).len();
    assert!(kept * 4 > chatty && kept * 4 < chatty * 3, "{kept} of {chatty}");

    // A node ends; what comes for it waits, and follows its slot to the other one.
    let b_records = stores[1].records().await.unwrap().len();
    drop(stores[1].process.take());
    let later = records(2_000, 1_000);
    send(ports.receiver, &later).await;
    let second = table(2, map(2, [("a-0", a), ("a-0", a)]), outside, RoutingKey::default());
    configuration(folder.path(), &ports, &second);
    let running = async || Ok(get(ports.own, "/metrics").await.filter(|text| text.contains("weir_table_version=\"2\"")));
    eventually("the collector says that it runs version 2", DEADLINE, running).await.unwrap();
    let wanted: BTreeSet<usize> = expected(&second, &later).into_keys().collect();
    eventually("what waited is found", DEADLINE, async || {
        let found = found(&stores).await;
        Ok(wanted.iter().all(|seq| found.get(seq).is_some_and(|places| places.len() == 1)).then_some(()))
    })
    .await
    .unwrap();
    assert!(b_records > 100, "{b_records}");
}

#[tokio::test]
async fn attributes_of_records_can_be_part_of_the_routing_key() {
    let folder = TempDir::new().unwrap();
    let mut stores = Vec::new();
    for name in ["a-0", "b-0", "outside"] {
        stores.push(Store::start(folder.path(), name).await);
    }
    let ports = Ports { receiver: free_port(), own: free_port() };
    let [a, b, outside] = [0, 1, 2].map(|at: usize| stores[at].port);
    let key = RoutingKey { resource: vec!["service.name".into()], record: vec!["status".into()] };
    let routed = table(1, map(1, [("a-0", a), ("b-0", b)]), outside, key);
    let config = configuration(folder.path(), &ports, &routed);
    let _collector = Running::collector(&config, &folder.path().join("collector.log"));
    let sent = records(0, 500);
    send(ports.receiver, &sent).await;
    all_in_place(&stores, &routed, &sent).await;
}
