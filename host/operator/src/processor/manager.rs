//! Starts and stops the actors. Touches nothing by itself. The watches tell it about objects; the
//! leader election tells it whether actors may run.

use super::actor;
use crate::context::Context;
use futures::FutureExt as _;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use weir_core::ids::ObjectRef;
use weir_crds::LogProcessor;

/// Wait before an actor is started again that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(5);

struct Entry {
    spec: watch::Sender<Arc<LogProcessor>>,
    wake: Arc<Notify>,
    running: Option<Running>,
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// All LogProcessors, and their actors while this process leads.
pub struct Manager {
    context: Arc<Context>,
    entries: Mutex<HashMap<ObjectRef, Entry>>,
    leading: std::sync::atomic::AtomicBool,
}

impl Manager {
    /// None yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, entries: Mutex::default(), leading: false.into() }
    }

    /// Takes a LogProcessor in.
    pub fn apply(&self, object: ObjectRef, processor: LogProcessor) {
        let mut entries = self.entries.lock();
        let processor = Arc::new(processor);
        let entry = entries.entry(object.clone()).or_insert_with(|| Entry { spec: watch::channel(processor.clone()).0, wake: Arc::default(), running: None });
        entry.spec.send_if_modified(|held| {
            // A status write comes back as a change; the actor knows what it wrote.
            let news = held.metadata.generation != processor.metadata.generation
                || held.metadata.uid != processor.metadata.uid
                || held.metadata.deletion_timestamp != processor.metadata.deletion_timestamp
                || held.metadata.annotations != processor.metadata.annotations;
            *held = processor.clone();
            news
        });
        if self.leading.load(std::sync::atomic::Ordering::SeqCst) && entry.running.is_none() {
            entry.running = Some(start(&self.context, &object, entry));
        }
    }

    /// A LogProcessor is gone.
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

    /// This process leads: all actors run.
    pub fn lead(&self) {
        if self.leading.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let mut entries = self.entries.lock();
        tracing::info!(log_processors = entries.len(), "leading: deciding from now on");
        for (object, entry) in entries.iter_mut().filter(|(_, entry)| entry.running.is_none()) {
            entry.running = Some(start(&self.context, object, entry));
        }
    }

    /// This process no longer leads: returns when no actor runs any more.
    pub async fn resign(&self) {
        if !self.leading.swap(false, std::sync::atomic::Ordering::SeqCst) {
            return;
        }
        let running: Vec<Running> = self.entries.lock().values_mut().filter_map(|entry| entry.running.take()).collect();
        for actor in &running {
            actor.stop.cancel();
        }
        for actor in running {
            let _ = actor.task.await;
        }
    }
}

fn start(context: &Arc<Context>, object: &ObjectRef, entry: &Entry) -> Running {
    let stop = CancellationToken::new();
    let (context, object, spec, wake, stopped) = (context.clone(), object.clone(), entry.spec.clone(), entry.wake.clone(), stop.clone());
    let task = tokio::spawn(async move {
        while !stopped.is_cancelled() {
            let actor = actor::run(context.clone(), object.clone(), spec.subscribe(), wake.clone(), stopped.clone());
            if AssertUnwindSafe(actor).catch_unwind().await.is_ok() {
                return;
            }
            context.metrics.actor_panicked();
            tracing::error!(object = %object, "the actor of this LogProcessor panicked and is started again; this is a fault of Weir, please report it");
            tokio::select! {
                () = stopped.cancelled() => {}
                () = tokio::time::sleep(AFTER_PANIC) => {}
            }
        }
    });
    Running { stop, task }
}
