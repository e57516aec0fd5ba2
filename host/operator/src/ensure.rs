//! Apply: writes an own object when it differs. Touches the network; called by the actors.
//!
//! What was written is remembered by its content and by what the server made of it, so a pass over
//! an unchanged object costs nothing. The first pass after a start reads instead of writing.

use crate::build::{Object, ObjectKind, covers};
use crate::context::Context;
use crate::index::Index;
use crate::shell::metrics::ApplyResult;
use crate::views::{WorkloadView, mark};
use crate::watch::chain;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::Value;
use std::collections::HashMap;
use std::hash::{Hash as _, Hasher as _};
use weir_crds::names::{FIELD_MANAGER, LABEL_PROCESSOR};

/// An object could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The name belongs to someone else.
    #[error("{kind} {name} exists and is not controlled by this object: delete or rename it, or choose another name for this object")]
    NameTaken {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The API server refused it or did not answer.
    #[error("{kind} {name} can't be written: {}", chain(source))]
    Api {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// This process does not lead any more.
    #[error("this process no longer leads")]
    NotLeading,
}

/// What is known of the own objects of one object of ours.
#[derive(Default)]
pub(crate) struct Ensured {
    /// Kind and name → content that was wanted, and [`mark`] of what the server made of it.
    known: HashMap<(&'static str, String), (u64, u64)>,
}

impl Ensured {
    /// The object may have been changed by somebody: look again at the next pass.
    pub(crate) fn forget(&mut self, kind: &'static str) {
        self.known.retain(|(known, _), _| *known != kind);
    }

    /// Forgets what the watches show in another state than the one that was written.
    pub(crate) fn drifted(&mut self, namespace: &str, workload: Option<&WorkloadView>, index: &Index) {
        self.known.retain(|(kind, name), (content, written)| {
            if *kind == ObjectKind::Deployment.as_str() {
                return workload.is_some_and(|workload| workload.key.name == *name && u64::try_from(workload.generation) == Ok(*written));
            }
            // A watch may still be behind what was written.
            *content == ABSENT || index.own_version(kind, namespace, name).is_none_or(|seen| seen <= *written)
        });
    }

    /// Forgets what the watches show in a later state than the one that was written, by its [`mark`].
    pub(crate) fn outdated(&mut self, seen: impl Fn(&'static str, &str) -> Option<u64>) {
        self.known.retain(|(kind, name), (content, written)| *content == ABSENT || seen(kind, name).is_none_or(|seen| seen <= *written));
    }

    /// Writes the object when it differs.
    pub(crate) async fn ensure(&mut self, context: &Context, owner_uid: &str, object: &Object) -> Result<ApplyResult, ApplyError> {
        let kind = object.kind.as_str();
        let key = (kind, object.name.clone());
        let content = content(&object.json);
        if self.known.get(&key).is_some_and(|(known, _)| *known == content) {
            return Ok(ApplyResult::Unchanged);
        }
        let failed = |source: kube::Error| {
            context.metrics.apply_failed(kind, &source);
            ApplyError::Api { kind, name: object.name.clone(), source: Box::new(source) }
        };
        let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &object.namespace, &object.kind.api_resource());
        let mut created = false;
        let known = self.known.contains_key(&key);
        if !known {
            match api.get_opt(&object.name).await.map_err(failed)? {
                None => created = true,
                Some(live) => {
                    let ours = live.metadata.owner_references.iter().flatten().any(|owner| owner.uid == owner_uid);
                    if !ours {
                        return Err(ApplyError::NameTaken { kind, name: object.name.clone() });
                    }
                    let json = serde_json::to_value(&live).unwrap_or_default();
                    if covers(&json, &object.json) {
                        self.known.insert(key, (content, mark(&live.metadata)));
                        feed(context, object.kind, &json);
                        context.metrics.applied(kind, ApplyResult::Unchanged);
                        return Ok(ApplyResult::Unchanged);
                    }
                }
            }
        }
        if !context.leadership.is_leader() {
            return Err(ApplyError::NotLeading);
        }
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let written = match api.patch(&object.name, &params, &Patch::Apply(&object.json)).await {
            // What somebody else added to a list stays with server-side apply, and may not go together with
            // what belongs there: a merge patch replaces lists whole.
            Err(kube::Error::Api(error)) if error.code == 422 && !created => {
                let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
                api.patch(&object.name, &params, &Patch::Merge(&object.json)).await
            }
            answer => answer,
        };
        let written = written.map_err(failed)?;
        self.known.insert(key, (content, mark(&written.metadata)));
        feed(context, object.kind, &serde_json::to_value(&written).unwrap_or_default());
        let result = if created { ApplyResult::Created } else { ApplyResult::Changed };
        context.metrics.applied(kind, result);
        Ok(result)
    }

    /// Deletes an own object if it exists.
    pub(crate) async fn remove(&mut self, context: &Context, namespace: &str, owner_uid: &str, kind: ObjectKind, name: &str) -> Result<(), ApplyError> {
        let word = kind.as_str();
        let key = (word, name.to_owned());
        // Looked for once; what is created later is created by this actor.
        if self.known.get(&key).is_some_and(|(content, _)| *content == ABSENT) {
            return Ok(());
        }
        let failed = |source: kube::Error| ApplyError::Api { kind: word, name: name.to_owned(), source: Box::new(source) };
        let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &kind.api_resource());
        if let Some(live) = api.get_opt(name).await.map_err(failed)?
            && live.metadata.owner_references.iter().flatten().any(|owner| owner.uid == owner_uid)
        {
            if !context.leadership.is_leader() {
                return Err(ApplyError::NotLeading);
            }
            match api.delete(name, &DeleteParams::background()).await {
                Ok(_) => context.metrics.applied(word, ApplyResult::Deleted),
                Err(kube::Error::Api(error)) if error.code == 404 => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.known.insert(key, (ABSENT, 0));
        Ok(())
    }
}

/// Stands for the content of an object that is not there.
const ABSENT: u64 = 0;

/// What the server answered is newer than what the watch has shown so far.
fn feed(context: &Context, kind: ObjectKind, json: &Value) {
    if kind.as_str() == ObjectKind::Deployment.as_str()
        && let Ok(deployment) = serde_json::from_value::<Deployment>(json.clone())
        && deployment.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_PROCESSOR))
    {
        context.index.write().apply_workload(WorkloadView::from(&deployment));
    }
}

fn content(json: &Value) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    json.to_string().hash(&mut hasher);
    hasher.finish().max(ABSENT + 1)
}
