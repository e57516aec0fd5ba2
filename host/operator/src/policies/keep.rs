//! The last good module of a policy, kept in the cluster. Touches the network; called by [`super::runner`].
//!
//! The source of a policy may break at any time, and so may a new module. While the operator runs, the
//! old one goes on in its memory; a copy in a ConfigMap beside the WasmPolicy is what an operator goes
//! on with that starts while the source is broken. The copy belongs to the WasmPolicy and goes with it.

use crate::context::Context;
use crate::watch::chain;
use bytes::Bytes;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _, ResourceExt as _};
use std::collections::BTreeMap;
use weir_core::ids::Digest;
use weir_crds::WasmPolicy;
use weir_crds::names::{FIELD_MANAGER, LABEL_MANAGED_BY, LABEL_PART_OF, MANAGED_BY, PART_OF};
use weir_crds::wasm_policy::SourceChoice;

/// Bytes of a module that are still kept: a ConfigMap holds 1 MiB, with its names and params.
const MOST_BYTES: usize = 1_000_000;
const KEY_MODULE: &str = "policy.wasm";
const KEY_PARAMS: &str = "params.json";
/// Digest of the module and its params: whether the copy is up to date is seen without reading it.
const ANNOTATION_KEPT: &str = "weir.dev/kept";

/// A copy.
pub(super) struct Kept {
    /// The module as it was shipped.
    pub(super) bytes: Bytes,
    /// The params that it ran with.
    pub(super) params: serde_json::Value,
}

fn name(policy: &WasmPolicy) -> Option<String> {
    Some(format!("{}-last-good", policy.metadata.name.as_deref()?)).filter(|name| name.len() <= 253)
}

fn api(context: &Context, policy: &WasmPolicy) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), policy.metadata.namespace.as_deref().unwrap_or_default())
}

fn is_ours(meta: &ObjectMeta, policy: &WasmPolicy) -> bool {
    meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == policy.metadata.uid.as_ref())
}

/// Keeps a module that has just been taken into use, when this process leads. What can't be kept is
/// logged: the policy runs all the same.
pub(super) async fn keep(context: &Context, policy: &WasmPolicy, digest: &Digest, kept: &Kept) {
    if !context.leadership.is_leader() || !matches!(policy.spec.source.choice(), Some(SourceChoice::ConfigMap(_) | SourceChoice::File(_))) {
        return;
    }
    let object = || format!("{}/{}", policy.namespace().unwrap_or_default(), policy.name_any());
    let (Some(name), true) = (name(policy), kept.bytes.len() <= MOST_BYTES) else {
        tracing::info!(
            policy = object(),
            bytes = kept.bytes.len(),
            "this module is too large to be kept in the cluster: an operator that starts while its source is broken has none"
        );
        return;
    };
    let params = kept.params.to_string();
    let mark = format!("{digest} {}", Digest::of(params.as_bytes()));
    let api = api(context, policy);
    let failed =
        |error: &kube::Error| tracing::warn!(policy = object(), error = %chain(error), "the module runs, and a copy of it could not be kept in the cluster");
    match api.get_metadata_opt(&name).await {
        Ok(Some(found)) if !is_ours(&found.metadata, policy) => {
            tracing::warn!(policy = object(), config_map = name, "this ConfigMap belongs to somebody else, so no copy of the module is kept: rename it");
            return;
        }
        Ok(Some(found)) if found.annotations().get(ANNOTATION_KEPT) == Some(&mark) => return,
        Ok(_) => {}
        Err(error) => return failed(&error),
    }
    let copy = ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: policy.metadata.namespace.clone(),
            labels: Some([(LABEL_MANAGED_BY, MANAGED_BY), (LABEL_PART_OF, PART_OF)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            annotations: Some(BTreeMap::from([(ANNOTATION_KEPT.to_owned(), mark)])),
            owner_references: policy.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        binary_data: Some(BTreeMap::from([(KEY_MODULE.to_owned(), ByteString(kept.bytes.to_vec()))])),
        data: Some(BTreeMap::from([(KEY_PARAMS.to_owned(), params)])),
        ..ConfigMap::default()
    };
    if let Err(error) = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&copy)).await {
        failed(&error);
    }
}

/// The copy, if there is one.
pub(super) async fn recall(context: &Context, policy: &WasmPolicy) -> Option<Kept> {
    let found = match api(context, policy).get_opt(&name(policy)?).await {
        Ok(found) => found.filter(|found| is_ours(&found.metadata, policy))?,
        Err(error) => {
            tracing::warn!(policy = policy.name_any(), error = %chain(&error), "the kept copy of the last good module can't be read");
            return None;
        }
    };
    let bytes = Bytes::from(found.binary_data?.remove(KEY_MODULE)?.0);
    let params = serde_json::from_str(found.data.as_ref()?.get(KEY_PARAMS)?).ok()?;
    Some(Kept { bytes, params })
}
