#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
use super::cosign::CosignSignature;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

const MODULE: &[u8] = b"the bytes of a module";

/// What a SubjectPublicKeyInfo of a P-256 key begins with (RFC 5480).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

struct Ed(Ed25519KeyPair);

impl Ed {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn public(&self) -> PublicKey {
        PublicKey::parse(&STANDARD.encode(self.0.public_key())).unwrap()
    }

    fn sign(&self, message: &[u8]) -> Bytes {
        STANDARD.encode(self.0.sign(message)).into()
    }
}

fn rules(keys: &[&PublicKey], required: bool) -> Rules {
    let keys = keys.iter().enumerate().map(|(n, key)| NamedKey { name: format!("key {n}"), key: (*key).clone() }).collect();
    Rules { source: RuleSource::Spec, keys, required }
}

fn detached(file: impl Into<Bytes>) -> Signatures {
    Signatures { detached: Some(file.into()), artifact: None }
}

fn reason(rules: Rules, signatures: Signatures) -> &'static str {
    Trust { rules: vec![rules], signatures }.check(MODULE).map_or_else(|error| error.reason(), |()| "ok")
}

#[test]
fn a_detached_signature_counts_in_each_of_its_forms() {
    let signer = Ed::new(1);
    let raw = signer.0.sign(MODULE).as_ref().to_vec();
    let text = STANDARD.encode(&raw);
    let old = format!(r#"{{"base64Signature":"{text}","cert":"","rekorBundle":null}}"#);
    let new = format!(r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","messageSignature":{{"messageDigest":{{}},"signature":"{text}"}}}}"#);
    for file in [Bytes::from(raw), format!("{text}\n").into(), old.into(), new.into()] {
        assert_eq!(reason(rules(&[&Ed::new(2).public(), &signer.public()], true), detached(file)), "ok");
    }
}

#[test]
fn an_ecdsa_signature_counts_as_an_ed25519_one_does() {
    let random = ring::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let key = STANDARD.encode([&P256_PREFIX, pair.public_key().as_ref()].concat());
    let key = PublicKey::parse(&format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n")).unwrap();
    let signature = STANDARD.encode(pair.sign(&random, MODULE).unwrap());
    assert_eq!(reason(rules(&[&key], true), detached(signature.clone())), "ok");
    assert_eq!(reason(rules(&[&Ed::new(1).public()], true), detached(signature)), "NoKeyMatches");
}

/// Public keys and signatures that openssl made over [`MODULE`].
const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAk6Av5dnbTjVa4LWrQMa6\nbOfIszlGD+b/tE0+6aTryEjQCppZJK4u3kgaLMgyAtV8KfJluu5NANdybZCxnchK\niOCYZo5eR71kyRgowBEgYFj8K29HRBeXyMyD3faxQVOdyUR+a8kGNZ3LcVajDg+T\n4z0stUVgG3muAwSK0m4ye9ct+YbdsIZ9lt5CkEtie0aH9+lbxygqMZ2pQmaCeXcK\nh5EwKwMe9ZJHdcvIAh26/GVtiq058sODJDd2PFNOkxDPwUssuAK05VxVmDYSgkhB\n668UKjuQXDsboVqpqNvR1tSRlOiXdrpuJe6dk1WC2pCiHKWuxHW63GV0mCdpoRtb\nbwIDAQAB\n-----END PUBLIC KEY-----\n";
const RSA_SIGNATURE: &str = "gQhtwO1ZjKXBTKoq87Xs6IFdVMQ4AwYgozfdhr2+VW8j8SFwUCQrgYzXx4DN2vMJBFRfQhM7bY/S/byCdxKtqiiZRHo0uv1UaWriARhiRd61Y4tMmtQ70I315rCyBJgpGvtFHcDYWIPChZd9uy+kvy13HYMthQe7FNzZlVzArQy2HyOvUopxknHhxZSopkwZ5Klq0W+SZP3HK8AGaSyDSG8ZrSCdx22tGdMVi+9Oae3k1yE/IG7EfWCP0H9PL6A77kQGEKYTNnfHtc0/A7cmTq1BPGCJICjSo8ZSODt4oadH0xRU10t912TSzKAbFIoe7US/6iwm9Cl09gQmw3i64Q==";
const P384_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEPw7xED0sENiamClzW+Woi3jtW74COt8a\nE7urMWKmrBWTM/2+BlbikgI2NIYyED2LunM1Q//f6mhCoVx3xIKqCAzuUCyB/JU+\nGnSv/McDXuj17jv3aH8Pz0P41rvaUU6/\n-----END PUBLIC KEY-----\n";
const P384_SIGNATURES: [&str; 2] = [
    "MGUCMQDPNZBzutNTGbN7lGpuchXWlUS8c2BPiaTcUYbjvAxWh5UXEosF52RmrMUSsnnHzHICMDduWmzFI6fryo6hFVAIJnI+ZNkOMX5ivES3TighPRUGHn8NPb4FgT7gnuZ2b+/iCg==",
    "MGUCMQCgwS3TdZJrENOwgcjIlAcSqk5Q0gO533/NTsU1LZPQK8XER8xApRF4RNSFXsE73l4CMBmqW+IvvyTGIojaznRSzPel1QeeVYPl7VYix27U1IC6a3D5ZHLPDOEzrZy29eCmMA==",
];

#[test]
fn signatures_that_openssl_made_with_rsa_and_p384_count() {
    let (rsa, p384) = (PublicKey::parse(RSA_KEY).unwrap(), PublicKey::parse(P384_KEY).unwrap());
    assert_eq!(reason(rules(&[&rsa], true), detached(RSA_SIGNATURE)), "ok");
    assert_eq!(reason(rules(&[&p384], true), detached(RSA_SIGNATURE)), "NoKeyMatches");
    for signature in P384_SIGNATURES {
        assert_eq!(reason(rules(&[&p384], true), detached(signature)), "ok");
        assert_eq!(reason(rules(&[&rsa], true), detached(signature)), "NoKeyMatches");
    }
}

#[test]
fn what_is_wrong_with_a_signature_has_a_word_of_its_own() {
    let signer = Ed::new(1);
    let (right, other) = (signer.public(), Ed::new(2).public());
    assert_eq!(reason(rules(&[&right], true), Signatures::default()), "SignatureMissing");
    assert_eq!(reason(rules(&[&right], false), Signatures::default()), "ok");
    assert_eq!(reason(rules(&[], true), detached(signer.sign(MODULE))), "NoVerificationKeys");
    assert_eq!(reason(rules(&[&other], true), detached(signer.sign(MODULE))), "NoKeyMatches");
    assert_eq!(reason(rules(&[&other], false), detached(signer.sign(MODULE))), "NoKeyMatches");
    assert_eq!(reason(rules(&[&right], true), detached(signer.sign(b"another module"))), "NoKeyMatches");
    for junk in ["", "not base64!", "{}", "{\"base64Signature\": 3}", "{"] {
        assert_eq!(reason(rules(&[&right], false), detached(junk)), "SignatureInvalid", "{junk}");
    }
    assert_eq!(reason(rules(&[&right], true), detached(vec![b'A'; super::detached::MOST_BYTES + 1])), "SignatureInvalid");
}

#[test]
fn each_set_of_rules_must_be_satisfied() {
    let (team, platform) = (Ed::new(1), Ed::new(2));
    let both = |signatures| {
        let operator = Rules { source: RuleSource::Operator, ..rules(&[&platform.public()], true) };
        Trust { rules: vec![rules(&[&team.public(), &platform.public()], true), operator], signatures }.check(MODULE)
    };
    assert_eq!(both(detached(platform.sign(MODULE))), Ok(()));
    let error = both(detached(team.sign(MODULE))).unwrap_err();
    assert!(error.to_string().contains("--require-signatures"), "{error}");
}

fn payload(digest: &str, kind: &str) -> String {
    serde_json::json!({ "critical": { "identity": { "docker-reference": "" }, "image": { "docker-manifest-digest": digest }, "type": kind }, "optional": null })
        .to_string()
}

fn beside(cosign: Vec<CosignSignature>) -> Signatures {
    let artifact = Artifact { manifest: Digest::of(b"manifest"), layer: Digest::of(MODULE), cosign };
    Signatures { detached: None, artifact: Some(artifact) }
}

#[test]
fn a_payload_of_cosign_counts_for_the_manifest_that_it_names_and_for_no_other() {
    let signer = Ed::new(1);
    let simple = |payload: String| CosignSignature::Simple { signature: STANDARD.encode(signer.0.sign(payload.as_bytes())), payload };
    let keys = || rules(&[&signer.public()], true);
    let good = simple(payload(&Digest::of(b"manifest").to_string(), "cosign container image signature"));
    let of_another = simple(payload(&Digest::of(b"other").to_string(), "cosign container image signature"));
    let of_another_kind = simple(payload(&Digest::of(b"manifest").to_string(), "atomic container signature"));
    assert_eq!(reason(keys(), beside(vec![good.clone()])), "ok");
    assert_eq!(reason(keys(), beside(vec![of_another.clone(), good.clone()])), "ok");
    assert_eq!(reason(keys(), beside(vec![of_another])), "SignatureInvalid");
    assert_eq!(reason(keys(), beside(vec![of_another_kind])), "SignatureInvalid");
    assert_eq!(reason(keys(), beside(vec![])), "SignatureMissing");
    assert_eq!(reason(rules(&[&Ed::new(2).public()], true), beside(vec![good.clone()])), "NoKeyMatches");
    let moved = Trust { rules: vec![keys()], signatures: beside(vec![good]) };
    assert_eq!(moved.check(b"other bytes").unwrap_err().reason(), "SignatureInvalid");
}

#[test]
fn a_bundle_counts_when_its_statement_is_the_one_of_cosign_sign() {
    let signer = Ed::new(1);
    let bundle = |predicate: &str, digest: &[u8]| {
        let statement = serde_json::json!({
            "_type": "https://in-toto.io/Statement/v1", "predicateType": predicate, "predicate": {},
            "subject": [{ "digest": { "sha256": hex::encode(Digest::of(digest).as_bytes()) } }],
        })
        .to_string();
        let signed = format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len());
        let envelope = serde_json::json!({
            "payload": STANDARD.encode(&statement), "payloadType": "application/vnd.in-toto+json",
            "signatures": [{ "sig": STANDARD.encode(signer.0.sign(signed.as_bytes())) }],
        });
        beside(vec![CosignSignature::Bundle { json: serde_json::json!({ "dsseEnvelope": envelope }).to_string() }])
    };
    let keys = || rules(&[&signer.public()], true);
    assert_eq!(reason(keys(), bundle("https://sigstore.dev/cosign/sign/v1", b"manifest")), "ok");
    assert_eq!(reason(keys(), bundle("https://sigstore.dev/cosign/sign/v1", b"other")), "SignatureInvalid");
    assert_eq!(reason(keys(), bundle("https://spdx.dev/Document", b"manifest")), "NoKeyMatches");
    assert_eq!(reason(rules(&[&Ed::new(2).public()], true), bundle("https://sigstore.dev/cosign/sign/v1", b"manifest")), "NoKeyMatches");
}

#[test]
fn what_is_no_public_key_says_so() {
    assert_eq!(PublicKey::parse("hello").unwrap_err(), InvalidKey::Unknown);
    assert_eq!(PublicKey::parse("").unwrap_err(), InvalidKey::Unknown);
    assert_eq!(PublicKey::parse(&STANDARD.encode([1; 31])).unwrap_err(), InvalidKey::Unknown);
    assert_eq!(PublicKey::parse("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n").unwrap_err(), InvalidKey::Private);
    assert_eq!(PublicKey::parse_all("").unwrap_err(), InvalidKey::Unknown);
    let pem = |key: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(key));
    let two = [1, 2].map(|seed| pem(&[&ED25519[..], Ed::new(seed).0.public_key().as_ref()].concat()));
    assert_eq!(PublicKey::parse_all(&two.concat()).unwrap(), [Ed::new(1).public(), Ed::new(2).public()]);
    // X25519 is a key for an exchange and signs nothing.
    let exchange = [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x03, 0x21, 0x00][..], &[7; 32]].concat();
    assert_eq!(PublicKey::parse(&pem(&exchange)).unwrap_err(), InvalidKey::Unsupported);
}

const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
