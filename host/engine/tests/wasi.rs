//! Policies that import WASI 0.2: refused unless their object grants it, and then in a virtual world
//! where the same input gives the same answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::wasi::{component, deciding, from_module, granted, load};
use common::{Guest, candidate, engine, failure, input};
use std::time::{Duration, Instant};
use weir_core::ids::UnixMs;
use weir_core::scaling::{Invocation, MAX_OUTPUT_BYTES, Outcome, ScalingInput, ScalingPolicy};
use weir_engine::{CompiledFrom, Engine, EngineConfig, Limits, LoadOutcome, PolicySlot, Wasi};

/// Runs `body`, which leaves `words` 64-bit words at 2048, and gives them.
fn words(body: &str, words: usize, input: &ScalingInput) -> (Vec<u64>, Invocation) {
    let guest = Guest { state: vec![0; words * 8], ..Guest::deciding(format!("{body} (i32.const 256)")) };
    let invocation = load(&component(&guest)).unwrap().decide(input);
    let Outcome::Proposal(proposal) = &invocation.outcome else { panic!("{:?}", invocation.outcome) };
    (proposal.state.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect(), invocation)
}

/// Body that writes a text to standard output.
fn printing(text: &str) -> String {
    let stores: String = (4096..).zip(text.bytes()).map(|(at, byte)| format!("(i32.store8 (i32.const {at}) (i32.const {byte}))")).collect();
    format!("{stores} (call $print (call $stdout) (i32.const 4096) (i32.const {}) (i32.const 8192))", text.len())
}

#[test]
fn without_a_grant_they_are_refused_and_told_the_way_out() {
    let bytes = component(&Guest::deciding("(call $wall (i32.const 4096)) (drop (call $random)) (i32.const 256)"));
    let error = engine().load_blocking(&candidate(&bytes), &[]).result.unwrap_err();
    assert_eq!(error.reason(), "HasImports");
    for word in ["wasi:clocks/wall-clock@0.2.0", "wasi:random/random@0.2.0", "set spec.wasi: Deterministic"] {
        assert!(error.to_string().contains(word), "{error}");
    }
    let policy = load(&bytes).unwrap();
    assert_eq!((policy.wasi(), policy.imports().len()), (Wasi::Deterministic, 2));
}

#[test]
fn code_that_somebody_may_run_is_not_thereby_everybodys() {
    let bytes = component(&Guest { replicas: 12, ..Guest::deciding("(drop (call $mono)) (i32.const 256)") });
    let engine = Engine::new(EngineConfig { concurrent_instances: 2, ..EngineConfig::default() }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let slot = PolicySlot::new(engine.clone());
        assert!(matches!(slot.load(&granted(&bytes)).await.outcome, LoadOutcome::Swapped { .. }));
        assert_eq!(engine.load(&granted(&bytes), &[]).await.stages.compiled, CompiledFrom::Memory);
        assert_eq!(engine.load(&candidate(&bytes), &[]).await.result.unwrap_err().reason(), "HasImports");
        // The same slot, once the grant is taken back: the running one goes on, as after any refusal.
        let LoadOutcome::Refused { error, kept } = slot.load(&candidate(&bytes)).await.outcome else { panic!() };
        assert_eq!((error.reason(), kept.is_some()), ("HasImports", true));
    });
}

#[test]
fn both_clocks_are_the_time_of_the_decision() {
    let read = "(call $wall (i32.const 2048)) (i64.store (i32.const 2064) (call $mono)) (i64.store (i32.const 2072) (call $mono))";
    let (seen, _) = words(read, 4, &ScalingInput { now: UnixMs(1_700_000_060_123), ..input() });
    assert_eq!((seen[0], seen[1] & 0xffff_ffff), (1_700_000_060, 123_000_000));
    assert_eq!((seen[2], seen[3]), (1_700_000_060_123_001_000, 1_700_000_060_123_002_000));
}

