//! Signatures of the real cosign, on artifacts and beside files, all the way to the running policy.

use super::common::{Guest, candidate, engine};
use super::{plain, push, request};
use bytes::Bytes;
use weir_cluster::{Cosign, Registry};
use weir_core::ids::Digest;
use weir_core::scaling::ScalingPolicy as _;
use weir_engine::source::oci::OciRegistry;
use weir_engine::verify::{NamedKey, PublicKey, RuleSource, Rules, Signatures, Trust};
use weir_engine::{LoadOutcome, PolicySlot};

fn module(version: &str) -> Bytes {
    Guest { version: version.to_owned(), ..Guest::default() }.build()
}

fn rules(keys: &[&str]) -> Vec<Rules> {
    let keys = keys.iter().map(|pem| NamedKey { name: "cosign[0]".to_owned(), key: PublicKey::parse(pem).unwrap() }).collect();
    vec![Rules { source: RuleSource::Spec, keys, required: true }]
}

/// Pulls an artifact with its signatures and loads it; `ok`, or the reason why not.
async fn load(slot: &PolicySlot, registry: &Registry, manifest: &Digest, keys: &[&str]) -> &'static str {
    let (oci, asked) = (OciRegistry::without_cache(), request(&format!("{}/team/drain@{manifest}", registry.host())));
    let pulled = oci.pull(&asked, manifest).await.unwrap();
    let artifact = pulled.signed(oci.signatures(&asked, manifest).await.unwrap());
    let signatures = Signatures { detached: None, artifact: Some(artifact) };
    load_bytes(slot, &pulled.bytes, signatures, keys).await
}

async fn load_bytes(slot: &PolicySlot, bytes: &Bytes, signatures: Signatures, keys: &[&str]) -> &'static str {
    match slot.load_signed(&candidate(bytes), &Trust { rules: rules(keys), signatures }).await.outcome {
        LoadOutcome::Swapped { .. } | LoadOutcome::Unchanged { .. } => "ok",
        LoadOutcome::Refused { error, .. } => {
            println!("{}: {error}", error.reason());
            error.reason()
        }
    }
}

fn running(slot: &PolicySlot) -> String {
    slot.current().map(|policy| policy.stamp().version.clone()).unwrap_or_default()
}

#[tokio::test]
async fn an_artifact_runs_when_one_of_the_keys_signed_it_and_not_otherwise() {
    let (registry, cosign, slot) = (plain(), Cosign::new().unwrap(), PolicySlot::new(engine()));
    let (ours, theirs) = (cosign.generate("ours").unwrap(), cosign.generate("theirs").unwrap());
    let artifact = |manifest: &Digest| format!("{}/team/drain@{manifest}", registry.host());
    let good = push(&registry, "team/drain", "1", &module("1.0.0")).await;
    cosign.sign("ours", &artifact(&good)).unwrap();
    assert_eq!(load(&slot, &registry, &good, &[&theirs, &ours]).await, "ok");
    assert_eq!(running(&slot), "1.0.0");

    // Signed by nobody; by somebody else; by both.
    let next = push(&registry, "team/drain", "2", &module("2.0.0")).await;
    assert_eq!(load(&slot, &registry, &next, &[&ours]).await, "SignatureMissing");
    cosign.sign("theirs", &artifact(&next)).unwrap();
    assert_eq!(load(&slot, &registry, &next, &[&ours]).await, "NoKeyMatches");
    assert_eq!(running(&slot), "1.0.0", "the last good one goes on");
    cosign.sign("ours", &artifact(&next)).unwrap();
    assert_eq!(load(&slot, &registry, &next, &[&ours]).await, "ok");
    assert_eq!(running(&slot), "2.0.0");

    // A key that is withdrawn: what runs goes on, and it is said.
    assert_eq!(load(&slot, &registry, &good, &[&theirs]).await, "NoKeyMatches");
    assert_eq!(running(&slot), "2.0.0");
}

