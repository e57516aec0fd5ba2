//! Logs and spans. Touches standard error and, when an OTLP endpoint is set, the network; the main
//! function calls it once.
//!
//! Logs say what a person acts on; the numbers are in [`super::metrics`], every decision is in the
//! decision log. Nothing here logs the body of a request, the content of an object or a credential:
//! an error says which object and which field.
//!
//! Spans leave the process only with an endpoint. One decision a second for each of 10,000 objects
//! would be too many, so traces are sampled at their root, and a span is recorded when its trace is.
//! Spans of ticks and decisions are at level `debug`: logs at `info` then never create them, while
//! the exporter takes Weir's own spans from `debug` on.

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::env;
use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// Longest wait for spans to leave when the process ends.
const FLUSH: Duration = Duration::from_secs(2);

/// The filter when none is given: libraries only when something is wrong with them.
const DEFAULT_FILTER: &str = "info,hyper=warn,hyper_util=warn,h2=warn,tonic=warn,tower=warn,kube=warn,kube_client=warn,kube_runtime=warn,opentelemetry=warn,wasmtime=warn,cranelift=warn";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is not a log format: write `text` or `json`")),
        }
    }
}

/// What is logged and traced, and where to.
#[derive(Clone, Debug)]
pub struct TelemetryOptions {
    /// A filter such as `info,weir_operator=debug`. Absent: `$RUST_LOG`, else `info` and warnings of libraries.
    pub log: Option<String>,
    /// How log lines look.
    pub format: LogFormat,
    /// OTLP over gRPC, for example `http://collector:4317`; `https` is checked against the system's
    /// certificate authorities. Absent: `$OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
    /// or `$OTEL_EXPORTER_OTLP_ENDPOINT`; without these no spans leave the process.
    pub otlp_endpoint: Option<String>,
    /// Share of traces that are recorded, 0 to 1.
    pub sampling_ratio: f64,
    /// Version of the operator, `service.version` of its spans.
    pub version: &'static str,
    /// Which of several operators, `service.instance.id` of its spans.
    pub instance: String,
}

/// Logs or spans could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error("the log filter `{0}` can't be read: write for example `info` or `info,weir_operator=debug`")]
    Filter(String),
    /// The ratio is not one.
    #[error("the sampling ratio is {0}: it has to be from 0 to 1")]
    Ratio(f64),
    /// The endpoint can't be used.
    #[error("the OTLP endpoint `{0}` can't be used: {1}")]
    Otlp(String, #[source] Box<ExporterBuildError>),
    /// Somebody else has set up logging in this process.
    #[error("logs are set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Logs and spans as they were set up.
#[derive(Debug)]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends the spans that still wait, for at most 2 s. Blocks: call it as the last thing.
    pub fn flush(&self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH)
        {
            tracing::warn!(%error, "spans were lost at the end");
        }
    }
}

/// Sets up logs and spans for the process. With an endpoint it has to be called inside the tokio runtime.
///
/// # Errors
/// An option can't be used, or it was called before.
pub fn init(options: &TelemetryOptions) -> Result<Telemetry, TelemetryError> {
    let provider = provider(options)?;
    let spans = provider.as_ref().map(|provider| {
        let ours = Targets::new().with_target("weir", LevelFilter::DEBUG);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("weir")).with_filter(ours)
    });
    Registry::default().with(logs(options)?).with(spans).try_init()?;
    Ok(Telemetry { provider })
}

type LogLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn logs(options: &TelemetryOptions) -> Result<LogLayer, TelemetryError> {
    let filter = filter(options.log.clone().or_else(|| env::var(EnvFilter::DEFAULT_ENV).ok()))?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    Ok(match options.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).with_filter(filter).boxed(),
    })
}

fn filter(wanted: Option<String>) -> Result<EnvFilter, TelemetryError> {
    let text = wanted.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::builder().parse(&text).map_err(|_| TelemetryError::Filter(text))
}

fn provider(options: &TelemetryOptions) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    if !(0.0..=1.0).contains(&options.sampling_ratio) {
        return Err(TelemetryError::Ratio(options.sampling_ratio));
    }
    let from_env = || ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"].iter().find_map(|name| env::var(name).ok());
    let Some(endpoint) = options.otlp_endpoint.clone().or_else(from_env).filter(|endpoint| !endpoint.is_empty()) else { return Ok(None) };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(&endpoint);
    // Without this, an https endpoint would be held against no certificate authority at all.
    let exporter = if endpoint.starts_with("https:") { exporter.with_tls_config(ClientTlsConfig::new().with_enabled_roots()) } else { exporter };
    let exporter = exporter.build().map_err(|error| TelemetryError::Otlp(endpoint, Box::new(error)))?;
    let attributes = [KeyValue::new("service.version", options.version), KeyValue::new("service.instance.id", options.instance.clone())];
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(options.sampling_ratio))))
            .with_resource(Resource::builder().with_service_name("weir").with_attributes(attributes).build())
            .build(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> TelemetryOptions {
        TelemetryOptions { log: None, format: LogFormat::Json, otlp_endpoint: None, sampling_ratio: 0.01, version: "0", instance: "test".into() }
    }

    #[test]
    fn the_filter_falls_back_to_info_and_a_bad_one_is_named() {
        assert_eq!(filter(Some("  ".into())).unwrap().max_level_hint(), Some(LevelFilter::INFO));
        assert_eq!(filter(Some("debug".into())).unwrap().max_level_hint(), Some(LevelFilter::DEBUG));
        let error = filter(Some("weir=loud".into())).unwrap_err().to_string();
        assert!(error.contains("`weir=loud`"), "{error}");
    }

    #[test]
    fn a_ratio_outside_of_0_to_1_is_refused() {
        for ratio in [-0.1, 1.5, f64::NAN] {
            assert!(matches!(provider(&TelemetryOptions { sampling_ratio: ratio, ..options() }), Err(TelemetryError::Ratio(_))));
        }
    }

    #[test]
    fn formats_are_read_back_from_their_words() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("xml".parse::<LogFormat>().unwrap_err().contains("`text` or `json`"));
    }

    #[tokio::test]
    async fn spans_need_an_endpoint_that_can_be_read() {
        let endpoint = |text: &str| TelemetryOptions { otlp_endpoint: Some(text.into()), ..options() };
        for text in ["http://127.0.0.1:4317", "https://127.0.0.1:4317"] {
            assert!(provider(&endpoint(text)).unwrap().is_some());
        }
        assert!(matches!(provider(&endpoint("not a url")), Err(TelemetryError::Otlp(..))));
    }
}
