use super::*;
use crate::placement::{NodeBounds, NodeColumns, PartitionColumns};
use crate::scaling::{Failure, FailureKind, Rationale, Refusal};
use rstest::rstest;
use std::cell::Cell;

const FAR: ChurnLimits = ChurnLimits { max_moves_per_step: 100, max_moves_per_hour: 100, min_interval_ms: 0 };

fn stamp() -> PolicyStamp {
    PolicyStamp { object: ObjectRef::new("logs", "rule"), digest: Digest::of(b""), name: "rule".into(), version: "1".into() }
}

struct Rule<F>(F);

impl<F: Fn(&PlacementInput) -> PlacementOutcome> PlacementPolicy for Rule<F> {
    fn place(&self, input: &PlacementInput) -> PlacementInvocation {
        PlacementInvocation { outcome: (self.0)(input), fuel: 0, output: String::new() }
    }
}

fn proposing(nodes: u32, owners: Vec<u32>) -> Rule<impl Fn(&PlacementInput) -> PlacementOutcome> {
    let rationale = Rationale { code: "Because".into(), sentence: "It is so.".into(), numbers: Vec::new() };
    Rule(move |_: &PlacementInput| {
        PlacementOutcome::Proposal(PlacementProposal { nodes, owners: owners.clone(), rationale: rationale.clone(), state: Vec::new() })
    })
}

/// Nodes n0, n1 … in these states, partitions of weight 1 with these owners.
fn snapshot(states: &[NodeState], owners: &[u32]) -> PlacementSnapshot {
    let count = u32::try_from(states.len()).unwrap();
    let input = PlacementInput {
        now: UnixMs(1_000_000),
        object: ObjectRef::new("logs", "store"),
        mirror: 0,
        bounds: NodeBounds { count, min: 1, max: 10 },
        nodes: NodeColumns {
            names: (0..count).map(|at| format!("n{at}")).collect(),
            zones: vec![0; states.len()],
            zone_names: vec![String::new()],
            states: states.to_vec(),
            capacities: vec![1.0; states.len()],
            fills: vec![f64::NAN; states.len()],
        },
        partitions: PartitionColumns { owners: owners.to_vec(), weights: vec![1.0; owners.len()] },
        max_moves: 100,
        params: "{}".into(),
        state: Vec::new(),
    };
    PlacementSnapshot {
        schema: SCHEMA,
        mirrors: vec![input],
        epoch: Epoch(4),
        policy: Some(stamp()),
        unresolved: None,
        limits: FAR,
        budget: (100, PlacementGuardrail::StepBudget),
        pin: None,
        mode: Mode::Enforce,
        paused: false,
    }
}

fn changes(moves: &[Move]) -> Vec<(u32, &str)> {
    moves.iter().map(|change| (change.partition, change.to.as_str())).collect()
}

fn words(decision: &PlacementDecision) -> (&'static str, &str) {
    (decision.verdict.as_str(), &decision.reason)
}

fn clamps(decision: &PlacementDecision) -> Vec<(&'static str, u32, u32)> {
    decision.clamps.iter().map(|clamp| (clamp.guardrail.as_str(), clamp.from, clamp.to)).collect()
}

use NodeState::{Cordoned, Full, Lost, Quarantined, Ready, Silent};

#[test]
fn what_a_policy_proposes_moves() {
    let decision = decide_placement(&snapshot(&[Ready, Ready], &[0, 0, 0, 0]), Some(&proposing(2, vec![0, 1, NO_NODE, 1]))).unwrap();
    assert_eq!(words(&decision), ("Move", "Because"));
    assert_eq!(changes(&decision.mirrors[0].moves), [(1, "n1"), (3, "n1")]);
    assert_eq!(decision.balance(), (Some(2.0), Some(1.0)));
    assert_eq!((decision.id.len(), decision.epoch, decision.grants()[0].len()), (16, Epoch(4), 2));
}

#[rstest]
#[case::policy(Some(vec![0, 0]), "n0")]
#[case::a_policy_that_leaves_them(Some(vec![1, 0]), "n0")]
#[case::no_policy(None, "n0")]
fn partitions_of_a_lost_node_get_new_owners_whatever_the_policy_does(#[case] owners: Option<Vec<u32>>, #[case] node: &str) {
    let snapshot = snapshot(&[Ready, Lost, Silent], &[1, 0]);
    let rule = owners.map(|owners| proposing(3, owners));
    let decision = decide_placement(&snapshot, rule.as_ref().map(|rule| rule as &dyn PlacementPolicy)).unwrap();
    assert_eq!((words(&decision), changes(&decision.mirrors[0].failovers)), (("Failover", "NodesLost"), vec![(0, node)]));
    assert!(decision.sentence.starts_with("1 partitions of n1 (Lost) get new owners"), "{}", decision.sentence);
}

