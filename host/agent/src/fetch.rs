//! Asks the collector for its metrics. Touches the network; called by [`crate::server`].

use crate::drain::Reading;
use crate::metrics;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::net::TcpStream;

/// Time for one request.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Larger bodies are not read.
const MOST_BYTES: usize = 16 << 20;

/// The first answer of several addresses; [`Reading::Refused`] only when all of them refuse.
pub async fn fetch(hosts: &[String], port: u16) -> Reading {
    let mut answer = Reading::Refused;
    for host in hosts {
        let reading = match tokio::time::timeout(TIMEOUT, ask(host, port)).await {
            Ok(reading) => reading,
            Err(_) => Reading::Unreadable("the collector does not answer".to_owned()),
        };
        match reading {
            Reading::Seen { .. } => return reading,
            Reading::Refused => {}
            Reading::Unreadable(_) => answer = reading,
        }
    }
    answer
}

async fn ask(host: &str, port: u16) -> Reading {
    match TcpStream::connect((host, port)).await {
        Ok(stream) => match get(stream, host).await {
            Ok(body) => metrics::read(&body),
            Err(error) => Reading::Unreadable(error),
        },
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Reading::Refused,
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

async fn get(stream: TcpStream, host: &str) -> Result<String, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::get("/metrics")
        .header(header::HOST, if host.contains(':') { "localhost" } else { host })
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("the collector answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MOST_BYTES).collect().await.map_err(|error| error.to_string())?;
        String::from_utf8(body.to_bytes().into()).map_err(|error| error.to_string())
    };
    // The connection does its work beside the exchange, and ends with it.
    tokio::pin!(exchange, connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => {
            ended.map_err(|error| error.to_string())?;
            exchange.await
        }
    }
}
