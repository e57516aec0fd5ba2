//! One cluster for all tests of a process, or of a whole test run.

use std::sync::OnceLock;

use anyhow::{Result, anyhow};

use crate::cluster::{Cluster, Level, Options};

static CONTROL_PLANE: OnceLock<Result<Cluster, String>> = OnceLock::new();
static NODES: OnceLock<Result<Cluster, String>> = OnceLock::new();

/// The cluster that this process's tests share: the one that the environment names
/// ([`Cluster::from_env`]), else one that is started at the first call and ends with the process.
///
/// A test takes a [`TestNamespace`](crate::TestNamespace) of it. Tests that kill parts start their own.
///
/// # Errors
/// When it cannot be started; then every call gives the same error.
pub fn shared(level: Level) -> Result<&'static Cluster> {
    let (cell, options) = match level {
        Level::ControlPlane => (&CONTROL_PLANE, Options::control_plane()),
        Level::Nodes(count) => (&NODES, Options::nodes(count)),
    };
    let cluster = cell.get_or_init(|| {
        let found = Cluster::from_env(level);
        let cluster = found.and_then(|found| found.map_or_else(|| Cluster::start(options), Ok));
        cluster.map_err(|error| format!("{error:#}"))
    });
    cluster.as_ref().map_err(|message| anyhow!("{message}"))
}
