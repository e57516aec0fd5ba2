//! The agent against something that answers like a collector: when `/drain` answers, and with what.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use axum::Router;
use axum::routing::get;
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use weir_agent::{Options, server};

/// Something that serves the metrics which the test gives it, and counts how often it is asked.
struct Collector {
    port: u16,
    body: watch::Sender<String>,
    asked: watch::Receiver<u32>,
}

async fn collector(body: String) -> Collector {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (body, current) = watch::channel(body);
    let (count, asked) = watch::channel(0);
    let answer = move || {
        count.send_modify(|count| *count += 1);
        let body = current.borrow().clone();
        async move { body }
    };
    let routes = Router::new().route("/metrics", get(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Collector { port, body, asked }
}

async fn agent(metrics_port: u16, grace_seconds: u64) -> u16 {
    let options =
        Options { port: 0, metrics_hosts: vec!["127.0.0.1".into()], metrics_port, grace_seconds, patience_seconds: 20, quiet_seconds: 1, reload: None };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(server::serve(listener, options));
    port
}

/// Asks as the kubelet does; the body of the answer.
async fn ask(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn outcome(port: u16) -> String {
    let answer: Value = serde_json::from_str(&ask(port, "/drain").await).unwrap();
    answer["outcome"].as_str().unwrap().to_owned()
}

fn with_queue(queue: u32) -> String {
    format!("otelcol_exporter_queue_size{{exporter=\"otlp\"}} {queue}\notelcol_receiver_accepted_log_records 7\n")
}

#[tokio::test]
async fn a_collector_with_a_queue_is_held_and_let_go_when_it_is_empty() {
    let mut collector = collector(with_queue(3)).await;
    let port = agent(collector.port, 60).await;
    let drain = tokio::spawn(outcome(port));
    // Four readings without intake would be enough for one with an empty queue.
    collector.asked.wait_for(|asked| *asked >= 5).await.unwrap();
    assert!(!drain.is_finished());
    assert_eq!(ask(port, "/healthz").await, "ok\n");
    collector.body.send_replace(with_queue(0));
    let outcome = tokio::time::timeout(Duration::from_secs(10), drain).await.unwrap().unwrap();
    assert_eq!(outcome, "Drained");
}

#[tokio::test]
async fn a_second_hook_has_no_more_time_than_the_first() {
    let port = agent(collector(with_queue(3)).await.port, 2).await;
    assert_eq!(outcome(port).await, "Deadline");
    let began = Instant::now();
    assert_eq!(outcome(port).await, "Deadline");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_collector_that_has_ended_is_not_waited_for() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
    let port = agent(nobody, 60).await;
    let outcome = tokio::time::timeout(Duration::from_secs(30), outcome(port)).await.unwrap();
    assert_eq!(outcome, "CollectorGone");
}
