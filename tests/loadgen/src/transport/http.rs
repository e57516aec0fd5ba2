//! OTLP over HTTP/1.1 with protobuf bodies. Touches the network. Called through `Transport`.
use super::{Outcome, dial::Dialer};
use crate::config::{ConfigError, SenderConfig};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;

/// More than any answer to an export needs.
const LONGEST_ANSWER: usize = 64 * 1024;

/// One client; as many sockets as it has requests under way.
pub(crate) struct Client {
    client: legacy::Client<Dialer, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
}

impl Client {
    pub(crate) fn new(config: &SenderConfig, dialer: Dialer) -> Result<Self, ConfigError> {
        let first = config.endpoints.first().ok_or(ConfigError::NoEndpoint)?;
        let uri = format!("http://{}{}", first.authority(), first.path())
            .parse()
            .map_err(|e: http::uri::InvalidUri| ConfigError::Endpoint(first.clone(), e.to_string()))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        for (name, value) in &config.headers {
            let wrong = |e: String| ConfigError::Header(name.clone(), e);
            let key: HeaderName = name.parse().map_err(|e: http::header::InvalidHeaderName| wrong(e.to_string()))?;
            let value: HeaderValue = value.parse().map_err(|e: http::header::InvalidHeaderValue| wrong(e.to_string()))?;
            headers.append(key, value);
        }
        let client = legacy::Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).pool_max_idle_per_host(config.in_flight).build(dialer);
        Ok(Self { client, uri, headers })
    }

    pub(crate) async fn export(&self, body: Bytes) -> Outcome {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(e) if e.is_connect() => return Outcome::Lost("connect".to_owned()),
            Err(_) => return Outcome::Lost("connection".to_owned()),
        };
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER);
        match body.collect().await {
            Ok(body) => outcome(status, &body.to_bytes()),
            Err(_) => Outcome::Lost("answer".to_owned()),
        }
    }
}

/// What an answer means; which statuses allow a retry follows the OTLP specification, and 500 is
/// added to them: proxies and stores answer so when they restart. A store that answers
/// success with a body of its own kind has taken the batch.
fn outcome(status: StatusCode, body: &Bytes) -> Outcome {
    let cause = status.as_u16().to_string();
    if status.is_success() {
        let partial = ExportLogsServiceResponse::decode(body.clone())
            .ok()
            .and_then(|answer| answer.partial_success)
            .is_some_and(|partial| partial.rejected_log_records > 0);
        return if partial { Outcome::Partial } else { Outcome::Acked };
    }
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Outcome::Refused(cause),
        _ if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => Outcome::Refused(cause),
        _ => Outcome::Rejected(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    #[test]
    fn an_answer_is_read_by_its_status_and_its_partial_success() {
        let none = Bytes::new();
        assert_eq!(outcome(StatusCode::OK, &none), Outcome::Acked);
        assert_eq!(outcome(StatusCode::NO_CONTENT, &none), Outcome::Acked);
        for refused in [429, 500, 502, 503, 504] {
            let status = StatusCode::from_u16(refused).unwrap();
            assert_eq!(outcome(status, &none), Outcome::Refused(refused.to_string()));
        }
        assert_eq!(outcome(StatusCode::BAD_REQUEST, &none), Outcome::Rejected("400".into()));
        let partial =
            ExportLogsServiceResponse { partial_success: Some(ExportLogsPartialSuccess { rejected_log_records: 3, error_message: "three too many".into() }) };
        let body = Bytes::from(partial.encode_to_vec());
        assert_eq!(outcome(StatusCode::OK, &body), Outcome::Partial);
    }
}
