//! `weir policy` as its users see it: the program itself, its output and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `weir policy …` in `dir`.
fn weir(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weir")).arg("policy").args(arguments).current_dir(dir).output().expect("weir starts")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

/// A deliberately bad component.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies/target/components/fixtures").join(format!("{name}.wasm"));
    path.display().to_string()
}

fn with_cases(cases: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cases.yaml");
    std::fs::write(&file, cases).unwrap();
    (dir, file)
}

const THRESHOLD: &str = "
input: { capacity: 1000, replicas: 3 }
cases:
  - name: a high load takes more replicas
    input: { series: { offered: 2900 } }
    expect: { replicas: '> 3', code: AboveCapacity, numbers: { utilization: '0.9..1' } }
  - name: it settles
    steps:
      - { input: { series: { offered: 2900 } }, expect: { replicas: up } }
      - { after: 60, expect: { replicas: same } }
  - name: no capacity, no answer
    input: { capacity: { per-replica: .nan }, series: { offered: 2900 } }
    expect: { refusal: CapacityUnknown }
  - name: params have a schema
    params: { tarrget: 0.5 }
    expect: { load: InvalidParams }
";

#[test]
fn cases_that_hold_pass_and_close_with_a_plain_line() {
    let (dir, _) = with_cases(THRESHOLD);
    let output = weir(dir.path(), &["test", "builtin:threshold", "--cases", "cases.yaml"]);
    assert_eq!((code(&output), out(&output).lines().last()), (0, Some("4 passed, 0 failed")), "{}{}", out(&output), err(&output));
}