#[test]
fn a_sleep_of_a_day_takes_no_time_and_the_clock_has_moved() {
    let body = "(local.set $a (call $after (i64.const 86400000000000)))
        (i64.store (i32.const 2048) (i64.extend_i32_u (call $ready (local.get $a))))
        (call $block (local.get $a))
        (i64.store (i32.const 2056) (i64.extend_i32_u (call $ready (local.get $a))))
        (i64.store (i32.const 2064) (call $mono))
        (i32.store (i32.const 4096) (local.get $a))
        (i32.store (i32.const 4100) (call $at (i64.const -1)))
        (call $poll (i32.const 4096) (i32.const 2) (i32.const 4104))
        (i64.store (i32.const 2072) (i64.extend_i32_u (i32.load (i32.const 4108))))
        (i64.store (i32.const 2080) (i64.extend_i32_u (i32.load (i32.load (i32.const 4104)))))
        (call $drop (local.get $a))";
    let begun = Instant::now();
    let (seen, _) = words(body, 5, &input());
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!((seen[0], seen[1], seen[3], seen[4]), (0, 1, 1, 0));
    assert!(seen[2] >= 1_700_000_060_000_000_000 + 86_400_000_000_000, "{seen:?}");
}

#[test]
fn random_numbers_follow_from_the_input() {
    let body = "(i64.store (i32.const 2048) (call $random)) (i64.store (i32.const 2056) (call $insecure)) (call $seed (i32.const 2064))
        (call $bytes (i64.const 8) (i32.const 4096)) (i64.store (i32.const 2080) (i64.load (i32.load (i32.const 4096))))";
    let (seen, first) = words(body, 5, &input());
    let (again, second) = words(body, 5, &input());
    assert_eq!((&seen, &first), (&again, &second));
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), 5);
    let (other, third) = words(body, 5, &ScalingInput { now: UnixMs(1), ..input() });
    assert!(seen.iter().zip(&other).all(|(one, other)| one != other));
    assert_eq!(first.fuel, third.fuel);
}

#[test]
fn there_is_no_environment_no_file_no_network_and_nothing_to_read() {
    // Each call leaves its first word; what is there to begin with is all ones.
    let body = "(memory.fill (i32.const 4096) (i32.const 255) (i32.const 256))
        (call $environment (i32.const 4096)) (i64.store (i32.const 2048) (i64.load32_u (i32.const 4100)))
        (call $arguments (i32.const 4104)) (i64.store (i32.const 2056) (i64.load32_u (i32.const 4108)))
        (call $cwd (i32.const 4112)) (i64.store (i32.const 2064) (i64.load8_u (i32.const 4112)))
        (call $folders (i32.const 4128)) (i64.store (i32.const 2072) (i64.load32_u (i32.const 4132)))
        (call $terminal (i32.const 4136)) (i64.store (i32.const 2080) (i64.load8_u (i32.const 4136)))
        (call $socket (i32.const 0) (i32.const 4144))
        (i64.store (i32.const 2088) (i64.or (i64.load8_u (i32.const 4144)) (i64.shl (i64.load8_u (i32.const 4148)) (i64.const 8))))
        (call $read (call $stdin) (i64.const 100) (i32.const 4160))
        (i64.store (i32.const 2096) (i64.or (i64.load8_u (i32.const 4160)) (i64.shl (i64.load8_u (i32.const 4164)) (i64.const 8))))
        (call $lookup (call $network) (i32.const 1024) (i32.const 6) (i32.const 4176))
        (i64.store (i32.const 2104) (i64.or (i64.load8_u (i32.const 4176)) (i64.shl (i64.load8_u (i32.const 4180)) (i64.const 8))))";
    let (seen, _) = words(body, 8, &input());
    // Errors: case 1, and within it `not-supported`, `closed`, `permanent-resolver-failure`.
    assert_eq!(seen, [0, 0, 0, 0, 0, 1 | 2 << 8, 1 | 1 << 8, 1 | 3 << 8]);
}

#[test]
fn what_it_writes_is_in_the_record_and_bounded() {
    let invocation = deciding(&format!("{} {} (i32.const 256)", printing("load is 3\n"), printing("so be it"))).decide(&input());
    assert_eq!(invocation.output, "load is 3\nso be it");
    assert!(matches!(invocation.outcome, Outcome::Proposal(_)));
    let much = "(memory.fill (i32.const 4096) (i32.const 120) (i32.const 60000)) (local.set $a (call $stderr)) (local.set $b (i32.const 100))
        (loop $l (call $write (local.get $a) (i32.const 4096) (i32.const 60000) (i32.const 70000))
          (br_if $l (local.tee $b (i32.sub (local.get $b) (i32.const 1)))))
        (call $zeroes (local.get $a) (i64.const 5) (i32.const 70000)) (i32.const 256)";
    let output = deciding(much).decide(&input()).output;
    assert!(output.len() <= MAX_OUTPUT_BYTES, "{}", output.len());
    assert!(output.starts_with("xxxx") && output.contains("bytes are left out") && output.ends_with('\u{fffd}'), "{output}");
}

