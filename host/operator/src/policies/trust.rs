//! Who must have signed a module: `spec.verification` and what the operator demands by itself. Touches the
//! network, to read keys of Secrets and ConfigMaps. Called by [`super::runner`] before each load.

use super::sources::Fetched;
use crate::context::Context;
use crate::watch::chain;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::Api;
use std::fmt;
use std::str::FromStr;
use weir_crds::wasm_policy::{ConfigMapKeyRef, SourceChoice, VerificationKey};
use weir_crds::{SecretKeyRef, WasmPolicy, names};
use weir_engine::verify::{NamedKey, PublicKey, RuleSource, Rules};

/// Role that lets the operator read Secrets of policies, for messages.
const ROLE: &str = "weir-policy-credentials";

/// In which namespaces the operator takes no module without a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireSignatures {
    /// In none: what `spec.verification` asks for is enough.
    Never,
    /// In those that carry the label [`names::LABEL_REQUIRE_SIGNATURES`] with the value `true`.
    #[default]
    Labelled,
    /// In all.
    All,
}

impl fmt::Display for RequireSignatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Labelled => "labelled",
            Self::All => "all",
        })
    }
}

impl FromStr for RequireSignatures {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            "labelled" => Ok(Self::Labelled),
            "all" => Ok(Self::All),
            _ => Err(format!("write never, labelled (namespaces with the label {}=true) or all", names::LABEL_REQUIRE_SIGNATURES)),
        }
    }
}

/// What the operator demands of modules by itself.
#[derive(Clone, Debug, Default)]
pub struct SignaturePolicy {
    /// Where.
    pub require: RequireSignatures,
    /// Keys of which one must have signed there, whatever the WasmPolicy says; none: a key of
    /// `spec.verification` is enough.
    pub trusted_keys: Vec<NamedKey>,
}

/// The rules for a policy; none for one that Weir brings, which is part of the operator itself.
pub(super) async fn rules(context: &Context, policy: &WasmPolicy) -> Result<Vec<Rules>, Fetched> {
    if matches!(policy.spec.source.choice(), Some(SourceChoice::Builtin(_))) {
        return Ok(Vec::new());
    }
    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
    let demanded = demanded(context, namespace).await?;
    let trusted = &context.config.signatures.trusted_keys;
    let mut rules = Vec::new();
    if let Some(wanted) = &policy.spec.verification {
        let named = |list: &'static str, keys: &[VerificationKey]| -> Vec<(String, VerificationKey)> {
            keys.iter().enumerate().map(|(index, key)| (format!("spec.verification.{list}[{index}]"), key.clone())).collect()
        };
        let entries = [named("cosign", &wanted.cosign), named("ed25519", &wanted.ed25519)].concat();
        let mut keys = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            let text = text(context, namespace, &entry).await?;
            let key = PublicKey::parse(&text).map_err(|error| Fetched::failed("InvalidKey", format!("{name}: {error}")))?;
            keys.push(NamedKey { name, key });
        }
        rules.push(Rules { source: RuleSource::Spec, keys, required: wanted.required || demanded });
    }
    if demanded && (!trusted.is_empty() || rules.is_empty()) {
        rules.push(Rules { source: RuleSource::Operator, keys: trusted.clone(), required: true });
    }
    Ok(rules)
}

async fn demanded(context: &Context, namespace: &str) -> Result<bool, Fetched> {
    match context.config.signatures.require {
        RequireSignatures::Never => Ok(false),
        RequireSignatures::All => Ok(true),
        RequireSignatures::Labelled if context.config.namespace.is_none() => match context.policies.demands_signatures(namespace) {
            Some(demanded) => Ok(demanded),
            // The watch of namespaces has not listed it yet, and wakes this policy when it has.
            None => Err(Fetched::Pending),
        },
        // An operator of one namespace watches no Namespaces.
        RequireSignatures::Labelled => {
            let api: Api<Namespace> = Api::all(context.client.clone());
            match api.get_metadata(namespace).await {
                Ok(found) => Ok(super::demands(found.metadata.labels.as_ref())),
                Err(kube::Error::Api(error)) if error.code == 403 => {
                    tracing::debug!(
                        namespace,
                        "this operator may not read its Namespace, so the label {} is not seen: use --require-signatures=all or never",
                        names::LABEL_REQUIRE_SIGNATURES
                    );
                    Ok(false)
                }
                Err(error) => Err(unreadable(&format!("Namespace {namespace}"), &error)),
            }
        }
    }
}

async fn text(context: &Context, namespace: &str, entry: &VerificationKey) -> Result<String, Fetched> {
    match (&entry.key, &entry.key_secret_ref, &entry.key_config_map_ref) {
        (Some(key), ..) => Ok(key.clone()),
        (None, Some(reference), _) => String::from_utf8(secret(context, namespace, reference).await?).map_err(|_| {
            Fetched::failed("InvalidKey", format!("key {} of Secret {} is no text: put a public key in PEM there", reference.key, reference.name))
        }),
        (None, None, Some(reference)) => config_map(context, namespace, reference).await,
        (None, None, None) => Err(Fetched::failed("InvalidSpec", "each key of spec.verification needs one of key, keySecretRef and keyConfigMapRef")),
    }
}

/// A key of a Secret. Secrets are read one by one when they are needed, never watched or listed.
pub(super) async fn secret(context: &Context, namespace: &str, reference: &SecretKeyRef) -> Result<Vec<u8>, Fetched> {
    let (name, key) = (&reference.name, &reference.key);
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(Some(found)) => {
            let value = found.data.and_then(|mut data| data.remove(key)).map(|value| value.0);
            value.ok_or_else(|| retried("SecretNotFound", format!("Secret {name} in namespace {namespace} has no key {key}: add it, or correct the reference")))
        }
        Ok(None) => Err(retried("SecretNotFound", format!("there is no Secret {name} in namespace {namespace}: create it, or correct the reference"))),
        Err(kube::Error::Api(error)) if error.code == 403 => Err(retried(
            "SecretUnreadable",
            format!("the operator may not read Secret {name}: bind the ClusterRole {ROLE} to its ServiceAccount with a RoleBinding in namespace {namespace}"),
        )),
        Err(error) => Err(unreadable(&format!("Secret {name}"), &error)),
    }
}

async fn config_map(context: &Context, namespace: &str, reference: &ConfigMapKeyRef) -> Result<String, Fetched> {
    let (name, key) = (&reference.name, &reference.key);
    let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), namespace);
    match api.get_opt(name).await {
        Ok(found) => found
            .and_then(|found| found.data)
            .and_then(|mut data| data.remove(key))
            // A ConfigMap that comes or changes wakes the policy.
            .ok_or_else(|| Fetched::failed("KeyNotFound", format!("there is no ConfigMap {name} with the key {key} in namespace {namespace}: `kubectl create configmap {name} --from-file={key}=cosign.pub`"))),
        Err(error) => Err(unreadable(&format!("ConfigMap {name}"), &error)),
    }
}

fn retried(reason: &'static str, sentence: String) -> Fetched {
    Fetched::Failed { reason, sentence, retry: true }
}

fn unreadable(what: &str, error: &kube::Error) -> Fetched {
    retried("SourceUnreadable", format!("{what} can't be read: {}", chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_read_as_it_is_shown() {
        for option in [RequireSignatures::Never, RequireSignatures::Labelled, RequireSignatures::All] {
            assert_eq!(option.to_string().parse(), Ok(option));
        }
        assert!("yes".parse::<RequireSignatures>().unwrap_err().contains("weir.dev/require-signatures=true"));
    }
}
