//! Kubernetes Events (`events.k8s.io/v1`), which `kubectl describe` shows. Touches the network; the
//! record step and the sources of policies publish through it.
//!
//! Publishing never waits: [`filter`] decides what is worth a write, a bounded queue holds it, a task
//! writes a few at a time. What does not fit is counted and gone, because the decision log and the
//! conditions say it too.
//!
//! Why not kube's own recorder: it takes all Events with one reason on one object for repetitions of
//! the first, so of `2 to 4` and `4 to 7` only the first would ever be read; and it has no bound.

pub mod filter;

use super::metrics::{EventOutcome, Metrics};
use filter::{Admission, Filter, Key};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
pub use kube::runtime::events::EventType;
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::debug;

/// `reportingController` of every Event.
const CONTROLLER: &str = "weir.dev/operator";
/// Most Events that wait to be written.
const QUEUE: usize = 4096;
/// Writes at one time: slow enough to leave the way free for applies.
const WRITERS: usize = 4;
/// Limits of the API, in bytes (`k8s.io/kubernetes/pkg/apis/events`, validation).
const NOTE: usize = 1024;
const WORD: usize = 128;
/// Longest part of an Event's name that is its object's: 253 less a dot and a time of 16 hex digits.
const NAME: usize = 253 - 17;

/// One write that waits.
#[derive(Debug)]
struct Write {
    key: Key,
    name: String,
    /// How often it was said; 1 for a new one.
    count: i32,
    at: Timestamp,
    regarding: ObjectReference,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    filter: Mutex<Filter>,
    instance: String,
    metrics: Arc<Metrics>,
}

/// Publishes Events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Write>,
}

/// Starts the task that writes. It ends when every [`Recorder`] is dropped, after writing what waits.
#[must_use]
pub fn start(client: Client, instance: impl AsRef<str>, metrics: Arc<Metrics>) -> (Recorder, JoinHandle<()>) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    let instance = cut(instance.as_ref(), WORD).to_owned();
    let shared = Arc::new(Shared { start: Instant::now(), filter: Mutex::default(), instance, metrics });
    let task = tokio::spawn(write_all(client, shared.clone(), waiting));
    (Recorder { shared, queue }, task)
}

impl Recorder {
    /// Says something about `regarding`, which [`kube::Resource::object_ref`] makes. `reason` is a
    /// stable CamelCase word, `action` what was done or tried, `note` a sentence for people; what is
    /// longer than the API allows is cut. Never waits.
    pub fn publish(&self, regarding: ObjectReference, type_: EventType, reason: &str, action: &'static str, note: impl AsRef<str>) {
        let object = identity(&regarding);
        let key = Key { object, type_, reason: cut(reason, WORD).to_owned(), action, note: cut(note.as_ref(), NOTE).to_owned() };
        let at = Timestamp::now();
        let new_name = || format!("{}.{:016x}", cut(regarding.name.as_deref().unwrap_or("weir"), NAME).trim_end_matches(['.', '-']), at.as_nanosecond());
        let shared = &self.shared;
        let mut filter = shared.filter.lock();
        let (name, count) = match filter.admit(shared.start.elapsed(), &key, new_name) {
            Admission::New => (filter.name(&key).unwrap_or_default().to_owned(), 1),
            Admission::Again { name, count } => (name, count),
            Admission::Repeated => return shared.metrics.event(EventOutcome::Repeated),
            Admission::Limited => return shared.metrics.event(EventOutcome::Limited),
        };
        if let Err(refused) = self.queue.try_send(Write { key, name, count, at, regarding }) {
            let (mpsc::error::TrySendError::Full(write) | mpsc::error::TrySendError::Closed(write)) = refused;
            filter.forget(&write.key);
            shared.metrics.event(EventOutcome::Dropped);
        }
    }
}

/// What tells the object from every other, also from an earlier one of the same name.
fn identity(regarding: &ObjectReference) -> String {
    regarding.uid.clone().unwrap_or_else(|| {
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        format!("{}/{}/{}", part(&regarding.kind), part(&regarding.namespace), part(&regarding.name))
    })
}

/// At most `most` bytes of `text`, whole characters.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

async fn write_all(client: Client, shared: Arc<Shared>, waiting: mpsc::Receiver<Write>) {
    let waiting = futures::stream::unfold(waiting, |mut waiting| async { waiting.recv().await.map(|write| (write, waiting)) });
    waiting
        .for_each_concurrent(WRITERS, |write| {
            let (client, shared) = (client.clone(), shared.clone());
            async move {
                let outcome = match send(client, &shared.instance, &write).await {
                    Ok(()) => EventOutcome::Written,
                    Err(error) => {
                        debug!(event = write.name, %error, "an Event was not written");
                        shared.filter.lock().forget(&write.key);
                        EventOutcome::Failed
                    }
                };
                shared.metrics.event(outcome);
            }
        })
        .await;
}

async fn send(client: Client, instance: &str, write: &Write) -> kube::Result<()> {
    let api = Api::<Event>::namespaced(client, write.regarding.namespace.as_deref().unwrap_or("default"));
    if write.count > 1 {
        let series = json!({ "series": { "count": write.count, "lastObservedTime": MicroTime(write.at) } });
        match api.patch(&write.name, &PatchParams::default(), &Patch::Merge(&series)).await {
            // The server forgets Events after an hour.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            done => return done.map(drop),
        }
    }
    api.create(&PostParams::default(), &event(instance, write)).await.map(drop)
}

fn event(instance: &str, write: &Write) -> Event {
    let type_ = match write.key.type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    Event {
        metadata: ObjectMeta {
            name: Some(write.name.clone()),
            namespace: Some(write.regarding.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        action: Some(write.key.action.to_owned()),
        event_time: Some(MicroTime(write.at)),
        note: Some(write.key.note.clone()),
        reason: Some(write.key.reason.clone()),
        regarding: Some(write.regarding.clone()),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(type_.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
