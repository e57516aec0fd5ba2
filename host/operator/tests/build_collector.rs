//! What Weir makes of configurations, judged by a real collector: it accepts them, says in its own
//! metrics what it runs, and is held by the agent until its queue is empty.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use axum::Router;
use axum::routing::post;
use rstest::rstest;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;
use support::{DEADLINE, Running, check, exchange, free_port, mount, post_logs};
use tempfile::TempDir;
use tokio::net::TcpListener;
use weir_cluster::eventually;
use weir_crds::LogProcessor;
use weir_operator::build::{Routing, Valid, validate};

mod support;

fn valid(collector: Value) -> Valid {
    let processor: LogProcessor = serde_json::from_value(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "LogProcessor",
        "metadata": { "namespace": "team", "name": "logs", "uid": "1" },
        "spec": { "engine": { "otelCollector": collector }, "replicas": { "max": 3 } },
    }))
    .unwrap();
    validate(&processor, Routing::Nowhere).unwrap()
}

fn gateway() -> Value {
    json!({
        "receivers": { "otlp": { "protocols": { "grpc": null, "http": null } } },
        "processors": { "memory_limiter": { "check_interval": "1s", "limit_mib": 400 }, "batch": {} },
        "exporters": { "otlphttp": { "endpoint": "http://store:9428/insert/opentelemetry", "sending_queue": { "sizer": "items", "queue_size": 100_000 } } },
        "service": { "pipelines": { "logs": { "receivers": ["otlp"], "processors": ["memory_limiter", "batch"], "exporters": ["otlphttp"] } } },
    })
}

fn routing() -> Value {
    json!({
        "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": "${env:POD_IP:-0.0.0.0}:4317", "keepalive": { "server_parameters": { "max_connection_age": "2m" } } } } } },
        "processors": { "transform": { "log_statements": [{ "context": "resource", "statements": [
            "set(attributes[\"weir.partition\"], FNV(attributes[\"service.name\"]) - (FNV(attributes[\"service.name\"]) / 16) * 16)",
            "set(attributes[\"date\"], \"2001-01-01\")",
        ] }] } },
        "connectors": { "routing": { "default_pipelines": ["logs/a"], "table": [
            { "context": "resource", "condition": "attributes[\"weir.partition\"] >= 8", "pipelines": ["logs/b"] },
        ] } },
        "exporters": { "otlp/a": { "endpoint": "a:4317", "tls": { "insecure": true } }, "otlphttp/b": { "endpoint": "http://b", "headers": { "X-Scope-OrgID": "1_000" } } },
        "service": { "pipelines": {
            "logs/in": { "receivers": ["otlp"], "processors": ["transform"], "exporters": ["routing"] },
            "logs/a": { "receivers": ["routing"], "exporters": ["otlp/a"] },
            "logs/b": { "receivers": ["routing"], "exporters": ["otlphttp/b"] },
        } },
    })
}

fn own_telemetry() -> Value {
    let mut config = gateway();
    config["extensions"] = json!({ "health_check": null });
    config["service"]["extensions"] = json!(["health_check"]);
    config["service"]["telemetry"] = json!({
        "logs": { "level": "warn", "encoding": "json" },
        "resource": { "team": "a" },
        "metrics": { "level": "normal", "readers": [
            { "pull": { "exporter": { "prometheus": { "host": "0.0.0.0", "port": 9999 } } } },
        ] },
    });
    config
}

#[rstest]
#[case::a_gateway(gateway())]
#[case::routing_by_hash(routing())]
#[case::telemetry_of_its_own(own_telemetry())]
fn a_collector_accepts_what_weir_made_of_its_configuration(#[case] config: Value) {
    let folder = TempDir::new().unwrap();
    let valid = valid(json!({ "image": "i", "config": config }));
    assert_eq!(check(&mount(folder.path(), valid.revision().unwrap())), Ok(()));
}

