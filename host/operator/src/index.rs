//! What the cluster looks like: a synchronous index fed by the watches. Touches nothing; the watches
//! call `apply_*` and `delete_*`, the actors read views.
//!
//! Objects are cut down to what decisions need as they arrive, so 10,000 pods cost megabytes.
//! Every change returns the processors that it concerns, so that only those wake up. An object that
//! is older than the one already held is left out: an actor feeds what the API server answered to
//! its own writes, and the watch may still be behind.

use crate::groups::Groups;
use crate::views::{PodView, Selector, WorkloadKey, WorkloadView};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_core::ids::ObjectRef;

/// Another autoscaler on a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// For example `HorizontalPodAutoscaler web` or `ScaledObject web (through HorizontalPodAutoscaler keda-hpa-web)`.
    pub title: String,
}

/// What belongs to one LogProcessor.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// Its pods by name.
    pub pods: BTreeMap<Arc<str>, Arc<PodView>>,
    /// Its workload.
    pub workload: Option<Arc<WorkloadView>>,
    /// Others that scale the same workload.
    pub autoscalers: Vec<Autoscaler>,
}

struct Processor {
    workload: WorkloadKey,
    /// Pods of an adopted workload are found by its selector; pods of an own one carry a label.
    selector: Option<Selector>,
    members: Arc<Members>,
}

/// The index. All methods are short and do no IO.
#[derive(Default)]
pub struct Index {
    processors: HashMap<ObjectRef, Processor>,
    by_workload: Groups<WorkloadKey, ObjectRef>,
    /// Processors with a selector, by namespace: they are asked about every pod of it.
    adopting: Groups<Arc<str>, ObjectRef>,
    workloads: HashMap<WorkloadKey, Arc<WorkloadView>>,
    /// Workloads by the processor that their label names.
    labelled: Groups<ObjectRef, WorkloadKey>,
    pods: Groups<Arc<str>, Arc<str>, Arc<PodView>>,
    autoscalers: Groups<WorkloadKey, String, Autoscaler>,
    autoscaler_targets: HashMap<ObjectRef, WorkloadKey>,
    own: HashMap<(&'static str, ObjectRef), Own>,
}

/// A small object that Weir made for a processor.
struct Own {
    processor: ObjectRef,
    version: u64,
}

/// Stands for the version of an object that was deleted: later than all.
const DELETED: u64 = u64::MAX;

/// Processors that a change concerns.
pub type Concerned = Vec<ObjectRef>;

impl Index {
    /// Registers a processor, or changes what it refers to. `selector` is `None` for own workloads.
    pub fn register(&mut self, object: &ObjectRef, workload: WorkloadKey, selector: Option<Selector>) {
        if self.processors.get(object).is_some_and(|known| known.workload == workload && known.selector == selector) {
            return;
        }
        self.unregister(object);
        let mut members = Members { workload: self.workloads.get(&workload).cloned(), ..Members::default() };
        members.autoscalers = self.autoscalers.of(&workload).map(|(_, autoscaler)| autoscaler.clone()).collect();
        let ours = self.pods.of(object.namespace.as_str()).filter(|(_, pod)| belongs(pod, object, selector.as_ref()));
        members.pods = ours.map(|(name, pod)| (name.clone(), pod.clone())).collect();
        self.by_workload.insert(workload.clone(), object.clone(), ());
        if selector.is_some() {
            self.adopting.insert(object.namespace.as_str().into(), object.clone(), ());
        }
        self.processors.insert(object.clone(), Processor { workload, selector, members: Arc::new(members) });
    }

    /// Forgets a processor.
    pub fn unregister(&mut self, object: &ObjectRef) {
        let Some(known) = self.processors.remove(object) else { return };
        self.adopting.remove(object.namespace.as_str(), object);
        self.by_workload.remove(&known.workload, object);
    }

    /// How many processors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.processors.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.processors.is_empty()
    }

    /// What belongs to a processor now.
    #[must_use]
    pub fn members(&self, object: &ObjectRef) -> Arc<Members> {
        self.processors.get(object).map(|processor| processor.members.clone()).unwrap_or_default()
    }

