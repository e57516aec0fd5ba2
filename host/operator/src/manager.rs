//! Starts and stops the actors of one kind of object. Touches nothing by itself. The watches tell it about objects; the
//! leader election tells it whether actors may run. Actors that lose the leadership pause: when this
//! process gets it back before anybody else had it, they go on with all that they know.

use crate::context::Context;
use futures::FutureExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use weir_core::ids::ObjectRef;

/// Wait before an actor is started again that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(5);

struct Entry<K> {
    spec: watch::Sender<Arc<K>>,
    wake: Arc<Notify>,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// A kind of object of which each has an actor.
pub trait Acts: Resource<DynamicType = ()> + Send + Sync + Sized + 'static {
    /// Runs until stopped or the object is gone.
    fn act(
        context: Arc<Context>,
        object: ObjectRef,
        spec: watch::Receiver<Arc<Self>>,
        wake: Arc<Notify>,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send;
}

/// All objects of a kind, and their actors while this process leads.
pub struct Manager<K> {
    context: Arc<Context>,
    entries: Mutex<HashMap<ObjectRef, Entry<K>>>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No actor runs.
    Idle,
    Leading {
        term: i32,
    },
    /// The leadership of this term was lost.
    Paused {
        term: i32,
    },
}

impl<K: Acts> Manager<K> {
    /// None yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, entries: Mutex::default(), state: Mutex::new(State::Idle) }
    }

    /// Takes an object in.
    pub fn apply(&self, object: ObjectRef, resource: K) {
        let mut entries = self.entries.lock();
        let resource = Arc::new(resource);
        let entry = entries.entry(object.clone()).or_insert_with(|| Entry { spec: watch::channel(resource.clone()).0, wake: Arc::default(), running: None });
        entry.spec.send_if_modified(|held| {
            let news = is_news(held.meta(), resource.meta());
            *held = resource.clone();
            news
        });
        if matches!(*self.state.lock(), State::Leading { .. }) && entry.running.is_none() {
            entry.running = Some(start(&self.context, &object, entry));
        }
    }

    /// An object is gone.
    pub fn delete(&self, object: &ObjectRef) {
        if let Some(entry) = self.entries.lock().remove(object)
            && let Some(running) = entry.running
        {
            running.stop.cancel();
        }
    }

    /// Tells actors that something of theirs changed.
    pub fn wake(&self, objects: &[ObjectRef]) {
        if objects.is_empty() {
            return;
        }
        let entries = self.entries.lock();
        for entry in objects.iter().filter_map(|object| entries.get(object)) {
            entry.wake.notify_one();
        }
    }

    /// This process leads: all actors run. Those of an earlier `term` begin anew, because others may
    /// have decided since.
    pub async fn lead(&self, term: i32) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Leading { term });
        match before {
            State::Leading { term: known } if known == term => return,
            State::Paused { term: known } if known == term => tracing::info!("leading again: deciding goes on where it was"),
            State::Leading { .. } | State::Paused { .. } => self.end_all().await,
            State::Idle => {}
        }
        let mut entries = self.entries.lock();
        tracing::info!(kind = %K::kind(&()), objects = entries.len(), term, "leading: deciding from now on");
        for (object, entry) in entries.iter_mut().filter(|(_, entry)| entry.running.is_none()) {
            entry.running = Some(start(&self.context, object, entry));
        }
    }

    /// This process does not lead at the moment. Actors see that by themselves.
    pub fn pause(&self) {
        let mut state = self.state.lock();
        if let State::Leading { term } = *state {
            *state = State::Paused { term };
        }
    }

    /// True while actors wait for the leadership to come back.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        matches!(*self.state.lock(), State::Paused { .. })
    }

    /// This process does not lead, nor will it soon: returns when no actor runs any more.
    pub async fn resign(&self) {
        *self.state.lock() = State::Idle;
        self.end_all().await;
    }

    async fn end_all(&self) {
        let running: Vec<Running> = self.entries.lock().values_mut().filter_map(|entry| entry.running.take()).collect();
        for actor in &running {
            actor.stop.cancel();
        }
        for actor in running {
            let _ = actor.task.await;
        }
    }
}

/// Whether the newest definition asks an actor for anything. A status write comes back as a change, too; the
/// actor knows what it wrote.
pub(crate) fn is_news(held: &ObjectMeta, newest: &ObjectMeta) -> bool {
    held.generation != newest.generation
        || held.uid != newest.uid
        || held.deletion_timestamp != newest.deletion_timestamp
        || held.annotations != newest.annotations
}

/// Waits until this process leads; true: the actor was stopped meanwhile.
pub(crate) async fn stopped_before_leading(context: &Context, stop: &CancellationToken) -> bool {
    let leads = async {
        // What is told may be a moment behind what is true.
        tokio::time::sleep(Duration::from_millis(20)).await;
        context.leadership.wait_for_leadership().await;
    };
    tokio::select! {
        () = stop.cancelled() => true,
        () = leads => false,
    }
}

fn start<K: Acts>(context: &Arc<Context>, object: &ObjectRef, entry: &Entry<K>) -> Running {
    let stop = CancellationToken::new();
    let (context, object, spec, wake, stopped) = (context.clone(), object.clone(), entry.spec.clone(), entry.wake.clone(), stop.clone());
    let task = tokio::spawn(async move {
        while !stopped.is_cancelled() {
            // Boxed, because the two futures around it would each hold room for it.
            let actor = Box::pin(K::act(context.clone(), object.clone(), spec.subscribe(), wake.clone(), stopped.clone()));
            if AssertUnwindSafe(actor).catch_unwind().await.is_ok() {
                return;
            }
            context.metrics.actor_panicked();
            tracing::error!(object = %object, "the actor of this object panicked and is started again; this is a fault of Weir, please report it");
            tokio::select! {
                () = stopped.cancelled() => {}
                () = tokio::time::sleep(AFTER_PANIC) => {}
            }
        }
    });
    Running { stop, task }
}
