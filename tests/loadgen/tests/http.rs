//! OTLP over HTTP, the control endpoint, and the checker, against small servers in-process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
mod support;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{Answer, Collector, config, run_until, wait};
use weir_loadgen::{Checker, Protocol, RangeSet, Report, Sender, control};

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_refused_batches_are_retried_and_headers_are_sent() {
    let requests = Arc::new(AtomicU64::new(0));
    let take = |State(n): State<Arc<AtomicU64>>, headers: HeaderMap, body: axum::body::Bytes| async move {
        assert_eq!(headers["vl-stream-fields"], "service.name");
        assert_eq!(headers["content-type"], "application/x-protobuf");
        assert!(!body.is_empty());
        match n.fetch_add(1, Ordering::SeqCst) % 5 {
            0 => StatusCode::SERVICE_UNAVAILABLE,
            1 => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::OK,
        }
    };
    let router = Router::new().route("/v1/logs", post(take)).with_state(requests);
    let address = serve(router).await;
    let collector = Collector::start(|_| Answer::Take).await;
    let mut config = config(&collector);
    config.endpoints = vec![format!("http://{address}").parse().unwrap()];
    config.protocol = Protocol::Http;
    config.headers = vec![("VL-Stream-Fields".into(), "service.name".into())];
    let report = run_until(config, |r| r.records.acked > 500).await;
    assert!(report.all_acked());
    assert!(report.failures["503"] > 0 && report.failures["429"] > 0);
    assert!(report.connections_opened <= 16, "4 connections with 4 requests each, kept alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_watched_steered_and_stopped_over_its_control_endpoint() {
    let collector = Collector::start(|_| Answer::Take).await;
    let handle = Sender::start(config(&collector)).unwrap();
    let base = format!("http://{}", serve(control::router(handle.clone())).await);
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let rate = |body: &'static str| {
        let request = client.post(format!("{base}/rate")).body(body);
        async move { request.header("content-type", "application/json").send().await.unwrap().status() }
    };
    assert_eq!(rate(r#"{"records_per_second": 8000}"#).await, 204);
    assert_eq!(rate(r#"{"records_per_second": -1}"#).await, 422);
    assert_eq!(rate(r#"{"profile": "nonsense"}"#).await, 422);
    wait(&handle, |r| r.records.acked > 500).await;
    let status: Report = client.get(format!("{base}/status")).send().await.unwrap().json().await.unwrap();
    assert!(status.records.acked > 500 && status.target_records_per_second == 8000.0);
    let metrics = client.get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    for name in [
        "weir_loadgen_offered_records_total ",
        "weir_loadgen_acked_records_total ",
        "weir_loadgen_pending_batches ",
        "weir_loadgen_ack_latency_seconds_bucket{",
    ] {
        assert!(metrics.contains(name), "{name} not in {metrics}");
    }
    let report: Report = client.post(format!("{base}/stop")).send().await.unwrap().json().await.unwrap();
    assert!(report.all_acked());
    assert_eq!(report, handle.snapshot());
}

/// Which records a pretended VictoriaLogs holds: numbers of svc-00, in order of arrival.
type Held = Arc<Mutex<Vec<u64>>>;

/// Answers the two questions of the checker, as VictoriaLogs words its answers.
async fn victorialogs(held: Held) -> String {
    let answer = |State(held): State<Held>, Query(q): Query<HashMap<String, String>>| async move {
        let held = held.lock().unwrap().clone();
        let query = &q["query"];
        assert!(query.starts_with("run:=\"test\""), "{query}");
        if query.contains("| fields seq") {
            let (from, until) = query.split_once("range[").unwrap().1.split_once(')').unwrap().0.split_once(", ").unwrap();
            let range = from.parse::<u64>().unwrap()..until.parse().unwrap();
            held.iter().filter(|n| range.contains(n)).map(|n| format!("{{\"seq\":\"{n}\"}}\n")).collect::<String>()
        } else {
            let mut buckets: HashMap<u64, Vec<u64>> = HashMap::new();
            for n in held {
                buckets.entry(n / 10 * 10).or_default().push(n);
            }
            let row = |(start, mut numbers): (u64, Vec<u64>)| {
                let records = numbers.len();
                numbers.sort_unstable();
                numbers.dedup();
                let distinct = numbers.len();
                format!("{{\"service.name\":\"svc-00\",\"seq\":\"{start}\",\"records\":\"{records}\",\"distinct\":\"{distinct}\"}}\n")
            };
            buckets.into_iter().map(row).collect()
        }
    };
    let router = Router::new().route("/select/logsql/query", get(answer)).with_state(held);
    format!("http://{}", serve(router).await)
}

async fn expecting(acked: RangeSet) -> Report {
    let collector = Collector::start(|_| Answer::Take).await;
    let mut config = config(&collector);
    config.streams = 1;
    config.profile = "0".parse().unwrap();
    let mut report = Sender::start(config).unwrap().stop().await;
    report.streams[0].numbered = 100;
    report.streams[0].acked = acked;
    report
}

fn checker(urls: &[String]) -> Checker {
    Checker { bucket: 10, quiet: Duration::from_millis(300), poll: Duration::from_millis(20), ..Checker::new(urls, "test") }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_unites_nodes_and_tells_missing_from_duplicated() {
    let one = victorialogs(Arc::new(Mutex::new((0..35).chain(90..95).collect()))).await;
    let two = victorialogs(Arc::new(Mutex::new((30..87).chain(3..5).collect()))).await;
    let report = expecting(RangeSet::from(0..90)).await;
    let verdict = checker(&[one, two]).check(&report).await.unwrap();
    let stream = &verdict.streams[0];
    assert!(!verdict.complete());
    assert_eq!((verdict.records, verdict.distinct), (99, 92));
    assert_eq!((verdict.missing, verdict.duplicates), (3, 7));
    assert_eq!(stream.missing_ranges, RangeSet::from(87..90));
    assert_eq!(verdict.found_unacknowledged, 5);
    assert!(verdict.to_string().contains("missing of svc-00: 87–89"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_waits_for_records_that_become_visible_late() {
    let held: Held = Arc::new(Mutex::new((0..50).collect()));
    let node = victorialogs(held.clone()).await;
    let report = expecting(RangeSet::from(0..100)).await;
    let mut patient = checker(&[node]);
    patient.quiet = Duration::from_secs(60);
    let checking = tokio::spawn(async move { patient.check(&report).await.unwrap() });
    tokio::task::yield_now().await;
    held.lock().unwrap().extend(50..100);
    let verdict = checking.await.unwrap();
    assert!(verdict.complete());
    assert_eq!((verdict.distinct, verdict.duplicates), (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_named_and_its_records_are_missing() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("http://{}", reserved.local_addr().unwrap());
    drop(reserved);
    let one = victorialogs(Arc::new(Mutex::new((0..40).collect()))).await;
    let report = expecting(RangeSet::from(0..80)).await;
    let verdict = checker(&[one, dead.clone()]).check(&report).await.unwrap();
    assert_eq!(verdict.missing, 40);
    assert!(verdict.nodes[1].error.is_some() && verdict.nodes[0].error.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_another_run_is_refused() {
    let report = expecting(RangeSet::new()).await;
    let other = Checker::new(&["http://127.0.0.1:1".to_owned()], "other");
    assert!(other.check(&report).await.is_err());
}
