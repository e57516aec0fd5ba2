//! A namespace for one test, so that tests can share a cluster.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::wait::wait_until;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A fresh namespace, deleted when dropped (without waiting for it to be gone).
#[derive(Debug)]
pub struct TestNamespace {
    name: String,
    kubectl: Kubectl,
}

impl TestNamespace {
    /// Creates a namespace whose name starts with `prefix` and waits until pods can be made in it.
    ///
    /// # Errors
    /// When the API server refuses, or the controllers do not give it a service account.
    pub fn create(cluster: &Cluster, prefix: &str) -> Result<Self> {
        let name = unique(prefix);
        let kubectl = cluster.kubectl();
        kubectl.run(["create", "namespace", &name])?;
        let namespace = Self { kubectl: kubectl.in_namespace(&name), name };
        // A pod made before its service account exists is refused.
        wait_until("the namespace's service account", Duration::from_secs(30), || namespace.kubectl.run(["get", "serviceaccount", "default"]).map(Some))?;
        Ok(namespace)
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        let _ = self.kubectl.run(["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// Unique among the tests of one process, among processes, and over time on a cluster that stays.
fn unique(prefix: &str) -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{:x}-{:x}-{count}", seconds & 0xff_ffff, process::id())
}

#[cfg(test)]
mod tests {
    use super::unique;

    #[test]
    fn names_are_unique_and_valid() {
        let (a, b) = (unique("some-test"), unique("some-test"));
        assert_ne!(a, b);
        assert!(a.len() < 63 && a.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{a}");
    }
}
