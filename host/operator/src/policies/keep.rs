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
use weir_engine::verify::Signatures;

/// Bytes of a module that are still kept: a ConfigMap holds 1 MiB, with its names and params.
const MOST_BYTES: usize = 1_000_000;
const KEY_MODULE: &str = "policy.wasm";
const KEY_SIGNATURE: &str = "policy.wasm.sig";
const KEY_PARAMS: &str = "params.json";
const KEY_ARTIFACT: &str = "artifact.json";
/// Digest of the module and its params: whether the copy is up to date is seen without reading it.
const ANNOTATION_KEPT: &str = "weir.dev/kept";

/// A copy.
pub(super) struct Kept {
    /// The module as it was shipped.
    pub(super) bytes: Bytes,
    /// The params that it ran with.
    pub(super) params: serde_json::Value,
    /// Its signatures: a copy is checked as its original was.
    pub(super) signatures: Signatures,
}

/// Which copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// The module that runs.
    LastGood,
    /// The last good one before it.
    Previous,
}

fn name(policy: &WasmPolicy, which: Which) -> Option<String> {
    let word = if which == Which::LastGood { "last-good" } else { "previous" };
    Some(format!("{}-{word}", policy.metadata.name.as_deref()?)).filter(|name| name.len() <= 253)
}

fn api(context: &Context, policy: &WasmPolicy) -> Api<ConfigMap> {
    Api::namespaced(context.client.clone(), policy.metadata.namespace.as_deref().unwrap_or_default())
}

fn is_ours(meta: &ObjectMeta, policy: &WasmPolicy) -> bool {
    meta.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == policy.metadata.uid.as_ref())
}

/// Keeps a module that has just been taken into use, when this process leads. What can't be kept is
/// logged: the policy runs all the same. `was_good`: the one before did not keep failing, and is one to go
/// back to.
pub(super) async fn keep(context: &Context, policy: &WasmPolicy, digest: &Digest, kept: &Kept, was_good: bool) {
    // A module behind a pull Secret is not laid open to everybody who reads ConfigMaps: it is in the cache.
    let may_be_kept = match policy.spec.source.choice() {
        Some(SourceChoice::ConfigMap(_) | SourceChoice::File(_)) => true,
        Some(SourceChoice::Oci(oci)) => oci.pull_secret_ref.is_none(),
        Some(SourceChoice::Builtin(_)) | None => false,
    };
    if !context.leadership.is_leader() || !may_be_kept {
        return;
    }
    let object = || format!("{}/{}", policy.namespace().unwrap_or_default(), policy.name_any());
    let (Some(name), true) = (name(policy, Which::LastGood), kept.bytes.len() <= MOST_BYTES) else {
        tracing::info!(
            policy = object(),
            bytes = kept.bytes.len(),
            "this module is too large to be kept in the cluster: an operator that starts while its source is broken has none"
        );
        return;
    };
    let params = kept.params.to_string();
    let artifact = kept.signatures.artifact.as_ref().and_then(|artifact| serde_json::to_string(artifact).ok());
    let signature = kept.signatures.detached.as_ref();
    let beside = [signature.map(AsRef::as_ref), artifact.as_ref().map(String::as_bytes)].into_iter().flatten().collect::<Vec<&[u8]>>().concat();
    let mark = format!("{digest} {} {}", Digest::of(params.as_bytes()), Digest::of(&beside));
    let api = api(context, policy);
    let failed =
        |error: &kube::Error| tracing::warn!(policy = object(), error = %chain(error), "the module runs, and a copy of it could not be kept in the cluster");
    match api.get_metadata_opt(&name).await {
        Ok(Some(found)) if !is_ours(&found.metadata, policy) => {
            tracing::warn!(policy = object(), config_map = name, "this ConfigMap belongs to somebody else, so no copy of the module is kept: rename it");
            return;
        }
        Ok(Some(found)) if found.annotations().get(ANNOTATION_KEPT) == Some(&mark) => return,
        Ok(Some(found)) => {
            let other = found.annotations().get(ANNOTATION_KEPT).is_some_and(|known| !known.starts_with(&digest.to_string()));
            if other && was_good {
                keep_previous(&api, policy, &name).await.unwrap_or_else(|error| failed(&error));
            }
        }
        Ok(None) => {}
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
        binary_data: Some(
            [(KEY_MODULE, Some(&kept.bytes)), (KEY_SIGNATURE, signature)]
                .into_iter()
                .filter_map(|(key, bytes)| Some((key.to_owned(), ByteString(bytes?.to_vec()))))
                .collect(),
        ),
        data: Some([(KEY_PARAMS, Some(params)), (KEY_ARTIFACT, artifact)].into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?))).collect()),
        ..ConfigMap::default()
    };
    if let Err(error) = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&copy)).await {
        failed(&error);
    }
}

/// What was the last good module becomes the one before.
async fn keep_previous(api: &Api<ConfigMap>, policy: &WasmPolicy, last_good: &str) -> Result<(), kube::Error> {
    let (Some(name), Some(found)) = (name(policy, Which::Previous), api.get_opt(last_good).await?) else { return Ok(()) };
    if api.get_metadata_opt(&name).await?.is_some_and(|known| !is_ours(&known.metadata, policy)) {
        return Ok(());
    }
    let metadata = ObjectMeta {
        name: Some(name.clone()),
        namespace: found.metadata.namespace,
        labels: found.metadata.labels,
        annotations: found.metadata.annotations.map(|all| all.into_iter().filter(|(key, _)| key == ANNOTATION_KEPT).collect()),
        owner_references: policy.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    let copy = ConfigMap { metadata, data: found.data, binary_data: found.binary_data, ..ConfigMap::default() };
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&copy)).await.map(drop)
}

/// A copy, if there is one.
pub(super) async fn recall(context: &Context, policy: &WasmPolicy, which: Which) -> Option<Kept> {
    let found = match api(context, policy).get_opt(&name(policy, which)?).await {
        Ok(found) => found.filter(|found| is_ours(&found.metadata, policy))?,
        Err(error) => {
            tracing::warn!(policy = policy.name_any(), error = %chain(&error), "the kept copy of the last good module can't be read");
            return None;
        }
    };
    let (mut binary, data) = (found.binary_data?, found.data?);
    let bytes = Bytes::from(binary.remove(KEY_MODULE)?.0);
    let params = serde_json::from_str(data.get(KEY_PARAMS)?).ok()?;
    let artifact = data.get(KEY_ARTIFACT).and_then(|text| serde_json::from_str(text).ok());
    Some(Kept { bytes, params, signatures: Signatures { detached: binary.remove(KEY_SIGNATURE).map(|signature| signature.0.into()), artifact } })
}
