//! `weir operator`: reads options, starts logs and metrics, runs until a signal.

use anyhow::Context as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use weir_engine::verify::{NamedKey, PublicKey};
use weir_engine::{Compiler, Program};
use weir_operator::Config;
use weir_operator::config::CompileOptions;
use weir_operator::policies::trust::{RequireSignatures, SignaturePolicy};
use weir_operator::quota::{Parts, PartsFor, QuotaOptions};
use weir_operator::shell::client::ClientOptions;
use weir_operator::shell::metrics::{Metrics, MetricsOptions};
use weir_operator::shell::telemetry::{self, LogFormat, TelemetryOptions};

/// Options of `weir operator`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kubeconfig file; without it the pod's ServiceAccount, or else the kubeconfig that kubectl uses.
    #[arg(long, env = "WEIR_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig.
    #[arg(long)]
    context: Option<String>,
    /// Watch this namespace only; without it all of them.
    #[arg(long, env = "WEIR_NAMESPACE")]
    namespace: Option<String>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "WEIR_LISTEN", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,
    /// Whether a Lease decides which of several operators acts.
    #[arg(long, env = "WEIR_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,
    /// Namespace of the Lease; without it the operator's own.
    #[arg(long, env = "WEIR_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of the Lease.
    #[arg(long, default_value = "weir")]
    lease_name: String,
    /// Folder of policies with `source.file`; without it such sources are refused.
    #[arg(long, env = "WEIR_POLICY_DIR")]
    policy_dir: Option<PathBuf>,
    /// In which namespaces modules need a signature, whatever their WasmPolicy says: never, labelled
    /// (those with the label weir.dev/require-signatures=true) or all.
    #[arg(long, env = "WEIR_REQUIRE_SIGNATURES", default_value_t)]
    require_signatures: RequireSignatures,
    /// PEM file of public keys of which one must have signed where signatures are required; without it
    /// a key of the WasmPolicy's own spec.verification is enough.
    #[arg(long, env = "WEIR_TRUSTED_KEYS")]
    trusted_keys: Option<PathBuf>,
    /// Folder for compiled policies and for what was pulled from registries; only the operator may be
    /// able to write to it.
    #[arg(long, env = "WEIR_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// How long compiling one module may take.
    #[arg(long, default_value = "120s")]
    compile_timeout: weir_crds::Duration,
    /// Memory that compiling one module may take, on top of the operator's own and of the pod's limit.
    #[arg(long, default_value = "1280Mi")]
    compile_memory: weir_crds::Bytes,
    /// Largest number of modules that are compiled at one time; without it one for each two cores, at
    /// most four.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrent_compilations: Option<u16>,
    /// Image of the sidecar that lets a collector empty its queue before it ends, usually the
    /// operator's own; without it there is no sidecar.
    #[arg(long, env = "WEIR_AGENT_IMAGE")]
    agent_image: Option<String>,
    /// Serve gauges per object too: one series each for every LogProcessor.
    #[arg(long)]
    per_object_metrics: bool,
    /// Largest number of policy calls at once that are not known to be quick; without it one a core, at
    /// least 2.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=512))]
    decision_threads: Option<u16>,
    /// What each namespace may have of the operator: WasmPolicies with a running module, bytes of their
    /// compiled code, and processor time of policy calls in each second. What is left out stays as it is.
    #[arg(long, env = "WEIR_NAMESPACE_QUOTA", value_name = "PARTS", default_value = "policies=100,compiled=256Mi,decision=1s")]
    namespace_quota: Parts,
    /// The same for one namespace, as NAMESPACE=PARTS, for example team-a=policies=10,decision=1s; may be
    /// repeated. What is left out is as for all.
    #[arg(long, env = "WEIR_NAMESPACE_QUOTA_FOR", value_name = "NAMESPACE=PARTS", value_delimiter = ' ')]
    namespace_quota_for: Vec<PartsFor>,
    /// Largest number of API requests under way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_api_requests: u16,
    /// Log filter, for example `info,weir_operator=debug`; without it RUST_LOG, or else info.
    #[arg(long, env = "WEIR_LOG")]
    log: Option<String>,
    /// Form of the logs: text or json.
    #[arg(long, env = "WEIR_LOG_FORMAT", default_value = "json")]
    log_format: LogFormat,
    /// OTLP endpoint (gRPC) for spans; without it OTEL_EXPORTER_OTLP_ENDPOINT, or else none.
    #[arg(long)]
    otlp_endpoint: Option<String>,
    /// Share of ticks whose spans are exported, 0 to 1.
    #[arg(long, default_value_t = 0.01)]
    span_share: f64,
}

/// Runs the operator.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("weir").max_blocking_threads(decision_threads(&args) + 16).build()?;
    runtime.block_on(serve(args))
}

fn decision_threads(args: &Args) -> usize {
    args.decision_threads.map_or_else(|| std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 512)), usize::from)
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    let instance = std::env::var("POD_NAME").or_else(|_| std::env::var("HOSTNAME")).unwrap_or_else(|_| "weir".to_owned());
    let decision_threads = decision_threads(&args);
    let telemetry = telemetry::init(&TelemetryOptions {
        log: args.log,
        format: args.log_format,
        otlp_endpoint: args.otlp_endpoint,
        sampling_ratio: args.span_share,
        version,
        instance: instance.clone(),
    })?;
    let metrics = Metrics::new(MetricsOptions { version, per_object: args.per_object_metrics });
    let config = Config {
        client: ClientOptions { kubeconfig: args.kubeconfig, context: args.context, max_in_flight: usize::from(args.max_api_requests) },
        namespace: args.namespace,
        listen: args.listen,
        leader_elect: args.leader_elect,
        lease_namespace: args.lease_namespace,
        lease_name: args.lease_name,
        instance,
        policy_dir: args.policy_dir,
        signatures: SignaturePolicy {
            require: args.require_signatures,
            trusted_keys: args.trusted_keys.as_deref().map(trusted_keys).transpose()?.unwrap_or_default(),
        },
        compile: CompileOptions {
            // The running program, also when its file was replaced since.
            compiler: Compiler::Child(Program::weir("/proc/self/exe")),
            timeout: args.compile_timeout.as_std(),
            memory_bytes: args.compile_memory.get(),
            concurrent: args.concurrent_compilations.map(usize::from),
        },
        cache_dir: args.cache_dir,
        agent_image: args.agent_image,
        per_object_metrics: args.per_object_metrics,
        decision_threads,
        quotas: QuotaOptions::new(args.namespace_quota, args.namespace_quota_for),
    };
    let stop = CancellationToken::new();
    let mut operator = tokio::spawn(weir_operator::run(config, metrics, stop.clone()));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let result = tokio::select! {
        result = &mut operator => result,
        _ = terminate.recv() => { stop.cancel(); operator.await }
        _ = interrupt.recv() => { stop.cancel(); operator.await }
    };
    telemetry.flush();
    result??;
    Ok(ExitCode::SUCCESS)
}

fn trusted_keys(file: &Path) -> anyhow::Result<Vec<NamedKey>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("--trusted-keys {} can't be read", file.display()))?;
    let keys = PublicKey::parse_all(&text).with_context(|| format!("--trusted-keys {}", file.display()))?;
    Ok(keys.into_iter().map(|key| NamedKey { name: format!("trusted key {}", key.fingerprint()), key }).collect())
}
