//! `weir-loadgen model`.
use anyhow::Context;
use clap::Args;
use std::process::ExitCode;
use weir_loadgen::Profile;
use weir_loadgen::model::ModelConfig;
use weir_loadgen::model::server::{Platforms, router};

/// Settings of the model.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Serve /api/v1/query, /metrics, /replicas and /rate here.
    #[arg(long, default_value = "127.0.0.1:9009", env = "WEIR_LOADGEN_LISTEN")]
    listen: std::net::SocketAddr,
    /// Load over time; as for `send`.
    #[arg(long, default_value = "1000", env = "WEIR_LOADGEN_PROFILE")]
    profile: Profile,
    /// Records a second that one replica serves.
    #[arg(long, default_value_t = 10_000.0)]
    capacity: f64,
    /// Replicas ready at the start.
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// Most records that wait; beyond it they are refused.
    #[arg(long, default_value_t = 10_000_000.0)]
    max_backlog: f64,
}

/// Serves until a signal.
pub(crate) async fn run(args: ModelArgs) -> anyhow::Result<ExitCode> {
    let platforms =
        Platforms::new(ModelConfig { profile: args.profile, capacity_per_replica: args.capacity, replicas: args.replicas, max_backlog: args.max_backlog });
    let listener = tokio::net::TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!("model on http://{}", listener.local_addr()?);
    axum::serve(listener, router(platforms)).with_graceful_shutdown(super::interrupted()).await?;
    Ok(ExitCode::SUCCESS)
}