#[test]
fn failovers_pass_every_churn_budget_and_moves_none() {
    let mut snapshot = snapshot(&[Ready, Full, Ready], &[1, 1, 0, 0, 0, 0]);
    snapshot.budget = (1, PlacementGuardrail::HourBudget);
    let decision = decide_placement(&snapshot, Some(&proposing(3, vec![2, 2, 2, 2, 0, 0]))).unwrap();
    assert_eq!((decision.failovers(), decision.moves(), decision.held_back()), (2, 1, 1));
    assert_eq!(clamps(&decision), [("HourBudget", 2, 1)]);
    assert!(decision.sentence.ends_with("besides, 1 move; 1 stay for now (HourBudget)"), "{}", decision.sentence);
}

#[test]
fn nodes_that_are_not_ready_are_given_nothing() {
    for state in [Cordoned, Silent, Quarantined, Lost, Full] {
        let decision = decide_placement(&snapshot(&[Ready, state], &[0, 0]), Some(&proposing(2, vec![1, 0]))).unwrap();
        assert_eq!((decision.moves(), clamps(&decision)), (0, vec![("TargetNotReady", 1, 0)]), "{state:?}");
    }
}

#[test]
fn a_silent_or_cordoned_node_keeps_what_it_owns_until_the_policy_moves_it() {
    for state in [Silent, Cordoned, Quarantined] {
        let snapshot = snapshot(&[Ready, state], &[0, 1]);
        assert_eq!(decide_placement(&snapshot, None).unwrap().failovers(), 0, "{state:?}");
        assert_eq!(decide_placement(&snapshot, Some(&proposing(2, vec![0, 0]))).unwrap().moves(), 1, "{state:?}");
    }
}

#[test]
fn when_nearly_all_nodes_are_lost_nothing_moves() {
    let decision = decide_placement(&snapshot(&[Ready, Lost, Lost, Lost, Lost], &[0, 1, 2, 3, 4]), Some(&proposing(5, vec![0; 5]))).unwrap();
    assert_eq!((words(&decision), decision.failovers(), decision.moves()), (("Hold", "MassLoss"), 0, 0));
    let decision = decide_placement(&snapshot(&[Ready, Lost, Lost, Lost], &[0, 1, 2, 3]), None).unwrap();
    assert_eq!((words(&decision), decision.failovers()), (("Failover", "NodesLost"), 3));
}

#[test]
fn partitions_that_nobody_can_take_stay_and_are_told_of() {
    let decision = decide_placement(&snapshot(&[Cordoned, Full], &[0, 1]), None).unwrap();
    assert_eq!((words(&decision), decision.mirrors[0].homeless), (("Hold", "NoReadyNode"), 1));
}

#[test]
fn first_owners_are_given_also_without_a_policy_and_in_a_dry_run() {
    let mut snapshot = snapshot(&[Ready, Ready], &[NO_NODE, NO_NODE, NO_NODE, NO_NODE]);
    (snapshot.policy, snapshot.mode) = (None, Mode::DryRun);
    let decision = decide_placement(&snapshot, None).unwrap();
    assert_eq!(words(&decision), ("Move", "FirstOwners"));
    assert_eq!(decision.grants()[0].len(), 4);
    assert_eq!(decision.balance().1, Some(1.0));
}

#[test]
fn a_dry_run_grants_nothing_to_partitions_that_have_an_owner() {
    let mut snapshot = snapshot(&[Ready, Lost, Ready], &[0, 0, 1]);
    snapshot.mode = Mode::DryRun;
    let decision = decide_placement(&snapshot, Some(&proposing(5, vec![0, 2, 2]))).unwrap();
    assert_eq!((decision.moves(), decision.failovers(), decision.nodes_to), (1, 1, 5));
    assert_eq!((decision.grants()[0].len(), decision.nodes()), (0, 3));
}

