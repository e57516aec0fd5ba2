//! Plain HTTP questions to something that a test runs, and sums over the metrics it answers with.

use anyhow::{Context as _, Result};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Status and body of a GET.
///
/// # Errors
/// Nobody answers within some seconds.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    ask(address, &format!("GET {path} HTTP/1.0\r\nHost: weir\r\n\r\n"), Duration::from_secs(3))
}

/// As [`get`], with less patience.
///
/// # Errors
/// Nobody answers in time.
pub fn get_within(address: SocketAddr, path: &str, patience: Duration) -> Result<(u16, String)> {
    ask(address, &format!("GET {path} HTTP/1.0\r\nHost: weir\r\n\r\n"), patience)
}

/// Status and body of a POST of JSON.
///
/// # Errors
/// Nobody answers within some seconds.
pub fn post(address: SocketAddr, path: &str, body: &serde_json::Value) -> Result<(u16, String)> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.0\r\nHost: weir\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    ask(address, &(head + &body), Duration::from_secs(3))
}

fn ask(address: SocketAddr, request: &str, patience: Duration) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

/// Sum of the samples of a metric whose labels contain `with`; `None` when there is none.
#[must_use]
pub fn sum(exposition: &str, name: &str, with: &str) -> Option<f64> {
    let is_wanted = |line: &&str| {
        let head = line.split(['{', ' ']).next().unwrap_or_default();
        head == name && line.contains(with)
    };
    let mut values = exposition.lines().filter(is_wanted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).peekable();
    values.peek()?;
    Some(values.sum())
}
