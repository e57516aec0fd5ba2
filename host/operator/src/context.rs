//! What all tasks of the operator share. Touches the clock; the rest is handles.

use crate::config::Config;
use crate::index::Index;
use crate::policies::Policies;
use crate::pool::Pool;
use crate::routing::Tables;
use crate::shell::events::Recorder;
use crate::shell::leader::Leadership;
use crate::shell::metrics::Metrics;
use crate::storage::index::StorageIndex;
use kube::Client;
use parking_lot::RwLock;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_core::ids::UnixMs;
use weir_engine::source::oci::OciRegistry;
use weir_intake::{HttpClients, Scraper};

/// Shared by all tasks.
pub struct Context {
    /// Options of the process.
    pub config: Config,
    /// The API server.
    pub client: Client,
    /// What the cluster looks like.
    pub index: RwLock<Index>,
    /// What it looks like to LogStorages.
    pub storages: RwLock<StorageIndex>,
    /// Policies and their users.
    pub policies: Policies,
    /// Routing tables and the LogProcessors that name them.
    pub tables: Tables,
    /// Registries that policies come from.
    pub registry: OciRegistry,
    /// Metrics out.
    pub metrics: Arc<Metrics>,
    /// Events out.
    pub events: Recorder,
    /// Metrics in.
    pub scraper: Scraper,
    /// Connections for metrics in.
    pub http: HttpClients,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// Places for policy calls that are not known to be quick.
    pub pool: Arc<Pool>,
    /// The place for policy calls beside the live ones: comparisons of trials, probes of a module that kept failing.
    pub beside: Arc<Semaphore>,
    /// Start of the process, zero of the monotonic clock.
    pub start: Instant,
    /// The process ends.
    pub stop: CancellationToken,
}

impl Context {
    /// Wall clock.
    #[must_use]
    pub fn now(&self) -> UnixMs {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
