//! `spec.metrics`: what is measured, how often, and how much of it policies see. Touches nothing.

use crate::{BasicAuthRef, Duration, SecretKeyRef, Tls};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.window).getMilliseconds() >= 2 * duration(self.interval).getMilliseconds()")
        .message("metrics.window must be at least twice metrics.interval, because a rate needs two samples: lengthen window or shorten interval"),
    validation = Rule::new("duration(self.window).getMilliseconds() <= 3600 * duration(self.interval).getMilliseconds()")
        .message("metrics.window holds more than 3600 samples: shorten window or lengthen interval"),
    validation = Rule::new("!has(self.staleness) || duration(self.staleness) >= duration(self.interval)")
        .message("metrics.staleness must be at least metrics.interval, or every sample would be stale before the next one: lengthen staleness or shorten interval"),
    validation = Rule::new("has(self.prometheus) || !has(self.series) || !self.series.exists(s, has(s.prometheus))")
        .message("a series has a prometheus query and metrics.prometheus is absent: set metrics.prometheus.url"),
    validation = Rule::new("self.scrape.enabled || !has(self.series) || !self.series.exists(s, has(s.scrape))")
        .message("a series is scraped and metrics.scrape.enabled is false: enable scraping or remove the series")
)]
pub struct Metrics {
    /// How often is measured and decided. At least 250ms.
    #[serde(default = "interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('250ms')")
        .message("metrics.interval must be at least 250ms: write for example 1s"))]
    pub interval: Duration,

    /// How far back policies see: two to 3600 intervals.
    #[serde(default = "window")]
    pub window: Duration,

    /// How old the newest sample may get before replicas are held. Absent: 10s, or three intervals
    /// when that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness: Option<Duration>,

    /// Share of replicas that may fail to answer before replicas are held, 0 to 1. What the missing
    /// ones would have said is taken from the others.
    #[serde(default = "max_missing_share")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub max_missing_share: f64,

    /// How pods are asked for their metrics.
    #[serde(default)]
    pub scrape: Scrape,

    /// A Prometheus server, or what speaks its query API, that series can be asked of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<Prometheus>,

    /// Series for policies in addition to those that the engine gives by itself (otelCollector:
    /// offered, accepted, refused, sent, failed, backlog, queue, queue-capacity, memory, cpu, skew).
    /// One of the same name takes the engine's place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub series: Vec<Series>,
}

impl Metrics {
    /// How old the newest sample may get: what the user set, or the default that follows the interval.
    #[must_use]
    pub fn effective_staleness(&self) -> Duration {
        let three = Duration::from_millis(self.interval.as_millis().saturating_mul(3));
        self.staleness.unwrap_or_else(|| three.max(Duration::from_secs(10)))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            interval: interval(),
            window: window(),
            staleness: None,
            max_missing_share: max_missing_share(),
            scrape: Scrape::default(),
            prometheus: None,
            series: Vec::new(),
        }
    }
}

const fn interval() -> Duration {
    Duration::from_secs(1)
}

const fn window() -> Duration {
    Duration::from_secs(60)
}

const fn max_missing_share() -> f64 {
    0.2
}

/// How pods are asked for their metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.tls) || self.scheme == 'https'")
        .message("scrape.tls has no effect with scheme http: set scheme to https or remove tls")
)]
pub struct Scrape {
    /// Ask pods at all. False: only series that Prometheus answers.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Port of the pods. Absent: otelCollector.metricsPort; needed with the other engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,

    /// Path of the metrics.
    #[serde(default = "path")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: String,

    /// Protocol: http or https.
    #[serde(default)]
    pub scheme: ScrapeScheme,

    /// How long a pod may take to answer. Absent: metrics.interval, at most 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')")
        .message("scrape.timeout must be longer than 0s: write for example 500ms, or leave it out"))]
    pub timeout: Option<Duration>,

    /// How the pods' certificates are verified, with scheme https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Scrape {
    /// How long a pod may take to answer, given the interval.
    #[must_use]
    pub fn effective_timeout(&self, interval: Duration) -> Duration {
        self.timeout.unwrap_or_else(|| interval.min(Duration::from_secs(5)))
    }
}

