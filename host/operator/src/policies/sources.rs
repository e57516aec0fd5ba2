//! What the source of a policy holds: built in, a ConfigMap, a folder, a registry. Touches the network and, for
//! `source.file`, the policy folder. Part of [`super::runner`].

use super::fetch::Oci;
use crate::context::Context;
use bytes::Bytes;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use std::path::PathBuf;
use weir_crds::WasmPolicy;
use weir_crds::wasm_policy::SourceChoice;
use weir_engine::LoadError;
use weir_engine::source::SourceError;
use weir_engine::source::builtin::builtin;
use weir_engine::source::config_map::{from_config_map, signature_key};
use weir_engine::source::folder::{FolderConfig, FolderEvent, FolderSource};
use weir_engine::verify::{Rules, Signatures};

/// Bytes of a source, or why there are none.
pub(super) enum Fetched {
    /// The bytes, the revision they have at the source, and the signatures that lie beside them.
    Bytes { bytes: Bytes, revision: Option<String>, signatures: Box<Signatures> },
    /// Nothing is known yet, or nothing new.
    Pending,
    /// None: reason and sentence.
    Failed { reason: &'static str, sentence: String, retry: bool },
}

impl Fetched {
    pub(super) fn failed(reason: &'static str, sentence: impl Into<String>) -> Self {
        Self::Failed { reason, sentence: sentence.into(), retry: false }
    }
}

impl From<SourceError> for Fetched {
    fn from(error: SourceError) -> Self {
        let error = LoadError::from(error);
        Self::failed(error.reason(), error.to_string())
    }
}

/// Ends when a watched folder holds something else; never without one.
pub(super) async fn folder_changed(events: &mut Option<tokio::sync::watch::Receiver<FolderEvent>>) {
    match events {
        Some(events) => {
            if events.changed().await.is_err() {
                std::future::pending().await
            }
        }
        None => std::future::pending().await,
    }
}

/// What the source of a policy holds now.
pub(super) async fn fetch(
    context: &Context,
    policy: &WasmPolicy,
    folder: &mut Option<(String, FolderSource)>,
    oci: &mut Oci,
    rules: &[Rules],
    running: bool,
) -> Fetched {
    let choice = policy.spec.source.choice();
    if !matches!(choice, Some(SourceChoice::File(_))) {
        *folder = None;
    }
    if !matches!(choice, Some(SourceChoice::Oci(_))) {
        oci.reset();
    }
    match choice {
        None => Fetched::failed("InvalidSpec", "set exactly one of spec.source.configMap, file, oci and builtin"),
        Some(SourceChoice::Builtin(wanted)) => match builtin(&wanted.name) {
            Ok(bytes) => Fetched::Bytes { bytes, revision: Some(format!("weir {}", env!("CARGO_PKG_VERSION"))), signatures: Box::default() },
            Err(error) => Fetched::from(error),
        },
        Some(SourceChoice::ConfigMap(wanted)) => config_map(context, policy, &wanted.name, &wanted.key).await,
        Some(SourceChoice::Oci(source)) => oci.fetch(context, policy, source, rules, running).await,
        Some(SourceChoice::File(file)) => from_folder(context, &file.path, folder),
    }
}

async fn config_map(context: &Context, policy: &WasmPolicy, name: &str, key: &str) -> Fetched {
    let namespace = policy.metadata.namespace.clone().unwrap_or_default();
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &namespace);
    let map = match api.get_opt(name).await {
        Ok(Some(map)) => map,
        Ok(None) => {
            return Fetched::failed(
                "SourceNotFound",
                format!("there is no ConfigMap {name} in namespace {namespace}: `kubectl create configmap {name} --from-file={key}=policy.wasm`"),
            );
        }
        Err(error) => {
            return Fetched::Failed {
                reason: "SourceUnreadable",
                sentence: format!("ConfigMap {name} can't be read: {}", crate::watch::chain(&error)),
                retry: true,
            };
        }
    };
    let beside = signature_key(key);
    let (mut binary_data, revision) = (map.binary_data.unwrap_or_default(), map.metadata.resource_version);
    let signature = binary_data.remove(&beside).map(|data| data.0).or_else(|| Some(map.data.as_ref()?.get(&beside)?.clone().into_bytes()));
    let signatures = Box::new(Signatures { detached: signature.map(Bytes::from), artifact: None });
    let binary = binary_data.remove(key).map(|data| Bytes::from(data.0));
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_str);
    match from_config_map(name, key, binary, text) {
        Ok(bytes) => Fetched::Bytes { bytes, revision, signatures },
        Err(error) => Fetched::from(error),
    }
}

fn from_folder(context: &Context, path: &str, folder: &mut Option<(String, FolderSource)>) -> Fetched {
    let Some(root) = &context.config.policy_dir else {
        return Fetched::failed("SourceRefused", "this operator reads no policies from files: start it with --policy-dir, or use a ConfigMap");
    };
    if folder.as_ref().is_none_or(|(watched, _)| watched != path) {
        let config = FolderConfig { root: root.clone(), path: PathBuf::from(path), max_bytes: context.policies.max_component_bytes() };
        match FolderSource::watch(config) {
            Ok(source) => *folder = Some((path.to_owned(), source)),
            Err(error) => {
                *folder = None;
                let error = LoadError::from(error);
                return Fetched::Failed { reason: error.reason(), sentence: error.to_string(), retry: true };
            }
        }
    }
    let Some((_, source)) = folder else { return Fetched::Pending };
    let event = source.events().borrow().clone();
    match event {
        FolderEvent::Pending => Fetched::Pending,
        FolderEvent::Bytes { bytes, shipped, signature } => {
            Fetched::Bytes { bytes, revision: Some(shipped.short()), signatures: Box::new(Signatures { detached: signature, artifact: None }) }
        }
        FolderEvent::Failed(error) => Fetched::from(error),
    }
}
