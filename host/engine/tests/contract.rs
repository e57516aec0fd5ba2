//! What goes in and what comes out of a policy, and that it does so the same way each time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Guest, candidate, component, engine, input, load};
use serde_json::json;
use weir_core::scaling::{Outcome, Proposal, Refusal, ScalingPolicy};
use weir_core::state::StateVersions;
use weir_engine::{CacheConfig, CompiledFrom, Engine, EngineConfig, source};

fn proposal(outcome: &Outcome) -> &Proposal {
    let Outcome::Proposal(proposal) = outcome else { panic!("{outcome:?}") };
    proposal
}

#[test]
fn a_proposal_comes_out_as_the_guest_wrote_it() {
    let guest = Guest { replicas: 7, state: vec![1, 2, 3], ..Guest::default() };
    let policy = guest.load();
    let invocation = policy.decide(&input());
    let proposal = proposal(&invocation.outcome);
    assert_eq!((proposal.replicas, proposal.state.as_slice()), (7, [1, 2, 3].as_slice()));
    assert_eq!((proposal.rationale.code.as_str(), proposal.rationale.sentence.as_str()), ("Tested", "A test decides."));
    let number = &proposal.rationale.numbers[0];
    assert_eq!((number.name.as_str(), number.value, number.unit.as_str()), ("rate", 1.5, "1"));
    assert!(invocation.fuel > 0);
    assert_eq!((policy.stamp().name.as_str(), policy.stamp().version.as_str()), ("guest", "1.0.0"));
    assert_eq!(policy.description().series[0].name, "offered");
}

#[test]
fn a_refusal_comes_out_as_a_refusal() {
    // tag 1, then code and sentence
    let body = "(i32.store (i32.const 4096) (i32.const 1))
        (i32.store (i32.const 4100) (i32.const 1024)) (i32.store (i32.const 4104) (i32.const 6))
        (i32.store (i32.const 4108) (i32.const 1100)) (i32.store (i32.const 4112) (i32.const 15))
        (i32.const 4096)";
    let refusal = Refusal { code: "Tested".to_owned(), sentence: "A test decides.".to_owned() };
    assert_eq!(Guest::deciding(body).run().outcome, Outcome::Refusal(refusal));
}

#[test]
fn every_part_of_the_input_reaches_the_guest_where_the_contract_says() {
    let mut given = input();
    given.params = "{\"a\":1}".to_owned();
    given.state = vec![9; 5];
    // (load from the input record, what it must give)
    let last_offered = "(i64.trunc_f64_s (f64.load offset=472 (i32.load offset=16 (i32.load offset=136 (local.get $in)))))";
    let checks = [
        ("(i64.load offset=0 (local.get $in))", 1_700_000_060_000_i64),
        ("(i64.load32_u offset=12 (local.get $in))", 7),
        ("(i64.load32_u offset=20 (local.get $in))", 4),
        ("(i64.load32_u offset=24 (local.get $in))", 3),
        ("(i64.load32_u offset=36 (local.get $in))", 1),
        ("(i64.load32_u offset=40 (local.get $in))", 50),
        ("(i64.load8_u offset=48 (local.get $in))", 1),
        ("(i64.trunc_f64_s (f64.load offset=56 (local.get $in)))", 1000),
        ("(i64.load8_u offset=64 (local.get $in))", 1),
        ("(i64.trunc_f64_s (f64.load offset=72 (local.get $in)))", 8),
        ("(i64.trunc_f64_s (f64.load offset=88 (local.get $in)))", 30),
        ("(i64.load8_u offset=112 (local.get $in))", 0),
        ("(i64.load32_u offset=132 (local.get $in))", 60),
        ("(i64.load offset=472 (i32.load offset=128 (local.get $in)))", 1_700_000_059_000),
        ("(i64.load32_u offset=140 (local.get $in))", 8),
        (last_offered, 59),
        ("(i64.load32_u offset=148 (local.get $in))", 7),
        ("(i64.load8_u (i32.load offset=144 (local.get $in)))", i64::from(b'{')),
        ("(i64.load32_u offset=156 (local.get $in))", 5),
        ("(i64.load8_u offset=4 (i32.load offset=152 (local.get $in)))", 9),
    ];
    let body: String = checks.iter().map(|(load, want)| format!("(if (i64.ne {load} (i64.const {want})) (then (unreachable)))\n")).collect();
    let outcome = Guest::deciding(format!("{body} (i32.const 256)")).load().decide(&given).outcome;
    assert!(matches!(outcome, Outcome::Proposal(_)), "{outcome:?}");
}

