//! Components of real toolchains that import WASI, unchanged, in the virtual world: one in Go, which is
//! built here, and those that `policies/fixtures/wasi/build.sh` made (Python, JavaScript).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::wasi::granted;
use common::{WIT, candidate, engine, input};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use wasi_preview1_component_adapter_provider::{WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER};
use wasm_encoder::{MemorySection, MemoryType, RawSection, Section as _};
use weir_core::ids::UnixMs;
use weir_core::scaling::{Invocation, Outcome, Proposal, ScalingInput, ScalingPolicy};
use weir_engine::{Candidate, Limits};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies")
}

/// Pages of memory that a policy in Go begins with.
///
/// Go's runtime takes it for granted that nobody else makes its memory larger, and the adapter does, to
/// have room for itself. So the memory is large from the beginning, and what Go would ask for beyond
/// that it does not get, instead of getting what is the adapter's.
const GO_PAGES: u64 = 512;

/// The core module of the policy in Go, with its memory set.
fn go_module() -> Vec<u8> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("wasi-go.wasm");
    let mut go = Command::new("go");
    go.args(["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o"]).arg(&out).arg(".");
    go.current_dir(fixtures().join("fixtures/wasi/go")).env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOFLAGS", "-buildvcs=false").env("GOWORK", "off");
    let built = go.output().unwrap_or_else(|error| panic!("go is needed to build a policy in Go (see CONTRIBUTING.md): {error}"));
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    with_memory(&std::fs::read(out).unwrap(), GO_PAGES, GO_PAGES + 4)
}

/// A module whose one memory has other bounds.
fn with_memory(module: &[u8], minimum: u64, maximum: u64) -> Vec<u8> {
    let mut out = module.get(..8).unwrap().to_vec();
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        let payload = payload.unwrap();
        if let wasmparser::Payload::MemorySection(section) = &payload {
            assert_eq!(section.count(), 1);
            let mut memories = MemorySection::new();
            memories.memory(MemoryType { minimum, maximum: Some(maximum), memory64: false, shared: false, page_size_log2: None });
            memories.append_to(&mut out);
        } else if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            RawSection { id, data: &module[range] }.append_to(&mut out);
        }
    }
    out
}

/// The component of a module for WASI 0.1, by the adapter that everybody uses.
fn adapted(mut module: Vec<u8>) -> Bytes {
    let (resolve, world) = common::world_of(WIT, "scaling-policy");
    wit_component::embed_component_metadata(&mut module, &resolve, world, wit_component::StringEncoding::UTF8, false).unwrap();
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.realloc_via_memory_grow(true);
    let encoder = encoder.module(&module).unwrap().adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER).unwrap();
    encoder.encode().unwrap().into()
}

/// Room for a language with a runtime of its own.
fn roomy(bytes: &Bytes) -> Candidate {
    let limits = Limits { fuel: 2_000_000_000, deadline: Duration::from_secs(1), memory_bytes: 128 << 20, table_elements: 100_000, ..Limits::default() };
    Candidate { limits, ..granted(bytes) }
}

fn proposal(invocation: &Invocation) -> &Proposal {
    let Outcome::Proposal(proposal) = &invocation.outcome else { panic!("{invocation:?}") };
    proposal
}

fn number(invocation: &Invocation, name: &str) -> Option<f64> {
    proposal(invocation).rationale.numbers.iter().find(|number| number.name == name).map(|number| number.value)
}

/// What holds for each of them.
fn lives_in_the_virtual_world(name: &str, bytes: &Bytes) {
    let error = engine().load_blocking(&Candidate { wasi: weir_engine::Wasi::Deny, ..roomy(bytes) }, &[]).result.unwrap_err();
    assert!(error.reason() == "HasImports" && error.to_string().contains("set spec.wasi: Deterministic"), "{name}: {error}");

    let loading = engine().load_blocking(&roomy(bytes), &[]);
    let policy = loading.result.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(policy.description().name, name);
    assert!(policy.imports().iter().all(|import| import.starts_with("wasi:")), "{:?}", policy.imports());

    let first = policy.decide(&input());
    assert_eq!(proposal(&first).replicas, input().replicas.desired + 1, "{name}");
    assert_eq!(number(&first, "now"), Some(1_700_000_060.0), "{name}");
    assert!(first.output.contains("drawn"), "{name}: {}", first.output);
    if let Some(slept) = number(&first, "slept") {
        assert!((3600.0..3601.0).contains(&slept), "{name}: {slept}");
    }
    assert_eq!(number(&first, "files").unwrap_or(0.0), 0.0);
    // The same input: the same bytes and the same fuel, in an engine of its own too.
    let begun = Instant::now();
    let own = weir_engine::Engine::new(weir_engine::EngineConfig { concurrent_instances: 2, ..Default::default() }).unwrap();
    let again = own.load_blocking(&roomy(bytes), &[]).result.unwrap();
    for _ in 0..5 {
        assert_eq!(policy.decide(&input()), first, "{name}");
        assert_eq!(again.decide(&input()), first, "{name}");
    }
    println!("{name}: {} bytes, {} fuel, 10 decisions and a compilation in {:?}, imports {:?}", bytes.len(), first.fuel, begun.elapsed(), policy.imports());
    // Another input: other random numbers.
    let other = policy.decide(&ScalingInput { now: UnixMs(1_700_000_061_000), ..input() });
    assert_eq!(number(&other, "now"), Some(1_700_000_061.0), "{name}");
    assert_ne!(number(&other, "drawn"), number(&first, "drawn"), "{name}");
}

#[test]
fn a_policy_in_go_lives_in_the_virtual_world() {
    lives_in_the_virtual_world("go", &adapted(go_module()));
}

#[test]
fn what_other_toolchains_made_lives_in_it_too() {
    let folder = fixtures().join("target/components/wasi");
    let built = std::fs::read_dir(&folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()).unwrap_or_default();
    if built.is_empty() {
        println!("policies/fixtures/wasi/build.sh has built nothing into {}: only Go was tried", folder.display());
    }
    for file in built {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        lives_in_the_virtual_world(&name, &std::fs::read(&file).unwrap().into());
    }
}

#[test]
fn the_default_limits_are_refused_to_a_runtime_by_the_name_of_the_limit() {
    let error = engine().load_blocking(&granted(&adapted(go_module())), &[]).result.unwrap_err();
    assert!(error.to_string().contains("limits.memory"), "{error}");
    assert_eq!(candidate(&Bytes::new()).limits, Limits::default());
}
