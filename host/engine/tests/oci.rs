//! Artifacts in the real registry, signed by the real cosign; and a registry that means harm, which no real
//! one can be made to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

mod common;
#[path = "oci/hostile.rs"]
mod hostile;
#[path = "oci/signed.rs"]
mod signed;

use bytes::Bytes;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::manifest::{OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::json;
use std::path::Path;
use weir_cluster::registry::{PASSWORD, USER};
use weir_cluster::{Registry, RegistryOptions};
use weir_core::ids::Digest;
use weir_engine::source::oci::artifact::{CONFIG, LAYER, OLD_LAYER};
use weir_engine::source::oci::{Credentials, Login, OciAccess, OciError, OciRegistry, OciRequest, Pulled};

const MIB: u64 = 1 << 20;

fn plain() -> Registry {
    Registry::start(RegistryOptions::default()).unwrap()
}

fn insecure() -> OciAccess {
    OciAccess { insecure: true, scope: "team-a".to_owned(), ..OciAccess::default() }
}

fn request(reference: &str) -> OciRequest {
    OciRequest::new(reference, &insecure(), MIB).unwrap()
}

/// Pushes what a test wants, right or wrong; gives the digest of the manifest.
async fn push_as(registry: &Registry, repository: &str, tag: &str, layers: &[(&str, Bytes)]) -> Digest {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reference = Reference::with_tag(registry.host(), repository.to_owned(), tag.to_owned());
    let tls = registry.ca_pem().ok();
    let config = ClientConfig {
        protocol: if tls.is_some() { ClientProtocol::Https } else { ClientProtocol::Http },
        tls_certs_only: tls.map(|data| Certificate { encoding: CertificateEncoding::Pem, data }).into_iter().collect(),
        ..ClientConfig::default()
    };
    let client = Client::try_from(config).unwrap();
    client.store_auth_if_needed(&registry.host(), &RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned())).await;
    let mut descriptors = Vec::new();
    for (media_type, bytes) in [(CONFIG, Bytes::from_static(b"{}"))].iter().chain(layers) {
        let digest = Digest::of(bytes).to_string();
        client.push_blob(&reference, bytes.clone(), &digest).await.unwrap();
        descriptors.push(json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() }));
    }
    let manifest = json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_MEDIA_TYPE, "config": descriptors[0], "layers": descriptors[1..] }).to_string();
    client.push_manifest_raw(&reference, manifest.clone(), OCI_IMAGE_MEDIA_TYPE.parse().unwrap()).await.unwrap();
    Digest::of(manifest.as_bytes())
}

async fn push(registry: &Registry, repository: &str, tag: &str, module: &Bytes) -> Digest {
    push_as(registry, repository, tag, &[(LAYER, module.clone())]).await
}

async fn pull(oci: &OciRegistry, request: &OciRequest) -> Result<Pulled, OciError> {
    let manifest = oci.resolve(request).await?;
    oci.pull(request, &manifest).await
}

fn cached(folder: &Path) -> OciRegistry {
    OciRegistry::with_cache(&folder.join("oci"), 64 * MIB).unwrap()
}

#[tokio::test]
async fn an_outage_and_a_restart_lose_nothing_that_was_pulled() {
    let (mut registry, temp) = (plain(), tempfile::tempdir().unwrap());
    let module = Bytes::from(vec![7; 300_000]);
    let manifest = push(&registry, "team/drain", "1", &module).await;
    let tagged = request(&format!("{}/team/drain:1", registry.host()));
    let pinned = request(&format!("{}/team/drain@{manifest}", registry.host()));
    let first = pull(&cached(temp.path()), &tagged).await.unwrap();
    assert_eq!((first.manifest, &first.bytes, first.from_cache), (manifest, &module, false));

    registry.stop();
    let oci = cached(temp.path());
    let error = oci.resolve(&tagged).await.unwrap_err();
    assert_eq!((error.reason(), error.is_outage()), ("RegistryUnreachable", true), "{error}");
    assert_eq!(oci.last_known(&tagged).await, Some(manifest));
    assert!(oci.cached(&tagged, &manifest).await.unwrap().unwrap().from_cache);
    let pulled = pull(&oci, &pinned).await.unwrap();
    assert_eq!((pulled.bytes, pulled.from_cache), (module, true), "a digest needs nobody");
    let others = OciAccess { scope: "team-b".to_owned(), ..insecure() };
    let others = OciRequest::new(&format!("{}/team/drain@{manifest}", registry.host()), &others, MIB).unwrap();
    assert!(pull(&oci, &others).await.unwrap_err().is_outage(), "who has not pulled it does not get it from the cache");

    registry.restart().unwrap();
    assert_eq!(oci.resolve(&tagged).await.unwrap(), manifest);
    assert!(!pull(&oci, &others).await.unwrap().from_cache);
}

