//! The policies of the cluster and who uses them. Touches the network through [`runner`]; the
//! processors ask it at each decision, which costs a map lookup.

mod keep;
pub mod runner;
mod status;

use crate::shell::metrics::Metrics;
use crate::views::Selector;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use weir_core::ids::ObjectRef;
use weir_crds::wasm_policy::SourceChoice;
use weir_crds::{PolicyRef, WasmPolicy};
use weir_engine::{Engine, Policy, PolicySlot};

/// At a swap, this many users decide at once; the others at their next tick, so that a policy with
/// thousands of users does not make them all measure at the same moment.
const WOKEN_AT_SWAP: usize = 64;

/// A decision that takes less is quick; most take a fiftieth of it.
const QUICK: Duration = Duration::from_millis(1);
/// Quick decisions after which a policy is trusted to be quick, at first and at most.
const TRUSTED_AFTER: u32 = 3;
const MOST_TRUSTED_AFTER: u32 = 100_000;

/// One WasmPolicy.
pub struct Entry {
    /// Which one.
    pub object: ObjectRef,
    /// What runs.
    pub slot: PolicySlot,
    spec: watch::Sender<Arc<WasmPolicy>>,
    source_changed: Notify,
    /// When the change of the source was seen that is being loaded.
    seen: Mutex<Option<Instant>>,
    users: Mutex<BTreeMap<ObjectRef, Arc<Notify>>>,
    users_changed: Notify,
    swaps: AtomicU64,
    /// A first load has ended, well or badly.
    tried: AtomicBool,
    /// Decisions of late that were quick, without one that was not.
    quick: AtomicU32,
    trusted_after: AtomicU32,
    stop: CancellationToken,
}

impl Entry {
    /// Objects that refer to it and may use it.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        u32::try_from(self.users.lock().len()).unwrap_or(u32::MAX)
    }

    /// Registers a user; its notify is woken at a swap.
    pub fn join(&self, user: &ObjectRef, decide_now: &Arc<Notify>) {
        if self.users.lock().insert(user.clone(), decide_now.clone()).is_none() {
            self.users_changed.notify_one();
        }
    }

    /// Forgets a user.
    pub fn leave(&self, user: &ObjectRef) {
        if self.users.lock().remove(user).is_some() {
            self.users_changed.notify_one();
        }
    }

    /// What runs.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Policy>> {
        self.slot.current()
    }

    /// Whether the next decision may be made on the thread that wants it, instead of one that is there
    /// for blocking work: the last ones were quick, and changing threads would cost as much as they did.
    /// A policy that is slow once has to be quick eight times as often before it is trusted again, so
    /// what one can hold up in all is little.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.quick.load(Ordering::Relaxed) >= self.trusted_after.load(Ordering::Relaxed)
    }

    /// Takes in how long a decision took.
    pub fn took(&self, elapsed: Duration) {
        if elapsed < QUICK {
            self.quick.fetch_add(1, Ordering::Relaxed);
        } else {
            self.quick.store(0, Ordering::Relaxed);
            let after = self.trusted_after.load(Ordering::Relaxed);
            self.trusted_after.store(after.saturating_mul(8).min(MOST_TRUSTED_AFTER), Ordering::Relaxed);
        }
    }

    /// True until a first load has ended.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        !self.tried.load(Ordering::Relaxed)
    }

    fn swapped(&self) {
        self.quick.store(0, Ordering::Relaxed);
        self.swaps.fetch_add(1, Ordering::Relaxed);
        for wake in self.users.lock().values().take(WOKEN_AT_SWAP) {
            wake.notify_one();
        }
    }

    fn config_map(spec: &WasmPolicy) -> Option<ObjectRef> {
        match spec.spec.source.choice() {
            Some(SourceChoice::ConfigMap(source)) => Some(ObjectRef::new(spec.metadata.namespace.clone().unwrap_or_default(), &source.name)),
            _ => None,
        }
    }
}

/// Why an object has no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no WasmPolicy of that name.
    NotFound(ObjectRef),
    /// It does not serve the namespace.
    NotAllowed(ObjectRef),
}

impl Unresolved {
    /// One sentence with what to do.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::NotFound(object) => {
                format!("there is no WasmPolicy {} in namespace {}: create it or correct spec.scaling.policyRef", object.name, object.namespace)
            }
            Self::NotAllowed(object) => {
                format!("WasmPolicy {object} does not serve this namespace: have its spec.allowedNamespaces select it, or use a policy of this namespace")
            }
        }
    }
}

/// All policies.
pub struct Policies {
    engine: Engine,
    entries: RwLock<HashMap<ObjectRef, Arc<Entry>>>,
    by_config_map: RwLock<HashMap<ObjectRef, BTreeSet<ObjectRef>>>,
    namespaces: RwLock<HashMap<String, BTreeMap<String, String>>>,
    metrics: Arc<Metrics>,
}