#[test]
fn a_collector_refuses_what_it_would_have_refused_anyway_and_says_why() {
    let folder = TempDir::new().unwrap();
    let mut config = gateway();
    config["exporters"]["otlphttp"]["sending_queue"]["no_such_setting"] = json!(1);
    let valid = valid(json!({ "image": "i", "config": config }));
    let why = check(&mount(folder.path(), valid.revision().unwrap())).unwrap_err();
    assert!(why.contains("no_such_setting"), "{why}");
}

async fn metrics(port: u16) -> Option<String> {
    exchange(port, "GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await
}

async fn send_a_record(port: u16) -> Option<String> {
    post_logs(port, &json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [{ "body": { "stringValue": "hello" } }] }] }] })).await
}

#[tokio::test]
async fn a_collector_is_held_by_its_agent_until_its_queue_is_empty_and_says_what_it_runs() {
    let folder = TempDir::new().unwrap();
    let queue = folder.path().join("queue");
    std::fs::create_dir(&queue).unwrap();
    let (receiver, own, store) = (free_port(), free_port(), free_port());
    let valid = valid(json!({
        "image": "i", "metricsPort": own,
        "config": {
            "receivers": { "otlp": { "protocols": { "http": { "endpoint": format!("127.0.0.1:{receiver}") } } } },
            "exporters": { "otlphttp": {
                "endpoint": format!("http://127.0.0.1:{store}"),
                "retry_on_failure": { "initial_interval": "200ms", "max_interval": "500ms", "max_elapsed_time": "0s" },
                "sending_queue": { "storage": "file_storage" },
            } },
            "extensions": { "file_storage": { "directory": queue } },
            "service": {
                "extensions": ["file_storage"],
                "pipelines": { "logs": { "receivers": ["otlp"], "exporters": ["otlphttp"] } },
            },
        },
    }));
    let revision = valid.revision().unwrap();
    let _collector = Running::collector(&mount(folder.path(), revision), &folder.path().join("log"));

    eventually("a record is taken", DEADLINE, async || Ok(send_a_record(receiver).await.filter(|answer| answer.starts_with("HTTP/1.1 200")))).await.unwrap();
    let seen = eventually("the record waits in the queue", DEADLINE, async || {
        Ok(metrics(own).await.filter(|body| body.lines().any(|line| line.starts_with("otelcol_exporter_queue_size{") && line.ends_with(" 1"))))
    })
    .await
    .unwrap();
    assert!(seen.contains(&format!("weir_config_hash=\"{}\"", revision.hash())), "{seen}");
    assert!(seen.contains("otelcol_exporter_queue_batch_send_size_sum"), "{seen}");
    assert!(seen.contains("\notelcol_receiver_accepted_log_records{"), "{seen}");
    assert!(!seen.contains("http_server_request"), "{seen}");

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let agent = listener.local_addr().unwrap().port();
    tokio::spawn(weir_agent::server::serve(
        listener,
        weir_agent::Options {
            port: agent,
            metrics_hosts: vec!["127.0.0.1".into()],
            metrics_port: own,
            grace_seconds: 60,
            patience_seconds: 60,
            quiet_seconds: 2,
            reload: None,
        },
    ));
    let began = std::time::Instant::now();
    let drain = tokio::spawn(async move { exchange(agent, "GET /drain HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await });
    // Longer than an empty collector would be held.
    eventually("the drain has had time to end", DEADLINE, async || Ok((began.elapsed() > Duration::from_secs(4)).then_some(()))).await.unwrap();
    assert!(!drain.is_finished());

    let store = TcpListener::bind((Ipv4Addr::LOCALHOST, store)).await.unwrap();
    tokio::spawn(async move { axum::serve(store, Router::new().route("/v1/logs", post(|| async { "" }))).await });
    let answer = tokio::time::timeout(DEADLINE, drain).await.unwrap().unwrap().unwrap();
    assert!(answer.contains("\"Drained\""), "{answer}");
}
