//! The policies of the cluster and who uses them. Touches the network through [`runner`]; the
//! processors ask it at each decision, which costs a map lookup.

mod fetch;
mod keep;
mod rollout;
pub mod runner;
mod status;
pub mod trial;
pub mod trust;

use crate::shell::metrics::Metrics;
use crate::views::Selector;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use trial::Trial;
use weir_core::ids::ObjectRef;
use weir_crds::wasm_policy::SourceChoice;
use weir_crds::{PolicyRef, WasmPolicy, names};
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
    trial: RwLock<Option<Arc<Trial>>>,
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

    /// The new module on trial, if there is one.
    #[must_use]
    pub fn trial(&self) -> Option<Arc<Trial>> {
        self.trial.read().clone()
    }

    fn set_trial(&self, trial: Option<Arc<Trial>>) {
        *self.trial.write() = trial;
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
        self.wake_users();
    }

    /// Lets users decide at once, as many as may at one time.
    fn wake_users(&self) {
        for wake in self.users.lock().values().take(WOKEN_AT_SWAP) {
            wake.notify_one();
        }
    }

    /// ConfigMaps that the policy is made of: its module's, and those of keys.
    fn config_maps(spec: &WasmPolicy) -> BTreeSet<ObjectRef> {
        let namespace = spec.metadata.namespace.clone().unwrap_or_default();
        let module = match spec.spec.source.choice() {
            Some(SourceChoice::ConfigMap(source)) => Some(&source.name),
            _ => None,
        };
        let keys = spec.spec.verification.iter().flat_map(|wanted| wanted.cosign.iter().chain(&wanted.ed25519));
        let keys = keys.filter_map(|key| key.key_config_map_ref.as_ref().map(|reference| &reference.name));
        module.into_iter().chain(keys).map(|name| ObjectRef::new(namespace.clone(), name)).collect()
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
    /// One sentence with what to do; `field` is the one that refers to the policy.
    #[must_use]
    pub fn sentence(&self, field: &str) -> String {
        match self {
            Self::NotFound(object) => {
                format!("there is no WasmPolicy {} in namespace {}: create it or correct {field}", object.name, object.namespace)
            }
            Self::NotAllowed(object) => {
                format!("WasmPolicy {object} does not serve this namespace: have its spec.allowedNamespaces select it, or use a policy of this namespace")
            }
        }
    }
}

