//! Opening a connection: which endpoint, which of its addresses. Touches DNS and the network.
//! Called by the gRPC and the HTTP client whenever they have no connection.
//!
//! A name is resolved anew for each connection, and one of its addresses is taken at random: so
//! connections spread over the pods behind a headless Service, and a renewed connection (after a
//! GOAWAY, a restart) can land on a pod that did not exist before. Of several endpoints, client
//! `i` starts with the `i`-th and each further connection takes the next.
use super::endpoint::Endpoint;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use rand::seq::SliceRandom;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use tokio::net::{TcpStream, lookup_host};
use tonic::codegen::Service;

/// Opens connections for one client.
#[derive(Clone)]
pub(crate) struct Dialer {
    endpoints: Arc<[Endpoint]>,
    next: Arc<AtomicUsize>,
    opened: Counter,
}

impl Dialer {
    pub(crate) fn new(endpoints: Vec<Endpoint>, client: usize, opened: Counter) -> Self {
        Self { endpoints: endpoints.into(), next: Arc::new(AtomicUsize::new(client)), opened }
    }

    async fn dial(self) -> io::Result<TokioIo<TcpStream>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoint = turn
            .checked_rem(self.endpoints.len())
            .and_then(|place| self.endpoints.get(place))
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        let mut addresses: Vec<_> = lookup_host((endpoint.host(), endpoint.port())).await?.collect();
        addresses.shuffle(&mut rand::rng());
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    self.opened.inc();
                    return Ok(TokioIo::new(stream));
                }
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }
}

impl Service<http::Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The URI is ignored: where to connect is this dialer's own choice.
    fn call(&mut self, _: http::Uri) -> Self::Future {
        Box::pin(self.clone().dial())
    }
}
