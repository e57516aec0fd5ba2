use super::*;
use crate::guardrails::{Guardrails, Limits};
use crate::scaling::{Capacity, Failure, FailureKind, Objectives, Proposal, Refusal, Replicas, ScalingInput};
use crate::snapshot::{Block, SCHEMA};
use crate::window::{Series, Window};
use rstest::rstest;

struct Fixed(PolicyStamp, Outcome);

impl ScalingPolicy for Fixed {
    fn stamp(&self) -> &PolicyStamp {
        &self.0
    }

    fn decide(&self, _: &ScalingInput) -> Invocation {
        Invocation { outcome: self.1.clone(), fuel: 7, output: String::new() }
    }
}

fn stamp() -> PolicyStamp {
    PolicyStamp { object: ObjectRef::new("logs", "rule"), digest: Digest::of(b"rule"), name: "rule".into(), version: "1".into() }
}

fn proposes(replicas: u32) -> Fixed {
    let rationale = Rationale { code: "AboveCapacity".into(), sentence: "too much".into(), numbers: vec![] };
    Fixed(stamp(), Outcome::Proposal(Proposal { replicas, rationale, state: vec![1, 2] }))
}

fn snapshot() -> Snapshot {
    Snapshot {
        schema: SCHEMA,
        input: ScalingInput {
            now: UnixMs(1_700_000_000_000),
            object: ObjectRef::new("logs", "edge"),
            replicas: Replicas { desired: 4, ready: 4, starting: 0, min: 2, max: 10 },
            capacity: Capacity::default(),
            objectives: Objectives::default(),
            window: Window { times: vec![1], series: vec![Series { name: "offered".into(), unit: "records/s".into(), values: vec![f64::NAN] }] },
            params: "{}".into(),
            state: vec![9],
        },
        policy: Some(stamp()),
        fallback: None,
        dropped_state: None,
        unresolved: None,
        metrics: MetricsHealth::Ready,
        guardrails: Guardrails::default(),
        memory: GuardMemory::default(),
        pin: None,
        mode: Mode::Enforce,
        paused: false,
        block: None,
    }
}

fn decided(snapshot: &Snapshot, policy: &Fixed) -> Decision {
    decide(snapshot, Some(policy)).unwrap().0
}

#[test]
fn a_decision_of_a_fallback_says_so_and_says_why() {
    let fallback = Fallback { instead_of: Digest::of(b"broken"), sentence: "5 of 5 calls failed".into() };
    let decision = decided(&Snapshot { fallback: Some(fallback.clone()), ..snapshot() }, &proposes(7));
    assert_eq!((decision.fallback.as_ref(), decision.policy.as_ref(), decision.to), (Some(&fallback), Some(&stamp()), 7));
    assert_ne!(decision.snapshot, decided(&snapshot(), &proposes(7)).snapshot, "a replay knows it from the snapshot");
}

#[test]
fn a_proposal_within_the_guardrails_is_followed() {
    let decision = decided(&snapshot(), &proposes(7));
    assert_eq!((decision.verdict, decision.from, decision.to, decision.acts()), (Verdict::Scale, 4, 7, true));
    assert_eq!(decision.reason, "AboveCapacity");
}

#[rstest]
#[case::refusal(Outcome::Refusal(Refusal { code: "NotEnoughHistory".into(), sentence: "wait".into() }), "NotEnoughHistory")]
#[case::trap(Outcome::Failure(Failure { kind: FailureKind::Trap, message: "unreachable".into() }), "Trap")]
fn whatever_is_no_proposal_holds_what_is(#[case] outcome: Outcome, #[case] reason: &str) {
    let decision = decided(&snapshot(), &Fixed(stamp(), outcome));
    assert_eq!((decision.verdict, decision.to, decision.reason.as_str()), (Verdict::Hold, 4, reason));
}

#[test]
fn a_state_that_was_not_handed_on_stands_in_the_decision() {
    let dropped = DroppedState { version: 1, bytes: 2, writer: "rule 0".into(), digest: Digest::of(b"before") };
    let snapshot = Snapshot { dropped_state: Some(dropped.clone()), ..snapshot() };
    assert_eq!(decided(&snapshot, &proposes(7)).dropped_state, Some(dropped));
    let read = Snapshot::from_bytes(&snapshot.to_bytes().unwrap()).unwrap();
    assert_eq!(read.digest().unwrap(), snapshot.digest().unwrap());
}

