//! What another process must know to use a running cluster: a file in the cluster's folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cluster::Level;

const FILE: &str = "cluster.json";

/// The contents of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) level: Level,
    pub(crate) nodes: Vec<NodeState>,
}

/// One real node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeState {
    pub(crate) name: String,
    /// The first process of the node's namespaces, as the machine numbers it; none while it is down.
    pub(crate) init_pid: Option<u32>,
}

impl State {
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| format!("no running cluster in {}", dir.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("encoding the cluster's state")?;
        let temporary = dir.join(".cluster.json.new");
        fs::write(&temporary, text).context("writing the cluster's state")?;
        fs::rename(&temporary, dir.join(FILE)).context("writing the cluster's state")
    }
}
