//! Scrapes against real servers on this machine, most of which lie.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Server, response};
use rstest::rstest;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use weir_intake::*;

const TEXT: &str = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
const BODY: &[u8] = b"otelcol_process_uptime 12\notelcol_receiver_accepted_log_records{receiver=\"otlp\"} 345\n";

struct Scrape {
    clients: HttpClients,
    scraper: Scraper,
    profile: Profile,
    options: ScrapeOptions,
    readings: Readings,
}

impl Scrape {
    fn new() -> Self {
        Self {
            clients: HttpClients::new(),
            scraper: Scraper::new(Instant::now()),
            profile: Profile::otel_collector(&OtelOptions::default(), &[]).unwrap(),
            options: ScrapeOptions { timeout_ms: 30_000, ..ScrapeOptions::default() },
            readings: Readings::new(),
        }
    }

    async fn at(&mut self, host: &str, port: u16) -> Result<usize, ScrapeError> {
        self.options.port = port;
        let target = ScrapeTarget::new(&self.clients, host, &Arc::new(self.options.clone()))?;
        self.scraper.scrape(&target, &self.profile, &mut self.readings).await.map(|()| self.readings.len())
    }

    async fn of(&mut self, server: &Server) -> Result<usize, ScrapeError> {
        self.at(&server.addr.ip().to_string(), server.addr.port()).await
    }
}

async fn scraped(answer: impl Into<Vec<u8>>) -> Result<usize, ScrapeError> {
    Scrape::new().of(&Server::fixed(answer).await).await
}

#[tokio::test]
async fn a_body_is_read_over_one_kept_connection() {
    let server = Server::fixed(response("200 OK", TEXT, BODY)).await;
    let mut scrape = Scrape::new();
    for _ in 0..5 {
        assert_eq!(scrape.of(&server).await, Ok(2));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(scrape.readings.body_bytes(), BODY.len());
}

#[tokio::test]
async fn an_ipv6_pod_is_scraped() {
    let server = Server::raw_at("[::1]:0", |mut stream, _| async move { stream.write_all(&response("200 OK", TEXT, BODY)).await.unwrap() }).await;
    assert_eq!(Scrape::new().of(&server).await, Ok(2));
}

#[tokio::test]
async fn path_query_token_and_accept_are_sent() {
    let server = Server::raw(|mut stream, head| async move {
        let lower = head.to_ascii_lowercase();
        let all = head.starts_with("GET /custom/metrics?format=prometheus HTTP/1.1\r\n")
            && lower.contains("authorization: bearer s3cret\r\n")
            && lower.contains("accept: application/openmetrics-text;version=1.0.0")
            && lower.contains("accept-encoding: identity\r\n");
        stream.write_all(&response(if all { "200 OK" } else { "400 Bad Request" }, TEXT, BODY)).await.unwrap();
    })
    .await;
    let mut scrape = Scrape::new();
    scrape.options.path = "custom/metrics?format=prometheus".into();
    scrape.options.auth = Auth::Bearer("s3cret\n".into());
    assert_eq!(scrape.of(&server).await, Ok(2));
    assert!(!format!("{:?}", scrape.options).contains("s3cret"));
}

#[tokio::test]
async fn nobody_listening_is_said_with_what_to_check() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Scrape::new().at("127.0.0.1", port).await.unwrap_err();
    assert_eq!((error.reason(), error.clone()), ("ConnectionRefused", ScrapeError::Refused(port)));
}

#[tokio::test]
async fn a_name_without_an_address_is_a_dns_error() {
    let error = Scrape::new().at("no-such-pod.invalid", 80).await.unwrap_err();
    assert_eq!(error.reason(), "DnsFailed", "{error}");
}

#[rstest]
#[case("500 Internal Server Error", "BadStatus")]
#[case("404 Not Found", "BadStatus")]
#[case("204 No Content", "BadStatus")]
#[case("401 Unauthorized", "Unauthorized")]
#[case("403 Forbidden", "Unauthorized")]
#[tokio::test]
async fn another_status_than_200_is_an_error(#[case] status: &str, #[case] reason: &str) {
    let body: &[u8] = if status.starts_with("204") { b"" } else { BODY };
    assert_eq!(scraped(response(status, TEXT, body)).await.unwrap_err().reason(), reason);
}

#[rstest]
#[case("Content-Type: text/html; charset=utf-8\r\n", b"<html>".as_slice(), "NotMetrics")]
#[case("Content-Type: application/json\r\n", b"{}", "NotMetrics")]
#[case("", b"<!DOCTYPE html>\n", "Malformed")]
#[case("Content-Type: text/plain\r\n", b"hello world and all\n", "Malformed")]
#[tokio::test]
async fn a_page_that_is_no_metrics_is_told_apart(#[case] kind: &str, #[case] body: &[u8], #[case] reason: &str) {
    // `hello world` looks like a sample of a metric that nobody wants, so the wanted one is broken
    let body = if reason == "Malformed" && !body.starts_with(b"<") { b"otelcol_process_uptime much\n" } else { body };
    let error = scraped(response("200 OK", kind, body)).await.unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
}

