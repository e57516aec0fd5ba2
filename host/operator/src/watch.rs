//! Follows one kind of object. Touches the network; called by [`crate::run`].
//!
//! A watch that has to list again (after a break, or when the server has forgotten the version)
//! tells which objects have gone meanwhile. An object that does not parse is reported and left out:
//! it must not stop the watch of its whole kind, so our own kinds are followed as plain JSON.

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;
pub use weir_core::errors::chain;
use weir_core::ids::ObjectRef;

/// What a watch says.
pub enum Change<K> {
    /// The object is there and looks like this.
    Applied(K),
    /// The object is gone.
    Deleted(ObjectRef),
}

/// Which watches have listed everything once.
#[derive(Clone, Default)]
pub struct Synced {
    waiting: Arc<Mutex<Vec<&'static str>>>,
    changed: Arc<tokio::sync::Notify>,
}

impl Synced {
    fn expect(&self, kind: &'static str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(kind);
    }

    fn done(&self, kind: &'static str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).retain(|waiting| *waiting != kind);
        self.changed.notify_waiters();
    }

    /// Kinds that have not been listed yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns when every kind has been listed once.
    pub async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            if self.missing().is_empty() {
                return;
            }
            changed.await;
        }
    }
}

/// Namespace and name of an object's metadata; cluster-scoped objects have an empty namespace.
#[must_use]
pub fn object_ref(meta: &ObjectMeta) -> ObjectRef {
    ObjectRef::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Starts to follow a kind, or as `PartialObjectMeta<K>` only its metadata: names, labels and versions,
/// without the contents. `handle` is called in order, and must not block.
pub fn follow<K>(
    kind: &'static str,
    api: Api<K>,
    config: watcher::Config,
    synced: &Synced,
    stop: CancellationToken,
    handle: impl FnMut(Change<K>) + Send + 'static,
) -> tokio::task::JoinHandle<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Clone + Default,
{
    synced.expect(kind);
    let synced = synced.clone();
    tokio::spawn(async move {
        let stream = watch(api, config);
        tokio::select! {
            () = stop.cancelled() => {}
            () = drive(kind, stream, synced, handle) => {}
        }
    })
}

async fn drive<K: Resource>(
    kind: &'static str,
    stream: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send,
    synced: Synced,
    mut handle: impl FnMut(Change<K>),
) {
    let mut known: HashSet<ObjectRef> = HashSet::new();
    let mut listed: HashSet<ObjectRef> = HashSet::new();
    let failing = AtomicBool::new(false);
    let mut stream = std::pin::pin!(stream.default_backoff());
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                listed.insert(object_ref(object.meta()));
                handle(Change::Applied(object));
            }
            Ok(Event::InitDone) => {
                for gone in known.difference(&listed) {
                    handle(Change::Deleted(gone.clone()));
                }
                known = std::mem::take(&mut listed);
                synced.done(kind);
                if failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(kind, "the watch works again");
                }
            }
            Ok(Event::Apply(object)) => {
                known.insert(object_ref(object.meta()));
                handle(Change::Applied(object));
            }
            Ok(Event::Delete(object)) => {
                let gone = object_ref(object.meta());
                known.remove(&gone);
                handle(Change::Deleted(gone));
            }
            Err(error) => {
                if !failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(kind, error = %chain(&error), "the watch failed and is tried again");
                }
            }
        }
    }
}