#[test]
fn metrics_that_are_not_ready_hold_and_the_policy_is_not_asked() {
    let mut snapshot = snapshot();
    snapshot.metrics = MetricsHealth::NotReady { reason: "MetricsStale".into(), sentence: "20 s old".into() };
    let decision = decided(&snapshot, &proposes(9));
    assert_eq!((decision.verdict, decision.to, decision.invocation.is_none()), (Verdict::Hold, 4, true));
    assert_eq!(decision.reason, "MetricsStale");
}

#[test]
fn holding_still_means_staying_within_the_bounds() {
    let mut snapshot = snapshot();
    snapshot.metrics = MetricsHealth::NotReady { reason: "MetricsStale".into(), sentence: String::new() };
    snapshot.input.replicas.min = 6;
    let decision = decided(&snapshot, &proposes(9));
    assert_eq!((decision.to, decision.clamps[0].guardrail), (6, Guardrail::Min));
}

#[rstest]
#[case::within_the_bounds(8, 8)]
#[case::above_max(50, 10)]
#[case::below_min(0, 2)]
fn a_pin_decides_within_the_bounds_while_the_policy_goes_on(#[case] pin: u32, #[case] to: u32) {
    let mut snapshot = snapshot();
    snapshot.pin = Some(pin);
    let decision = decided(&snapshot, &proposes(3));
    assert_eq!((decision.verdict, decision.to, decision.proposed), (Verdict::Pinned, to, Some(3)));
}

#[test]
fn a_pin_works_without_metrics_and_without_a_policy() {
    let mut snapshot = snapshot();
    (snapshot.pin, snapshot.policy) = (Some(5), None);
    assert_eq!(decide(&snapshot, None).unwrap().0.to, 5);
}

#[test]
fn paused_and_blocked_objects_are_left_exactly_as_they_are() {
    let mut paused = snapshot();
    (paused.paused, paused.pin, paused.input.replicas.desired) = (true, Some(5), 40);
    let mut blocked = paused.clone();
    (blocked.paused, blocked.block) = (false, Some(Block { code: "OtherAutoscaler".into(), sentence: "HPA x".into() }));
    for (snapshot, reason) in [(paused, "Paused"), (blocked, "OtherAutoscaler")] {
        let decision = decided(&snapshot, &proposes(3));
        assert_eq!((decision.to, decision.acts(), decision.reason.as_str()), (40, false, reason));
    }
}

#[test]
fn a_dry_run_decides_without_effect_and_without_a_remembered_change() {
    let mut snapshot = snapshot();
    snapshot.mode = Mode::DryRun;
    let decision = decided(&snapshot, &proposes(7));
    assert_eq!((decision.to, decision.acts(), decision.change()), (7, false, None));
}

#[test]
fn guardrails_and_their_memory_take_part() {
    let mut snapshot = snapshot();
    snapshot.guardrails.up = Limits { max_replicas_per_step: Some(1), ..Limits::default() };
    let (decision, memory) = decide(&snapshot, Some(&proposes(9))).unwrap();
    assert_eq!((decision.to, decision.proposed, decision.clamps.len()), (5, Some(9), 1));
    assert_eq!(decision.change().map(|change| change.to), Some(5));
    assert_ne!(memory, snapshot.memory);
}

#[test]
fn a_snapshot_read_back_gives_the_same_decision_to_the_bit() {
    let snapshot = snapshot();
    let bytes = snapshot.to_bytes().unwrap();
    let again = Snapshot::from_bytes(&bytes).unwrap();
    assert_eq!(again.to_bytes().unwrap(), bytes);
    assert_eq!(decided(&again, &proposes(7)), decided(&snapshot, &proposes(7)));
}

#[test]
fn bytes_of_another_schema_are_refused() {
    let mut other = snapshot();
    other.schema = SCHEMA + 1;
    assert!(Snapshot::from_bytes(&other.to_bytes().unwrap()).unwrap_err().to_string().contains("schema 2"));
}
