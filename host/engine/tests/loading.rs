//! Everything that can be wrong with a policy before it runs: each is refused at the earliest stage
//! that can tell, with its own reason and with words that help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Guest, candidate, component, digest, engine, input, load};
use serde_json::json;
use std::io::Write;
use weir_engine::{Candidate, CompiledFrom, Engine, EngineConfig, Limits, LoadError, PolicySlot};

#[track_caller]
fn refused(bytes: &Bytes, reason: &str, words: &[&str]) -> LoadError {
    let error = load(bytes).unwrap_err();
    assert_eq!(error.reason(), reason, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is missing in: {error}");
    }
    error
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn wat(text: &str) -> Bytes {
    wat::parse_str(text).unwrap().into()
}

#[test]
fn what_is_no_component_is_refused_by_its_name() {
    refused(&Bytes::from_static(b"<html><body>Sign in</body></html>"), "NotWasm", &["HTML page"]);
    refused(&gzip(b"just text"), "NotWasm", &["text"]);
    refused(&wat("(module)"), "CoreModule", &["wasm-tools component new"]);
    refused(&Bytes::from_static(b"\0asm\x0d\0\x01\0\xff\xff"), "Malformed", &["byte"]);
    refused(&gzip(&[0; 100]).slice(..20), "UnpackFailed", &["gzip", "cut off"]);
}

#[test]
fn a_module_of_a_hundred_megabytes_is_refused_unread() {
    refused(&Bytes::from(vec![0; 100 << 20]), "TooLarge", &["33554432 bytes as shipped"]);
}

#[test]
fn bombs_are_refused_at_the_ceiling() {
    let zeros = vec![0; 200 << 20];
    refused(&gzip(&zeros), "TooLarge", &["once unpacked"]);
    refused(&zstd::encode_all(zeros.as_slice(), 3).unwrap().into(), "TooLarge", &["once unpacked"]);
}

#[test]
fn a_packed_component_is_the_same_component() {
    let plain = Guest::default().build();
    let packed = [gzip(&plain), zstd::encode_all(plain.as_ref(), 19).unwrap().into()];
    for shipped in packed {
        let loaded = engine().load_blocking(&Candidate { digest: Some(digest(&plain)), ..candidate(&shipped) }, &[]).result.unwrap();
        assert_eq!(weir_core::scaling::ScalingPolicy::stamp(&*loaded).digest, digest(&plain));
        assert_eq!(loaded.component_bytes(), plain.len() as u64);
    }
}

#[test]
fn other_bytes_than_the_digest_names_are_refused() {
    let plain = Guest::default().build();
    let packed = gzip(&plain);
    for (shipped, wanted, word) in [(&plain, digest(b"other"), "spec.digest wants"), (&packed, digest(&packed), "digest of the compressed file")] {
        let error = engine().load_blocking(&Candidate { digest: Some(wanted), ..candidate(shipped) }, &[]).result.unwrap_err();
        assert_eq!(error.reason(), "DigestMismatch");
        assert!(error.to_string().contains(word), "{error}");
        assert!(error.to_string().contains(&digest(&plain).to_string()), "{error}");
    }
}

#[test]
fn imports_are_named_all_of_them() {
    let wit = common::WIT.replace(
        "world scaling-policy {",
        "interface network { fetch: func(url: string) -> string; }\nworld scaling-policy {\n import network; import log: func(line: string);",
    );
    let more = r#"(import "weir:policy/network@0.1.0" "fetch" (func (param i32 i32 i32))) (import "$root" "log" (func (param i32 i32)))"#;
    let module = Guest::default().wat().replace("(module", &format!("(module {more}"));
    refused(&component(&module, &wit, "scaling-policy"), "HasImports", &["weir:policy/network@0.1.0", "`log`", "imports nothing"]);
    let wasi = wat(r#"(component (import "wasi:cli/environment@0.2.0" (instance (export "e" (func)))))"#);
    refused(&wasi, "HasImports", &["wasi:cli/environment@0.2.0", "wasm32-unknown-unknown"]);
}

#[test]
fn the_types_interface_is_no_loophole_for_imports() {
    let smuggled = wat(r#"(component
            (import "weir:policy/types@0.1.0" (instance (export "f" (func))))
            (instance $i) (export "weir:policy/describe@0.1.0" (instance $i)) (export "weir:policy/scaling@0.1.0" (instance $i)))"#);
    refused(&smuggled, "HasImports", &["weir:policy/types@0.1.0"]);
}

#[test]
fn another_world_is_refused_with_what_is_missing_and_what_is_there() {
    let other = wat(r#"(component (instance $i) (export "weir:policy/placement@0.1.0" (instance $i)))"#);
    refused(&other, "WrongWorld", &["does not export", "weir:policy/scaling@0.1.0", "it exports `weir:policy/placement@0.1.0`"]);
    refused(&wat("(component)"), "WrongWorld", &["it exports nothing"]);
    let half = wat(r#"(component (instance $i) (export "weir:policy/scaling@0.1.0" (instance $i)) (export "weir:policy/describe@0.1.0" (instance $i)))"#);
    refused(&half, "WrongWorld", &["#describe"]);
}

#[test]
fn another_version_is_refused_with_the_one_that_is_spoken() {
    let wit = common::WIT.replace("weir:policy@0.1.0", "weir:policy@0.2.0");
    let module = Guest::default().wat().replace("@0.1.0", "@0.2.0");
    refused(&component(&module, &wit, "scaling-policy"), "WrongVersion", &["@0.2.0", "this Weir speaks weir:policy/describe@0.1.0"]);
}

#[test]
fn a_patch_version_of_the_same_contract_is_taken() {
    let wit = common::WIT.replace("weir:policy@0.1.0", "weir:policy@0.1.9");
    let module = Guest::default().wat().replace("@0.1.0", "@0.1.9");
    load(&component(&module, &wit, "scaling-policy")).unwrap();
}

#[test]
fn code_that_does_not_validate_is_refused_by_the_compiler() {
    let broken = wat(r#"(component (core module (func (result i32)))
            (instance $i) (export "weir:policy/describe@0.1.0" (instance $i)) (export "weir:policy/scaling@0.1.0" (instance $i)))"#);
    refused(&broken, "CompileFailed", &["type mismatch"]);
    let threads = Guest { more: "(func (drop (i32.atomic.load (i32.const 0))))".to_owned(), ..Guest::default() };
    let module = threads.wat();
    let error = std::panic::catch_unwind(|| component(&module, common::WIT, "scaling-policy")).map(|bytes| load(&bytes).unwrap_err().reason());
    // Either the encoder refuses atomics without shared memory, or the engine does.
    assert!(error.is_err() || error.is_ok_and(|reason| reason == "CompileFailed"));
}

#[test]
fn describe_that_fails_is_refused_with_how() {
    let describing = |body: &str| Guest { describe: body.to_owned(), ..Guest::default() }.build();
    refused(&describing("(unreachable)"), "DescribeFailed", &["Trap", "unreachable"]);
    let endless = Candidate {
        limits: Limits { fuel: 100_000, deadline: std::time::Duration::from_secs(1), ..Limits::default() },
        ..candidate(&describing("(loop $l (br $l)) (unreachable)"))
    };
    let error = engine().load_blocking(&endless, &[]).result.unwrap_err();
    assert!(error.to_string().contains("FuelExhausted: used up its 100000 units of fuel in describe"), "{error}");
    refused(&describing("(i32.const 514)"), "DescribeFailed", &["not aligned"]);
    refused(
        &describing("(drop (memory.grow (i32.const 100))) (i32.store (i32.const 532) (i32.const 6000000)) (i32.const 512)"),
        "DescribeFailed",
        &["ResultTooLarge"],
    );
    let start = Guest { more: "(func $s (unreachable)) (start $s)".to_owned(), ..Guest::default() };
    refused(&start.build(), "DescribeFailed", &["unreachable"]);
}

#[test]
fn a_description_that_cannot_be_used_is_refused_with_why() {
    let guest = Guest::default;
    for (guest, word) in [
        (Guest { name: String::new(), ..guest() }, "the name is empty"),
        (Guest { name: "n".repeat(64), ..guest() }, "more than 63"),
        (Guest { name: "a b".to_owned(), ..guest() }, "visible ASCII"),
        (Guest { version: "v".repeat(64), ..guest() }, "version"),
        (Guest { schema: "{".to_owned(), ..guest() }, "not JSON"),
        (Guest { schema: "[]".to_owned(), ..guest() }, "not a JSON object"),
        (Guest { schema: json!({"type": "nonsense"}).to_string(), ..guest() }, "not a JSON Schema"),
        (Guest { schema: json!({"$ref": "https://example.com/x"}).to_string(), ..guest() }, "nothing is ever fetched"),
        (Guest { schema: format!("{{\"description\":\"{}\"}}", "x".repeat(70_000)), ..guest() }, "bytes"),
        (Guest { state_versions: Some((0, vec![])), ..guest() }, "begin with 1, or tell none"),
        (Guest { state_versions: Some((1, vec![2])), ..guest() }, "newer than the 1 that it writes"),
        (Guest { state_versions: Some((20, (0..17).collect())), ..guest() }, "at most 16"),
    ] {
        refused(&guest.build(), "InvalidDescription", &[word]);
    }
}

#[test]
fn params_that_do_not_fit_are_refused_with_each_place() {
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["headroom"],
        "properties": {"headroom": {"type": "number", "minimum": 0}, "step": {"type": "integer"}}});
    let bytes = Guest { schema: schema.to_string(), ..Guest::default() }.build();
    let error = |params| engine().load_blocking(&Candidate { params, ..candidate(&bytes) }, &[]).result.unwrap_err();
    let found = error(json!({"headroom": -1, "step": "two", "other": 1}));
    assert_eq!(found.reason(), "InvalidParams");
    for word in ["/headroom: ", "/step: ", "other"] {
        assert!(found.to_string().contains(word), "{found}");
    }
    assert!(error(json!({})).to_string().contains("headroom"));
    assert!(error(json!([])).to_string().contains("not an object"));
    engine().load_blocking(&Candidate { params: json!({"headroom": 0.5}), ..candidate(&bytes) }, &[]).result.unwrap();
}

#[test]
fn a_policy_that_fails_on_what_is_real_is_refused_and_one_that_refuses_is_not() {
    let traps_on_fifty = "(if (i32.eq (i32.const 50) (i32.load offset=40 (local.get $in))) (then (unreachable))) (i32.const 256)";
    let mut other = input();
    other.replicas.max = 20;
    let loading = engine().load_blocking(&candidate(&Guest::deciding(traps_on_fifty).build()), &[other.clone(), input(), other]);
    let error = loading.result.unwrap_err();
    assert_eq!(error.reason(), "ProbeFailed");
    assert!(error.to_string().contains("1 of 3 recent inputs; on logging/edge: Trap"), "{error}");
    let refuses = "(i32.store8 (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 1024)) (i32.store (i32.const 264) (i32.const 6))
        (i32.store (i32.const 268) (i32.const 1100)) (i32.store (i32.const 272) (i32.const 15)) (i32.const 256)";
    let loading = engine().load_blocking(&candidate(&Guest::deciding(refuses).build()), &[input(), input()]);
    loading.result.unwrap();
    assert_eq!((loading.stages.probes, loading.stages.refusals), (2, 2));
}

#[test]
fn a_probe_sees_its_own_params_and_no_state_of_another_rule() {
    let body = "(if (i32.load offset=156 (local.get $in)) (then (unreachable)))
        (if (i32.ne (i32.const 7) (i32.load offset=148 (local.get $in))) (then (unreachable))) (i32.const 256)";
    let bytes = Guest { schema: json!({"type": "object"}).to_string(), ..Guest::deciding(body) }.build();
    let mut left = input();
    left.state = vec![1; 40];
    left.params = "{\"of\":\"another\"}".to_owned();
    engine().load_blocking(&Candidate { params: json!({"a": 1}), ..candidate(&bytes) }, &[left]).result.unwrap();
}

#[test]
fn no_policy_gets_more_than_the_ceiling() {
    let ceiling = Limits { fuel: 5000, state_bytes: 10, ..Limits::default() };
    let engine = Engine::new(EngineConfig { concurrent_instances: 1, ceiling, ..EngineConfig::default() }).unwrap();
    let policy = engine.load_blocking(&candidate(&Guest::default().build()), &[]).result.unwrap();
    assert_eq!((policy.limits().fuel, policy.limits().state_bytes), (5000, 10));
    let asks = engine.load_blocking(&candidate(&Guest { pages: 3, state: vec![0; 11], ..Guest::default() }.build()), &[input()]);
    assert!(asks.result.unwrap_err().to_string().contains("StateTooLarge"));
}

#[test]
fn too_much_to_compile_is_refused_before_compiling() {
    let engine = Engine::new(EngineConfig { concurrent_instances: 1, max_functions: 5, ..EngineConfig::default() }).unwrap();
    let many = Guest { more: "(func)".repeat(6), ..Guest::default() };
    let loading = engine.load_blocking(&candidate(&many.build()), &[]);
    assert_eq!(loading.result.unwrap_err().reason(), "TooComplex");
    assert_eq!(loading.stages.compile, std::time::Duration::ZERO);
    let engine = Engine::new(EngineConfig { concurrent_instances: 1, max_function_bytes: 500, ..EngineConfig::default() }).unwrap();
    let large = Guest { more: format!("(func {})", "(drop (i32.const 1))".repeat(300)), ..Guest::default() };
    assert_eq!(engine.load_blocking(&candidate(&large.build()), &[]).result.unwrap_err().reason(), "TooComplex");
}

#[tokio::test]
async fn a_stage_that_takes_too_long_is_not_waited_for() {
    let config = EngineConfig { concurrent_instances: 1, stage_timeout: std::time::Duration::ZERO, ..EngineConfig::default() };
    let slot = PolicySlot::new(Engine::new(config).unwrap());
    let report = slot.load(&candidate(&Guest::default().build())).await;
    let weir_engine::LoadOutcome::Refused { error, kept: None } = report.outcome else { panic!("{report:?}") };
    assert_eq!(error.reason(), "LoadTimedOut", "{error}");
}

#[tokio::test]
async fn one_component_is_compiled_once_however_many_use_it() {
    let engine = Engine::new(EngineConfig { concurrent_instances: 2, ..EngineConfig::default() }).unwrap();
    let bytes = Guest { replicas: 11, ..Guest::default() }.build();
    let first = engine.load(&candidate(&bytes), &[]).await;
    let second = engine.load(&candidate(&bytes), &[]).await;
    assert_eq!((first.stages.compiled, second.stages.compiled), (CompiledFrom::Compiler, CompiledFrom::Memory));
    drop((first, second));
    // The last holder is gone, and so is the code.
    assert_eq!(engine.load(&candidate(&bytes), &[]).await.stages.compiled, CompiledFrom::Compiler);
}
