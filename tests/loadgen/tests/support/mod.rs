//! Targets that misbehave on demand: a tiny OTLP/gRPC collector whose every answer is scripted,
//! and a proxy whose connections can be cut. In-process, on loopback, on ports of the system's
//! choosing.
#![allow(dead_code, reason = "each test file uses a part")]

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use weir_loadgen::{Endpoint, Report, Sender, SenderConfig, SenderHandle};

/// What the collector does with a request.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)]
pub(crate) enum Answer {
    /// Keep it and say so.
    Take,
    /// Refuse it.
    Refuse(Code),
    /// Keep it and say that one record was rejected.
    Partially,
    /// Keep it and cut every connection before the answer.
    TakeAndCut,
    /// Keep it and never answer.
    TakeAndHang,
}

/// How often each (service, seq) was kept.
pub(crate) type Kept = BTreeMap<(String, u64), u64>;

/// A collector that does as its script says.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) kept: Arc<Mutex<Kept>>,
    cut: watch::Sender<u64>,
}

#[derive(Clone)]
struct Scripted {
    script: Arc<dyn Fn(u64) -> Answer + Send + Sync>,
    requests: Arc<AtomicU64>,
    kept: Arc<Mutex<Kept>>,
    cut: watch::Sender<u64>,
}

fn keep(kept: &mut Kept, request: &ExportLogsServiceRequest) {
    for logs in &request.resource_logs {
        let attributes = &logs.resource.as_ref().unwrap().attributes;
        let service = attributes.iter().find(|a| a.key == "service.name").unwrap();
        let Some(Value::StringValue(service)) = &service.value.as_ref().unwrap().value else { panic!("service.name is no string") };
        for record in logs.scope_logs.iter().flat_map(|s| &s.log_records) {
            let Some(Value::IntValue(seq)) = record.attributes[0].value.as_ref().unwrap().value else { panic!("seq is no integer") };
            *kept.entry((service.clone(), u64::try_from(seq).unwrap())).or_default() += 1;
        }
    }
}

#[tonic::async_trait]
impl LogsService for Scripted {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let request = request.into_inner();
        let answer = (self.script)(self.requests.fetch_add(1, Ordering::SeqCst));
        if !matches!(answer, Answer::Refuse(_)) {
            keep(&mut self.kept.lock().unwrap(), &request);
        }
        let partial_success = match answer {
            Answer::Take => None,
            Answer::Refuse(code) => return Err(Status::new(code, "scripted")),
            Answer::Partially => Some(ExportLogsPartialSuccess { rejected_log_records: 1, error_message: "scripted".into() }),
            Answer::TakeAndCut => {
                self.cut.send_modify(|n| *n += 1);
                std::future::pending().await
            }
            Answer::TakeAndHang => std::future::pending().await,
        };
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

impl Collector {
    /// Starts one; `script` gets the number of the request.
    pub(crate) async fn start(script: impl Fn(u64) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(Server::builder(), script).await
    }

    /// The same, on a server with settings of its own.
    pub(crate) async fn start_with(mut server: Server, script: impl Fn(u64) -> Answer + Send + Sync + 'static) -> Self {
        let (cut, _) = watch::channel(0);
        let kept = Arc::new(Mutex::new(Kept::new()));
        let service = Scripted { script: Arc::new(script), requests: Arc::default(), kept: kept.clone(), cut: cut.clone() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = listener.local_addr().unwrap();
        let serving = server.add_service(LogsServiceServer::new(service)).serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        let address = proxy(inner, cut.subscribe()).await;
        Self { address, kept, cut }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.address.to_string().parse().unwrap()
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|n| *n += 1);
    }

    /// Each number that the report calls acknowledged is kept here.
    pub(crate) fn assert_holds_all_acked(&self, report: &Report) {
        let kept = self.kept.lock().unwrap();
        for stream in &report.streams {
            for seq in stream.acked.iter().flatten() {
                let key = (stream.service.clone(), seq);
                assert!(kept.contains_key(&key), "{key:?} was acknowledged and is not there");
            }
        }
    }

    /// How many records were kept more than once.
    pub(crate) fn duplicates(&self) -> u64 {
        self.kept.lock().unwrap().values().map(|n| n - 1).sum()
    }
}

/// Forwards connections to `target` until `cut` changes, which resets them all; new ones are
/// accepted all the time.
async fn proxy(target: SocketAddr, cut: watch::Receiver<u64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut cut = cut.clone();
            cut.mark_unchanged();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(target).await else {
                    return;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = cut.changed() => {}
                }
            });
        }
    });
    address
}

/// A quick run against `collector`: small batches, short waits.
pub(crate) fn config(collector: &Collector) -> SenderConfig {
    SenderConfig {
        connections: 4,
        streams: 3,
        batch_size: 20,
        linger: Duration::from_millis(20),
        retry_initial: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        profile: "2000".parse().unwrap(),
        ..SenderConfig::new("test", vec![collector.endpoint()])
    }
}

/// Starts the run, waits until `enough`, stops it.
pub(crate) async fn run_until(config: SenderConfig, enough: impl Fn(&Report) -> bool) -> Report {
    let handle = Sender::start(config).unwrap();
    wait(&handle, enough).await;
    tokio::time::timeout(Duration::from_secs(60), handle.stop()).await.expect("the run ends")
}

/// Waits for a condition on the run; the deadline only keeps a broken test from hanging.
pub(crate) async fn wait(handle: &SenderHandle, enough: impl Fn(&Report) -> bool) {
    let looking = async {
        while !enough(&handle.snapshot()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), looking).await.is_err() {
        panic!("never came about: {:#?}", handle.snapshot());
    }
}