#[tokio::test]
async fn a_tag_that_moved_means_the_new_module_and_a_digest_the_old_one() {
    let registry = plain();
    let (old, new) = (Bytes::from_static(b"old"), Bytes::from_static(b"new"));
    let first = push(&registry, "team/drain", "stable", &old).await;
    let oci = OciRegistry::without_cache();
    let tagged = request(&format!("{}/team/drain:stable", registry.host()));
    assert_eq!(pull(&oci, &tagged).await.unwrap().bytes, old);
    let second = push(&registry, "team/drain", "stable", &new).await;
    assert_ne!(first, second);
    assert_eq!(oci.resolve(&tagged).await.unwrap(), second);
    assert_eq!(pull(&oci, &tagged).await.unwrap().bytes, new);
    assert_eq!(pull(&oci, &request(&format!("{}/team/drain:stable@{first}", registry.host()))).await.unwrap().bytes, old);
}

#[tokio::test]
async fn a_tampered_layer_or_manifest_is_not_used_and_a_mirror_may_still_have_the_right_one() {
    let (registry, mirror) = (plain(), plain());
    let module = Bytes::from_static(b"the module as it was pushed");
    let manifest = push(&registry, "team/drain", "1", &module).await;
    push(&mirror, "cache/team/drain", "1", &module).await;
    let layer = registry.blob_path(&Digest::of(&module).to_string());
    std::fs::write(&layer, b"the module as it was PUSHED").unwrap();
    let oci = OciRegistry::without_cache();
    let reference = format!("{}/team/drain@{manifest}", registry.host());
    let error = pull(&oci, &request(&reference)).await.unwrap_err();
    assert_eq!(error.reason(), "DigestMismatch", "{error}");
    std::fs::write(&layer, b"short").unwrap();
    assert!(pull(&oci, &request(&reference)).await.is_err());

    let mirrored = OciAccess { mirrors: vec![format!("{}/cache", mirror.host())], ..insecure() };
    let mirrored = OciRequest::new(&reference, &mirrored, MIB).unwrap();
    assert_eq!(pull(&oci, &mirrored).await.unwrap().bytes, module);
    std::fs::write(registry.blob_path(&manifest.to_string()), br#"{"schemaVersion":2}"#).unwrap();
    assert!(pull(&oci, &request(&reference)).await.is_err());
    assert_eq!(pull(&oci, &mirrored).await.unwrap().bytes, module);
}

#[tokio::test]
async fn mirrors_are_asked_in_their_order_and_the_registry_last() {
    let (registry, mut mirror, empty) = (plain(), plain(), plain());
    let (here, there) = (Bytes::from_static(b"of the registry"), Bytes::from_static(b"of the mirror"));
    push(&registry, "team/drain", "1", &here).await;
    push(&mirror, "team/drain", "1", &there).await;
    let mirrors = vec![empty.host(), mirror.host()];
    let request = OciRequest::new(&format!("{}/team/drain:1", registry.host()), &OciAccess { mirrors, ..insecure() }, MIB).unwrap();
    let oci = OciRegistry::without_cache();
    assert_eq!(pull(&oci, &request).await.unwrap().bytes, there);
    mirror.stop();
    assert_eq!(pull(&oci, &request).await.unwrap().bytes, here);
    let nowhere = OciRequest::new(&format!("{}/team/other:1", registry.host()), &OciAccess { mirrors: vec![empty.host()], ..insecure() }, MIB).unwrap();
    let error = pull(&oci, &nowhere).await.unwrap_err();
    assert_eq!(error.reason(), "SourceNotFound");
    assert!(error.to_string().contains(&registry.host()), "the registry's own word counts: {error}");
}

#[tokio::test]
async fn an_authority_and_a_login_of_ones_own_open_the_registry_and_nothing_else_does() {
    let registry = Registry::start(RegistryOptions { tls: true, login: true }).unwrap();
    let module = Bytes::from_static(b"behind a lock");
    push(&registry, "team/drain", "1", &module).await;
    let oci = OciRegistry::without_cache();
    let attempt = async |ca_pem: Option<Vec<u8>>, login: Option<&str>| {
        let credentials = login.map(|password| Credentials::of(&registry.host(), Login { user: USER.to_owned(), password: password.to_owned() }));
        let access = OciAccess { insecure: false, ca_pem, credentials: credentials.unwrap_or_default(), ..insecure() };
        pull(&oci, &OciRequest::new(&format!("{}/team/drain:1", registry.host()), &access, MIB).unwrap()).await
    };
    let ca = registry.ca_pem().unwrap();
    let error = attempt(None, Some(PASSWORD)).await.unwrap_err();
    assert!(error.reason() == "RegistryUnreachable" && error.to_string().contains("caSecretRef"), "{error}");
    for login in [None, Some("wrong")] {
        let error = attempt(Some(ca.clone()), login).await.unwrap_err();
        assert!(error.reason() == "RegistryUnauthorized" && error.to_string().contains("pullSecretRef"), "{error}");
    }
    assert_eq!(attempt(Some(ca), Some(PASSWORD)).await.unwrap().bytes, module);
    let error = attempt(Some(b"no certificate".to_vec()), Some(PASSWORD)).await.unwrap_err();
    assert!(error.reason() == "SourceRefused" && error.to_string().contains("BEGIN CERTIFICATE"), "{error}");
    let (json, _) = registry.docker_config().unwrap();
    assert!(Credentials::from_docker_config(json.as_bytes()).unwrap().get(&registry.host(), "team/drain").is_some());
}

#[tokio::test]
async fn what_is_no_policy_is_refused_before_it_is_downloaded() {
    let registry = plain();
    let bytes = Bytes::from(vec![1; 4096]);
    push_as(&registry, "a", "tar", &[("application/vnd.oci.image.layer.v1.tar+gzip", bytes.clone())]).await;
    push_as(&registry, "a", "two", &[(LAYER, bytes.clone()), (LAYER, bytes.clone())]).await;
    push_as(&registry, "a", "old", &[(OLD_LAYER, bytes.clone())]).await;
    let oci = OciRegistry::without_cache();
    let attempt = async |tag: &str, limit: u64| pull(&oci, &OciRequest::new(&format!("{}/a:{tag}", registry.host()), &insecure(), limit).unwrap()).await;
    for (tag, words) in [("tar", "layer.v1.tar+gzip"), ("two", "2 layers")] {
        let error = attempt(tag, MIB).await.unwrap_err();
        assert!(error.reason() == "WrongArtifact" && error.to_string().contains(words), "{error}");
    }
    assert_eq!(attempt("old", MIB).await.unwrap().bytes, bytes);
    let error = attempt("old", 4095).await.unwrap_err();
    assert!(matches!(error, OciError::TooLarge { declared: true, limit: 4095, .. }), "{error}");
    assert_eq!(attempt("absent", MIB).await.unwrap_err().reason(), "SourceNotFound");

    let reference = Reference::with_tag(registry.host(), "a".to_owned(), "index".to_owned());
    let client = Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }).unwrap();
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": [] }).to_string();
    client.push_manifest_raw(&reference, index, OCI_IMAGE_INDEX_MEDIA_TYPE.parse().unwrap()).await.unwrap();
    let error = attempt("index", MIB).await.unwrap_err();
    assert!(error.reason() == "WrongArtifact" && error.to_string().contains("several platforms"), "{error}");
}
