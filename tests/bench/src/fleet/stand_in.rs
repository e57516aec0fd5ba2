//! Where the objects' load comes from: a Prometheus that answers the query `offered_17` with the load
//! of object 17, and pods that expose the same number among a collector's other metrics. Both remember
//! when each object was first asked about, so that one knows when all of them have been measured.
//! Touches the loopback network; runs on a thread of its own.
//!
//! A server this plain costs a fifth of one made with a framework, and what it costs is taken from
//! the same two cores that the operator runs on.

use anyhow::{Context as _, Result};
use rand::RngExt as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Largest request that is read.
const MOST: usize = 16 << 10;

struct Shared {
    start: Instant,
    /// Bits of the load in records/s.
    level: AtomicU64,
    /// Bits of the share by which each answer differs from it at most.
    wavers: AtomicU64,
    asked: AtomicU64,
    /// When each object was asked about first, in microseconds since `start`; 0: not yet.
    first: Vec<AtomicU64>,
    seen: AtomicUsize,
    /// When the last one of them was.
    complete: AtomicU64,
    others: String,
}

/// The server. Ends with its handle.
pub(super) struct StandIn {
    /// URL of the Prometheus.
    pub(super) url: String,
    /// Port of the pods' metrics, on every address that [`address`] gives.
    pub(super) pods: u16,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl StandIn {
    /// Starts it for that many objects.
    pub(super) fn start(objects: usize, level: f64) -> Result<Self> {
        let listen = |address: Ipv4Addr| -> Result<std::net::TcpListener> {
            let listener = std::net::TcpListener::bind((address, 0)).context("no port is free")?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        // Pods have addresses of their own, and Linux can listen on one of them or on all.
        let (server, pods) = (listen(Ipv4Addr::LOCALHOST)?, listen(Ipv4Addr::UNSPECIFIED)?);
        let (url, port) = (format!("http://{}", server.local_addr()?), pods.local_addr()?.port());
        let shared = Arc::new(Shared {
            start: Instant::now(),
            level: AtomicU64::new(level.to_bits()),
            wavers: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            first: (0..objects).map(|_| AtomicU64::new(0)).collect(),
            seen: AtomicUsize::new(0),
            complete: AtomicU64::new(0),
            others: other_metrics(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let served = shared.clone();
        std::thread::Builder::new().name("stand-in".to_owned()).spawn(move || {
            runtime.block_on(async {
                for listener in [server, pods] {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => drop(tokio::spawn(accept(listener, served.clone()))),
                        Err(error) => eprintln!("weir-bench: the stand-in can't listen: {error}"),
                    }
                }
                let _ = stopped.await;
            });
        })?;
        Ok(Self { url, pods: port, shared, stop: Some(stop) })
    }

    /// Every object is offered this load from now on.
    pub(super) fn say(&self, level: f64) {
        self.shared.level.store(level.to_bits(), Ordering::SeqCst);
    }

    /// Each answer differs from the load by up to this share, up or down.
    pub(super) fn waver(&self, share: f64) {
        self.shared.wavers.store(share.to_bits(), Ordering::SeqCst);
    }

    /// Questions so far.
    pub(super) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Forgets who was asked about.
    pub(super) fn forget(&self) {
        for first in &self.shared.first {
            first.store(0, Ordering::SeqCst);
        }
        self.shared.complete.store(0, Ordering::SeqCst);
        self.shared.seen.store(0, Ordering::SeqCst);
    }

    /// How many objects were asked about.
    pub(super) fn seen(&self) -> usize {
        self.shared.seen.load(Ordering::SeqCst)
    }

    /// When the last object was asked about for the first time; `None` while one is missing.
    pub(super) fn complete(&self) -> Option<Instant> {
        let at = self.shared.complete.load(Ordering::SeqCst);
        (at > 0).then(|| self.shared.start + Duration::from_micros(at))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}

/// Address of an object's pod, one of its own within 127.0.0.0/8 for up to 65,025 objects.
pub(super) fn address(object: usize) -> Ipv4Addr {
    let part = |number: usize| u8::try_from(number % 255).unwrap_or(0);
    Ipv4Addr::new(127, 1, part(object / 255), part(object).saturating_add(1))
}

/// The object of an address.
fn object(address: IpAddr) -> Option<usize> {
    match address {
        IpAddr::V4(address) => match address.octets() {
            [127, 1, high, low] => Some(usize::from(high) * 255 + usize::from(low.checked_sub(1)?)),
            _ => None,
        },
        IpAddr::V6(_) => None,
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            // Nobody else's machine.
            Ok((stream, peer)) if peer.ip().is_loopback() => drop(tokio::spawn(serve(stream, shared.clone()))),
            Ok(_) => {}
            Err(error) => {
                eprintln!("weir-bench: the stand-in can't accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let pod = stream.local_addr().ok().map(|address: SocketAddr| address.ip()).and_then(object);
    let (mut buffer, mut answer) = (Vec::with_capacity(2048), Vec::new());
    loop {
        while let Some(length) = whole(&buffer) {
            let request = buffer.get(..length).unwrap_or_default();
            shared.answer(request, pod, &mut answer);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
            buffer.drain(..length);
        }
        if buffer.len() > MOST || !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

/// Length of the first request, when all of it is there.
fn whole(buffer: &[u8]) -> Option<usize> {
    let head = find(buffer, b"\r\n\r\n")? + 4;
    let body = buffer.get(..head)?.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        name.eq_ignore_ascii_case(b"content-length").then(|| number(value.get(1..)?.trim_ascii()))?
    });
    let all = head + body.unwrap_or(0);
    (buffer.len() >= all).then_some(all)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl Shared {
    fn answer(&self, request: &[u8], pod: Option<usize>, answer: &mut Vec<u8>) {
        use std::io::Write as _;
        let load = self.load();
        let (kind, body) = match pod {
            Some(object) => {
                self.was_asked(object);
                ("text/plain; version=0.0.4", format!("# TYPE offered_records gauge\noffered_records {load}\n{}", self.others))
            }
            None => {
                if let Some(object) = asked_object(request) {
                    self.was_asked(object);
                }
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                let result = format!(r#"{{"metric":{{}},"value":[{now},"{load}"]}}"#);
                ("application/json", format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#))
            }
        };
        answer.clear();
        // Writing into memory does not fail.
        let _ = write!(answer, "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    }

    fn load(&self) -> f64 {
        let level = f64::from_bits(self.level.load(Ordering::Relaxed));
        let share = f64::from_bits(self.wavers.load(Ordering::Relaxed));
        if share > 0.0 { level * (1.0 + rand::rng().random_range(-share..=share)) } else { level }
    }

    fn was_asked(&self, object: usize) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Some(first) = self.first.get(object) else { return };
        if first.load(Ordering::Relaxed) != 0 {
            return;
        }
        let now = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
        first.store(now, Ordering::SeqCst);
        if self.seen.fetch_add(1, Ordering::SeqCst) + 1 == self.first.len() {
            self.complete.store(now, Ordering::SeqCst);
        }
    }
}

/// The number behind `query=offered_`.
fn asked_object(request: &[u8]) -> Option<usize> {
    let name = b"query=offered_";
    let rest = request.get(find(request, name)? + name.len()..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    number(rest.get(..digits)?)
}

/// About 4 kB of metrics that nobody asked for, as a collector exposes them.
fn other_metrics() -> String {
    let labels = r#"service_instance_id="0b7c4f9e-51c1-4e4e-9a56-0f2d8f0c6a11",service_name="otelcol",service_version="0.149.0""#;
    let name = "rpc_server_call_duration_seconds";
    let mut text = format!("# HELP {name} Duration of calls.\n# TYPE {name} histogram\n");
    for bound in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "7.5", "10", "25", "50", "75", "100", "250", "500", "+Inf"] {
        text.push_str(&format!(
            "{name}_bucket{{rpc_method=\"Export\",rpc_service=\"opentelemetry.proto.collector.logs.v1.LogsService\",{labels},le=\"{bound}\"}} 11000\n"
        ));
    }
    text.push_str(&format!("{name}_sum{{{labels}}} 12.25\n{name}_count{{{labels}}} 11000\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_has_an_address_and_each_address_its_object() {
        for number in [0, 1, 254, 255, 9_999, 65_024] {
            assert_eq!(object(IpAddr::V4(address(number))), Some(number));
            assert!(address(number).is_loopback());
        }
        assert_eq!(object(IpAddr::V4(Ipv4Addr::LOCALHOST)), None);
    }

    #[test]
    fn a_request_is_answered_when_all_of_it_is_there() {
        let request = b"POST /api/v1/query HTTP/1.1\r\nContent-Length: 27\r\nhost: x\r\n\r\nquery=offered_42&timeout=5s";
        assert_eq!((whole(request), asked_object(request)), (Some(request.len()), Some(42)));
        assert_eq!(whole(&request[..request.len() - 1]), None);
        assert_eq!(whole(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\nGET"), Some(34));
        assert_eq!(whole(b"GET /metrics HTTP/1.1\r\n"), None);
    }
}
