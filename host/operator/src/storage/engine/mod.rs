//! What is particular to a store: its program, its flags, what its metrics mean. Touches nothing. A second
//! store is one module and one arm in [`of`].

mod victoria_logs;

use serde_json::Value;
use std::time::Duration;
use weir_crds::log_storage::StorageEngineChoice;
use weir_intake::{Profile, Readings};

/// What a node says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Free bytes of its disk.
    pub disk_free: Option<f64>,
    /// Bytes that its records take.
    pub data_bytes: Option<f64>,
    /// Its disk takes no more records.
    pub read_only: bool,
}

impl Vitals {
    /// Share of the disk that is used, of what records can use.
    #[must_use]
    pub fn fill(&self) -> Option<f64> {
        let (free, data) = (self.disk_free?, self.data_bytes?);
        (free + data > 0.0).then(|| data / (free + data))
    }
}

/// A store that Weir can run.
pub trait StoreEngine: Send + Sync {
    /// Port on which nodes and the query endpoint listen.
    fn port(&self) -> u16;

    /// Path of the node's own metrics.
    fn metrics_path(&self) -> &'static str;

    /// The gauges that [`Self::vitals`] needs.
    fn profile(&self) -> Profile;

    /// What a node's metrics say.
    fn vitals(&self, profile: &Profile, readings: &Readings) -> Vitals;

    /// Path and query of the question how many bytes each partition got within the last `window`, asked of a node.
    fn weigh_query(&self, window: Duration) -> (&'static str, String);

    /// Adds what a node answered to that to the bytes of each partition.
    ///
    /// # Errors
    /// The answer can't be read.
    fn weigh(&self, answer: &[u8], bytes: &mut [f64]) -> Result<(), String>;

    /// Container of a storage node that keeps records for `retention` on the volume named `volume`.
    fn node(&self, retention: &str, volume: &str) -> Value;

    /// Container of the query endpoint over nodes, each as `host:port`.
    fn query(&self, nodes: &[String]) -> Value;

    /// Replicas of the query endpoint.
    fn query_replicas(&self) -> u32;

    /// What the pods of both have besides their container: images' secrets, where they may run.
    fn pod(&self) -> Value;
}

/// The engine of a spec.
#[must_use]
pub fn of(choice: StorageEngineChoice<'_>) -> Box<dyn StoreEngine> {
    match choice {
        StorageEngineChoice::VictoriaLogs(spec) => Box::new(victoria_logs::VictoriaLogs::new(spec)),
    }
}