#[test]
fn an_exit_is_a_failure_that_says_its_code_and_what_was_written() {
    for (call, code) in [("(call $exit (i32.const 0))", 0), ("(call $exit (i32.const 1))", 1), ("(call $code (i32.const 42))", 42)] {
        let invocation = deciding(&format!("{} {call} (unreachable)", printing("panic: no such series"))).decide(&input());
        let (kind, message) = failure(&invocation);
        assert_eq!(kind, "Trap");
        assert!(message.contains(&format!("exited with code {code} ")) && message.ends_with("it wrote: panic: no such series"), "{message}");
        assert_eq!(invocation.output, "panic: no such series");
    }
    let describing = Guest { describe: format!("{} (unreachable)", printing("no manifest")), ..Guest::default() };
    let error = load(&component(&describing)).unwrap_err();
    assert!(error.reason() == "DescribeFailed" && error.to_string().contains("it wrote: no manifest"), "{error}");
}

#[test]
fn what_the_virtual_world_lacks_is_refused_by_name() {
    for (call, name) in [("(drop (call $offset))", "wasi:clocks/timezone@0.2.0"), ("(call $secret (i32.const 4096))", "wasi:cli/environment@0.2.0#get-secret")]
    {
        let error = load(&component(&Guest::deciding(format!("{call} (i32.const 256)")))).unwrap_err();
        assert_eq!(error.reason(), "UnsupportedImports", "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let other = wat::parse_str(r#"(component (import "weir:policy/network@0.1.0" (instance (export "f" (func)))) (import "wasi:cli/exit@0.2.0" (instance)))"#);
    let error = load(&other.unwrap().into()).unwrap_err();
    assert!(error.reason() == "HasImports" && error.to_string().contains("weir:policy/network@0.1.0`:"), "{error}");
}

#[test]
fn functions_of_wasi_with_other_types_are_refused() {
    let forged = r#"(component
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result string)))))
      (core module $m (func (export "f")))
      (core instance $i (instantiate $m))
      (func $f (canon lift (core func $i "f")))
      (instance $e (export "describe" (func $f)) (export "decide" (func $f)))
      (export "weir:policy/describe@0.1.0" (instance $e))
      (export "weir:policy/scaling@0.1.0" (instance $e)))"#;
    let error = load(&wat::parse_str(forged).unwrap().into()).unwrap_err();
    assert_eq!(error.reason(), "WrongTypes", "{error}");
    assert!(error.to_string().contains("toolchain for WASI 0.2"), "{error}");
}

#[test]
fn a_module_that_wants_files_finds_none_and_can_make_no_handle() {
    let body = "(call $open (i32.const 7) (i32.const 1024) (i32.const 6) (i32.const 4096)) (i32.const 256)";
    let invocation = deciding(body).decide(&input());
    let (kind, message) = failure(&invocation);
    assert!(kind == "Trap" && message.contains("handle"), "{kind}: {message}");
}

#[test]
fn a_start_function_may_use_the_world_too() {
    let imports = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $mono (result i64)))
        (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))"#;
    let start = "(global $first (mut i64) (i64.const 0)) (func $s (drop (call $mono)) (global.set $first (call $random))) (start $s)";
    let decide = "(i64.store (i32.const 2048) (global.get $first)) (i32.const 256)";
    let guest = Guest { more: start.to_owned(), state: vec![0; 8], ..Guest::deciding(decide) };
    let policy = load(&from_module(&guest.wat().replacen("(module", &format!("(module {imports}"), 1))).unwrap();
    let first = policy.decide(&input());
    assert_eq!(first, policy.decide(&input()));
    assert!(matches!(&first.outcome, Outcome::Proposal(proposal) if proposal.state != [0; 8]), "{first:?}");
}

#[test]
fn the_same_input_gives_the_same_bytes_and_the_same_fuel_in_another_process_of_the_engine() {
    let body = format!(
        "(local.set $b (i32.const 50))
        (loop $l (i64.store (i32.const 2048) (i64.add (i64.load (i32.const 2048)) (i64.mul (call $random) (call $mono))))
          (br_if $l (local.tee $b (i32.sub (local.get $b) (i32.const 1)))))
        {} (i32.const 256)",
        printing("once")
    );
    let bytes = component(&Guest { state: vec![0; 8], ..Guest::deciding(body) });
    let mut seen = None;
    for _ in 0..2 {
        let engine = Engine::new(EngineConfig { concurrent_instances: 2, ..EngineConfig::default() }).unwrap();
        let policy = engine.load_blocking(&granted(&bytes), &[]).result.unwrap();
        for _ in 0..100 {
            let invocation = policy.decide(&input());
            assert_eq!(*seen.get_or_insert_with(|| invocation.clone()), invocation);
        }
    }
}

