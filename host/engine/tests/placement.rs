//! Placement policies: the built-in one as a component, and what becomes of one that is loaded as something else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::placement::{
    Loads, NO_NODE, NodeBounds, NodeColumns, NodeState, PartitionColumns, PlacementInput, PlacementOutcome, PlacementPolicy as _, PlacementProposal,
};
use weir_core::scaling::{FailureKind, ScalingPolicy as _};
use weir_engine::policy::FUEL_FOR_PARTITION;
use weir_engine::source::builtin::builtin;
use weir_engine::{Candidate, Engine, EngineConfig, Limits, LoadError, LoadOutcome, Policy, PolicyKind, PolicySlot, Wasi};

fn engine() -> Engine {
    Engine::new(EngineConfig { concurrent_instances: 4, ..EngineConfig::default() }).unwrap()
}

fn candidate(name: &str, kind: PolicyKind) -> Candidate {
    Candidate {
        object: ObjectRef::new("test", name),
        kind,
        bytes: builtin(name).unwrap(),
        digest: None,
        params: serde_json::Value::Null,
        limits: Limits::default(),
        wasi: Wasi::Deny,
    }
}

fn balanced() -> Arc<Policy> {
    engine().load_blocking(&candidate("balanced", PolicyKind::Placement), &[]).result.unwrap()
}

/// `nodes` ready ones and one partition after the other on the first `used` of them.
fn input(nodes: u32, partitions: u32, used: u32) -> PlacementInput {
    let all = || 0..nodes;
    PlacementInput {
        now: UnixMs(1_700_000_000_000),
        object: ObjectRef::new("logs", "store"),
        mirror: 0,
        bounds: NodeBounds { count: nodes, min: 1, max: 1000 },
        nodes: NodeColumns {
            names: all().map(|node| format!("n{node:03}")).collect(),
            zones: all().map(|_| 0).collect(),
            zone_names: vec![String::new()],
            states: all().map(|_| NodeState::Ready).collect(),
            capacities: all().map(|_| 1.0).collect(),
            fills: all().map(|_| f64::NAN).collect(),
        },
        partitions: PartitionColumns {
            owners: (0..partitions).map(|partition| partition.checked_rem(used).unwrap_or(NO_NODE)).collect(),
            weights: (0..partitions).map(|_| 1.0).collect(),
        },
        max_moves: u32::MAX,
        params: "{}".into(),
        state: Vec::new(),
    }
}

fn proposal(policy: &Policy, input: &PlacementInput) -> (PlacementProposal, u64) {
    let invocation = policy.place(input);
    match invocation.outcome {
        PlacementOutcome::Proposal(proposal) => (proposal, invocation.fuel),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_built_in_rule_places_partitions_with_the_fewest_moves() {
    let policy = balanced();
    assert_eq!((policy.kind(), policy.description().name.as_str()), (PolicyKind::Placement, "balanced"));
    let input = input(3, 64, 2);
    let (placed, fuel) = proposal(&policy, &input);
    let moves = input.partitions.owners.iter().zip(&placed.owners).filter(|(before, after)| before != after).count();
    assert_eq!((Loads::of(&placed.owners, &input.partitions.weights, 3).counts, moves), (vec![22, 22, 20], 20));
    assert_eq!((placed.nodes, placed.rationale.code.as_str()), (3, "Rebalanced"));
    assert_eq!(placed.rationale.numbers.iter().find(|number| number.name == "moves").map(|number| number.value), Some(20.0));
    assert_eq!(proposal(&policy, &input), (placed, fuel), "the same bytes in, the same bytes and fuel out");
}

#[test]
fn states_zones_params_and_budget_reach_the_rule() {
    let policy = balanced();
    let mut given = input(4, 40, 2);
    given.nodes.states = vec![NodeState::Cordoned, NodeState::Ready, NodeState::Silent, NodeState::Ready];
    given.max_moves = 5;
    let (placed, _) = proposal(&policy, &given);
    let counts = Loads::of(&placed.owners, &given.partitions.weights, 4).counts;
    assert_eq!((counts[0], counts[2]), (15, 0), "five left the cordoned node: {counts:?}");
    let wide = Candidate { params: serde_json::json!({ "tolerance": 10 }), ..candidate("balanced", PolicyKind::Placement) };
    let wide = engine().load_blocking(&wide, &[]).result.unwrap();
    let given = PlacementInput { params: wide.params().to_owned(), ..input(3, 64, 2) };
    assert_eq!(proposal(&wide, &given).0.owners, given.partitions.owners);
    let none = PlacementInput { nodes: NodeColumns { states: vec![NodeState::Lost; 3], ..given.nodes.clone() }, ..given };
    assert!(matches!(policy.place(&none).outcome, PlacementOutcome::Refusal(refusal) if refusal.code == "NoReadyNode"));
}

#[test]
fn ten_thousand_partitions_on_five_hundred_nodes_fit_the_default_limits() {
    let (placed, fuel) = proposal(&balanced(), &input(500, 10_000, 400));
    assert!(placed.owners.iter().all(|owner| *owner < 500));
    assert!(fuel < Limits::default().fuel + 10_000 * FUEL_FOR_PARTITION / 2, "{fuel}");
    println!("{fuel} fuel");
}

#[test]
fn a_policy_of_another_kind_is_refused_by_name() {
    let refused = |name: &str, kind| engine().load_blocking(&candidate(name, kind), &[]).result.unwrap_err();
    let error = refused("balanced", PolicyKind::Scaling);
    assert!(matches!(error, LoadError::WrongWorld { .. }));
    assert!(error.to_string().contains("is not a scaling policy"), "{error}");
    let error = refused("threshold", PolicyKind::Placement).to_string();
    assert!(error.contains("is not a placement policy") && error.contains("build it for the world weir:policy/placement-policy"), "{error}");
}

#[test]
fn a_placement_policy_that_is_asked_for_replicas_fails_and_says_so() {
    let given = weir_core::scaling::ScalingInput {
        now: UnixMs(0),
        object: ObjectRef::new("logs", "store"),
        replicas: weir_core::scaling::Replicas::default(),
        capacity: weir_core::scaling::Capacity::default(),
        objectives: weir_core::scaling::Objectives::default(),
        window: weir_core::window::Window::default(),
        params: "{}".into(),
        state: Vec::new(),
    };
    let outcome = balanced().decide(&given).outcome;
    assert!(
        matches!(&outcome, weir_core::scaling::Outcome::Failure(failure) if failure.kind == FailureKind::InvalidProposal && failure.message.contains("record")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_new_module_is_tried_on_placements_that_were_seen() {
    let slot = PolicySlot::new(engine());
    slot.observe_placement(&input(3, 64, 2));
    let report = slot.load(&candidate("balanced", PolicyKind::Placement)).await;
    assert!(matches!(report.outcome, LoadOutcome::Swapped { .. }), "{:?}", report.outcome);
    assert_eq!((report.stages.probes, report.stages.refusals), (1, 0));
}

#[test]
fn the_contract_of_the_host_is_that_of_the_wit_file() {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit/placement.wit");
    let text = std::fs::read_to_string(wit).unwrap();
    for state in ["starting", "ready", "cordoned", "silent", "lost", "quarantined", "full"] {
        assert!(text.contains(&format!("        {state},")), "{state}");
    }
    // The component has the types of the WIT file, so that it loads means that all types fit.
    balanced();
}
