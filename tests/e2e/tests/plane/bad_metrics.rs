//! The table of bad metrics: what five pods answer instead of a good exposition, and what the
//! LogProcessor must say then. Touches nothing; called by `metrics.rs`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_e2e::exposer::{Counter, Exposition, Says, answer};

const TEXT: &str = "Content-Type: text/plain; version=0.0.4\r\n";

/// The metrics of a pod: what it was offered, and the memory that it uses.
pub(crate) fn body(offered: &str, stamp: &str) -> String {
    format!("# TYPE demo_records counter\ndemo_records_total{{transport=\"grpc\"}} {offered}{stamp}\ndemo_memory_bytes 100000000{stamp}\n")
}

/// Good metrics.
pub(crate) fn good(counter: &Arc<Counter>) -> Says {
    let counter = counter.clone();
    metrics(move || body(&counter.value().to_string(), ""))
}

fn metrics(body: impl Fn() -> String + Send + Sync + 'static) -> Says {
    Says::Metrics(Arc::new(body) as Exposition)
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// All pods.
    All,
    /// One of five.
    One,
}

/// What must come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    /// `MetricsReady` is False with this reason, its message holds these words (`a|b`: one of the two),
    /// and the replicas stay.
    Held(&'static str, &'static [&'static str]),
    /// It does no harm: the replicas stay.
    Harmless,
}

/// One kind of bad metrics.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) whom: Whom,
    pub(crate) then: Then,
    /// What a pod with this counter answers; `None`: only its counter begins anew.
    pub(crate) says: Option<fn(&Arc<Counter>) -> Says>,
}

fn raw(bytes: Vec<u8>) -> Says {
    Says::Bytes(bytes.into())
}

fn half(counter: &Arc<Counter>) -> Says {
    let whole = answer("200 OK", TEXT, body(&counter.value().to_string(), "").as_bytes());
    raw(whole[..whole.len() - 40].to_vec())
}

