//! Policies that load and then misbehave at `decide`: each ends in a failure of its own kind, with a
//! sentence that names the limit, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Guest, candidate, engine, failure, input};
use std::time::Duration;
use weir_core::scaling::{Invocation, Outcome, ScalingPolicy};
use weir_engine::Limits;

const ENDLESS: &str = "(loop $l (br $l)) (unreachable)";

/// The static result with other words at other places.
fn with(stores: &str) -> String {
    format!("{stores} (i32.const 256)")
}

fn run_with(guest: &Guest, limits: Limits) -> Invocation {
    let mut candidate = candidate(&guest.build());
    candidate.limits = limits;
    engine().load_blocking(&candidate, &[]).result.unwrap().decide(&input())
}

#[track_caller]
fn fails(guest: &Guest, kind: &str, words: &str) -> Invocation {
    let invocation = guest.run();
    let (found, message) = failure(&invocation);
    assert_eq!(found, kind, "{message}");
    assert!(message.contains(words), "{message}");
    invocation
}

#[test]
fn a_trap_is_a_trap() {
    fails(&Guest::deciding("(unreachable)"), "Trap", "unreachable");
    fails(&Guest::deciding("(i32.div_u (i32.const 1) (local.get $a))"), "Trap", "divide by zero");
    fails(&Guest::deciding("(i32.load (i32.const -8))"), "Trap", "out of bounds memory access");
}

#[test]
fn an_endless_loop_ends_when_its_fuel_does_at_the_same_unit_each_time() {
    let guest = Guest::deciding(ENDLESS);
    let limits = Limits { fuel: 1_000_000, deadline: Duration::from_secs(60), ..Limits::default() };
    let first = run_with(&guest, limits.clone());
    assert_eq!(failure(&first).0, "FuelExhausted");
    assert!(failure(&first).1.contains("1000000"));
    assert_eq!(first, run_with(&guest, limits));
}

#[test]
fn an_endless_loop_ends_at_its_deadline_when_it_has_fuel_to_burn() {
    let limits = Limits { fuel: u64::MAX, deadline: Duration::from_millis(20), ..Limits::default() };
    let config = weir_engine::EngineConfig { concurrent_instances: 1, ceiling: Limits { fuel: u64::MAX, ..Limits::default_ceiling() }, ..Default::default() };
    let mut candidate = candidate(&Guest::deciding(ENDLESS).build());
    candidate.limits = limits;
    let policy = weir_engine::Engine::new(config).unwrap().load_blocking(&candidate, &[]).result.unwrap();
    let begun = std::time::Instant::now();
    let invocation = policy.decide(&input());
    let (kind, message) = failure(&invocation);
    assert_eq!(kind, "DeadlineExceeded", "{message}");
    assert!(message.contains("deadline of 20 ms"), "{message}");
    // The ticker slept before the call and must have been woken; it never ends a call early.
    assert!(begun.elapsed() >= Duration::from_millis(20));
}

#[test]
fn unbounded_recursion_traps() {
    let more = "(func $r (param i32) (result i32) (i32.add (i32.const 1) (call $r (i32.add (local.get 0) (i32.const 1)))))";
    fails(&Guest { more: more.to_owned(), ..Guest::deciding("(call $r (i32.const 0))") }, "Trap", "call stack exhausted");
}

#[test]
fn a_memory_bomb_is_named_as_one_whether_it_traps_or_loops() {
    let grow = "(br_if $l (i32.ne (i32.const -1) (memory.grow (i32.const 16))))";
    fails(&Guest::deciding(format!("(loop $l {grow}) (unreachable)")), "MemoryLimit", "limits.memory allows 16777216");
    fails(&Guest::deciding("(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (unreachable)"), "MemoryLimit", "limits.memory allows 16777216");
}

#[test]
fn a_guest_that_lives_with_a_denied_growth_may_go_on() {
    let body = "(drop (memory.grow (i32.const 10000))) (i32.const 256)";
    assert!(matches!(Guest::deciding(body).run().outcome, Outcome::Proposal(_)));
}

#[test]
fn a_memory_that_begins_too_large_is_named_as_one() {
    let guest = Guest { pages: 400, ..Guest::default() };
    let error = common::load(&guest.build()).unwrap_err();
    assert_eq!(error.reason(), "DescribeFailed");
    assert!(error.to_string().contains("MemoryLimit"), "{error}");
}

#[test]
fn a_table_bomb_is_named_as_one() {
    let more = "(table $t 1 funcref)";
    let body = "(loop $l (br_if $l (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 1000))))) (unreachable)";
    fails(&Guest { more: more.to_owned(), ..Guest::deciding(body) }, "MemoryLimit", "limits.tableElements allows 20000");
}