/// Whether the labels of a namespace demand signatures.
fn demands(labels: Option<&BTreeMap<String, String>>) -> bool {
    labels.and_then(|labels| labels.get(names::LABEL_REQUIRE_SIGNATURES)).map(String::as_str) == Some("true")
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
        let maps = Entry::config_maps(&policy);
        for map in &maps {
            self.by_config_map.write().entry(map.clone()).or_default().insert(object.clone());
        }
        if let Some(entry) = known {
            let before = Entry::config_maps(&entry.spec.borrow());
            self.forget_config_maps(before.difference(&maps), &object);
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
            trial: RwLock::default(),
            stop: CancellationToken::new(),
        });
        self.entries.write().insert(object, entry.clone());
        Applied::New(entry)
    }

    /// Forgets a WasmPolicy. Its users hold at their next decision.
    pub fn delete(&self, object: &ObjectRef) {
        let Some(entry) = self.entries.write().remove(object) else { return };
        entry.stop.cancel();
        let maps = Entry::config_maps(&entry.spec.borrow());
        self.forget_config_maps(maps.iter(), object);
        self.metrics.policy_gone(object);
        for wake in entry.users.lock().values() {
            wake.notify_one();
        }
    }

    fn forget_config_maps<'a>(&self, maps: impl Iterator<Item = &'a ObjectRef>, object: &ObjectRef) {
        let mut by_config_map = self.by_config_map.write();
        for map in maps {
            if let Some(users) = by_config_map.get_mut(map) {
                users.remove(object);
                if users.is_empty() {
                    by_config_map.remove(map);
                }
            }
        }
    }

    /// A ConfigMap changed or went: wakes the policies that come from it or take a key from it.
    pub fn config_map_changed(&self, map: &ObjectRef) {
        let Some(users) = self.by_config_map.read().get(map).cloned() else { return };
        for user in users {
            if let Some(entry) = self.entries.read().get(&user) {
                entry.seen.lock().get_or_insert_with(Instant::now);
                entry.source_changed.notify_one();
            }
        }
    }

    /// Takes the labels of a namespace in; `None`: it is gone. When it begins or ceases to demand
    /// signatures, its policies are looked at again.
    pub fn namespace(&self, name: &str, labels: Option<BTreeMap<String, String>>) {
        let after = labels.as_ref().map(|labels| demands(Some(labels)));
        let before = match labels {
            Some(labels) => self.namespaces.write().insert(name.to_owned(), labels),
            None => self.namespaces.write().remove(name),
        };
        if before.map(|labels| demands(Some(&labels))) != after {
            for entry in self.entries.read().values().filter(|entry| entry.object.namespace == name) {
                entry.source_changed.notify_one();
            }
        }
    }

    /// Whether a namespace demands signatures by its label; none while it is not known.
    #[must_use]
    pub fn demands_signatures(&self, namespace: &str) -> Option<bool> {
        self.namespaces.read().get(namespace).map(|labels| demands(Some(labels)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::metrics::MetricsOptions;
    use futures::FutureExt as _;
    use weir_crds::WasmPolicySpec;
    use weir_crds::wasm_policy::{ConfigMapKeyRef, Source, Verification, VerificationKey};
    use weir_engine::EngineConfig;

    fn policies() -> Policies {
        let engine = Engine::new(EngineConfig { concurrent_instances: 1, ..EngineConfig::default() }).unwrap();
        Policies::new(engine, Metrics::new(MetricsOptions { version: "0", per_object: false }))
    }

    fn policy(source: Source, key_from: Option<&str>) -> WasmPolicy {
        let reference = key_from.map(|name| ConfigMapKeyRef { name: name.to_owned(), key: "cosign.pub".to_owned() });
        let key = reference.map(|reference| VerificationKey { key_config_map_ref: Some(reference), ..VerificationKey::default() });
        let verification = key.map(|key| Verification { cosign: vec![key], ..Verification::default() });
        let mut policy = WasmPolicy::new("rule", WasmPolicySpec { source, verification, ..WasmPolicySpec::default() });
        policy.metadata.namespace = Some("team".to_owned());
        policy
    }

    fn entry(policies: &Policies, policy: WasmPolicy) -> Arc<Entry> {
        match policies.apply(ObjectRef::new("team", "rule"), policy) {
            Applied::New(entry) => entry,
            Applied::Known => panic!("it is new"),
        }
    }

    fn woken(entry: &Entry) -> bool {
        entry.source_changed.notified().now_or_never().is_some()
    }

    #[test]
    fn a_namespace_that_begins_to_demand_signatures_wakes_its_policies() {
        let policies = policies();
        let entry = entry(&policies, policy(Source::config_map("module", "policy.wasm"), None));
        let labels = |value: &str| Some(BTreeMap::from([(names::LABEL_REQUIRE_SIGNATURES.to_owned(), value.to_owned())]));
        assert_eq!(policies.demands_signatures("team"), None, "nobody knows yet");
        policies.namespace("other", labels("true"));
        assert!(!woken(&entry));
        policies.namespace("team", Some(BTreeMap::new()));
        assert_eq!((policies.demands_signatures("team"), woken(&entry)), (Some(false), true), "now it is known");
        policies.namespace("team", labels("false"));
        assert!(!woken(&entry), "nothing has changed");
        policies.namespace("team", labels("true"));
        assert_eq!((policies.demands_signatures("team"), woken(&entry)), (Some(true), true));
    }

    #[test]
    fn a_config_map_wakes_the_policies_whose_module_or_key_it_holds() {
        let policies = policies();
        let entry = entry(&policies, policy(Source::config_map("module", "policy.wasm"), Some("keys")));
        let changed = |name: &str| {
            policies.config_map_changed(&ObjectRef::new("team", name));
            woken(&entry)
        };
        assert_eq!((changed("module"), changed("keys"), changed("other")), (true, true, false));
        policies.apply(ObjectRef::new("team", "rule"), policy(Source::oci("r.example/a:1"), Some("keys")));
        assert_eq!((changed("module"), changed("keys")), (false, true));
        policies.apply(ObjectRef::new("team", "rule"), policy(Source::oci("r.example/a:1"), None));
        assert!(!changed("keys"));
    }
}