impl Default for Scrape {
    fn default() -> Self {
        Self { enabled: yes(), port: None, path: path(), scheme: ScrapeScheme::default(), timeout: None, tls: None }
    }
}

const fn yes() -> bool {
    true
}

fn path() -> String {
    "/metrics".to_owned()
}

/// Protocol of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScrapeScheme {
    /// Plain.
    #[default]
    Http,
    /// With TLS.
    Https,
}

impl ScrapeScheme {
    /// The scheme as it stands in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A Prometheus server, or what speaks its query API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.bearerTokenSecretRef) && has(self.basicAuthSecretRef))")
        .message("set at most one of prometheus.bearerTokenSecretRef and prometheus.basicAuthSecretRef"),
    validation = Rule::new("!has(self.tls) || self.url.startsWith('https://')")
        .message("prometheus.tls has no effect with an http URL: use https or remove tls")
)]
pub struct Prometheus {
    /// URL of the server up to /api/v1, for example http://prometheus.monitoring:9090.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^/]"))]
    pub url: String,

    /// How often the server is asked. Absent: metrics.interval. Shorter than the server's own
    /// scrape interval brings nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('250ms')")
        .message("prometheus.interval must be at least 250ms: write for example 15s, or leave it out"))]
    pub interval: Option<Duration>,

    /// How long an answer may take. Absent: 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) > duration('0s')")
        .message("prometheus.timeout must be longer than 0s: write for example 5s, or leave it out"))]
    pub timeout: Option<Duration>,

    /// Token for the header Authorization: Bearer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret_ref: Option<SecretKeyRef>,

    /// User name and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth_secret_ref: Option<BasicAuthRef>,

    /// Headers of each request, for example X-Scope-OrgID. Not for secrets: whoever reads the
    /// LogProcessor reads them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,

    /// How the server's certificate is verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// One series for policies: exactly one of scrape and prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.scrape) != has(self.prometheus)")
        .message("set exactly one of scrape (read from the pods) and prometheus (asked of a server)")
)]
pub struct Series {
    /// Name under which policies see it, for example queue-age.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Unit of the values as UCUM writes it, for example records/s, By, s; 1 for a plain number.
    #[serde(default = "unit")]
    #[schemars(length(min = 1, max = 31))]
    pub unit: String,

    /// Read from the pods' own metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrape: Option<ScrapeSelector>,

    /// Asked of the server in metrics.prometheus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusQuery>,
}

/// Where a series comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesSource<'a> {
    /// From the pods.
    Scrape(&'a ScrapeSelector),
    /// From a server.
    Prometheus(&'a PrometheusQuery),
}

impl Series {
    /// The source that is set; `None` when there is none or more than one, which the API server
    /// admits only where the CRD is older than this program.
    #[must_use]
    pub const fn source(&self) -> Option<SeriesSource<'_>> {
        match (&self.scrape, &self.prometheus) {
            (Some(scrape), None) => Some(SeriesSource::Scrape(scrape)),
            (None, Some(query)) => Some(SeriesSource::Prometheus(query)),
            _ => None,
        }
    }
}

fn unit() -> String {
    "1".to_owned()
}

/// A metric of the pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeSelector {
    /// Name of the metric as the pods expose it.
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[a-zA-Z_:][a-zA-Z0-9_:.]*$"))]
    pub metric: String,

    /// Labels that a sample must have with these values. Samples that fit are summed per pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, String>,

    /// Counter: policies see its rate a second. Gauge: policies see its value.
    pub kind: SampleKind,

    /// How the values of the pods become one: their Sum, Max or Mean.
    #[serde(default)]
    pub aggregate: Aggregate,
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SampleKind {
    /// Only rises, and starts again at 0 with the process.
    Counter,
    /// Rises and falls.
    #[default]
    Gauge,
}

/// How the values of the pods become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Aggregate {
    /// All together.
    #[default]
    Sum,
    /// The largest.
    Max,
    /// The mean.
    Mean,
}

/// A query.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusQuery {
    /// PromQL that gives one number: a scalar, or a vector of one element.
    #[schemars(length(min = 1, max = 4096))]
    pub query: String,
}
