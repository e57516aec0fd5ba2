//! A target that takes everything and looks at nothing: for measuring the generator alone.
//!
//! ```text
//! cargo run --release -p weir-loadgen --example sink -- 127.0.0.1:4317
//! ```
//!
//! Prints the requests and bytes that it took, once a second. gRPC only.
use bytes::{Buf, Bytes};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};

#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = ();
    type Decode = Bytes;
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
    type Item = ();
    type Error = Status;
    fn encode(&mut self, (): (), _: &mut EncodeBuf<'_>) -> Result<(), Status> {
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[derive(Clone, Default)]
struct Sink {
    requests: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl UnaryService<Bytes> for Sink {
    type Response = ();
    type Future = std::future::Ready<Result<tonic::Response<()>, Status>>;
    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let len = u64::try_from(request.get_ref().len()).unwrap_or(0);
        self.bytes.fetch_add(len, Ordering::Relaxed);
        std::future::ready(Ok(tonic::Response::new(())))
    }
}

impl NamedService for Sink {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}

impl tonic::codegen::Service<http::Request<Body>> for Sink {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = tonic::codegen::BoxFuture<Self::Response, Self::Error>;
    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let sink = self.clone();
        Box::pin(async move { Ok(Grpc::new(Raw).unary(sink, request).await) })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:4317".into());
    let sink = Sink::default();
    let counts = sink.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            println!("{} requests, {:.1} MB", counts.requests.load(Ordering::Relaxed), counts.bytes.load(Ordering::Relaxed) as f64 / 1e6);
        }
    });
    tonic::transport::Server::builder().add_service(sink).serve(listen.parse::<SocketAddr>()?).await?;
    Ok(())
}
