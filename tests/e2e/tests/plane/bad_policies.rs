//! The table of bad policies: what is wrong with each, the reason that it must be refused with, and
//! words that its message must hold so that a person knows what to mend. Touches files in the
//! operator's policy folder; called by `policies.rs`.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::LazyLock;
use weir_core::ids::Digest;
use weir_e2e::{component, config_map, wasm_policy};

/// Module of every policy while nothing is wrong with it: it proposes two replicas.
pub(crate) const GOOD: &str = "fixtures/fixed-2";

/// One bad policy.
pub(crate) struct Row {
    /// Name of the WasmPolicy, its ConfigMap or folder, and its user.
    pub(crate) name: &'static str,
    /// Reason of the WasmPolicy's condition.
    pub(crate) reason: &'static str,
    /// What its message must hold; `a|b`: one of the two.
    pub(crate) says: &'static [&'static str],
    wrong: Wrong,
}

/// Where the fault lies.
enum Wrong {
    /// In the module, which comes from a ConfigMap.
    Module(fn() -> Result<Vec<u8>>),
    /// Only shows when the module decides: the fixture of that name.
    Decides(&'static str),
    /// In `spec.digest`, which names other bytes.
    Digest,
    /// In `spec.params`, of a module with these good params.
    Params { module: &'static str, good: &'static str, bad: &'static str },
    /// In the source: no ConfigMap.
    NoConfigMap,
    /// In the source: the ConfigMap has another key.
    NoKey,
    /// In the source: the key holds text.
    Text(fn() -> Result<String>),
    /// In the source: no such built-in policy.
    NoBuiltin,
    /// In a file: made by a function that is given the path.
    File(fn(&Path) -> Result<()>),
}

/// What has to be written and deleted to bring a policy into a state.
#[derive(Default)]
pub(crate) struct Step {
    pub(crate) delete: Vec<Value>,
    pub(crate) apply: Vec<Value>,
}

impl Row {
    /// True when the fault only shows once the policy is asked.
    pub(crate) const fn decides(&self) -> Option<&'static str> {
        match self.wrong {
            Wrong::Decides(fixture) => Some(fixture),
            _ => None,
        }
    }

    /// The words that a message lacks.
    pub(crate) fn lacks(&self, message: &str) -> Vec<&'static str> {
        let holds = |words: &&&str| words.split('|').any(|word| message.contains(word));
        self.says.iter().filter(|words| !holds(words)).copied().collect()
    }

    /// Makes the policy good or bad. `folder` is the operator's policy folder.
    pub(crate) fn step(&self, folder: &Path, good: bool) -> Result<Step> {
        let module = |bytes: &[u8]| config_map(self.name, bytes);
        let from_map = |params: Value| wasm_policy(self.name, json!({ "configMap": { "name": self.name } }), params);
        let map = |what: Value| {
            let mut map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": self.name } });
            map.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
            map
        };
        let fine = component(GOOD)?;
        let mut step = Step::default();
        step.apply = match (&self.wrong, good) {
            (Wrong::Params { module: name, good: wanted, bad }, _) => {
                vec![module(&component(name)?), from_map(serde_json::from_str(if good { wanted } else { bad })?)]
            }
            (Wrong::Digest, _) => {
                let mut policy = from_map(json!({}));
                policy["spec"]["digest"] = json!(Digest::of(&fine).to_string());
                vec![module(&if good { fine } else { component("fixtures/fixed-5")? }), policy]
            }
            (Wrong::File(spoil), _) => {
                let path = folder.join(self.name).join("policy.wasm");
                fs::create_dir_all(path.parent().context("a folder")?)?;
                if good {
                    replace(&path, &fine)?
                } else {
                    spoil(&path)?
                }
                vec![wasm_policy(self.name, json!({ "file": { "path": format!("{}/policy.wasm", self.name) } }), json!({}))]
            }
            (_, true) => vec![module(&fine), from_map(json!({}))],
            (Wrong::Module(bytes), _) => vec![module(&bytes()?), from_map(json!({}))],
            (Wrong::Decides(fixture), _) => vec![module(&component(&format!("fixtures/{fixture}"))?), from_map(json!({}))],
            (Wrong::NoConfigMap, _) => {
                step.delete.push(map(json!({})));
                vec![from_map(json!({}))]
            }
            (Wrong::NoKey, _) => vec![map(json!({ "binaryData": { "other.wasm": "AAAA" } })), from_map(json!({}))],
            (Wrong::Text(text), _) => vec![map(json!({ "data": { "policy.wasm": text()? } })), from_map(json!({}))],
            (Wrong::NoBuiltin, _) => vec![wasm_policy(self.name, json!({ "builtin": { "name": "oracle" } }), json!({}))],
        };
        Ok(step)
    }
}

/// Writes a file so that it is there as a whole or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, bytes)?;
    Ok(fs::rename(&beside, path)?)
}

fn gzip(bytes: &[u8], times: usize) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..times {
        encoder.write_all(bytes)?;
    }
    Ok(encoder.finish()?)
}

