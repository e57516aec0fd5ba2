//! What is offered to the platform: records over the network, or a model of them where pods are fake.

use anyhow::{Context as _, Result};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse as _;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_e2e::http;
use weir_loadgen::model::ModelConfig;
use weir_loadgen::model::server::{Platforms, router};
use weir_loadgen::{Profile, Report, Sender, SenderConfig, SenderHandle};

/// An ordinary day in four minutes, beginning at six in the morning.
pub(crate) const DAY: &str = "day:low=120,peak=260,length=4m,start=6h";

/// The load.
pub(crate) enum Load {
    /// gRPC clients in this process, each with a connection of its own.
    Sent(SenderHandle),
    /// A Prometheus server that answers what such a load would look like.
    Modelled(Model),
}

/// The model and its server.
pub(crate) struct Model {
    address: SocketAddr,
    silent: Arc<AtomicBool>,
}

impl Load {
    /// Starts sending to a Service.
    ///
    /// # Errors
    /// A setting that can't work.
    pub(crate) fn send(run: &str, target: &str) -> Result<Self> {
        let config = SenderConfig {
            connections: 12,
            streams: 12,
            skew: 0.5,
            in_flight: 2,
            profile: DAY.parse().context("the day's profile")?,
            ..SenderConfig::new(run, vec![target.parse()?])
        };
        Ok(Self::Sent(Sender::start(config)?))
    }

    /// Starts the model with its server on a free port.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) async fn model() -> Result<Self> {
        let profile: Profile = DAY.parse().context("the day's profile")?;
        let silent = Arc::new(AtomicBool::new(false));
        let is_silent = silent.clone();
        let unless_silent = from_fn(move |request: Request, next: Next| {
            let refuse = is_silent.load(Ordering::Relaxed) && request.uri().path() == "/api/v1/query";
            async move { if refuse { StatusCode::SERVICE_UNAVAILABLE.into_response() } else { next.run(request).await } }
        });
        let routes = router(Platforms::new(ModelConfig { profile, capacity_per_replica: 500.0, replicas: 1, max_backlog: 1e6 })).layer(unless_silent);
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self::Modelled(Model { address, silent }))
    }

    /// Follows another profile from now on.
    ///
    /// # Errors
    /// It is none, or the model does not answer.
    pub(crate) fn follow(&self, profile: &str) -> Result<()> {
        match self {
            Self::Sent(handle) => handle.set_profile(profile.parse().context("a profile")?),
            Self::Modelled(model) => {
                let change = match profile.parse::<f64>() {
                    Ok(rate) => json!({ "records_per_second": rate }),
                    Err(_) => json!({ "profile": profile }),
                };
                let (status, answer) = http::post(model.address, "/rate", &change)?;
                anyhow::ensure!(status < 300, "the model answers {status}: {answer}");
            }
        }
        Ok(())
    }

    /// Records/s that are offered now; 0 when nobody says.
    #[must_use]
    pub(crate) fn offered(&self) -> f64 {
        match self {
            Self::Sent(handle) => handle.snapshot().target_records_per_second,
            Self::Modelled(model) => {
                let body = http::get(model.address, "/metrics").map(|(_, body)| body).unwrap_or_default();
                http::sum(&body, "weir_model_offered", "").unwrap_or(0.0)
            }
        }
    }

    /// Stops, and gives the account of what was sent; `None` for a model.
    pub(crate) async fn finish(&self) -> Option<Report> {
        match self {
            Self::Sent(handle) => Some(handle.stop().await),
            Self::Modelled(_) => None,
        }
    }
}

impl Model {
    /// Where it is asked.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops answering queries, or answers again.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// Says how many replicas serve.
    ///
    /// # Errors
    /// The server does not answer.
    pub(crate) fn ready(&self, replicas: usize) -> Result<()> {
        http::post(self.address, "/replicas", &json!({ "ready": replicas })).map(drop)
    }
}