#[test]
fn paused_changes_nothing_and_asks_nobody() {
    let asked = Cell::new(false);
    let rule = Rule(|_: &PlacementInput| {
        asked.set(true);
        PlacementOutcome::Refusal(Refusal { code: "No".into(), sentence: String::new() })
    });
    let mut snapshot = snapshot(&[Ready, Lost], &[0, 1]);
    (snapshot.paused, snapshot.pin, snapshot.mirrors[0].bounds.min) = (true, Some(5), 4);
    let decision = decide_placement(&snapshot, Some(&rule)).unwrap();
    assert_eq!((words(&decision), decision.failovers(), decision.nodes_to, asked.get()), (("Hold", "Paused"), 0, 2, false));
}

#[rstest]
#[case::refusal(PlacementOutcome::Refusal(Refusal { code: "NotEnoughHistory".into(), sentence: "Too little is known.".into() }), "NotEnoughHistory", "the policy refuses: Too little")]
#[case::trap(PlacementOutcome::Failure(Failure { kind: FailureKind::Trap, message: "unreachable".into() }), "Trap", "the policy failed: unreachable")]
fn a_policy_that_does_not_propose_moves_nothing(#[case] outcome: PlacementOutcome, #[case] code: &str, #[case] sentence: &str) {
    let rule = Rule(move |_: &PlacementInput| outcome.clone());
    let decision = decide_placement(&snapshot(&[Ready, Ready], &[0, 0]), Some(&rule)).unwrap();
    assert_eq!((words(&decision), decision.moves(), decision.nodes_to), (("Hold", code), 0, 2));
    assert!(decision.sentence.starts_with(sentence), "{}", decision.sentence);
}

#[rstest]
#[case::wish(4, None, 4, &[])]
#[case::too_many(12, None, 10, &[("MaxNodes", 12, 10)])]
#[case::too_few(0, None, 1, &[("MinNodes", 0, 1)])]
#[case::pin(4, Some(6), 6, &[("NodePin", 4, 6)])]
#[case::a_pin_beyond_the_bounds(4, Some(60), 10, &[("NodePin", 4, 60), ("MaxNodes", 60, 10)])]
fn the_number_of_nodes_stays_within_its_bounds(#[case] wanted: u32, #[case] pin: Option<u32>, #[case] nodes: u32, #[case] clamped: &[(&str, u32, u32)]) {
    let mut snapshot = snapshot(&[Ready, Ready], &[0, 1]);
    snapshot.pin = pin;
    let decision = decide_placement(&snapshot, Some(&proposing(wanted, vec![0, 1]))).unwrap();
    assert_eq!((decision.nodes_to, clamps(&decision)), (nodes, clamped.to_vec()));
    assert_eq!(decision.verdict, PlacementVerdict::Scale);
}

#[test]
fn two_mirrors_share_one_budget() {
    let mut snapshot = snapshot(&[Ready, Ready], &[0, 0, 0]);
    snapshot.mirrors.push(PlacementInput { mirror: 1, ..snapshot.mirrors[0].clone() });
    snapshot.budget = (3, PlacementGuardrail::StepBudget);
    let decision = decide_placement(&snapshot, Some(&proposing(2, vec![1, 1, 0]))).unwrap();
    assert_eq!((decision.mirrors[0].moves.len(), decision.mirrors[1].moves.len()), (2, 1));
}

#[rstest]
#[case::the_first(0, &[], (16, "StepBudget"))]
#[case::right_after(59_000, &[(0, 4)], (0, "MinInterval"))]
#[case::little_left(60_000, &[(0, 60)], (4, "HourBudget"))]
#[case::an_hour_later(3_600_000, &[(0, 60)], (16, "StepBudget"))]
#[case::a_clock_that_was_ahead(0, &[(90_000, 60)], (0, "MinInterval"))]
fn the_budget_is_what_is_left_of_step_and_hour(#[case] now: i64, #[case] moved: &[(i64, u32)], #[case] left: (u32, &str)) {
    let limits = ChurnLimits { max_moves_per_step: 16, max_moves_per_hour: 64, min_interval_ms: 60_000 };
    let mut ledger = crate::placement::Ledger::new(1, 1);
    for (at, count) in moved {
        ledger.moved(UnixMs(*at), *count);
    }
    let (budget, by) = crate::placement::budget(UnixMs(now), &ledger, &limits, false);
    assert_eq!((budget, by.as_str()), left);
    assert_eq!(crate::placement::budget(UnixMs(now), &ledger, &limits, true), (0, PlacementGuardrail::StaleWeights));
}
