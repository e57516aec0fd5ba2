//! `weir-loadgen send`.
use super::pair;
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use weir_loadgen::{Endpoint, Profile, Protocol, Report, Sender, SenderConfig, Severities, duration};

/// Settings of a run.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// Where to send, [http://]host:port[/path]; may be repeated. Names are resolved anew for each
    /// connection, and one of their addresses is taken at random.
    #[arg(long = "endpoint", required = true, env = "WEIR_LOADGEN_ENDPOINT", value_delimiter = ',')]
    endpoints: Vec<Endpoint>,
    /// grpc or http (protobuf).
    #[arg(long, default_value = "grpc")]
    protocol: Protocol,
    /// Id of the run, by which the checker finds its records. Default: a new one.
    #[arg(long, env = "WEIR_LOADGEN_RUN")]
    run: Option<String>,
    /// Load over time: a number of records a second, or
    /// ramp:from=,to=,over= | surge:base=,peak=,at=,for= | day:low=,peak=,length=[,start=6h][,seed=]
    #[arg(long, default_value = "1000", env = "WEIR_LOADGEN_PROFILE")]
    profile: Profile,
    /// How long to offer load; without it, until SIGTERM, SIGINT or POST /stop.
    #[arg(long = "for", value_parser = duration)]
    duration: Option<Duration>,
    /// Clients, each with its own long-lived connection.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests under way at once per connection.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Streams: svc-00, svc-01, …
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// Stream i weighs 1/(i+1)^skew; 0 makes all equal.
    #[arg(long, default_value_t = 1.0)]
    skew: f64,
    /// Most records in a request.
    #[arg(long, default_value_t = 512)]
    batch_size: u64,
    /// Longest wait for a batch to fill.
    #[arg(long, default_value = "200ms", value_parser = duration)]
    linger: Duration,
    /// Batches that may wait or be under way; beyond it load is shed and counted.
    #[arg(long, default_value_t = 4096)]
    max_pending: u64,
    /// Bytes of a record's body: N or MIN-MAX (log-uniform between).
    #[arg(long, default_value = "80-400", value_parser = sizes)]
    body_bytes: (u32, u32),
    /// Shares of the severities.
    #[arg(long, default_value = "debug=10,info=80,warn=7,error=3")]
    severities: Severities,
    /// One more resource attribute, key=value or key=a|b|c (each stream takes one in turn); may be
    /// repeated.
    #[arg(long = "resource", value_parser = pair)]
    resource: Vec<(String, String)>,
    /// One more header of each request, key=value; may be repeated.
    #[arg(long = "header", value_parser = pair)]
    headers: Vec<(String, String)>,
    /// How long one attempt may take.
    #[arg(long, default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// First wait before a retry; it doubles.
    #[arg(long, default_value = "100ms", value_parser = duration)]
    retry_initial: Duration,
    /// Longest wait before a retry.
    #[arg(long, default_value = "5s", value_parser = duration)]
    retry_longest: Duration,
    /// How long pending batches are still sent at the end.
    #[arg(long, default_value = "60s", value_parser = duration)]
    drain: Duration,
    /// Serve /metrics, /status, /rate and /stop here.
    #[arg(long, env = "WEIR_LOADGEN_LISTEN")]
    listen: Option<std::net::SocketAddr>,
    /// After the end, keep serving for this long or until a signal.
    #[arg(long, default_value = "0s", value_parser = duration)]
    linger_after: Duration,
    /// Write the final report (JSON) here, for `check --expect`.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// `N` or `MIN-MAX`.
fn sizes(text: &str) -> Result<(u32, u32), String> {
    let number = |t: &str| t.trim().parse::<u32>().map_err(|e| format!("{t:?}: {e}"));
    match text.split_once('-') {
        Some((low, high)) => Ok((number(low)?, number(high)?)),
        None => number(text).map(|n| (n, n)),
    }
}

impl SendArgs {
    fn config(&self) -> SenderConfig {
        let run = self.run.clone().unwrap_or_else(|| {
            let now = jiff::Timestamp::now().as_second();
            format!("run-{now}-{:04x}", rand::random::<u16>())
        });
        let values = |(key, value): &(String, String)| (key.clone(), value.split('|').map(str::to_owned).collect());
        SenderConfig {
            protocol: self.protocol,
            connections: self.connections,
            in_flight: self.in_flight,
            streams: self.streams,
            skew: self.skew,
            batch_size: self.batch_size,
            linger: self.linger,
            max_pending: self.max_pending,
            body_bytes: self.body_bytes,
            severities: self.severities.clone(),
            resource: self.resource.iter().map(values).collect(),
            headers: self.headers.clone(),
            profile: self.profile.clone(),
            duration: self.duration,
            drain: self.drain,
            timeout: self.timeout,
            retry_initial: self.retry_initial,
            retry_longest: self.retry_longest,
            ..SenderConfig::new(run, self.endpoints.clone())
        }
    }
}

/// Runs until the end of the run; exit 0 when all was acknowledged, 1 when not.
pub(crate) async fn run(args: SendArgs) -> anyhow::Result<ExitCode> {
    let config = args.config();
    tracing::info!(run = config.run, profile = %config.profile, "offering");
    let handle = Sender::start(config)?;
    let server = match args.listen {
        None => None,
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
            tracing::info!("status on http://{}", listener.local_addr()?);
            let router = weir_loadgen::control::router(handle.clone());
            Some(tokio::spawn(axum::serve(listener, router).with_graceful_shutdown(lingered(handle.clone(), args.linger_after)).into_future()))
        }
    };
    let report = tokio::select! {
        report = handle.finished() => report,
        () = super::interrupted() => {
            tracing::info!("stopping: sending what is pending");
            handle.stop().await
        }
    };
    if let Some(path) = &args.report {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    print!("{}", summary(&report));
    if let Some(server) = server {
        server.await??;
    }
    Ok(ExitCode::from(u8::from(!report.all_acked())))
}

/// Resolves when the status endpoint has served long enough.
async fn lingered(handle: weir_loadgen::SenderHandle, linger: Duration) {
    handle.finished().await;
    tokio::select! {
        () = tokio::time::sleep(linger) => {}
        () = super::interrupted() => {}
    }
}

fn summary(r: &Report) -> String {
    let (n, b, l) = (&r.records, &r.batches, &r.ack_latency_seconds);
    let rate = n.acked as f64 / r.elapsed_seconds.max(1e-9);
    let mut text = format!(
        "run {}: {:.1} s, {} streams, {} connections opened\n\
         records: offered {} = numbered {} + shed {}; sent {} (with retries), acked {}, rejected {}, unacknowledged {}\n\
         batches: acked {}, retries {}, refused {}, partial {}, lost {}, pending at most {} of {}\n\
         acked {rate:.0} records/s, {:.1} MB sent\n\
         latency to ack (with waiting): p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms\n",
        r.run,
        r.elapsed_seconds,
        r.streams.len(),
        r.connections_opened,
        n.offered,
        n.numbered,
        n.shed,
        n.sent,
        n.acked,
        n.rejected,
        n.unacknowledged,
        b.acked,
        b.retries,
        b.refused,
        b.partial,
        b.lost,
        b.pending_peak,
        b.max_pending,
        r.sent_bytes as f64 / 1e6,
        l.p50 * 1e3,
        l.p99 * 1e3,
        l.max * 1e3,
    );
    for (cause, times) in &r.failures {
        text.push_str(&format!("failed attempts: {cause} {times}\n"));
    }
    text
}
