//! The RoutingTables of the cluster and the LogProcessors that name them.
//!
//! ```text
//! RoutingTable, its parts, maps of its storages ─ compile ─▶ ConfigMap ─▶ status (version) ─▶ published
//! published ─▶ actor of each LogProcessor that names it: check, roll out, confirm, put back
//! ```
//!
//! A version is written down before the first collector gets it, so no two tables ever have the same one.
//!
//! | module | what it is | may touch |
//! |---|---|---|
//! | [`source`] | a RoutingTable as the core compiles it | nothing |
//! | [`maps`] | the map of a storage | network |
//! | [`keep`] | compiled tables in ConfigMaps | network |
//! | [`actor`] | one task per RoutingTable: compiles, keeps, publishes | network |
//! | [`status`] | what the object says | network |

pub mod actor;
mod keep;
mod maps;
mod source;
mod status;

use crate::build::Routed;
use crate::manager::is_news;
use crate::storage::build::map_name;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use weir_core::ids::ObjectRef;
use weir_core::routing::Refusal;
use weir_crds::RoutingTable;

/// What a LogProcessor that names a table gets.
#[derive(Clone, Debug)]
pub enum Published {
    /// There is no such table.
    NotFound,
    /// Not known yet.
    Starting,
    /// No version of it could be compiled yet: why.
    Refused(String),
    /// It is part of another one.
    PartOf(String),
    /// The table.
    Ready(Arc<Routed>),
}

/// How one LogProcessor fares with its table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Replicas that should run it.
    pub desired: u32,
    /// Replicas whose own metrics name version and hash of the newest table; `None`: they are not measured.
    pub confirmed: Option<u32>,
    /// Reason and sentence, when its collectors refused the table or it was taken back.
    pub trouble: Option<(String, String)>,
}

/// What the table that a part belongs to made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    generation: Option<i64>,
    refusal: Option<Refusal>,
    rules: u32,
    warnings: Vec<String>,
}

/// One RoutingTable.
pub struct Entry {
    /// Which one.
    pub object: ObjectRef,
    spec: watch::Sender<Arc<RoutingTable>>,
    /// Its spec, one of its parts or one of its maps changed.
    recompile: Notify,
    /// Something that its status tells changed.
    tell: Notify,
    /// Storages whose maps it was compiled from.
    storages: Mutex<BTreeSet<String>>,
    /// Of a part.
    verdict: Mutex<Option<Verdict>>,
    stop: CancellationToken,
}

impl Entry {
    fn table(&self) -> Arc<RoutingTable> {
        self.spec.borrow().clone()
    }

    fn parent(&self) -> Option<ObjectRef> {
        parent(&self.object, &self.table())
    }
}

fn parent(object: &ObjectRef, table: &RoutingTable) -> Option<ObjectRef> {
    table.spec.parent_ref.as_ref().map(|parent| ObjectRef::new(object.namespace.clone(), parent.name.clone()))
}

/// All RoutingTables, and what LogProcessors say about them.
#[derive(Default)]
pub struct Tables {
    entries: Mutex<HashMap<ObjectRef, Arc<Entry>>>,
    /// Also for tables that do not exist: LogProcessors may name them first.
    published: Mutex<HashMap<ObjectRef, watch::Sender<Published>>>,
    usages: Mutex<HashMap<ObjectRef, BTreeMap<ObjectRef, Usage>>>,
}

impl Tables {
    /// Takes a RoutingTable in; one that is new needs a task.
    pub fn apply(&self, object: ObjectRef, table: RoutingTable) -> Option<Arc<Entry>> {
        let table = Arc::new(table);
        let known = self.entries.lock().get(&object).cloned();
        let Some(entry) = known else {
            let entry = Arc::new(Entry {
                object: object.clone(),
                spec: watch::channel(table).0,
                recompile: Notify::new(),
                tell: Notify::new(),
                storages: Mutex::default(),
                verdict: Mutex::default(),
                stop: CancellationToken::new(),
            });
            self.entries.lock().insert(object.clone(), entry.clone());
            self.publish(&object, Published::Starting);
            self.wake_family(&object, entry.parent());
            return Some(entry);
        };
        let before = entry.table();
        let news = is_news(&before.metadata, &table.metadata);
        entry.spec.send_replace(table);
        if news {
            entry.recompile.notify_one();
            self.wake_family(&object, parent(&object, &before));
            self.wake_family(&object, entry.parent());
        }
        None
    }

    /// A RoutingTable is gone.
    pub fn delete(&self, object: &ObjectRef) {
        let Some(entry) = self.entries.lock().remove(object) else { return };
        entry.stop.cancel();
        self.publish(object, Published::NotFound);
        self.wake_family(object, entry.parent());
    }

    /// Wakes the table that `object` is part of, and those that are part of `object`.
    fn wake_family(&self, object: &ObjectRef, parent: Option<ObjectRef>) {
        for (other, entry) in self.entries.lock().iter() {
            if Some(other) == parent.as_ref() || entry.parent().as_ref() == Some(object) {
                entry.recompile.notify_one();
            }
        }
    }

    /// A ConfigMap changed: it may be the map of a storage.
    pub fn config_map_changed(&self, map: &ObjectRef) {
        for entry in self.entries.lock().values().filter(|entry| entry.object.namespace == map.namespace) {
            if entry.storages.lock().iter().any(|storage| map_name(storage) == map.name) {
                entry.recompile.notify_one();
            }
        }
    }

    /// Follows what is published of a table, whether it exists or not.
    #[must_use]
    pub fn follow(&self, table: &ObjectRef) -> watch::Receiver<Published> {
        self.published.lock().entry(table.clone()).or_insert_with(|| watch::channel(Published::NotFound).0).subscribe()
    }

    /// What a LogProcessor says of its table; `None`: it names it no more.
    pub fn report(&self, table: &ObjectRef, processor: &ObjectRef, usage: Option<Usage>) {
        let mut usages = self.usages.lock();
        let all = usages.entry(table.clone()).or_default();
        let changed = match usage {
            Some(usage) => all.insert(processor.clone(), usage.clone()) != Some(usage),
            None => all.remove(processor).is_some(),
        };
        if all.is_empty() {
            usages.remove(table);
        }
        drop(usages);
        if changed && let Some(entry) = self.entries.lock().get(table) {
            entry.tell.notify_one();
        }
    }

    fn publish(&self, table: &ObjectRef, news: Published) {
        let mut published = self.published.lock();
        let sender = published.entry(table.clone()).or_insert_with(|| watch::channel(Published::NotFound).0);
        sender.send_if_modified(|held| {
            let same = match (&*held, &news) {
                (Published::Ready(held), Published::Ready(news)) => held.version == news.version && held.hash == news.hash,
                (Published::Refused(held), Published::Refused(news)) | (Published::PartOf(held), Published::PartOf(news)) => held == news,
                (Published::NotFound, Published::NotFound) | (Published::Starting, Published::Starting) => true,
                _ => false,
            };
            *held = news;
            !same
        });
    }

    fn get(&self, object: &ObjectRef) -> Option<Arc<Entry>> {
        self.entries.lock().get(object).cloned()
    }

    fn parts_of(&self, object: &ObjectRef) -> Vec<Arc<Entry>> {
        self.entries.lock().values().filter(|entry| entry.parent().as_ref() == Some(object)).cloned().collect()
    }

    fn usages_of(&self, table: &ObjectRef) -> BTreeMap<ObjectRef, Usage> {
        self.usages.lock().get(table).cloned().unwrap_or_default()
    }
}
