//! The connection to an API server. Touches the network and, for its credentials, the disk; called
//! once at start for the own cluster and once per RemoteCluster.
//!
//! The stack is kube's, put together here because four things matter to an operator that writes for
//! 1,000 objects within one second and then keeps silent for an hour:
//! - **every attempt is counted** by verb and resource, retries too ([`counted`]);
//! - **at most `max_in_flight` requests wait for an answer**, fewer while the server is slow
//!   ([`pressure`]). HTTP/1.1 needs one connection for
//!   each, so this also bounds connections. Watches and Leases pass by the limit: a burst of
//!   applies must not cost the leadership. There is no limit per second: API Priority and Fairness
//!   does that in the server, and its 429 with `Retry-After` is honoured;
//! - **no delay by Nagle's algorithm**, which can hold the end of a request back for 40 ms;
//! - **nothing hangs**: connecting, writing, and the head of an answer have timeouts; a dead peer is
//!   noticed by TCP keep-alive; a body that stops is cut off by the read timeout, which is longer
//!   than the 290 s after which a server ends a watch.

pub mod counted;
mod pressure;

use super::metrics::Metrics;
use counted::CountLayer;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Client;
use kube::client::ConfigExt;
use kube::client::retry::RetryPolicy;
use kube::config::{Config, InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longer than kube's watches (290 s and 5 s of grace).
const READ_TIMEOUT: Duration = Duration::from_secs(300);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Which API server, and how hard it may be pressed.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// A kubeconfig file. Absent: `$KUBECONFIG` or `~/.kube/config`, then the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig instead of its current one.
    pub context: Option<String>,
    /// Most requests that wait for an answer at one time.
    pub max_in_flight: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { kubeconfig: None, context: None, max_in_flight: 64 }
    }
}

/// No client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a service account is usable.
    #[error("found no way to an API server: {0}; run inside a cluster or give --kubeconfig")]
    Infer(#[source] Box<InferConfigError>),
    /// The kubeconfig can't be used.
    #[error("the kubeconfig can't be used: {0}; check the file and the context")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// The configuration has a part that can't be used, for example a certificate.
    #[error("the client configuration can't be used: {0}")]
    Build(#[source] Box<kube::Error>),
    /// A proxy is configured.
    #[error("the kubeconfig has proxy-url {0}, which is not supported: let the operator reach the API server directly")]
    Proxy(String),
}

impl From<kube::Error> for ClientError {
    fn from(error: kube::Error) -> Self {
        Self::Build(Box::new(error))
    }
}

/// A client for the cluster that `options` name. `default_namespace()` of it is the pod's own
/// namespace inside a cluster, that of the context outside.
///
/// # Errors
/// The configuration is missing or can't be used. The API server is not asked anything.
pub async fn connect(options: &ClientOptions, metrics: &Arc<Metrics>) -> Result<Client, ClientError> {
    let context = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let bad_kubeconfig = |error| ClientError::Kubeconfig(Box::new(error));
    let config = match (&options.kubeconfig, &options.context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(bad_kubeconfig)?;
            Config::from_custom_kubeconfig(kubeconfig, &context).await.map_err(bad_kubeconfig)?
        }
        (None, Some(_)) => Config::from_kubeconfig(&context).await.map_err(bad_kubeconfig)?,
        (None, None) => Config::infer().await.map_err(|error| ClientError::Infer(Box::new(error)))?,
    };
    client_for(config, options.max_in_flight, metrics)
}

/// A client for `config`, for example one made from the Secret of a RemoteCluster.
///
/// # Errors
/// A part of the configuration can't be used.
pub fn client_for(mut config: Config, max_in_flight: usize, metrics: &Arc<Metrics>) -> Result<Client, ClientError> {
    if let Some(proxy) = &config.proxy_url {
        return Err(ClientError::Proxy(proxy.to_string()));
    }
    // Which of the compiled-in cryptography providers counts; an error says that one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    config.headers.push((http::header::USER_AGENT, http::HeaderValue::from_static(concat!("weir/", env!("CARGO_PKG_VERSION")))));

    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(Duration::from_secs(15)));
    tcp.set_keepalive_interval(Some(Duration::from_secs(5)));
    tcp.set_keepalive_retries(Some(3));
    let mut connector = hyper_timeout::TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_write_timeout(Some(WRITE_TIMEOUT));
    connector.set_read_timeout(Some(READ_TIMEOUT));
    // The read timeout counts from the request, not from when its connection went idle.
    connector.set_reset_reader_on_write(true);
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_in_flight)
        .build::<_, kube::client::Body>(connector);

    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(retries()))
        .layer(CountLayer::new(metrics.clone(), max_in_flight))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace))
}

/// Four attempts at what the server answers with 429, 503 or 504, as late as its `Retry-After` says.
/// What fails after that is tried again by the next reconcile.
fn retries() -> RetryPolicy {
    RetryPolicy::new(Duration::from_millis(50), Duration::from_secs(2), 3, true).unwrap_or_default()
}
