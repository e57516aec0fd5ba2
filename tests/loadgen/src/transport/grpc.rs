//! OTLP over gRPC. Touches the network. Called through `Transport`.
//!
//! tonic's channel reconnects by itself, when the server says GOAWAY (`max_connection_age`) as
//! when it vanishes; keep-alive pings find a peer that vanished without a word.
use super::{Outcome, dial::Dialer};
use crate::config::{ConfigError, SenderConfig};
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use std::time::Duration;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const EXPORT: PathAndQuery = PathAndQuery::from_static("/opentelemetry.proto.collector.logs.v1.LogsService/Export");
/// How long a peer may be silent before it is pinged, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// One channel.
pub(crate) struct Client {
    channel: Channel,
    metadata: MetadataMap,
}

impl Client {
    pub(crate) fn new(config: &SenderConfig, dialer: Dialer) -> Result<Self, ConfigError> {
        let first = config.endpoints.first().ok_or(ConfigError::NoEndpoint)?;
        let channel = Endpoint::from_shared(format!("http://{}", first.authority()))
            .map_err(|e| ConfigError::Endpoint(first.clone(), e.to_string()))?
            .connect_timeout(config.timeout)
            .http2_keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .connect_with_connector_lazy(dialer);
        let mut metadata = MetadataMap::new();
        for (name, value) in &config.headers {
            let wrong = |e: String| ConfigError::Header(name.clone(), e);
            let key: MetadataKey<Ascii> = name.to_ascii_lowercase().parse().map_err(|_| wrong("not a metadata key".to_owned()))?;
            let value: MetadataValue<Ascii> = value.parse().map_err(|_| wrong("not a metadata value".to_owned()))?;
            metadata.append(key, value);
        }
        Ok(Self { channel, metadata })
    }

    pub(crate) async fn export(&self, body: Bytes) -> Outcome {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        if let Err(e) = grpc.ready().await {
            return lost(&Status::from_error(e.into()));
        }
        let mut request = Request::new(body);
        *request.metadata_mut() = self.metadata.clone();
        match grpc.unary(request, EXPORT, Raw).await {
            Ok(answer) => match answer.into_inner().partial_success {
                Some(partial) if partial.rejected_log_records > 0 => Outcome::Partial,
                _ => Outcome::Acked,
            },
            Err(status) => outcome(&status),
        }
    }
}

fn lost(status: &Status) -> Outcome {
    Outcome::Lost(format!("{:?}", status.code()))
}

/// What a failed call means. A status with a source was made up by the client, because no answer
/// came. Which answers forbid a retry follows the OTLP specification ("Failures"), read
/// generously: what no client error explains is tried again.
fn outcome(status: &Status) -> Outcome {
    if std::error::Error::source(status).is_some() {
        return lost(status);
    }
    let code = format!("{:?}", status.code());
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::Unimplemented => Outcome::Rejected(code),
        _ => Outcome::Refused(code),
    }
}

/// Sends bytes that are encoded already.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = ExportLogsServiceResponse;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, body: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(body.len());
        to.put(body);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(64 * 1024, 64 * 1024)
    }
}

impl Decoder for Raw {
    type Item = ExportLogsServiceResponse;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        let body = from.copy_to_bytes(from.remaining());
        ExportLogsServiceResponse::decode(body).map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_is_refused_nonsense_is_rejected_and_a_broken_connection_is_lost() {
        let refused = outcome(&Status::resource_exhausted("full"));
        assert_eq!(refused, Outcome::Refused("ResourceExhausted".into()));
        let rejected = outcome(&Status::invalid_argument("what?"));
        assert_eq!(rejected, Outcome::Rejected("InvalidArgument".into()));
        let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(outcome(&Status::from_error(broken.into())), Outcome::Lost(_)));
    }
}
