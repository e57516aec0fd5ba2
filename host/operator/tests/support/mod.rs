//! What tests with real processes share: a collector that ends with its test, and plain HTTP.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weir_cluster::{Part, cache};
use weir_operator::build::Revision;

/// How long things may take on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The collector.
pub(crate) fn otelcol() -> PathBuf {
    cache::program(Part::Otelcol).unwrap()
}

/// Writes a revision's configuration as its ConfigMap would be mounted.
pub(crate) fn mount(folder: &Path, revision: &Revision) -> PathBuf {
    let path = folder.join("config.yaml");
    std::fs::write(&path, revision.yaml()).unwrap();
    path
}

/// The collector's own check of a configuration.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let output = Command::new(otelcol()).arg("validate").arg(format!("--config={}", path.display())).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A process that ends with the test.
pub(crate) struct Running(Child);

impl Running {
    /// Starts a collector that logs to a file.
    pub(crate) fn collector(config: &Path, log: &Path) -> Self {
        Self::start(&otelcol(), &[format!("--config={}", config.display())], log)
    }

    /// Starts a program that logs to a file.
    pub(crate) fn start(program: &Path, args: &[String], log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        Self(Command::new(program).args(args).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// One HTTP exchange; status line, headers and body, or nothing when nobody answers.
pub(crate) async fn exchange(port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// The body of a page, in one piece.
pub(crate) async fn get(port: u16, path: &str) -> Option<String> {
    let answer = exchange(port, &format!("GET {path} HTTP/1.0\r\nHost: pod\r\n\r\n")).await?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.0 200").then(|| body.to_owned())
}

/// Posts JSON to a collector's receiver.
pub(crate) async fn post_logs(port: u16, body: &serde_json::Value) -> Option<String> {
    let body = body.to_string();
    let request =
        format!("POST /v1/logs HTTP/1.1\r\nHost: pod\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    exchange(port, &request).await
}