#[test]
fn a_case_that_does_not_hold_shows_what_was_expected_and_what_came() {
    let (dir, _) = with_cases(&THRESHOLD.replace("'> 3'", "2").replace("replicas: same", "replicas: down"));
    let output = weir(dir.path(), &["test", "builtin:threshold", "--cases", "cases.yaml"]);
    let text = out(&output);
    assert_eq!((code(&output), text.lines().last()), (1, Some("2 passed, 2 failed")), "{text}");
    for part in ["FAIL  a high load takes more replicas", "expected  2", "got       5", "answer    5 replicas, AboveCapacity:", "step 2", "got       5, from 5"]
    {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn mistakes_in_a_file_of_cases_are_named_with_their_place() {
    for (cases, part) in [
        ("cases: [{name: x, expect: {}}]", "expects nothing"),
        ("cases: [{name: x, expect: {replicas: about 3}}]", "line 1"),
        ("cases: [{name: x, input: {serie: {}}, expect: {replicas: 3}}]", "unknown field `serie`"),
        ("cases: [{name: x, input: {from: nowhere.json}, expect: {replicas: 3}}]", "nowhere.json"),
        ("cases: [{name: x, expect: {changes: 3}}]", "are of a `walk`"),
        ("cases: []", "has no case"),
    ] {
        let (dir, _) = with_cases(cases);
        let output = weir(dir.path(), &["test", "builtin:threshold", "--cases", "cases.yaml"]);
        assert_eq!(code(&output), 2, "{cases}: {}", out(&output));
        assert!(err(&output).contains(part), "{cases}: {}", err(&output));
    }
}

#[test]
fn a_recorded_hour_is_walked_along() {
    let times: Vec<i64> = (0..120).map(|second| 1_700_000_000_000 + second * 1000).collect();
    let values: Vec<f64> = (0..120).map(|second| if second < 60 { 1500.0 } else { 4500.0 }).collect();
    let (dir, _) = with_cases(
        "cases: [{name: x, input: {from: hour.json, capacity: 1000, replicas: 2}, walk: {window: 30}, expect: {replicas: '<= 7', changes: '1..3', highest: 7, lowest: '2..3'}}]",
    );
    let recorded = serde_json::json!({ "window": { "times": times, "series": [{ "name": "offered", "unit": "records/s", "values": values }] } });
    std::fs::write(dir.path().join("hour.json"), recorded.to_string()).unwrap();
    let output = weir(dir.path(), &["test", "builtin:threshold", "--cases", "cases.yaml", "--show"]);
    assert_eq!(code(&output), 0, "{}{}", out(&output), err(&output));
    assert!(out(&output).lines().count() > 90, "every decision is shown: {}", out(&output));
}

#[test]
fn a_good_policy_is_checked_and_told_what_it_needs() {
    let output = weir(Path::new("/"), &["check", "builtin:backlog"]);
    let text = out(&output);
    assert_eq!(code(&output), 0, "{text}");
    for part in
        ["imports   none", "exports   weir:policy/describe@0.1.0", "of fuel", "KiB of memory", "it failed on 0", "ok        the operator takes this policy"]
    {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn a_bad_component_is_told_every_problem_and_what_to_do() {
    for (name, parts) in [
        ("imports-clock", ["it imports `wasi:clocks/wall-clock@0.2.0`", "use `input.now`"]),
        ("traps", ["on an empty window: Trap", "answer with a refusal"]),
        ("nan-numbers", ["InvalidProposal", "leave out numbers that are not finite"]),
        ("endless-loop", ["on a typical input", "do less in one call"]),
        ("core-module", ["core WebAssembly module", "CoreModule"]),
        ("other-world", ["does not export", "WrongWorld"]),
        ("bad-schema", ["InvalidDescription", "1 problem"]),
    ] {
        let output = weir(Path::new("/"), &["check", &fixture(name)]);
        let text = out(&output);
        assert_eq!(code(&output), 1, "{name}: {text}{}", err(&output));
        for part in parts {
            assert!(text.contains(part), "{name}: no `{part}` in\n{text}");
        }
    }
}

#[test]
fn exit_codes_tell_an_answer_from_a_refusal_from_a_failure_from_a_mistake() {
    let ask = |policy: &str, input: &str| weir(Path::new("/"), &["run", policy, "--input", input]);
    let answer = ask("builtin:threshold", r#"{"replicas": 3, "capacity": 1000, "series": {"offered": 2900}}"#);
    assert_eq!(code(&answer), 0, "{}", err(&answer));
    let json: serde_json::Value = serde_json::from_str(&out(&answer)).unwrap();
    assert_eq!((json["proposal"]["replicas"].as_u64(), json["fuel"].as_u64().is_some()), (Some(5), true));
    assert_eq!(code(&ask("builtin:threshold", "{}")), 3);
    assert!(out(&ask("builtin:threshold", "{}")).contains("CapacityUnknown"));
    assert_eq!(code(&ask(&fixture("traps"), "{}")), 4);
    assert_eq!(code(&ask(&fixture("imports-clock"), "{}")), 1);
    for (policy, input) in
        [("builtin:nothing", "{}"), ("builtin:threshold", "{nonsense"), ("no-such-file.wasm", "{}"), ("builtin:threshold", "no-such-file.json")]
    {
        let output = ask(policy, input);
        assert_eq!(code(&output), 2, "{policy} {input}: {}", err(&output));
        assert!(!err(&output).is_empty());
    }
}

#[test]
fn a_benchmark_prints_figures_that_make_sense() {
    let output = weir(Path::new("/"), &["bench", "builtin:threshold", "--calls", "200", "--json"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    let figures: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    for kind in ["fresh", "kept"] {
        let of = |name: &str| figures[kind][name].as_f64().unwrap();
        assert!(of("p50Us") > 0.0 && of("p50Us") <= of("p99Us") && of("p99Us") <= of("p999Us") && of("p999Us") <= of("maxUs"), "{figures}");
    }
    assert!(figures["fuel"].as_u64().unwrap() > 1000 && figures["memoryBytes"].as_u64().unwrap() >= 64 << 10, "{figures}");
    let text = out(&weir(Path::new("/"), &["bench", "builtin:threshold", "--calls", "50"]));
    assert!(text.contains("fresh") && text.contains("p99.9"), "{text}");
}

#[test]
fn a_component_can_be_looked_into() {
    let text = out(&weir(Path::new("/"), &["inspect", "builtin:threshold"]));
    for part in ["name      threshold", "sha256:", "functions", "series    offered (optional)", "\"target\": {", "decide: func(input: input)"] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let schema: serde_json::Value = serde_json::from_str(&out(&weir(Path::new("/"), &["inspect", "builtin:threshold", "--schema"]))).unwrap();
    assert_eq!(schema["properties"]["target"]["default"], 0.7);
    assert!(out(&weir(Path::new("/"), &["inspect", "builtin:threshold", "--wit"])).contains("interface scaling"));
}

#[test]
fn a_new_project_says_its_next_commands_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    for lang in ["rust", "js", "python", "c", "go"] {
        let output = weir(dir.path(), &["new", &format!("my-{lang}"), "--world", "scaling", "--lang", lang]);
        assert_eq!(code(&output), 0, "{}", err(&output));
        assert!(out(&output).contains(&format!("weir policy test my-{lang}")), "{}", out(&output));
    }
    let again = weir(dir.path(), &["new", "my-rust"]);
    assert!(code(&again) == 2 && err(&again).contains("there is something at my-rust already"), "{}", err(&again));
    assert_eq!(code(&weir(dir.path(), &["new", "My_Policy"])), 2);
    let empty = weir(dir.path(), &["build"]);
    assert!(code(&empty) == 2 && err(&empty).contains("weir policy new"), "{}", err(&empty));
    let unbuilt = weir(dir.path(), &["check", "my-js"]);
    assert!(code(&unbuilt) == 2 && err(&unbuilt).contains("weir policy build my-js"), "{}", err(&unbuilt));
}

#[test]
fn a_rust_project_builds_and_passes_its_cases_outside_of_this_repository() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(code(&weir(dir.path(), &["new", "calm-water"])), 0);
    let tested = weir(dir.path(), &["test", "calm-water"]);
    assert_eq!((code(&tested), out(&tested).lines().last()), (0, Some("7 passed, 0 failed")), "{}{}", out(&tested), err(&tested));
    let checked = weir(&dir.path().join("calm-water"), &["check"]);
    assert_eq!(code(&checked), 0, "{}", out(&checked));
    let component = std::fs::read(dir.path().join("calm-water/target/components/calm-water.wasm")).unwrap();
    let home = std::env::var("HOME").unwrap();
    assert!(!component.windows(home.len()).any(|window| window == home.as_bytes()), "paths of this machine stay out of the component");

    let source = dir.path().join("calm-water/src/lib.rs");
    std::fs::write(&source, std::fs::read_to_string(&source).unwrap().replace(".max(1);", ".max(\"1\");")).unwrap();
    let broken = weir(dir.path(), &["build", "calm-water"]);
    assert!(code(&broken) == 1 && err(&broken).contains("mismatched types") && err(&broken).contains("does not compile"), "{}", err(&broken));
}
