//! Carrying one encoded batch to a target and saying what became of it. Touches the network.
//! Called by `lane`. One [`Transport`] is one client: its connection lives until one side closes
//! it, and is then opened again, to the next endpoint.
mod dial;
pub(crate) mod endpoint;
mod grpc;
mod http;

use crate::config::{ConfigError, Protocol, SenderConfig};
use bytes::Bytes;
use dial::Dialer;
use prometheus_client::metrics::counter::Counter;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The target took the whole batch.
    Acked,
    /// The target took a part and does not say which.
    Partial,
    /// The target answered: not now.
    Refused(String),
    /// The target answered: never.
    Rejected(String),
    /// No answer. The batch may have arrived.
    Lost(String),
}

/// One client.
pub(crate) enum Transport {
    Grpc(grpc::Client),
    Http(Box<http::Client>),
}

impl Transport {
    /// The client with number `client`; nothing is connected before the first batch.
    pub(crate) fn new(config: &SenderConfig, client: usize, opened: Counter) -> Result<Self, ConfigError> {
        let dialer = Dialer::new(config.endpoints.clone(), client, opened);
        match config.protocol {
            Protocol::Grpc => grpc::Client::new(config, dialer).map(Self::Grpc),
            Protocol::Http => http::Client::new(config, dialer).map(|client| Self::Http(Box::new(client))),
        }
    }

    /// Sends one encoded `ExportLogsServiceRequest` and waits for the answer. Does not time out.
    pub(crate) async fn export(&self, body: Bytes) -> Outcome {
        match self {
            Self::Grpc(client) => client.export(body).await,
            Self::Http(client) => client.export(body).await,
        }
    }
}