#[test]
fn a_giant_text_is_not_copied() {
    // The sentence is all of memory, which the guest has made 8 MiB large.
    let body = with("(drop (memory.grow (i32.const 125))) (i32.store (i32.const 272) (i32.const 0)) (i32.store (i32.const 276) (i32.const 8000000))");
    fails(&Guest::deciding(body), "ResultTooLarge", "bytes that it may take");
}

#[test]
fn a_rationale_that_fits_the_host_and_not_the_contract_is_invalid() {
    let body = with(
        "(memory.fill (i32.const 8192) (i32.const 97) (i32.const 30000)) (i32.store (i32.const 272) (i32.const 8192)) (i32.store (i32.const 276) (i32.const 30000))",
    );
    fails(&Guest::deciding(body), "InvalidProposal", "has 30000 characters, at most 1024");
}

#[test]
fn a_state_above_its_limit_is_named_as_that() {
    let store = |bytes: u32| with(&format!("(i32.store (i32.const 288) (i32.const 4096)) (i32.store (i32.const 292) (i32.const {bytes}))"));
    let guest = |bytes| Guest { pages: 40, ..Guest::deciding(store(bytes)) };
    assert!(matches!(guest(60_000).run().outcome, Outcome::Proposal(_)));
    fails(&guest(65_536), "ResultTooLarge", "65570 bytes of rationale and state where limits.resultBytes allows 65536");
    fails(&guest(65_537), "StateTooLarge", "65537 bytes of state where limits.stateBytes allows 65536");
    fails(&guest(2_000_000), "ResultTooLarge", "bytes");
}

#[test]
fn numbers_that_are_not_finite_are_invalid() {
    for (value, word) in [("nan", "NaN"), ("inf", "inf")] {
        fails(&Guest::deciding(with(&format!("(f64.store (i32.const 1312) (f64.const {value}))"))), "InvalidProposal", word);
    }
}

#[test]
fn replicas_beyond_sense_are_invalid() {
    for replicas in [150_001, u32::MAX] {
        fails(&Guest { replicas, ..Guest::default() }, "InvalidProposal", &replicas.to_string());
    }
}

#[test]
fn text_that_is_not_utf8_is_invalid() {
    fails(&Guest::deciding(with("(i32.store8 (i32.const 1101) (i32.const 255))")), "InvalidProposal", "utf-8");
}

#[test]
fn a_code_that_is_no_word_is_invalid() {
    fails(&Guest::deciding(with("(i32.store8 (i32.const 1025) (i32.const 10))")), "InvalidProposal", "not a CamelCase word");
    fails(&Guest::deciding(with("(i32.store (i32.const 268) (i32.const 0))")), "InvalidProposal", "not a CamelCase word");
}

#[test]
fn a_result_that_is_no_result_is_invalid() {
    fails(&Guest::deciding(with("(i32.store8 (i32.const 256) (i32.const 2))")), "InvalidProposal", "discriminant");
    fails(&Guest::deciding("(i32.const -4)"), "InvalidProposal", "out of bounds");
    fails(&Guest::deciding("(i32.const 257)"), "InvalidProposal", "not aligned");
    fails(&Guest::deciding(with("(i32.store (i32.const 272) (i32.const -2))")), "InvalidProposal", "out of bounds");
    fails(&Guest::deciding(with("(i32.store (i32.const 280) (i32.const 1301))")), "InvalidProposal", "aligned");
}

#[test]
fn an_allocator_that_lies_is_a_trap() {
    let lying = Guest::default().wat().replace("(local.get $at))\n              (func $decide", "(i32.const -16))\n              (func $decide");
    assert!(lying.contains("(i32.const -16))"));
    let policy = common::load(&common::component(&lying, common::WIT, "scaling-policy")).unwrap();
    let invocation = policy.decide(&input());
    assert_eq!(failure(&invocation).0, "Trap", "{invocation:?}");
}

#[test]
fn a_window_that_does_not_fit_the_guest_fails_and_harms_nobody() {
    let mut large = input();
    large.params = "x".repeat(20 << 20);
    let policy = Guest::default().load();
    assert_eq!(failure(&policy.decide(&large)).0, "MemoryLimit");
    assert!(matches!(policy.decide(&input()).outcome, Outcome::Proposal(_)));
}

#[test]
fn after_all_that_a_good_policy_decides_as_ever() {
    let good = Guest::default().load();
    let bad = Guest::deciding("(unreachable)").load();
    for _ in 0..100 {
        assert_eq!(failure(&bad.decide(&input())).0, "Trap");
        assert!(matches!(good.decide(&input()).outcome, Outcome::Proposal(_)));
    }
}
