//! From a built module to a running policy through a registry: pushed and signed by the command line or the
//! real cosign, taken in by the operator, refused when anything about it is not as it should be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use weir_cluster::registry::{PASSWORD, USER};
use weir_cluster::{Cluster, Cosign, Kubectl, Level, Registry, RegistryOptions, TestNamespace, shared, wait_until};
use weir_e2e::{Operator, apply_crds, component, condition, config_map, program, wasm_policy};

const PATIENCE: Duration = Duration::from_secs(60);

struct Setting {
    cluster: &'static Cluster,
    namespace: TestNamespace,
    operator: Operator,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new(name: &str, more: &[&str]) -> Result<Self> {
        let cluster = shared(Level::ControlPlane)?;
        apply_crds(cluster)?;
        let namespace = TestNamespace::create(cluster, name)?;
        let folder = tempfile::tempdir()?;
        let operator = start(cluster, namespace.name(), folder.path(), more)?;
        Ok(Self { cluster, namespace, operator, folder })
    }

    fn kubectl(&self) -> &Kubectl {
        self.namespace.kubectl()
    }

    fn apply(&self, object: &Value) -> Result<()> {
        self.kubectl().apply(&object.to_string()).map(drop)
    }

    /// Waits for a condition of `wp/rule`; gives its message.
    fn wait(&self, kind: &str, status: &str, reason: &str) -> Result<String> {
        wait_until(format!("wp/rule has {kind}={status} with reason {reason}"), PATIENCE, || {
            let object = self.kubectl().json(["get", "wp/rule"])?;
            let current = object.pointer("/status/observedGeneration") == object.pointer("/metadata/generation");
            let found = condition(&object, kind).filter(|(is, why, _)| current && is == status && why == reason);
            Ok(found.map(|(.., message)| message))
        })
        .with_context(|| format!("{}\n{}", self.kubectl().run(["get", "wp/rule", "-o", "yaml"]).unwrap_or_default(), self.operator.log()))
    }