#[tokio::test]
async fn a_signature_that_was_moved_to_another_artifact_or_stripped_is_worth_nothing() {
    let (registry, cosign, slot) = (plain(), Cosign::new().unwrap(), PolicySlot::new(engine()));
    let ours = cosign.generate("ours").unwrap();
    let good = push(&registry, "team/drain", "1", &module("1.0.0")).await;
    cosign.sign("ours", &format!("{}/team/drain@{good}", registry.host())).unwrap();
    let evil = push(&registry, "team/drain", "evil", &module("6.6.6")).await;
    let beside = |manifest: &Digest| format!("{}/team/drain:{}.sig", registry.host(), manifest.to_string().replace(':', "-"));
    copy(&beside(&good), &beside(&evil)).await;
    assert_eq!(load(&slot, &registry, &evil, &[&ours]).await, "SignatureInvalid");
    assert_eq!(running(&slot), "");
    assert_eq!(load(&slot, &registry, &good, &[&ours]).await, "ok");
    // Stripped: the tag with the signature now leads to a manifest without any.
    push(&registry, "team/drain", &format!("{}.sig", good.to_string().replace(':', "-")), &Bytes::from_static(b"nothing")).await;
    assert_eq!(load(&slot, &registry, &good, &[&ours]).await, "SignatureMissing");
}

/// Gives a manifest a second tag, as `crane tag` does.
async fn copy(from: &str, to: &str) {
    use oci_client::client::{ClientConfig, ClientProtocol};
    use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
    use oci_client::secrets::RegistryAuth;
    let client = oci_client::Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }).unwrap();
    let (raw, _) = client.pull_manifest_raw(&from.parse().unwrap(), &RegistryAuth::Anonymous, &[OCI_IMAGE_MEDIA_TYPE]).await.unwrap();
    client.push_manifest_raw(&to.parse().unwrap(), raw, OCI_IMAGE_MEDIA_TYPE.parse().unwrap()).await.unwrap();
}

#[tokio::test]
async fn the_bundles_of_newer_versions_count_as_well() {
    let (registry, cosign, slot) = (plain(), Cosign::new().unwrap(), PolicySlot::new(engine()));
    let (ours, theirs) = (cosign.generate("ours").unwrap(), cosign.generate("theirs").unwrap());
    let manifest = push(&registry, "team/drain", "1", &module("1.0.0")).await;
    cosign.sign_with("ours", &format!("{}/team/drain@{manifest}", registry.host()), &["--new-bundle-format"]).unwrap();
    assert_eq!(load(&slot, &registry, &manifest, &[&theirs]).await, "NoKeyMatches");
    assert_eq!(load(&slot, &registry, &manifest, &[&ours]).await, "ok");
}

#[tokio::test]
async fn a_signature_beside_a_file_counts_for_these_bytes_alone() {
    let (cosign, slot) = (Cosign::new().unwrap(), PolicySlot::new(engine()));
    let (ours, theirs) = (cosign.generate("ours").unwrap(), cosign.generate("theirs").unwrap());
    let (good, other) = (module("1.0.0"), module("2.0.0"));
    let detached = |signature: Vec<u8>| Signatures { detached: Some(signature.into()), artifact: None };
    let plain = cosign.sign_blob("ours", &good).unwrap();
    assert_eq!(load_bytes(&slot, &good, detached(plain.clone()), &[&ours]).await, "ok");
    assert_eq!(load_bytes(&slot, &good, detached(cosign.sign_blob_bundle("ours", &good).unwrap()), &[&ours]).await, "ok");
    assert_eq!(load_bytes(&slot, &other, detached(plain.clone()), &[&ours]).await, "NoKeyMatches", "a signature for other bytes");
    assert_eq!(load_bytes(&slot, &good, detached(plain), &[&theirs]).await, "NoKeyMatches");
    assert_eq!(load_bytes(&slot, &good, detached(b"c2lnbmF0dXJl!".to_vec()), &[&ours]).await, "SignatureInvalid");
    assert_eq!(load_bytes(&slot, &other, Signatures::default(), &[&ours]).await, "SignatureMissing");
    assert_eq!(running(&slot), "1.0.0");
}