#[tokio::test]
async fn half_a_body_is_never_a_reading() {
    // the length promises more
    let lying = Server::raw(|mut stream, _| async move {
        let whole = response("200 OK", TEXT, BODY);
        stream.write_all(&whole[..whole.len() - 30]).await.unwrap();
    })
    .await;
    assert_eq!(Scrape::new().of(&lying).await.unwrap_err().reason(), "BodyIncomplete");
    // no length at all: the connection's end is the body's, and the last line has no end
    let open = Server::raw(|mut stream, _| async move {
        let whole = format!("HTTP/1.1 200 OK\r\n{TEXT}\r\n{}", std::str::from_utf8(BODY).unwrap());
        stream.write_all(&whole.as_bytes()[..whole.len() - 3]).await.unwrap();
    })
    .await;
    assert_eq!(Scrape::new().of(&open).await.unwrap_err().reason(), "BodyIncomplete");
    // chunks that stop
    let chunks = Server::raw(|mut stream, _| async move {
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n5\r\nup 1\n\r\n").as_bytes()).await.unwrap();
    })
    .await;
    assert_eq!(Scrape::new().of(&chunks).await.unwrap_err().reason(), "BodyIncomplete");
    // OpenMetrics without its end
    let kind = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert_eq!(scraped(response("200 OK", kind, BODY)).await.unwrap_err().reason(), "BodyIncomplete");
    assert_eq!(scraped(response("200 OK", kind, b"otelcol_process_uptime 1\n# EOF\n")).await, Ok(1));
}

#[tokio::test]
async fn a_body_without_end_stops_at_the_limit() {
    let server = Server::raw(|mut stream, _| async move {
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{TEXT}\r\n").as_bytes()).await.unwrap();
        while stream.write_all(&b"noise 1\n".repeat(1_000)).await.is_ok() {}
    })
    .await;
    let mut scrape = Scrape::new();
    assert_eq!(scrape.of(&server).await.unwrap_err(), ScrapeError::TooLarge(8 << 20));
}

#[tokio::test]
async fn a_length_above_the_limit_is_refused_before_the_body() {
    let head = format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 99999999999\r\n\r\n");
    assert_eq!(scraped(head).await.unwrap_err().reason(), "BodyTooLarge");
}

/// The deadline passes by the runtime's clock, not by waiting: with nothing else to do it jumps ahead.
#[rstest]
#[case::silent("")]
#[case::silent_after_the_head("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")]
#[case::silent_within_the_body("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nup 1\n")]
#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answering_is_a_timeout(#[case] said: &'static str) {
    let server = Server::raw(move |mut stream, _| async move {
        stream.write_all(said.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(Scrape::new().of(&server).await.unwrap_err(), ScrapeError::Timeout(30_000));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_drips_bytes_does_not_outlive_the_deadline() {
    let server = Server::raw(|mut stream, _| async move {
        stream.write_all(format!("HTTP/1.1 200 OK\r\n{TEXT}\r\n").as_bytes()).await.unwrap();
        loop {
            if stream.write_all(b"noise 1\n").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(7)).await; // on the paused clock
        }
    })
    .await;
    assert_eq!(Scrape::new().of(&server).await.unwrap_err().reason(), "Timeout");
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn gzip_is_read_and_a_bomb_is_stopped_at_the_limit_of_what_comes_out() {
    let headers = format!("{TEXT}Content-Encoding: gzip\r\n");
    assert_eq!(scraped(response("200 OK", &headers, &gzip(BODY))).await, Ok(2));
    let bomb = gzip(&b"noise 1\n".repeat(8 << 20));
    assert!(bomb.len() < 1 << 20, "64 MiB in {} bytes", bomb.len());
    assert_eq!(scraped(response("200 OK", &headers, &bomb)).await.unwrap_err(), ScrapeError::TooLarge(8 << 20));
    let cut = &gzip(&[BODY, &b"noise 1.2345\n".repeat(1_000)].concat())[..60];
    assert_eq!(scraped(response("200 OK", &headers, cut)).await.unwrap_err().reason(), "BodyIncomplete");
    assert_eq!(scraped(response("200 OK", &headers, b"no gzip at all")).await.unwrap_err().reason(), "BodyIncomplete");
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_same_server_and_refused_to_another_and_in_circles() {
    let other = Server::fixed(response("200 OK", TEXT, BODY)).await;
    let away = format!("Location: http://{}/metrics\r\n", other.addr);
    assert_eq!(scraped(response("302 Found", &away, b"")).await.unwrap_err().reason(), "Redirected");
    assert_eq!(other.connections.load(Ordering::SeqCst), 0);
    let here = Server::raw(|mut stream, head| async move {
        let moved = response("301 Moved Permanently", "Location: /v2/metrics\r\nConnection: close\r\n", b"");
        let answer = if head.starts_with("GET /v2/") { response("200 OK", TEXT, BODY) } else { moved };
        stream.write_all(&answer).await.unwrap();
    })
    .await;
    assert_eq!(Scrape::new().of(&here).await, Ok(2));
    assert_eq!(scraped(response("302 Found", "Location: /metrics\r\n", b"")).await.unwrap_err().reason(), "Redirected");
}

#[tokio::test]
async fn a_server_that_speaks_no_http_is_no_connection() {
    let error = scraped("SSH-2.0-OpenSSH_9.2\r\n").await.unwrap_err();
    assert_eq!(error.reason(), "ConnectFailed", "{error}");
}

#[rstest]
#[case("a/b")]
#[case("user@pod")]
#[case("")]
#[case("pod:99")]
#[tokio::test]
async fn what_is_no_host_is_refused(#[case] host: &str) {
    assert_eq!(Scrape::new().at(host, 80).await.unwrap_err().reason(), "BadAddress", "{host}");
}

struct Tls {
    _plain: Server,
    addr: std::net::SocketAddr,
    ca: Vec<u8>,
    task: tokio::task::JoinHandle<()>,
}

/// A TLS front before a plain server.
async fn tls() -> Tls {
    let server = Server::fixed(response("200 OK", TEXT, BODY)).await;
    let plain = server.addr;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut outer) = acceptor.accept(stream).await else { return };
                let mut inner = tokio::net::TcpStream::connect(plain).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
            });
        }
    });
    Tls { ca: made.cert.pem().into_bytes(), _plain: server, addr, task }
}

