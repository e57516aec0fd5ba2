//! `spec.metrics` as a type that the measuring trusts: milliseconds, one source per series. Touches
//! nothing; called by [`super::valid`].

use super::valid::Invalid;
use std::collections::{BTreeMap, BTreeSet};
use weir_crds::log_processor::{Aggregate, Metrics, Prometheus, SampleKind, ScrapeScheme, SeriesSource};
use weir_crds::{BasicAuthRef, Duration, SecretKeyRef, Tls};
use weir_intake::{QueueUnit, SeriesSpec, Source};

/// How pods are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidScrape {
    /// Port of the pods.
    pub port: u16,
    /// Path of the metrics.
    pub path: String,
    /// Protocol.
    pub scheme: ScrapeScheme,
    /// Milliseconds that a pod may take.
    pub timeout_ms: u32,
    /// How certificates are verified.
    pub tls: Option<Tls>,
}

/// How the Prometheus server is told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromAuth {
    /// It is not.
    None,
    /// A token from a Secret.
    Bearer(SecretKeyRef),
    /// User name and password from a Secret.
    Basic(BasicAuthRef),
}

/// A Prometheus server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidPrometheus {
    /// URL up to /api/v1.
    pub url: String,
    /// Milliseconds between two questions.
    pub interval_ms: u32,
    /// Milliseconds that an answer may take.
    pub timeout_ms: u32,
    /// Who asks.
    pub auth: PromAuth,
    /// Headers of each request.
    pub headers: BTreeMap<String, String>,
    /// How certificates are verified.
    pub tls: Option<Tls>,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidMetrics {
    /// Milliseconds between two measurements and decisions.
    pub interval_ms: u32,
    /// Milliseconds that policies see back.
    pub window_ms: u32,
    /// Milliseconds after which the newest sample is too old.
    pub staleness_ms: u32,
    /// Share of replicas that may fail to answer, 0 to 1.
    pub max_missing_share: f64,
    /// How pods are asked; `None`: they are not.
    pub scrape: Option<ValidScrape>,
    /// The server that series can be asked of.
    pub prometheus: Option<ValidPrometheus>,
    /// The user's series.
    pub series: Vec<SeriesSpec>,
    /// Unit of the collectors' queues.
    pub queue_unit: QueueUnit,
}

/// Checks what the schema's rules check too, for a CRD that is older than this program.
/// `engine_port` is where the engine serves metrics, when it is known.
pub(super) fn validate(metrics: &Metrics, engine_port: Option<u16>) -> Result<ValidMetrics, Invalid> {
    let at = |field: &str| format!("spec.metrics.{field}");
    if metrics.interval < Duration::from_millis(250) {
        return Err(Invalid::new(at("interval"), "it must be at least 250ms: write for example 1s"));
    }
    let interval_ms = ms(metrics.interval);
    let window_ms = ms(metrics.window);
    if window_ms < interval_ms.saturating_mul(2) || window_ms > interval_ms.saturating_mul(3600) {
        return Err(Invalid::new(at("window"), "it must hold two to 3600 intervals: change window or interval"));
    }
    if metrics.effective_staleness() < metrics.interval {
        return Err(Invalid::new(at("staleness"), "it must be at least interval, or every sample would be stale before the next one"));
    }
    let series = series(metrics)?;
    let scraped = series.iter().any(|series| matches!(series.source, Source::Scrape { .. }));
    let asked = series.iter().any(|series| matches!(series.source, Source::PromQl { .. }));
    if asked && metrics.prometheus.is_none() {
        return Err(Invalid::new(at("prometheus"), "a series asks a Prometheus server and none is given: set prometheus.url"));
    }
    let scrape = scrape(metrics, engine_port);
    if scraped && scrape.is_none() {
        return Err(Invalid::new(
            at("scrape"),
            "a series is read from the pods and they are not scraped: set scrape.enabled to true and scrape.port to the port on which the pods serve metrics",
        ));
    }
    Ok(ValidMetrics {
        interval_ms,
        window_ms,
        staleness_ms: ms(metrics.effective_staleness()),
        max_missing_share: metrics.max_missing_share.clamp(0.0, 1.0),
        scrape,
        prometheus: metrics.prometheus.as_ref().map(|server| prometheus(server, metrics.interval)).transpose()?,
        series,
        queue_unit: QueueUnit::default(),
    })
}

fn scrape(metrics: &Metrics, engine_port: Option<u16>) -> Option<ValidScrape> {
    let scrape = &metrics.scrape;
    let port = scrape.port.or(engine_port).filter(|_| scrape.enabled)?;
    Some(ValidScrape {
        port,
        path: scrape.path.clone(),
        scheme: scrape.scheme,
        timeout_ms: ms(scrape.effective_timeout(metrics.interval)).max(1),
        tls: scrape.tls.clone(),
    })
}

fn prometheus(server: &Prometheus, interval: Duration) -> Result<ValidPrometheus, Invalid> {
    let auth = match (&server.bearer_token_secret_ref, &server.basic_auth_secret_ref) {
        (None, None) => PromAuth::None,
        (Some(token), None) => PromAuth::Bearer(token.clone()),
        (None, Some(basic)) => PromAuth::Basic(basic.clone()),
        (Some(_), Some(_)) => {
            return Err(Invalid::new("spec.metrics.prometheus", "set at most one of bearerTokenSecretRef and basicAuthSecretRef"));
        }
    };
    Ok(ValidPrometheus {
        url: server.url.trim_end_matches('/').to_owned(),
        interval_ms: ms(server.interval.unwrap_or(interval)).max(250),
        timeout_ms: ms(server.timeout.unwrap_or(Duration::from_secs(5))).max(1),
        auth,
        headers: server.headers.clone(),
        tls: server.tls.clone(),
    })
}

fn series(metrics: &Metrics) -> Result<Vec<SeriesSpec>, Invalid> {
    let mut names = BTreeSet::new();
    let mut specs = Vec::with_capacity(metrics.series.len());
    for series in &metrics.series {
        let at = || format!("spec.metrics.series[{}]", series.name);
        if !names.insert(series.name.as_str()) {
            return Err(Invalid::new(at(), "two series have this name: rename or remove one"));
        }
        let source = match series.source() {
            Some(SeriesSource::Prometheus(query)) => Source::PromQl { query: query.query.clone() },
            Some(SeriesSource::Scrape(selector)) => Source::Scrape {
                metric: selector.metric.clone(),
                labels: selector.match_labels.clone().into_iter().collect(),
                kind: match selector.kind {
                    SampleKind::Counter => weir_intake::Kind::Counter,
                    SampleKind::Gauge => weir_intake::Kind::Gauge,
                },
                aggregate: match selector.aggregate {
                    Aggregate::Sum => weir_intake::Aggregate::Sum,
                    Aggregate::Max => weir_intake::Aggregate::Max,
                    Aggregate::Mean => weir_intake::Aggregate::Mean,
                },
            },
            None => return Err(Invalid::new(at(), "set exactly one of scrape and prometheus")),
        };
        specs.push(SeriesSpec { name: series.name.clone(), unit: series.unit.clone(), source });
    }
    Ok(specs)
}

/// Milliseconds; a duration beyond 49 days is cut to that.
fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