fn cut_chunks(counter: &Arc<Counter>) -> Says {
    let body = body(&counter.value().to_string(), "");
    raw(format!("HTTP/1.1 200 OK\r\n{TEXT}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len()).into_bytes())
}

fn endless(_: &Arc<Counter>) -> Says {
    Says::Endless(format!("HTTP/1.1 200 OK\r\n{TEXT}\r\n").into_bytes().into(), b"noise 1\n".repeat(8192).into())
}

fn dripping(counter: &Arc<Counter>) -> Says {
    let counter = counter.clone();
    Says::Late(Duration::from_secs(10), Arc::new(move || body(&counter.value().to_string(), "")))
}

fn bomb(_: &Arc<Counter>) -> Says {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let part = b"noise 1\n".repeat(128 << 10);
    // 64 MB.
    (0..64).for_each(|_| encoder.write_all(&part).unwrap());
    raw(answer("200 OK", &format!("{TEXT}Content-Encoding: gzip\r\n"), &encoder.finish().unwrap()))
}

fn skewed(counter: &Arc<Counter>, seconds: i64) -> Says {
    let counter = counter.clone();
    metrics(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = i64::try_from(now.as_millis()).unwrap_or(0) + seconds * 1000;
        body(&counter.value().to_string(), &format!(" {stamp}"))
    })
}

fn no_load(_: &Arc<Counter>) -> Says {
    metrics(|| "demo_memory_bytes 100000000\n".to_owned())
}

/// Every kind of bad metrics.
pub(crate) fn faults() -> Vec<Fault> {
    let fault = |name, whom, then, says| Fault { name, whom, then, says: Some(says) };
    let unreachable = |words| Then::Held("MetricsUnreachable", words);
    vec![
        fault("connection refused", Whom::All, unreachable(&["5 of 5", "ConnectionRefused", "nothing listens on port"]), |_| Says::Gone),
        fault("500", Whom::All, unreachable(&["5 of 5", "BadStatus", "500"]), |_| raw(answer("500 Internal Server Error", TEXT, b"out of memory\n"))),
        fault("401", Whom::All, unreachable(&["5 of 5", "Unauthorized", "401"]), |_| raw(answer("401 Unauthorized", TEXT, b""))),
        fault("a web page", Whom::All, unreachable(&["5 of 5", "NotMetrics", "text/html"]), |_| {
            raw(answer("200 OK", "Content-Type: text/html\r\n", b"<html>Sign in</html>"))
        }),
        fault("a web page that claims to be text", Whom::All, unreachable(&["5 of 5", "Malformed", "web page"]), |_| {
            raw(answer("200 OK", TEXT, b"<html>Sign in</html>\n"))
        }),
        fault("half a body", Whom::All, unreachable(&["5 of 5", "BodyIncomplete", "broke off"]), half),
        fault("chunks that stop", Whom::All, unreachable(&["5 of 5", "BodyIncomplete", "broke off"]), cut_chunks),
        fault("a body without end", Whom::All, unreachable(&["5 of 5", "BodyTooLarge|Timeout", "larger than 8388608 bytes|within 200 ms"]), endless),
        fault("an answer after 10 s", Whom::All, unreachable(&["5 of 5", "Timeout", "within 200 ms"]), dripping),
        fault("no answer", Whom::All, unreachable(&["5 of 5", "Timeout", "within 200 ms"]), |_| Says::Silence),
        fault("a huge line", Whom::All, unreachable(&["5 of 5", "Malformed", "longer than the limit of 65536 bytes"]), |_| {
            metrics(|| format!("demo_records_total{{a=\"{}\"}} 1\n", "x".repeat(1 << 20)))
        }),
        fault("a gzip bomb", Whom::All, unreachable(&["5 of 5", "BodyTooLarge|Timeout", "larger than 8388608 bytes|within 200 ms"]), bomb),
        fault("nothing but NaN", Whom::All, Then::Held("MetricsInvalid", &["5 of 5", "NotANumber"]), |_| {
            metrics(|| body("NaN", "").replace("100000000", "NaN"))
        }),
        fault("the load is NaN", Whom::All, Then::Held("MetricsInvalid|SeriesMissing|MetricsMissing", &["offered|5 of 5"]), |_| metrics(|| body("NaN", ""))),
        fault("the load is negative", Whom::All, Then::Held("MetricsInvalid|SeriesMissing|MetricsMissing", &["offered|5 of 5"]), |_| {
            metrics(|| body("-5", ""))
        }),
        fault("the load is not told", Whom::All, Then::Held("SeriesMissing|MetricsMissing", &["offered"]), no_load),
        fault("other metrics", Whom::All, Then::Held("MetricsMissing", &["5 of 5", "NoWantedMetric"]), |_| metrics(|| "up 1\n".to_owned())),
        fault("a clock an hour ahead", Whom::All, Then::Held("MetricsStale", &["5 of 5", "clock|timestamp"]), |counter| skewed(counter, 3600)),
        fault("a clock an hour behind", Whom::All, Then::Held("MetricsStale", &["5 of 5", "clock|timestamp"]), |counter| skewed(counter, -3600)),
        fault("timestamps that are right", Whom::All, Then::Harmless, |counter| skewed(counter, 0)),
        Fault { name: "all counters begin anew", whom: Whom::All, then: Then::Harmless, says: None },
        Fault { name: "one of five counters begins anew", whom: Whom::One, then: Then::Harmless, says: None },
        fault(
            "one of five refuses",
            Whom::One,
            Then::Held("MetricsPartial|MetricsUnreachable", &["1 of 5", "ConnectionRefused", "nothing listens on port"]),
            |_| Says::Gone,
        ),
        fault("one of five is silent", Whom::One, Then::Held("MetricsPartial|MetricsUnreachable", &["1 of 5", "Timeout"]), |_| Says::Silence),
        fault("the load of one of five is NaN", Whom::One, Then::Held("MetricsPartial|MetricsInvalid", &["1 of 5", "NotANumber"]), |_| {
            metrics(|| body("NaN", ""))
        }),
        fault("the load of one of five is not told", Whom::One, Then::Held("MetricsPartial|MetricsMissing", &["1 of 5|4 of 5|offered"]), no_load),
        fault("the clock of one of five is an hour ahead", Whom::One, Then::Held("MetricsPartial|MetricsStale", &["1 of 5", "clock|timestamp"]), |counter| {
            skewed(counter, 3600)
        }),
    ]
}