/// What became of an applied WasmPolicy.
pub enum Applied {
    /// It is new: start a runner for it.
    New(Arc<Entry>),
    /// Its runner has been told.
    Known,
}

impl Policies {
    /// None yet.
    #[must_use]
    pub fn new(engine: Engine, metrics: Arc<Metrics>) -> Self {
        Self { engine, entries: RwLock::default(), by_config_map: RwLock::default(), namespaces: RwLock::default(), metrics }
    }

    /// Bytes that a component may have.
    #[must_use]
    pub fn max_component_bytes(&self) -> u64 {
        self.engine.config().max_component_bytes
    }

    /// Takes a WasmPolicy in.
    pub fn apply(&self, object: ObjectRef, policy: WasmPolicy) -> Applied {
        let policy = Arc::new(policy);
        let known = self.entries.read().get(&object).cloned();
        if let Some(map) = Entry::config_map(&policy) {
            self.by_config_map.write().entry(map).or_default().insert(object.clone());
        }
        if let Some(entry) = known {
            let before = Entry::config_map(&entry.spec.borrow());
            if before != Entry::config_map(&policy) {
                self.forget_config_map(before, &object);
            }
            // A status write comes back as a change of the object: that is no news of the source.
            if entry.spec.borrow().metadata.generation != policy.metadata.generation {
                *entry.seen.lock() = Some(Instant::now());
            }
            entry.spec.send_replace(policy);
            return Applied::Known;
        }
        let entry = Arc::new(Entry {
            object: object.clone(),
            slot: PolicySlot::new(self.engine.clone()),
            spec: watch::channel(policy).0,
            source_changed: Notify::new(),
            seen: Mutex::new(Some(Instant::now())),
            users: Mutex::default(),
            users_changed: Notify::new(),
            swaps: AtomicU64::new(0),
            tried: AtomicBool::new(false),
            quick: AtomicU32::new(0),
            trusted_after: AtomicU32::new(TRUSTED_AFTER),
            stop: CancellationToken::new(),
        });
        self.entries.write().insert(object, entry.clone());
        Applied::New(entry)
    }

    /// Forgets a WasmPolicy. Its users hold at their next decision.
    pub fn delete(&self, object: &ObjectRef) {
        let Some(entry) = self.entries.write().remove(object) else { return };
        entry.stop.cancel();
        let map = Entry::config_map(&entry.spec.borrow());
        self.forget_config_map(map, object);
        self.metrics.policy_gone(object);
        for wake in entry.users.lock().values() {
            wake.notify_one();
        }
    }

    fn forget_config_map(&self, map: Option<ObjectRef>, object: &ObjectRef) {
        let Some(map) = map else { return };
        let mut by_config_map = self.by_config_map.write();
        if let Some(users) = by_config_map.get_mut(&map) {
            users.remove(object);
            if users.is_empty() {
                by_config_map.remove(&map);
            }
        }
    }

    /// A ConfigMap changed or went: wakes the policies that come from it.
    pub fn config_map_changed(&self, map: &ObjectRef) {
        let Some(users) = self.by_config_map.read().get(map).cloned() else { return };
        for user in users {
            if let Some(entry) = self.entries.read().get(&user) {
                entry.seen.lock().get_or_insert_with(Instant::now);
                entry.source_changed.notify_one();
            }
        }
    }

    /// Takes the labels of a namespace in; `None`: it is gone.
    pub fn namespace(&self, name: &str, labels: Option<BTreeMap<String, String>>) {
        match labels {
            Some(labels) => self.namespaces.write().insert(name.to_owned(), labels),
            None => self.namespaces.write().remove(name),
        };
    }

    /// The policy that an object in `namespace` refers to.
    ///
    /// # Errors
    /// There is none of that name, or it does not serve the namespace.
    pub fn resolve(&self, reference: &PolicyRef, namespace: &str) -> Result<Arc<Entry>, Unresolved> {
        let object = ObjectRef::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
        let Some(entry) = self.entries.read().get(&object).cloned() else { return Err(Unresolved::NotFound(object)) };
        if object.namespace == namespace {
            return Ok(entry);
        }
        let allowed = entry.spec.borrow().spec.allowed_namespaces.clone();
        let serves = allowed.is_some_and(|selector| {
            let everything = selector.match_labels.iter().flatten().next().is_none() && selector.match_expressions.iter().flatten().next().is_none();
            everything || self.namespaces.read().get(namespace).is_some_and(|labels| Selector::from(selector).matches(labels))
        });
        if serves { Ok(entry) } else { Err(Unresolved::NotAllowed(object)) }
    }
}