#[tokio::test]
async fn tls_is_checked_against_the_given_authority_unless_told_not_to() {
    let tls = tls().await;
    let mut scrape = Scrape::new();
    scrape.options.scheme = Scheme::Https;
    scrape.options.tls.ca_pem = Some(tls.ca.clone());
    assert_eq!(scrape.at("127.0.0.1", tls.addr.port()).await, Ok(2));
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    scrape.options.tls.ca_pem = Some(stranger.cert.pem().into_bytes());
    assert_eq!(scrape.at("127.0.0.1", tls.addr.port()).await.unwrap_err().reason(), "TlsFailed");
    scrape.options.tls = TlsOptions { insecure_skip_verify: true, ..TlsOptions::default() };
    assert_eq!(scrape.at("127.0.0.1", tls.addr.port()).await, Ok(2));
    scrape.options.tls = TlsOptions { ca_pem: Some(b"no certificate".to_vec()), insecure_skip_verify: false };
    assert_eq!(scrape.at("127.0.0.1", tls.addr.port()).await.unwrap_err().reason(), "TlsFailed");
    tls.task.abort();
}

#[tokio::test]
async fn plain_text_where_tls_is_expected_is_a_tls_error() {
    let server = Server::raw(|mut stream, _| async move { stream.write_all(&response("200 OK", TEXT, BODY)).await.unwrap() }).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let mut scrape = Scrape::new();
    scrape.options.scheme = Scheme::Https;
    scrape.options.tls.insecure_skip_verify = true;
    assert_eq!(scrape.at("127.0.0.1", port).await.unwrap_err().reason(), "TlsFailed");
    task.abort();
    drop(server);
}

/// The whole way: five pods, one of which stops answering.
#[tokio::test]
async fn one_pod_of_five_that_falls_silent_holds_the_object() {
    let server = Server::fixed(response("200 OK", TEXT, BODY)).await;
    let mut scrape = Scrape::new();
    let profile = Arc::new(scrape.profile.clone());
    let mut intake = Intake::new(profile, IntakeOptions::default()).unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut verdicts = Vec::new();
    for tick in 0..3 {
        let mut answers = Vec::new();
        for pod in 0..5 {
            let dead = tick == 2 && pod == 3;
            let result = scrape.at("127.0.0.1", if dead { closed } else { server.addr.port() }).await;
            answers.push((std::mem::take(&mut scrape.readings), result));
        }
        let mono = answers.iter().map(|(readings, _)| readings.received()).max().unwrap();
        let names: Vec<String> = (0..5).map(|pod| format!("pod-{pod}")).collect();
        let pods: Vec<PodReport<'_>> = names
            .iter()
            .zip(&answers)
            .map(|(pod, (readings, result))| {
                let outcome = match result {
                    Ok(_) => PodOutcome::Scraped(readings),
                    Err(error) => PodOutcome::Failed(error),
                };
                PodReport { pod, incarnation: 1, ready_since: weir_core::ids::UnixMs(0), outcome }
            })
            .collect();
        let now = weir_core::ids::UnixMs(1_000_000 + tick * 1_000);
        verdicts.push(intake.observe(&Observation { now, mono, pods: &pods, queries: &[] }).clone());
    }
    assert!(!verdicts[0].is_ready() && verdicts[1].is_ready());
    let MetricsHealth::NotReady { reason, sentence } = &verdicts[2] else { panic!("not held") };
    assert_eq!(*reason, NotReadyReason::MetricsPartial);
    assert!(sentence.contains("1 of 5") && sentence.contains("ConnectionRefused (pod-3)"), "{sentence}");
}
