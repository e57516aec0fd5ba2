//! `targetRef`: finds the workload, marks it as scaled by this processor, writes its replicas, and
//! lets it go again. Touches the network; called by the actor.
//!
//! A workload that is let go keeps its replicas: only the mark is taken off. The release is a merge
//! patch, not a server-side apply without the field, which would set the replicas to their default.

use crate::build::Valid;
use crate::build::adoption_patch;
use crate::context::Context;
use crate::views::{Selector, WorkloadKey, WorkloadKind, WorkloadView};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use weir_crds::LogProcessor;
use weir_crds::names::{ANNOTATION_SCALED_BY, FIELD_MANAGER, FINALIZER, LABEL_PROCESSOR};

/// Reads the workload.
pub(super) async fn find(context: &Context, key: &WorkloadKey) -> Result<Option<WorkloadView>, kube::Error> {
    Ok(match key.kind {
        WorkloadKind::Deployment => api::<Deployment>(context, key).get_opt(&key.name).await?.map(|found| WorkloadView::from(&found)),
        WorkloadKind::StatefulSet => api::<StatefulSet>(context, key).get_opt(&key.name).await?.map(|found| WorkloadView::from(&found)),
    })
}

/// Marks the workload, and sets its replicas when they are given.
pub(super) async fn write(context: &Context, valid: &Valid, replicas: Option<u32>) -> Result<WorkloadView, kube::Error> {
    let body = adoption_patch(valid, replicas).unwrap_or_default();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    patch(context, &valid.workload_key(), &params, &Patch::Apply(body)).await
}

/// Takes the mark off.
pub(super) async fn release(context: &Context, key: &WorkloadKey) -> Result<(), kube::Error> {
    let body = json!({ "metadata": { "labels": { LABEL_PROCESSOR: null }, "annotations": { ANNOTATION_SCALED_BY: null } } });
    match patch(context, key, &PatchParams::default(), &Patch::Merge(body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Adds or removes our finalizer.
pub(super) async fn set_finalizer(context: &Context, processor: &LogProcessor, present: bool) -> Result<(), kube::Error> {
    let has = |metadata: &ObjectMeta| metadata.finalizers.iter().flatten().any(|name| name == FINALIZER);
    if has(&processor.metadata) == present {
        return Ok(());
    }
    let name = processor.metadata.name.clone().unwrap_or_default();
    let namespace = processor.metadata.namespace.clone().unwrap_or_default();
    let api: Api<LogProcessor> = Api::namespaced(context.client.clone(), &namespace);
    // The newest object: its status may have been written since the one at hand was read.
    let Some(newest) = api.get_metadata_opt(&name).await?.filter(|newest| has(&newest.metadata) != present) else { return Ok(()) };
    let mut finalizers = newest.metadata.finalizers.unwrap_or_default();
    finalizers.retain(|name| name != FINALIZER);
    if present {
        finalizers.push(FINALIZER.to_owned());
    }
    // The version makes the write fail when somebody else changed the list meanwhile.
    let body = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": newest.metadata.resource_version } });
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(body)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}

/// The selector under which the index finds the pods of an adopted workload.
pub(super) fn selector(view: &WorkloadView) -> Selector {
    view.selector.clone()
}

fn api<K>(context: &Context, key: &WorkloadKey) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(context.client.clone(), &key.namespace)
}

async fn patch(context: &Context, key: &WorkloadKey, params: &PatchParams, body: &Patch<Value>) -> Result<WorkloadView, kube::Error> {
    let view = match key.kind {
        WorkloadKind::Deployment => WorkloadView::from(&patch_as::<Deployment>(context, key, params, body).await?),
        WorkloadKind::StatefulSet => WorkloadView::from(&patch_as::<StatefulSet>(context, key, params, body).await?),
    };
    if view.labels.get(LABEL_PROCESSOR).is_some() {
        context.index.write().apply_workload(view.clone());
    }
    Ok(view)
}

async fn patch_as<K>(context: &Context, key: &WorkloadKey, params: &PatchParams, body: &Patch<Value>) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    api::<K>(context, key).patch(&key.name, params, body).await
}
