//! The policies of the cluster and who uses them. Touches the network through [`runner`]; the
//! processors ask it at each decision, which costs a map lookup.

pub mod circuit;
mod entry;
mod fallback;
mod fetch;
mod keep;
mod loading;
mod rollout;
mod room;
pub mod runner;
mod sources;
mod status;
pub mod trial;
pub mod trust;

pub use circuit::{Chosen, Circuit};
pub use entry::Entry;
pub use loading::limits;

use crate::groups::Groups;
use crate::quota::Quotas;
use crate::shell::metrics::Metrics;
use crate::views::Selector;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;
use weir_core::ids::ObjectRef;
use weir_crds::{PolicyRef, WasmPolicy, names};
use weir_engine::Engine;

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
    by_config_map: RwLock<Groups<ObjectRef, ObjectRef>>,
    namespaces: RwLock<HashMap<String, BTreeMap<String, String>>>,
    /// What each namespace may have, and has.
    pub quotas: Quotas,
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
    pub fn new(engine: Engine, quotas: Quotas, metrics: Arc<Metrics>) -> Self {
        Self { engine, entries: RwLock::default(), by_config_map: RwLock::default(), namespaces: RwLock::default(), quotas, metrics }
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
            self.by_config_map.write().insert(map.clone(), object.clone(), ());
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
        let entry = Arc::new(Entry::new(object.clone(), policy, self.engine.clone()));
        self.quotas.enrol(&object.namespace, &entry.place);
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
        if self.quotas.remove(&object.namespace, &entry.place) {
            self.made_room(&object.namespace);
        }
        for wake in entry.users.lock().values() {
            wake.notify_one();
        }
    }

    fn forget_config_maps<'a>(&self, maps: impl Iterator<Item = &'a ObjectRef>, object: &ObjectRef) {
        let mut by_config_map = self.by_config_map.write();
        for map in maps {
            by_config_map.remove(map, object);
        }
    }

    /// A ConfigMap changed or went: wakes the policies that come from it or take a key from it.
    pub fn config_map_changed(&self, map: &ObjectRef) {
        let users: Vec<ObjectRef> = self.by_config_map.read().of(map).map(|(user, ())| user.clone()).collect();
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
            None => {
                self.quotas.forget(name);
                self.namespaces.write().remove(name)
            }
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
            everything
                || self.namespaces.read().get(namespace).is_some_and(|labels| Selector::from(&selector).matches(|key| labels.get(key).map(String::as_str)))
        });
        if serves { Ok(entry) } else { Err(Unresolved::NotAllowed(object)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::QuotaOptions;
    use crate::shell::metrics::MetricsOptions;
    use futures::FutureExt as _;
    use weir_crds::WasmPolicySpec;
    use weir_crds::wasm_policy::{ConfigMapKeyRef, Source, Verification, VerificationKey};
    use weir_engine::EngineConfig;

    fn policies() -> Policies {
        let engine = Engine::new(EngineConfig { concurrent_instances: 1, ..EngineConfig::default() }).unwrap();
        let metrics = Metrics::new(MetricsOptions { version: "0", per_object: false });
        Policies::new(engine, Quotas::new(QuotaOptions::default(), metrics.clone()), metrics)
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
    #[test]
    fn a_policy_that_goes_wakes_those_that_found_no_room() {
        let metrics = Metrics::new(MetricsOptions { version: "0", per_object: false });
        let options = QuotaOptions::new("policies=1".parse().unwrap(), Vec::new());
        let engine = Engine::new(EngineConfig { concurrent_instances: 1, ..EngineConfig::default() }).unwrap();
        let policies = Policies::new(engine, Quotas::new(options, metrics.clone()), metrics);
        let apply = |namespace: &str, name: &str| match policies.apply(ObjectRef::new(namespace, name), policy(Source::builtin("threshold"), None)) {
            Applied::New(entry) => entry,
            Applied::Known => panic!("it is new"),
        };
        let (first, second, elsewhere) = (apply("team", "a"), apply("team", "b"), apply("other", "a"));
        let room = |entry: &Entry| policies.quotas.room(&entry.object.namespace, &entry.place);
        assert_eq!((room(&first).is_ok(), room(&second).is_ok(), room(&elsewhere).is_ok()), (true, false, true));
        for waiting in [&second, &elsewhere] {
            waiting.awaits_room.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        policies.delete(&first.object);
        assert_eq!((woken(&second), woken(&elsewhere), room(&second).is_ok()), (true, false, true));
    }
}
