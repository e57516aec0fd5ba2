//! Spans over OTLP, received by a real OpenTelemetry Collector. On a control plane with fake nodes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use anyhow::{Context as _, Result};
use serde_json::json;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use weir_cluster::{Level, Part, TestNamespace, cache, shared, wait_until};
use weir_e2e::{Answer, Operator, Prometheus, apply_crds, processor, wasm_policy};

/// A Collector that writes what it receives to a file; ends when it is dropped.
struct Collector {
    child: Child,
    output: std::path::PathBuf,
    folder: std::path::PathBuf,
}

impl Collector {
    fn start(endpoint: &str) -> Result<Self> {
        cache::ensure(&[Part::Otelcol])?;
        let folder = std::env::temp_dir().join(format!("weir-spans-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let config = folder.join("config.yaml");
        let telemetry = json!({ "metrics": { "level": "none" } });
        let pipelines = json!({ "traces": { "receivers": ["otlp"], "exporters": ["debug"] } });
        let whole = json!({
            "receivers": { "otlp": { "protocols": { "grpc": { "endpoint": endpoint } } } },
            "exporters": { "debug": { "verbosity": "detailed" } },
            "service": { "telemetry": telemetry, "pipelines": pipelines },
        });
        std::fs::write(&config, whole.to_string())?;
        let output = folder.join("output");
        let file = File::create(&output)?;
        let child = Command::new(cache::program(Part::Otelcol)?)
            .arg(format!("--config={}", config.display()))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("the collector can't be started")?;
        Ok(Self { child, output, folder })
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_is_traced_with_its_steps_and_its_decision() -> Result<()> {
    let cluster = shared(Level::ControlPlane)?;
    apply_crds(cluster)?;
    let endpoint = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let collector = Collector::start(&endpoint)?;
    let namespace = TestNamespace::create(cluster, "spans")?;
    let prometheus = Prometheus::start(Answer::Value(150.0)).await?;
    let operator = Operator::start(cluster, namespace.name(), &["--otlp-endpoint", &format!("http://{endpoint}"), "--span-share", "1"])?;
    let rule = wasm_policy("rule", json!({ "builtin": { "name": "threshold" } }), json!({ "seconds": 1, "downSeconds": 2 }));
    namespace.kubectl().apply(&rule.to_string())?;
    namespace.kubectl().apply(&processor("edge", &prometheus.url, "rule", 20).to_string())?;
    let wanted = ["tick", "observe", "decide", "apply", "record"];
    wait_until("the spans of a tick", Duration::from_secs(60), || {
        let said = collector.said();
        let has =
            |name: &&str| said.lines().any(|line| line.trim_start().strip_prefix("Name").is_some_and(|rest| rest.trim_start_matches([' ', ':']) == *name));
        let decided = said.contains("verdict: Str(Steady)") && said.contains(&format!("object: Str({}/edge)", namespace.name()));
        Ok((wanted.iter().all(has) && decided && said.contains("service.name: Str(weir)")).then_some(()))
    })
    .with_context(|| format!("{}\n{}", collector.said().chars().take(8_000).collect::<String>(), operator.log()))
}
