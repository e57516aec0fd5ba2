//! The peer that decisions are compared with: an external scaler that speaks KEDA's gRPC protocol
//! (kedacore/keda, `pkg/scalers/externalscaler/externalscaler.proto`) and computes `threshold` in
//! plain Rust on a window that it holds in memory. It runs as a process of its own, as a real one
//! does; [`Client`] asks it over one connection, as KEDA does. Touches the loopback network.
//!
//! The messages are written by hand, so that no protobuf compiler is needed.

use crate::policies;
use anyhow::{Context as _, Result};
use http::uri::PathAndQuery;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::task;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{NamedService, UnaryService};
use tonic::transport::{Channel, Server, server::TcpIncoming};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use weir_policy::input::Input;
use weir_policy::policy::call;

#[derive(Clone, PartialEq, prost::Message)]
struct ScaledObjectRef {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(map = "string, string", tag = "3")]
    scaler_metadata: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IsActiveResponse {
    #[prost(bool, tag = "1")]
    result: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricSpec {
    #[prost(string, tag = "1")]
    metric_name: String,
    #[prost(double, tag = "3")]
    target_size_float: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetMetricSpecResponse {
    #[prost(message, repeated, tag = "1")]
    metric_specs: Vec<MetricSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetMetricsRequest {
    #[prost(message, optional, tag = "1")]
    scaled_object_ref: Option<ScaledObjectRef>,
    #[prost(string, tag = "2")]
    metric_name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricValue {
    #[prost(string, tag = "1")]
    metric_name: String,
    #[prost(double, tag = "3")]
    metric_value_float: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetMetricsResponse {
    #[prost(message, repeated, tag = "1")]
    metric_values: Vec<MetricValue>,
}

const METRIC: &str = "replicas";

/// The scaler. KEDA turns a metric of value v and target 1 into v replicas.
#[derive(Clone)]
struct Scaler {
    input: Arc<Input>,
}

impl Scaler {
    fn replicas(&self) -> f64 {
        call::<threshold::Policy>(&self.input, "{}", &[]).map_or(f64::NAN, |proposal| f64::from(proposal.replicas))
    }
}

impl NamedService for Scaler {
    const NAME: &'static str = "externalscaler.ExternalScaler";
}

/// One method: a function from a request to an answer.
struct Method<F>(F);

impl<Q, A, F: FnMut(Q) -> A> UnaryService<Q> for Method<F> {
    type Response = A;
    type Future = Ready<Result<Response<A>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        ready(Ok(Response::new((self.0)(request.into_inner()))))
    }
}

async fn unary<Q, A>(request: http::Request<Body>, method: impl FnMut(Q) -> A) -> http::Response<Body>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + 'static,
{
    tonic::server::Grpc::new(ProstCodec::<A, Q>::default()).unary(Method(method), request).await
}

impl Service<http::Request<Body>> for Scaler {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), Infallible>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let scaler = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
            Ok(match method.as_str() {
                "IsActive" => unary(request, |_: ScaledObjectRef| IsActiveResponse { result: scaler.replicas() > 0.0 }).await,
                "GetMetricSpec" => {
                    let specs = || vec![MetricSpec { metric_name: METRIC.to_owned(), target_size_float: 1.0 }];
                    unary(request, |_: ScaledObjectRef| GetMetricSpecResponse { metric_specs: specs() }).await
                }
                "GetMetrics" => {
                    let values = |request: GetMetricsRequest| vec![MetricValue { metric_name: request.metric_name, metric_value_float: scaler.replicas() }];
                    unary(request, |request| GetMetricsResponse { metric_values: values(request) }).await
                }
                other => Status::unimplemented(format!("{other} is not part of this peer")).into_http(),
            })
        })
    }
}

/// Serves until standard input ends, so that the scaler never outlives who started it. Prints its address.
pub(crate) fn serve() -> Result<()> {
    let scaler = Scaler { input: Arc::new(policies::native(&policies::input("{}"))) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime.block_on(async {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).context("no port is free")?.with_nodelay(Some(true));
        writeln!(std::io::stdout(), "{}", incoming.local_addr()?)?;
        Ok(Server::builder().add_service(scaler).serve_with_incoming(incoming).await?)
    })
}

/// The scaler's process. Ends with it.
pub(crate) struct Process {
    child: Child,
    address: String,
}

impl Process {
    /// Starts it.
    pub(crate) fn start() -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg("scaler").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let output = child.stdout.take().context("the scaler has no output")?;
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a scaler over one connection.
pub(crate) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    object: ScaledObjectRef,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(process: &Process) -> Result<Self> {
        let endpoint = Channel::from_shared(format!("http://{}", process.address))?.tcp_nodelay(true);
        let object = ScaledObjectRef { name: "edge".to_owned(), namespace: "logging".to_owned(), scaler_metadata: HashMap::new() };
        Ok(Self { grpc: tonic::client::Grpc::new(endpoint.connect().await?), object })
    }

    async fn ask<Q, A>(&mut self, path: &'static str, question: Q) -> Result<A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.grpc.ready().await?;
        let codec = ProstCodec::<Q, A>::default();
        Ok(self.grpc.unary(Request::new(question), PathAndQuery::from_static(path), codec).await?.into_inner())
    }

    /// One call of GetMetrics: the replicas.
    pub(crate) async fn metrics(&mut self) -> Result<f64> {
        let request = GetMetricsRequest { scaled_object_ref: Some(self.object.clone()), metric_name: METRIC.to_owned() };
        let answer: GetMetricsResponse = self.ask("/externalscaler.ExternalScaler/GetMetrics", request).await?;
        Ok(answer.metric_values.first().context("the scaler gave no value")?.metric_value_float)
    }

    /// What KEDA asks at each poll: IsActive, GetMetricSpec, GetMetrics.
    pub(crate) async fn poll(&mut self) -> Result<f64> {
        let active: IsActiveResponse = self.ask("/externalscaler.ExternalScaler/IsActive", self.object.clone()).await?;
        anyhow::ensure!(active.result, "the scaler says that nothing is active");
        let specs: GetMetricSpecResponse = self.ask("/externalscaler.ExternalScaler/GetMetricSpec", self.object.clone()).await?;
        anyhow::ensure!(specs.metric_specs.first().is_some_and(|spec| spec.metric_name == METRIC), "the scaler names no metric");
        self.metrics().await
    }
}