    /// A workload.
    #[must_use]
    pub fn workload(&self, key: &WorkloadKey) -> Option<Arc<WorkloadView>> {
        self.workloads.get(key).cloned()
    }

    /// The first other processor that refers to the same workload and comes before this one by name.
    #[must_use]
    pub fn rival(&self, object: &ObjectRef) -> Option<ObjectRef> {
        let known = self.processors.get(object)?;
        self.by_workload.of(&known.workload).next().map(|(first, ())| first).filter(|first| *first != object).cloned()
    }

    /// Takes a workload in.
    pub fn apply_workload(&mut self, view: WorkloadView) -> Concerned {
        let key = view.key.clone();
        if self.workloads.get(&key).is_some_and(|held| held.uid == view.uid && held.version > view.version) {
            return Vec::new();
        }
        let view = Arc::new(view);
        let label = labelled(&view);
        let before = self.workloads.insert(key.clone(), view.clone()).and_then(|before| labelled(&before));
        if before != label {
            self.unlabel(before, &key);
            if let Some(processor) = label {
                self.labelled.insert(processor, key.clone(), ());
            }
        }
        self.with_users(&key, |members| members.workload = Some(view.clone()))
    }

    /// Forgets a workload.
    pub fn delete_workload(&mut self, key: &WorkloadKey) -> Concerned {
        let before = self.workloads.remove(key).and_then(|before| labelled(&before));
        self.unlabel(before, key);
        self.with_users(key, |members| members.workload = None)
    }

    fn unlabel(&mut self, processor: Option<ObjectRef>, key: &WorkloadKey) {
        if let Some(processor) = processor {
            self.labelled.remove(&processor, key);
        }
    }

    /// Workloads that carry the label of a processor and are not the one that it refers to now.
    #[must_use]
    pub fn strays(&self, object: &ObjectRef, workload: &WorkloadKey) -> Vec<Arc<WorkloadView>> {
        let others = self.labelled.of(object).map(|(key, ())| key).filter(|key| *key != workload);
        others.filter_map(|key| self.workloads.get(key).cloned()).collect()
    }

    /// Takes a pod in.
    pub fn apply_pod(&mut self, view: PodView) -> Concerned {
        let namespace = view.namespace.clone();
        if self.pods.get(&namespace, &view.name).is_some_and(|held| held.uid == view.uid && held.version > view.version) {
            return Vec::new();
        }
        let view = Arc::new(view);
        self.pods.insert(namespace.clone(), view.name.clone(), view.clone());
        let mut concerned = Vec::new();
        // Own pods name their processor; only adopted workloads have to be searched.
        if let Some(owner) = &view.processor {
            let object = ObjectRef::new(namespace.as_ref(), owner.as_ref());
            if let Some(processor) = self.processors.get_mut(&object).filter(|processor| processor.selector.is_none()) {
                Arc::make_mut(&mut processor.members).pods.insert(view.name.clone(), view.clone());
                concerned.push(object);
            }
        }
        for (object, ()) in self.adopting.of(&namespace) {
            let Some(processor) = self.processors.get_mut(object) else { continue };
            if belongs(&view, object, processor.selector.as_ref()) {
                Arc::make_mut(&mut processor.members).pods.insert(view.name.clone(), view.clone());
                concerned.push(object.clone());
            } else if processor.members.pods.contains_key(&view.name) {
                Arc::make_mut(&mut processor.members).pods.remove(&view.name);
                concerned.push(object.clone());
            }
        }
        concerned
    }

    /// Forgets a pod.
    pub fn delete_pod(&mut self, namespace: &str, name: &str) -> Concerned {
        let Some(removed) = self.pods.remove(namespace, name) else { return Vec::new() };
        if let Some(owner) = &removed.processor {
            let object = ObjectRef::new(namespace, owner.as_ref());
            if let Some(processor) = self.processors.get_mut(&object).filter(|processor| processor.selector.is_none()) {
                return Arc::make_mut(&mut processor.members).pods.remove(name).map(|_| object).into_iter().collect();
            }
        }
        let mut concerned = Vec::new();
        for (object, ()) in self.adopting.of(namespace) {
            let Some(processor) = self.processors.get_mut(object).filter(|processor| processor.members.pods.contains_key(name)) else { continue };
            Arc::make_mut(&mut processor.members).pods.remove(name);
            concerned.push(object.clone());
        }
        concerned
    }