/// 300 MB of zeros in 300 KB.
static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| gzip(&vec![0; 1 << 20], 300).unwrap());

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Every bad policy.
pub(crate) fn rows() -> Vec<Row> {
    let row = |name, wrong, reason, says| Row { name, reason, says, wrong };
    let decides = |name, says| Row { name, reason: "ProbeFailed", says, wrong: Wrong::Decides(name) };
    vec![
        // What is no policy at all.
        row("html", Wrong::Module(|| Ok(b"<html><body>Sign in</body></html>".to_vec())), "NotWasm", &["an HTML page", "ship the .wasm file"]),
        row("empty", Wrong::Module(|| Ok(Vec::new())), "NotWasm", &["an empty file", "ship the .wasm file"]),
        row("base64-twice", Wrong::Module(|| Ok(base64(&component(GOOD)?).into_bytes())), "NotWasm", &["base64 text", "binaryData"]),
        row("cut-off", Wrong::Module(|| Ok(component(GOOD)?[..2000].to_vec())), "Malformed", &["damaged or cut off at byte", "ship it again"]),
        row("core-module", Wrong::Module(|| component("fixtures/core-module")), "CoreModule", &["not a component", "wasm-tools component new"]),
        row(
            "other-world",
            Wrong::Module(|| component("fixtures/other-world")),
            "WrongWorld",
            &["does not export", "it exports `greet`", "weir:policy/scaling-policy"],
        ),
        row("other-version", Wrong::Module(|| component("fixtures/other-version")), "WrongVersion", &["@0.9.0", "@0.1.0", "build it with the SDK"]),
        row(
            "imports-clock",
            Wrong::Module(|| component("fixtures/imports-clock")),
            "HasImports",
            &["wasi:clocks/wall-clock@0.2.0", "a policy imports nothing"],
        ),
        row("describe-traps", Wrong::Module(|| component("fixtures/describe-traps")), "DescribeFailed", &["Trap", "unreachable"]),
        row("bad-schema", Wrong::Module(|| component("fixtures/bad-schema")), "InvalidDescription", &["params-schema is not JSON"]),
        // Packed badly.
        row("gzip-bomb", Wrong::Module(|| Ok(BOMB.clone())), "TooLarge", &["more than 33554432 bytes once unpacked", "build it smaller"]),
        row("gzip-cut-off", Wrong::Module(|| Ok(gzip(&component(GOOD)?, 1)?[..500].to_vec())), "UnpackFailed", &["gzip", "ship the component again"]),
        row(
            "zstd-garbage",
            Wrong::Module(|| Ok([&[0x28, 0xb5, 0x2f, 0xfd], [0xff; 200].as_slice()].concat())),
            "UnpackFailed",
            &["zstd", "ship the component again"],
        ),
        // Another than the object asks for.
        row("digest", Wrong::Digest, "DigestMismatch", &["digest is sha256:", "spec.digest wants sha256:", "correct spec.digest"]),
        row(
            "params",
            Wrong::Params {
                module: "threshold",
                good: r#"{"target":0.8,"up":0.9,"down":0.7,"seconds":0.5,"downSeconds":1}"#,
                bad: r#"{"target":"high","up":0.9,"downSeconds":1,"speed":11}"#,
            },
            "InvalidParams",
            &["spec.params", "/target", "speed"],
        ),
        row("params-none", Wrong::Params { module: GOOD, good: "{}", bad: r#"{"target":0.8}"# }, "InvalidParams", &["/target", "takes no params"]),
        // Not where it should be.
        row("no-config-map", Wrong::NoConfigMap, "SourceNotFound", &["there is no ConfigMap no-config-map", "kubectl create configmap"]),
        row("no-key", Wrong::NoKey, "SourceNotFound", &["has no key `policy.wasm`", "kubectl create configmap"]),
        row("no-builtin", Wrong::NoBuiltin, "SourceNotFound", &["no built-in policy `oracle`", "threshold"]),
        row("text", Wrong::Text(|| Ok("%%% no base64".to_owned())), "SourceUnreadable", &["under data, as text", "belongs under binaryData"]),
        row("text-base64", Wrong::Text(|| Ok(base64(&component(GOOD)?))), "SourceUnreadable", &["under data, as text", "belongs under binaryData"]),
        row(
            "file-huge",
            Wrong::File(|path| {
                let beside = path.with_extension("new");
                // 100 MB that take no room on the disk.
                File::create(&beside)?.set_len(100 << 20)?;
                Ok(fs::rename(&beside, path)?)
            }),
            "TooLarge",
            &["policy.wasm", "more than 33554432 bytes"],
        ),
        row(
            "file-missing",
            Wrong::File(|path| if path.exists() { Ok(fs::remove_file(path)?) } else { Ok(()) }),
            "SourceNotFound",
            &["is not there", "spec.source.file"],
        ),
        row(
            "file-outside",
            Wrong::File(|path| {
                let beside = path.with_extension("new");
                std::os::unix::fs::symlink("/etc/hostname", &beside)?;
                Ok(fs::rename(&beside, path)?)
            }),
            "SourceRefused",
            &["not inside", "--policy-dir"],
        ),
        row("file-cut-off", Wrong::File(|path| replace(path, &component(GOOD)?[..2000])), "Malformed", &["damaged or cut off at byte", "ship it again"]),
        // What only shows when they decide.
        decides("traps", &["recent inputs", "/traps: ", "Trap: ", "unreachable"]),
        decides("bad-pointer", &["Trap: |InvalidProposal: ", "pointer|out of bounds|unaligned"]),
        decides("endless-loop", &["FuelExhausted: used up its 50000000 units of fuel|DeadlineExceeded: computed for longer than its deadline of 50 ms"]),
        decides("memory-hog", &["MemoryLimit: ", "limits.memory allows 16777216"]),
        decides("stack-overflow", &["Trap: ", "call stack exhausted"]),
        decides("giant-result", &["ResultTooLarge: ", "limits.resultBytes"]),
        decides("giant-state", &["StateTooLarge: |ResultTooLarge: ", "limits.stateBytes|limits.resultBytes"]),
        decides("nan-numbers", &["InvalidProposal: ", "`fixture` is NaN, not a finite number"]),
        decides("absurd-replicas", &["InvalidProposal: ", "4000000000 replicas", "150000"]),
        decides("bad-code", &["InvalidProposal: ", "not a CamelCase word"]),
    ]
}