    /// Name that the module gives itself that runs.
    fn running(&self) -> Result<String> {
        let object = self.kubectl().json(["get", "wp/rule"])?;
        Ok(object.pointer("/status/running/name").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    fn wait_running(&self, name: &str) -> Result<()> {
        wait_until(format!("{name} runs"), PATIENCE, || Ok((self.running()? == name).then_some(()))).with_context(|| self.operator.log())
    }

    /// A file with a built policy.
    fn module(&self, name: &str) -> Result<PathBuf> {
        let file = self.folder.path().join(format!("{name}.wasm"));
        std::fs::write(&file, component(name)?)?;
        Ok(file)
    }
}

fn start(cluster: &Cluster, namespace: &str, folder: &Path, more: &[&str]) -> Result<Operator> {
    let cache = folder.join("cache").display().to_string();
    let options: Vec<&str> = ["--cache-dir", &cache].into_iter().chain(more.iter().copied()).collect();
    Operator::start(cluster, namespace, &options)
}

/// Runs `weir policy …` in a folder; gives what it prints.
fn weir(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program("weir")?).current_dir(folder).arg("policy").args(arguments).output()?;
    anyhow::ensure!(output.status.success(), "weir policy {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn verified(mut policy: Value, verification: Value) -> Value {
    policy["spec"]["verification"] = verification;
    policy
}

#[test]
fn a_signed_artifact_of_a_private_registry_runs_and_what_is_not_signed_does_not() -> Result<()> {
    let setting = Setting::new("supply", &[])?;
    let mut registry = Registry::start(RegistryOptions { tls: true, login: true })?;
    let (_, docker) = registry.docker_config()?;
    let cosign = Cosign::new()?.with_access(docker, &registry.ca_path());
    let key = cosign.generate("team")?;
    let config = docker.join("config.json").display().to_string();
    let ca = registry.ca_path().display().to_string();
    let reference = format!("{}/team/rule:stable", registry.host());
    let push = |module: &str, more: &[&str]| -> Result<String> {
        let file = setting.module(module)?.display().to_string();
        let options = ["push", &file, &reference, "--ca", &ca, "--docker-config", &config];
        weir(setting.folder.path(), &options.iter().chain(more).copied().collect::<Vec<_>>())
    };

    // The Secrets are not there yet: the condition says what is missing.
    let oci = json!({ "ref": reference, "interval": "10s", "pullSecretRef": { "name": "pull" }, "caSecretRef": { "name": "ca", "key": "ca.crt" } });
    let policy = wasm_policy("rule", json!({ "oci": oci }), json!({}));
    setting.apply(&verified(policy, json!({ "cosign": [{ "keyConfigMapRef": { "name": "keys", "key": "cosign.pub" } }] })))?;
    setting.wait("Ready", "False", "KeyNotFound")?;
    let mut keys = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "keys" }, "data": { "cosign.pub": key } });
    setting.apply(&keys)?;
    let message = setting.wait("Ready", "False", "SecretNotFound")?;
    assert!(message.contains("Secret pull"), "{message}");
    setting.kubectl().run(["create", "secret", "generic", "ca", &format!("--from-file=ca.crt={ca}")])?;
    let (user, password, host) = (format!("--docker-username={USER}"), format!("--docker-password={PASSWORD}"), format!("--docker-server={}", registry.host()));
    setting.kubectl().run(["create", "secret", "docker-registry", "pull", &host, &user, &password])?;
    setting.wait("Ready", "False", "SourceNotFound")?;

    // Pushed and not signed; then signed.
    let pushed = push("threshold", &[])?;
    setting.wait("Ready", "False", "SignatureMissing")?;
    cosign.sign("team", &pushed)?;
    setting.wait("Ready", "True", "AsExpected")?;
    setting.wait("LatestAccepted", "True", "AsExpected")?;
    assert_eq!(setting.running()?, "threshold");

    // The tag moves to a module that somebody else signed: the last good one goes on.
    weir(setting.folder.path(), &["keygen", "other"])?;
    let pushed = push("backlog", &["--key", "other.key"])?;
    let message = setting.wait("LatestAccepted", "False", "NoKeyMatches")?;
    assert!(message.contains("spec.verification.cosign[0]"), "{message}");
    assert_eq!(setting.running()?, "threshold");
    cosign.sign("team", &pushed)?;
    setting.wait("LatestAccepted", "True", "AsExpected")?;
    setting.wait_running("backlog")?;

    // A key that is exchanged in its ConfigMap is taken in at once; what runs goes on.
    keys["data"]["cosign.pub"] = json!(cosign.generate("next")?);
    setting.apply(&keys)?;
    setting.wait("LatestAccepted", "False", "NoKeyMatches")?;
    keys["data"]["cosign.pub"] = json!(key);
    setting.apply(&keys)?;
    setting.wait("LatestAccepted", "True", "AsExpected")?;

    // The registry goes, and an operator that starts meanwhile goes on with what was pulled.
    registry.stop();
    setting.wait("LatestAccepted", "Unknown", "RegistryUnreachable")?;
    let Setting { cluster, namespace, mut operator, folder } = setting;
    operator.terminate()?;
    let operator = start(cluster, namespace.name(), folder.path(), &[])?;
    let setting = Setting { cluster, namespace, operator, folder };
    setting.wait("Ready", "True", "AsExpected")?;
    let loads = || setting.operator.metric("weir_policy_swaps_total", "Accepted");
    wait_until("the new operator has loaded it", PATIENCE, || Ok((loads()? > 0.0).then_some(()))).with_context(|| setting.operator.log())?;
    setting.wait("LatestAccepted", "Unknown", "RegistryUnreachable")?;
    registry.restart()?;
    setting.wait("LatestAccepted", "True", "AsExpected")?;
    assert_eq!(setting.running()?, "backlog");
    println!("{}", setting.kubectl().run(["get", "wp", "-o", "wide"])?);
    Ok(())
}

