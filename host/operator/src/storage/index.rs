//! What the cluster looks like to LogStorages: a synchronous index fed by the watches. Touches nothing; the
//! watches call `apply_*` and `delete_*`, the actors read members. See [`crate::index`].

use crate::views::{PodView, mark};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_core::ids::ObjectRef;
use weir_crds::names;

/// A StatefulSet of storage nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetView {
    /// `spec.replicas`.
    pub replicas: u32,
    /// Size of the volumes that new pods get.
    pub claim_size: Option<String>,
}

/// What belongs to one LogStorage.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Pods of its nodes by name.
    pub pods: BTreeMap<Arc<str>, Arc<PodView>>,
    /// Its StatefulSets by name.
    pub sets: BTreeMap<String, SetView>,
}

/// The index. All methods are short and do no IO.
#[derive(Default)]
pub struct StorageIndex {
    storages: HashMap<ObjectRef, Arc<Members>>,
    /// Kind and object → the LogStorage that it belongs to, and its [`mark`].
    own: HashMap<(&'static str, ObjectRef), (ObjectRef, u64)>,
}

/// Stands for the mark of an object that was deleted: later than all.
const DELETED: u64 = u64::MAX;

impl StorageIndex {
    /// What belongs to a LogStorage now.
    #[must_use]
    pub fn members(&self, object: &ObjectRef) -> Arc<Members> {
        self.storages.get(object).cloned().unwrap_or_default()
    }

    /// Takes a pod in, when it is a storage node.
    pub fn apply_pod(&mut self, view: &PodView) -> Option<ObjectRef> {
        let object = node_of(view)?;
        let members = Arc::make_mut(self.storages.entry(object.clone()).or_default());
        if members.pods.get(&view.name).is_some_and(|held| held.uid == view.uid && held.version > view.version) {
            return None;
        }
        members.pods.insert(view.name.clone(), Arc::new(view.clone()));
        Some(object)
    }

    /// Forgets a pod.
    pub fn delete_pod(&mut self, namespace: &str, name: &str) -> Option<ObjectRef> {
        let found = self.storages.iter_mut().find(|(object, members)| object.namespace == namespace && members.pods.contains_key(name));
        let (object, members) = found?;
        Arc::make_mut(members).pods.remove(name);
        Some(object.clone())
    }

    /// Takes a StatefulSet in.
    pub fn apply_set(&mut self, set: &StatefulSet) -> Option<ObjectRef> {
        let object = self.apply_own("StatefulSet", &set.metadata)?;
        let spec = set.spec.clone().unwrap_or_default();
        let claim = spec.volume_claim_templates.iter().flatten().next().and_then(|claim| claim.spec.as_ref()?.resources.as_ref()?.requests.clone());
        let view = SetView {
            replicas: spec.replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(1),
            claim_size: claim.and_then(|requests| requests.get("storage").map(|size| size.0.clone())),
        };
        let members = Arc::make_mut(self.storages.entry(object.clone()).or_default());
        members.sets.insert(set.metadata.name.clone().unwrap_or_default(), view);
        Some(object)
    }

    /// Takes in how an object that Weir made for a LogStorage is now.
    pub fn apply_own(&mut self, kind: &'static str, meta: &ObjectMeta) -> Option<ObjectRef> {
        let namespace = meta.namespace.clone().unwrap_or_default();
        let storage = ObjectRef::new(namespace.clone(), meta.labels.as_ref()?.get(names::LABEL_STORAGE)?);
        self.own.insert((kind, ObjectRef::new(namespace, meta.name.clone().unwrap_or_default())), (storage.clone(), mark(meta)));
        Some(storage)
    }

    /// Takes in that an object is gone.
    pub fn delete_own(&mut self, kind: &'static str, object: &ObjectRef) -> Option<ObjectRef> {
        let (storage, known) = self.own.get_mut(&(kind, object.clone()))?;
        *known = DELETED;
        if let Some(members) = self.storages.get_mut(storage).filter(|_| kind == "StatefulSet") {
            Arc::make_mut(members).sets.remove(&object.name);
        }
        Some(storage.clone())
    }

    /// The mark of an object that Weir made, as the watches show it.
    #[must_use]
    pub fn own_mark(&self, kind: &'static str, namespace: &str, name: &str) -> Option<u64> {
        self.own.get(&(kind, ObjectRef::new(namespace, name))).map(|(_, mark)| *mark)
    }

    /// Forgets a LogStorage that is gone.
    pub fn forget(&mut self, object: &ObjectRef) {
        self.storages.remove(object);
        self.own.retain(|_, (storage, _)| storage != object);
    }
}

/// The LogStorage of a pod that is one of its nodes.
fn node_of(view: &PodView) -> Option<ObjectRef> {
    let storage = view.labels.get(names::LABEL_STORAGE)?;
    let is_node = view.labels.get(names::LABEL_COMPONENT) == Some(names::COMPONENT_STORAGE_NODE);
    is_node.then(|| ObjectRef::new(view.namespace.as_ref(), storage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(component: &str, version: &str) -> PodView {
        let labels = [(names::LABEL_STORAGE, "logs"), (names::LABEL_COMPONENT, component)];
        let mut pod = Pod::default();
        pod.metadata.labels = Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
        (pod.metadata.namespace, pod.metadata.name, pod.metadata.resource_version) = (Some("team".into()), Some("logs-0".into()), Some(version.into()));
        PodView::from(&pod)
    }

    #[test]
    fn pods_of_nodes_belong_to_their_storage_and_others_do_not() {
        let mut index = StorageIndex::default();
        let object = ObjectRef::new("team", "logs");
        assert_eq!(index.apply_pod(&pod(names::COMPONENT_QUERY, "1")), None);
        assert_eq!(index.apply_pod(&pod(names::COMPONENT_STORAGE_NODE, "2")), Some(object.clone()));
        assert_eq!(index.apply_pod(&pod(names::COMPONENT_STORAGE_NODE, "1")), None, "older than what is held");
        assert_eq!(index.members(&object).pods.len(), 1);
        assert_eq!(index.delete_pod("team", "logs-0"), Some(object.clone()));
        assert!(index.members(&object).pods.is_empty());
    }

    #[test]
    fn a_set_that_is_gone_is_later_than_all_that_was_written() {
        let mut index = StorageIndex::default();
        let mut set = StatefulSet::default();
        set.metadata.labels = Some([(names::LABEL_STORAGE.to_owned(), "logs".to_owned())].into_iter().collect());
        (set.metadata.namespace, set.metadata.name, set.metadata.generation) = (Some("team".into()), Some("logs-a".into()), Some(3));
        let object = index.apply_set(&set).unwrap();
        assert_eq!((index.own_mark("StatefulSet", "team", "logs-a"), index.members(&object).sets["logs-a"].replicas), (Some(3), 1));
        index.delete_own("StatefulSet", &ObjectRef::new("team", "logs-a"));
        assert_eq!((index.own_mark("StatefulSet", "team", "logs-a"), index.members(&object).sets.len()), (Some(DELETED), 0));
    }
}