    /// Takes in that an object with the label of a processor has this version now (see [`crate::views::mark`]).
    pub fn apply_own(&mut self, kind: &'static str, object: ObjectRef, processor: &str, version: u64) -> Concerned {
        let processor = ObjectRef::new(&object.namespace, processor);
        self.own.insert((kind, object), Own { processor: processor.clone(), version });
        vec![processor]
    }

    /// Takes in that an object is gone.
    pub fn delete_own(&mut self, kind: &'static str, object: &ObjectRef) -> Concerned {
        let key = (kind, object.clone());
        let Some(own) = self.own.get_mut(&key) else { return Vec::new() };
        let concerned = vec![own.processor.clone()];
        if self.processors.contains_key(&own.processor) {
            own.version = DELETED;
        } else {
            self.own.remove(&key);
        }
        concerned
    }

    /// The version of an object that Weir made, as the watches show it.
    #[must_use]
    pub fn own_version(&self, kind: &'static str, namespace: &str, name: &str) -> Option<u64> {
        self.own.get(&(kind, ObjectRef::new(namespace, name))).map(|own| own.version)
    }

    /// Takes a HorizontalPodAutoscaler in.
    pub fn apply_autoscaler(&mut self, hpa: &HorizontalPodAutoscaler) -> Concerned {
        let (Some(namespace), Some(name)) = (&hpa.metadata.namespace, &hpa.metadata.name) else { return Vec::new() };
        let object = ObjectRef::new(namespace, name);
        let mut concerned = self.delete_autoscaler(&object);
        let target = hpa.spec.as_ref().map(|spec| &spec.scale_target_ref);
        let Some(key) = target.and_then(|target| WorkloadKey::parse(&target.kind, namespace, &target.name)) else { return concerned };
        let owner = hpa.metadata.owner_references.iter().flatten().find(|owner| owner.kind == "ScaledObject");
        let title = owner
            .map_or_else(|| format!("HorizontalPodAutoscaler {name}"), |owner| format!("ScaledObject {} (through HorizontalPodAutoscaler {name})", owner.name));
        self.autoscaler_targets.insert(object, key.clone());
        self.autoscalers.insert(key.clone(), name.clone(), Autoscaler { title });
        concerned.extend(self.renew_autoscalers(&key));
        concerned
    }

    /// Forgets a HorizontalPodAutoscaler.
    pub fn delete_autoscaler(&mut self, object: &ObjectRef) -> Concerned {
        let Some(key) = self.autoscaler_targets.remove(object) else { return Vec::new() };
        self.autoscalers.remove(&key, &object.name);
        self.renew_autoscalers(&key)
    }

    fn renew_autoscalers(&mut self, key: &WorkloadKey) -> Concerned {
        let all: Vec<Autoscaler> = self.autoscalers.of(key).map(|(_, autoscaler)| autoscaler.clone()).collect();
        self.with_users(key, |members| members.autoscalers.clone_from(&all))
    }

    fn with_users(&mut self, key: &WorkloadKey, mut change: impl FnMut(&mut Members)) -> Concerned {
        let users: Vec<ObjectRef> = self.by_workload.of(key).map(|(user, ())| user.clone()).collect();
        for user in &users {
            if let Some(processor) = self.processors.get_mut(user) {
                change(Arc::make_mut(&mut processor.members));
            }
        }
        users
    }
}

fn labelled(view: &WorkloadView) -> Option<ObjectRef> {
    let processor = view.labels.get(weir_crds::names::LABEL_PROCESSOR)?;
    Some(ObjectRef::new(&view.key.namespace, processor))
}

fn belongs(pod: &PodView, object: &ObjectRef, selector: Option<&Selector>) -> bool {
    match selector {
        None => pod.processor.as_deref() == Some(object.name.as_str()),
        Some(selector) => selector.matches(|key| pod.labels.get(key)),
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