#[test]
fn the_types_of_the_host_are_those_of_the_wit_file_name_by_name() {
    // The component has the types of the WIT file, so that it loads means that all types fit.
    load(&Guest::default().build()).unwrap();
    for (is, other, function) in [
        ("starting: u32,", "starting: s64,", "decide"),
        ("refused-share: option<f64>,", "refused-part: option<f64>,", "decide"),
        ("%values: list<f64>,", "%values: list<f32>,", "decide"),
        ("sentence: string,\n        /// The numbers", "phrase: string,\n        /// The numbers", "decide"),
        ("state: list<u8>,\n    }\n\n    /// Pure", "state: list<s8>,\n    }\n\n    /// Pure", "decide"),
        ("required: bool,", "wanted: bool,", "describe"),
    ] {
        assert!(common::WIT.contains(is), "{is}");
        let wit = common::WIT.replace(is, other);
        let error = load(&component(&Guest::default().wat(), &wit, "scaling-policy")).unwrap_err();
        assert_eq!(error.reason(), "WrongTypes", "{is}: {error}");
        assert!(error.to_string().contains(&format!("`{function}`")), "{error}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_the_same_fuel_always() {
    let body = "
        (local.set $b (i32.const 500))
        (loop $l
          (local.set $a (i32.add (i32.mul (local.get $a) (i32.const 31)) (local.get $b)))
          (local.set $b (i32.sub (local.get $b) (i32.const 1)))
          (br_if $l (local.get $b)))
        (i32.store (i32.const 260) (i32.and (local.get $a) (i32.const 1023)))
        (i32.const 256)";
    let bytes = Guest { state: vec![4; 100], ..Guest::deciding(body) }.build();
    let temp = tempfile::tempdir().unwrap();
    let cache = Some(CacheConfig { folder: temp.path().join("code"), max_bytes: 1 << 20 });
    let config = EngineConfig { concurrent_instances: 4, cache, ..EngineConfig::default() };
    let mut seen = None;
    for from in [CompiledFrom::Compiler, CompiledFrom::Disk] {
        let engine = Engine::new(config.clone()).unwrap();
        let loading = engine.load_blocking(&candidate(&bytes), &[]);
        assert_eq!(loading.stages.compiled, from);
        let policy = loading.result.unwrap();
        for _ in 0..200 {
            let invocation = policy.decide(&input());
            assert_eq!(*seen.get_or_insert_with(|| invocation.clone()), invocation);
        }
    }
}

#[test]
fn a_nan_that_is_computed_is_canonical() {
    // 0/0 with any sign and payload becomes 0x7ff8000000000000; its upper half goes out as replicas.
    let body = "
        (f64.store (i32.const 4096) (f64.neg (f64.add (f64.const -nan:0x4000000000001) (f64.load offset=56 (local.get $in)))))
        (f64.store (i32.const 4096) (f64.div (f64.const 0) (f64.sub (f64.load offset=56 (local.get $in)) (f64.load offset=56 (local.get $in)))))
        (i32.store (i32.const 260) (i32.eq (i32.load (i32.const 4100)) (i32.const 0x7ff80000)))
        (i32.const 256)";
    assert_eq!(proposal(&Guest::deciding(body).run().outcome).replicas, 1);
}

#[test]
fn nothing_that_a_call_leaves_in_memory_is_there_at_the_next() {
    let body = "
        (i32.store (i32.const 260) (i32.add (i32.const 1) (i32.load (i32.const 4096))))
        (i32.store (i32.const 4096) (i32.const 77))
        (i32.const 256)";
    let policy = Guest::deciding(body).load();
    for _ in 0..50 {
        assert_eq!(proposal(&policy.decide(&input()).outcome).replicas, 1);
    }
}

#[test]
fn the_versions_of_a_state_come_out_as_the_guest_tells_them() {
    for (told, versions) in
        [(None, StateVersions::default()), (Some((1, vec![])), StateVersions::new(1, vec![])), (Some((3, vec![2, 0, 3])), StateVersions::new(3, vec![0, 2]))]
    {
        let policy = Guest { state_versions: told.clone(), ..Guest::default() }.load();
        assert_eq!(policy.description().state, versions, "{told:?}");
    }
}

#[test]
fn params_reach_the_policy_sorted_and_without_spaces() {
    let schema = json!({"type": "object", "properties": {"z": {"type": "number"}, "a": {"type": "number"}}});
    let bytes = Guest { schema: schema.to_string(), ..Guest::default() }.build();
    let mut candidate = candidate(&bytes);
    candidate.params = serde_json::from_str("{ \"z\": 1, \"a\": 2.50 }").unwrap();
    let policy = engine().load_blocking(&candidate, &[]).result.unwrap();
    assert_eq!(policy.params(), r#"{"a":2.5,"z":1}"#);
    assert_eq!(policy.description().params_schema.as_ref(), Some(&schema));
}

#[test]
fn every_built_in_policy_loads_and_answers() {
    // Those of another kind are in `placement.rs`.
    for name in source::builtin::names().filter(|name| *name != "balanced") {
        let policy = load(&source::builtin::builtin(name).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(policy.stamp().name, name);
        let outcome = policy.decide(&input()).outcome;
        assert!(!matches!(outcome, Outcome::Failure(_)), "{name}: {outcome:?}");
    }
    assert!(source::builtin::names().count() >= 2);
}