#[test]
fn where_signatures_are_required_a_config_map_needs_one_of_a_trusted_key() -> Result<()> {
    let keys = tempfile::tempdir()?;
    weir(keys.path(), &["keygen", "platform"])?;
    weir(keys.path(), &["keygen", "team", "--algorithm", "ecdsa-p256"])?;
    let trusted = keys.path().join("platform.pub").display().to_string();
    let setting = Setting::new("require", &["--require-signatures", "all", "--trusted-keys", &trusted])?;
    let module = component("threshold")?;
    std::fs::write(keys.path().join("policy.wasm"), &module)?;
    let ship = |signature: Option<&str>| {
        let mut map = config_map("rule", &module);
        if let Some(signature) = signature {
            map["data"] = json!({ "policy.wasm.sig": signature });
        }
        setting.apply(&map)
    };
    let sign = |key: &str| -> Result<String> {
        weir(keys.path(), &["sign", "policy.wasm", "--key", key])?;
        Ok(std::fs::read_to_string(keys.path().join("policy.wasm.sig"))?)
    };
    let policy = wasm_policy("rule", json!({ "configMap": { "name": "rule" } }), json!({}));

    ship(None)?;
    setting.apply(&policy)?;
    let message = setting.wait("Ready", "False", "SignatureMissing")?;
    assert!(message.contains("weir policy sign"), "{message}");
    // A key of the object's own is not enough where the operator trusts only its own.
    let team = sign("team.key")?;
    let public = std::fs::read_to_string(keys.path().join("team.pub"))?;
    Cosign::new()?.verify_blob(&public, &module, team.as_bytes()).context("cosign accepts what weir signs")?;
    ship(Some(&team))?;
    setting.apply(&verified(policy.clone(), json!({ "cosign": [{ "key": public }] })))?;
    let message = setting.wait("Ready", "False", "NoKeyMatches")?;
    assert!(message.contains("--require-signatures"), "{message}");
    setting.apply(&policy)?;
    ship(Some(&sign("platform.key")?))?;
    setting.wait("Ready", "True", "AsExpected")?;

    // Weir's own need none.
    setting.apply(&wasm_policy("rule", json!({ "builtin": { "name": "backlog" } }), json!({})))?;
    setting.wait_running("backlog")
}

#[test]
fn the_label_of_a_namespace_is_enough_to_demand_signatures() -> Result<()> {
    let setting = Setting::new("label", &[])?;
    setting.kubectl().run(["label", "namespace", setting.namespace.name(), "weir.dev/require-signatures=true"])?;
    weir(setting.folder.path(), &["keygen", "team"])?;
    let module = setting.module("threshold")?;
    setting.apply(&config_map("rule", &std::fs::read(&module)?))?;
    let policy = wasm_policy("rule", json!({ "configMap": { "name": "rule" } }), json!({}));
    setting.apply(&policy)?;
    setting.wait("Ready", "False", "NoVerificationKeys")?;
    let key = std::fs::read_to_string(setting.folder.path().join("team.pub"))?;
    setting.apply(&verified(policy, json!({ "ed25519": [{ "key": key }], "required": false })))?;
    setting.wait("Ready", "False", "SignatureMissing")?;
    weir(setting.folder.path(), &["sign", "threshold.wasm", "--key", "team.key"])?;
    let mut map = config_map("rule", &std::fs::read(&module)?);
    map["data"] = json!({ "policy.wasm.sig": std::fs::read_to_string(setting.folder.path().join("threshold.wasm.sig"))? });
    setting.apply(&map)?;
    setting.wait("Ready", "True", "AsExpected").map(drop)
}

#[test]
fn what_the_command_line_pushes_and_signs_the_real_cosign_accepts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let registry = Registry::start(RegistryOptions::default())?;
    std::fs::write(folder.path().join("policy.wasm"), component("threshold")?)?;
    weir(folder.path(), &["keygen", "team", "--algorithm", "ecdsa-p256"])?;
    weir(folder.path(), &["keygen", "other"])?;
    let reference = format!("{}/team/rule:1", registry.host());
    let pushed = weir(folder.path(), &["push", "policy.wasm", &reference, "--insecure", "--key", "team.key"])?;
    let again = weir(folder.path(), &["push", "policy.wasm", &reference, "--insecure"])?;
    assert_eq!(pushed, again, "the same module is the same artifact");
    let cosign = Cosign::new()?;
    cosign.import("team", &std::fs::read_to_string(folder.path().join("team.key"))?)?;
    cosign.verify("team", &pushed)?;
    weir(folder.path(), &["pull", &pushed, "--insecure", "--key", "team.pub", "--output", "pulled.wasm"])?;
    assert_eq!(std::fs::read(folder.path().join("pulled.wasm"))?, component("threshold")?);
    let refused = weir(folder.path(), &["pull", &pushed, "--insecure", "--key", "other.pub", "--output", "never.wasm"]).unwrap_err();
    assert!(format!("{refused:#}").contains("has made the module's signature"), "{refused:#}");
    assert!(!folder.path().join("never.wasm").exists());
    Ok(())
}
