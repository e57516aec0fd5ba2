//! Follows one namespace through watches, so that a test can wait for a state without asking for it
//! again and again, and knows when each change was seen.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use weir_crds::names::{LABEL_DRAINING, LABEL_PROCESSOR};
use weir_crds::{LogProcessor, WasmPolicy};

/// `spec.replicas` of a Deployment was seen to have changed.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// When.
    pub at: Instant,
    /// The Deployment.
    pub workload: String,
    /// What it asks for now.
    pub replicas: i32,
}

/// A pod was seen to be deleted, by its `deletionTimestamp`.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// When.
    pub at: Instant,
    /// The pod.
    pub pod: String,
    /// It had left the Service before.
    pub drained: bool,
}

/// What a namespace holds.
#[derive(Debug, Default)]
pub struct Seen {
    /// LogProcessors by name.
    pub processors: BTreeMap<String, LogProcessor>,
    /// WasmPolicies by name.
    pub policies: BTreeMap<String, WasmPolicy>,
    /// Deployments by name.
    pub deployments: BTreeMap<String, Deployment>,
    /// Pods by name.
    pub pods: BTreeMap<String, Pod>,
    /// Changes of replicas so far.
    pub scaled: Vec<Scaled>,
    /// Deletions of pods so far.
    pub deleted: Vec<Deleted>,
}

impl Seen {
    /// Pods of a LogProcessor that are not being deleted.
    pub fn pods_of(&self, processor: &str) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter(move |pod| label(pod, LABEL_PROCESSOR) == Some(processor) && pod.metadata.deletion_timestamp.is_none())
    }

    /// `spec.replicas` of a Deployment.
    #[must_use]
    pub fn replicas(&self, deployment: &str) -> Option<i32> {
        self.deployments.get(deployment)?.spec.as_ref()?.replicas
    }

    /// Status, reason and message of a condition of a LogProcessor.
    #[must_use]
    pub fn condition(&self, processor: &str, kind: &str) -> Option<(&str, &str, &str)> {
        let status = self.processors.get(processor)?.status.as_ref()?;
        let found = status.conditions.iter().find(|condition| condition.type_ == kind)?;
        Some((&found.status, &found.reason, &found.message))
    }
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.labels.as_ref()?.get(name).map(String::as_str)
}

/// True for a pod that has left its Service and waits for its queue to be empty.
#[must_use]
pub fn is_draining(pod: &Pod) -> bool {
    label(pod, LABEL_DRAINING) == Some("true")
}

/// True for a pod with the condition Ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The watches. They end when it is dropped.
pub struct Observer {
    seen: watch::Receiver<Seen>,
    _watches: JoinSet<()>,
}

impl Observer {
    /// Starts watching.
    ///
    /// # Errors
    /// The kubeconfig can't be used.
    pub async fn start(kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let client = client(kubeconfig).await?;
        let (sender, seen) = watch::channel(Seen::default());
        let mut watches = JoinSet::new();
        follow::<LogProcessor>(&mut watches, &client, namespace, &sender, |seen, name, object| {
            put(&mut seen.processors, name, object);
        });
        follow::<WasmPolicy>(&mut watches, &client, namespace, &sender, |seen, name, object| put(&mut seen.policies, name, object));
        follow::<Deployment>(&mut watches, &client, namespace, &sender, |seen, name, object| {
            let before = seen.replicas(name);
            put(&mut seen.deployments, name, object);
            if let Some(replicas) = seen.replicas(name).filter(|replicas| before != Some(*replicas)) {
                seen.scaled.push(Scaled { at: Instant::now(), workload: name.to_owned(), replicas });
            }
        });
        follow::<Pod>(&mut watches, &client, namespace, &sender, |seen, name, object| {
            let deleting = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
            if let Some(before) = seen.pods.get(name).filter(|before| !deleting(Some(before)))
                && (object.is_none() || deleting(object.as_ref()))
            {
                let drained = is_draining(before);
                seen.deleted.push(Deleted { at: Instant::now(), pod: name.to_owned(), drained });
            }
            put(&mut seen.pods, name, object);
        });
        Ok(Self { seen, _watches: watches })
    }

    /// What is seen now.
    pub fn now(&self) -> watch::Ref<'_, Seen> {
        self.seen.borrow()
    }

    /// A copy with its own place in the stream of changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Seen> {
        self.seen.clone()
    }

    /// Waits until `found` yields something.
    ///
    /// # Errors
    /// Not in time.
    pub async fn until<T>(&self, what: &str, within: Duration, found: impl Fn(&Seen) -> Option<T>) -> Result<T> {
        let mut seen = self.seen.clone();
        let waiting = async {
            loop {
                if let Some(value) = found(&seen.borrow_and_update()) {
                    return Ok(value);
                }
                seen.changed().await.context("the watches have ended")?;
            }
        };
        let waited = tokio::time::timeout(within, waiting).await;
        waited.unwrap_or_else(|_| Err(anyhow::anyhow!("timed out after {} s waiting until {what}", within.as_secs())))
    }
}

/// A client for a kubeconfig.
///
/// # Errors
/// The kubeconfig can't be used.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    // The first one of a process counts; which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let file = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(file, &kube::config::KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn put<K>(map: &mut BTreeMap<String, K>, name: &str, object: Option<K>) {
    match object {
        Some(object) => drop(map.insert(name.to_owned(), object)),
        None => drop(map.remove(name)),
    }
}

fn follow<K>(
    watches: &mut JoinSet<()>,
    client: &Client,
    namespace: &str,
    sender: &watch::Sender<Seen>,
    apply: impl Fn(&mut Seen, &str, Option<K>) + Send + 'static,
) where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let sender = sender.clone();
    watches.spawn(async move {
        let mut events = watcher::watcher(api, watcher::Config::default()).default_backoff().into_stream().boxed();
        loop {
            let object = match events.try_next().await {
                Ok(Some(Event::Apply(object) | Event::InitApply(object))) => (object, true),
                Ok(Some(Event::Delete(object))) => (object, false),
                Ok(Some(Event::Init | Event::InitDone)) => continue,
                // The watcher starts over by itself.
                Err(_) => continue,
                Ok(None) => return,
            };
            let (object, there) = object;
            let name = object.name_any();
            sender.send_modify(|seen| apply(seen, &name, there.then_some(object)));
        }
    });
}