#[test]
fn storms_of_calls_end_when_their_fuel_does() {
    let setup = "(local.set $a (call $stdout)) (local.set $b (call $stdin))";
    for call in [
        "(call $wall (i32.const 4096))",
        "(drop (call $mono))",
        "(drop (call $random))",
        "(call $bytes (i64.const 65536) (i32.const 4096)) (call $reset)",
        "(call $print (local.get $a) (i32.const 4096) (i32.const 60000) (i32.const 70000))",
        "(call $zeroes (local.get $a) (i64.const 0xffffffff) (i32.const 70000))",
        "(call $splice (local.get $a) (local.get $b) (i64.const -1) (i32.const 70000))",
        "(call $permit (local.get $a) (i32.const 70000))",
        "(call $flush (local.get $a) (i32.const 70000))",
        "(call $skip (local.get $b) (i64.const -1) (i32.const 70000))",
        "(call $drop (call $after (i64.const 1)))",
        "(call $drop (call $hear (local.get $b)))",
        "(call $drop (call $wake (local.get $a)))",
        "(call $environment (i32.const 4096))",
        "(call $folders (i32.const 4096))",
        "(call $socket (i32.const 0) (i32.const 4096))",
    ] {
        let guest = Guest {
            more: "(func $reset (global.set $heap (i32.const 163840)))".to_owned(),
            ..Guest::deciding(format!("{setup} (loop $l {call} (br $l)) (unreachable)"))
        };
        let mut candidate = granted(&component(&guest));
        candidate.limits = Limits { fuel: 20_000_000, deadline: Duration::from_secs(60), ..Limits::default() };
        let policy = engine().load_blocking(&candidate, &[]).result.unwrap();
        let begun = Instant::now();
        let invocation = policy.decide(&input());
        let took = begun.elapsed();
        assert_eq!(failure(&invocation).0, "FuelExhausted", "{call}: {invocation:?}");
        // 20 million units are worth some 20 ms.
        assert!(took < Duration::from_secs(2), "{call}: {took:?}");
        assert_eq!(invocation, policy.decide(&input()), "{call}");
    }
}

#[test]
fn whatever_is_asked_for_without_measure_is_refused() {
    for (body, kind, word) in [
        ("(call $bytes (i64.const 4294967296) (i32.const 4096))", "FuelExhausted", "fuel"),
        ("(call $bytes (i64.const -1) (i32.const 4096))", "FuelExhausted", "fuel"),
        ("(call $bytes (i64.const 65537) (i32.const 4096))", "Trap", "65537 random bytes at once"),
        ("(call $zeroes (call $stdout) (i64.const -1) (i32.const 4096))", "FuelExhausted", "fuel"),
        ("(call $print (call $stdout) (i32.const 0) (i32.const -1) (i32.const 4096))", "Trap", "out of bounds"),
        ("(drop (memory.grow (i32.const 100))) (call $print (call $stdout) (i32.const 0) (i32.const 6000000) (i32.const 4096))", "Trap", "copied"),
        ("(loop $l (drop (call $after (i64.const 1))) (br $l))", "Trap", "handle"),
        ("(loop $l (drop (call $stdout)) (br $l))", "Trap", "handle"),
        ("(call $poll (i32.const 4096) (i32.const 0) (i32.const 4096))", "Trap", "polled nothing"),
        ("(call $poll (i32.const 0) (i32.const -1) (i32.const 4096))", "Trap", "out of bounds"),
        ("(call $poll (i32.const 4096) (i32.const 20000) (i32.const 4096))", "Trap", ""),
        ("(call $drop (i32.const 77))", "Trap", "handle"),
        ("(call $print (i32.const 77) (i32.const 0) (i32.const 0) (i32.const 4096))", "Trap", "handle"),
        ("(call $print (call $stdin) (i32.const 0) (i32.const 0) (i32.const 4096))", "Trap", ""),
        ("(call $wall (i32.const -8))", "Trap", "out of bounds"),
        ("(call $wall (i32.const 4097))", "Trap", "aligned"),
    ] {
        let invocation = deciding(&format!("{body} (i32.const 256)")).decide(&input());
        let (found, message) = failure(&invocation);
        assert_eq!(found, kind, "{body}: {message}");
        assert!(message.contains(word), "{body}: {message}");
    }
}
