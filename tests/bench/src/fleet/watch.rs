//! Sees replicas change: a watch of the Deployments that Weir owns, kept to a few numbers each.
//! Touches the API server.

use anyhow::{Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use weir_crds::names::LABEL_PROCESSOR;

use super::population::object_of;

#[derive(Clone, Copy, Default)]
struct Workload {
    replicas: u32,
    generation: i64,
}

struct Seen {
    workloads: Vec<Option<Workload>>,
    target: u32,
    reached: Vec<Instant>,
}

/// The watch. Ends when it is dropped.
pub(super) struct Watch {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Starts watching the workloads of that many objects.
    pub(super) fn start(client: Client, namespace: &str, objects: usize) -> Self {
        let seen = Arc::new(Mutex::new(Seen { workloads: vec![None; objects], target: u32::MAX, reached: Vec::new() }));
        let api: Api<Deployment> = Api::namespaced(client, namespace);
        let task = tokio::spawn(follow(api, seen.clone()));
        Self { seen, task }
    }

    /// Workloads that exist.
    pub(super) fn known(&self) -> usize {
        self.seen.lock().workloads.iter().flatten().count()
    }

    /// Generation of an object's workload.
    pub(super) fn generation(&self, object: usize) -> i64 {
        self.seen.lock().workloads.get(object).copied().flatten().map_or(0, |workload| workload.generation)
    }

    /// From now on it counts who gets to `target` replicas.
    pub(super) fn expect(&self, target: u32) {
        let mut seen = self.seen.lock();
        seen.target = target;
        seen.reached.clear();
    }

    /// When each object was seen to ask for the expected replicas; waits until all have been.
    pub(super) async fn reached(&self, within: Duration) -> Result<Vec<Instant>> {
        let begun = Instant::now();
        loop {
            let (count, all) = {
                let seen = self.seen.lock();
                (seen.reached.len(), seen.workloads.len())
            };
            if count >= all {
                return Ok(self.seen.lock().reached.clone());
            }
            if begun.elapsed() > within {
                bail!("only {count} of {all} objects had the expected replicas after {} s", within.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(api: Api<Deployment>, seen: Arc<Mutex<Seen>>) {
    let mut events = watcher::watcher(api, watcher::Config::default().labels(LABEL_PROCESSOR)).default_backoff().into_stream().boxed();
    loop {
        match events.try_next().await {
            Ok(Some(Event::Apply(deployment) | Event::InitApply(deployment))) => take(&seen, &deployment),
            Ok(Some(_)) => {}
            // The watcher starts over by itself.
            Err(error) => eprintln!("weir-bench: the watch of Deployments failed: {error}"),
            Ok(None) => return,
        }
    }
}

fn take(seen: &Mutex<Seen>, deployment: &Deployment) {
    let at = Instant::now();
    let Some(object) = deployment.metadata.name.as_deref().and_then(object_of) else { return };
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(0);
    let mut seen = seen.lock();
    let target = seen.target;
    let Some(workload) = seen.workloads.get_mut(object) else { return };
    let before = workload.map_or(0, |workload| workload.replicas);
    *workload = Some(Workload { replicas, generation: deployment.metadata.generation.unwrap_or(0) });
    if before < target && replicas >= target {
        seen.reached.push(at);
    }
}
