use super::*;
use crate::scaling::{Failure, FailureKind, Proposal, Rationale, Refusal};
use proptest::prelude::*;
use rstest::rstest;

fn plan(steps: &[u8]) -> Plan {
    Plan {
        steps: steps.to_vec(),
        bake_ms: 60_000,
        min_decisions: 100,
        manual: false,
        gates: Gates { disagreement_share: Some(0.5), latency_us: Some(1_000), ..Gates::default() },
    }
}

fn seen(total: u64) -> Seen {
    Seen { candidate: Calls { total, ..Calls::default() }, current: Calls { total, ..Calls::default() }, ..Seen::default() }
}

fn after(seconds: i64) -> UnixMs {
    UnixMs(seconds * 1000)
}

#[test]
fn a_canary_takes_its_steps_when_time_is_over_and_enough_was_decided() {
    let plan = plan(&[5, 50]);
    assert_eq!(judge(&plan, &seen(1_000), after(59)), Next::Wait("step 1 of 2, 5 % of the objects: 1 s to go".to_owned()));
    assert_eq!(judge(&plan, &seen(99), after(600)), Next::Wait("step 1 of 2, 5 % of the objects: 99 of 100 decisions made".to_owned()));
    assert_eq!(judge(&plan, &seen(100), after(60)), Next::Step(1));
    let last = Seen { step: 1, ..seen(100) };
    assert_eq!(judge(&plan, &last, after(60)), Next::Promote("all gates held over 100 decisions".to_owned()));
    let manual = Plan { manual: true, ..plan };
    assert!(matches!(judge(&manual, &last, after(60)), Next::Wait(text) if text.contains("spec.rollout.promote")));
}

#[test]
fn a_shadow_has_no_step_and_ends_like_one() {
    assert_eq!(judge(&plan(&[]), &seen(5), after(59)), Next::Wait("shadow: 1 s to go".to_owned()));
    assert!(matches!(judge(&plan(&[]), &seen(100), after(60)), Next::Promote(_)));
}

fn fates(before: f64, now: f64) -> Fates {
    let fate = |value: f64| Fate { refused_share: Some(value), age_s: Some(value * 1_000.0) };
    Fates { before: fate(before), now: fate(now) }
}

#[rstest]
#[case::one_failure_is_one_too_many("FailureShare", Seen { candidate: Calls { total: 1, failures: 1, ..Calls::default() }, ..Seen::default() })]
#[case::refusals_above_those_of_the_current("RefusalShare", Seen { candidate: Calls { total: 100, refusals: 30, ..Calls::default() }, current: Calls { total: 100, refusals: 20, ..Calls::default() }, ..Seen::default() })]
#[case::disagreement("DisagreementShare", Seen { compared: 100, differences: [30, 21, 0, 0, 0], ..seen(100) })]
#[case::slow("Latency", Seen { candidate: Calls { total: 100, p99_us: 1_001, ..Calls::default() }, ..Seen::default() })]
#[case::more_records_refused("RefusedRecords", Seen { candidate_fates: fates(0.0, 0.02), current_fates: fates(0.0, 0.0), ..seen(100) })]
fn a_gate_ends_a_trial_at_once_and_names_the_numbers(#[case] expected: &str, #[case] seen: Seen) {
    match judge(&plan(&[5, 50]), &seen, after(1)) {
        Next::RollBack { gate, sentence } => assert!(gate == expected && sentence.chars().any(|c| c.is_ascii_digit()), "{gate}: {sentence}"),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::all_fare_worse(Seen { candidate_fates: fates(0.0, 0.3), current_fates: fates(0.0, 0.3), ..seen(50) })]
#[case::it_was_as_bad_before(Seen { candidate_fates: fates(0.3, 0.3), current_fates: fates(0.0, 0.0), ..seen(50) })]
#[case::nothing_is_measured(seen(50))]
#[case::as_many_refusals_as_the_current(Seen { candidate: Calls { total: 100, refusals: 100, ..Calls::default() }, current: Calls { total: 100, refusals: 100, ..Calls::default() }, ..Seen::default() })]
#[case::too_few_to_tell(Seen { compared: 19, differences: [19, 0, 0, 0, 0], ..seen(19) })]
fn what_is_not_the_candidates_fault_does_not_end_its_trial(#[case] seen: Seen) {
    assert!(matches!(judge(&plan(&[5]), &seen, after(1)), Next::Wait(_)));
}

#[test]
fn a_share_above_zero_waits_until_there_is_enough_to_tell() {
    let plan = Plan { gates: Gates { failure_share: 0.1, ..Gates::default() }, ..plan(&[5]) };
    let failing = |total| Seen { candidate: Calls { total, failures: total.min(3), ..Calls::default() }, ..Seen::default() };
    assert!(matches!(judge(&plan, &failing(3), after(1)), Next::Wait(_)));
    assert!(matches!(judge(&plan, &failing(20), after(1)), Next::RollBack { gate: "FailureShare", .. }));
    assert!(matches!(judge(&plan, &failing(40), after(1)), Next::Wait(_)));
}

#[test]
fn answers_are_compared_by_their_effect() {
    let rationale = |code: &str| Rationale { code: code.to_owned(), sentence: String::new(), numbers: Vec::new() };
    let proposal = |replicas, code: &str| Outcome::Proposal(Proposal { replicas, rationale: rationale(code), state: Vec::new() });
    let refusal = Outcome::Refusal(Refusal { code: "No".to_owned(), sentence: String::new() });
    let failure = Outcome::Failure(Failure { kind: FailureKind::Trap, message: String::new() });
    assert_eq!(Difference::between(&proposal(2, "A"), &proposal(2, "B")), None);
    assert_eq!(Difference::between(&proposal(2, "A"), &proposal(3, "A")), Some(Difference::More));
    assert_eq!(Difference::between(&proposal(3, "A"), &proposal(2, "A")), Some(Difference::Fewer));
    assert_eq!(Difference::between(&proposal(3, "A"), &refusal), Some(Difference::Refuses));
    assert_eq!(Difference::between(&refusal, &failure), Some(Difference::Fails));
    assert_eq!(Difference::between(&failure, &failure), None);
    assert_eq!(Difference::between(&failure, &proposal(1, "A")), Some(Difference::Answers));
}

proptest! {
    #[test]
    fn the_share_of_objects_is_kept_and_grows_without_exchanging_anyone(percent in 0_u8..=100, more in 0_u8..=100, seed in any::<u64>()) {
        let candidate = Digest::of(&seed.to_be_bytes());
        let objects: Vec<ObjectRef> = (0..2_000).map(|n| ObjectRef::new("logs", format!("edge-{n}"))).collect();
        let within = |percent| objects.iter().filter(|object| arm(object, &candidate, percent) == Arm::Candidate).count();
        let expected = 20.0 * f64::from(percent);
        prop_assert!((within(percent) as f64 - expected).abs() <= 110.0, "{} of 2000 at {percent} %", within(percent));
        let (less, most) = (percent.min(more), percent.max(more));
        prop_assert!(objects.iter().all(|object| arm(object, &candidate, less) == Arm::Current || arm(object, &candidate, most) == Arm::Candidate));
        prop_assert_eq!((within(0), within(100)), (0, 2_000));
    }

    #[test]
    fn a_trial_never_ends_well_before_its_time_and_its_decisions(total in 0_u64..300, seconds in 0_i64..200, step in 0_usize..3) {
        let next = judge(&plan(&[5, 25, 50]), &Seen { step, ..seen(total) }, after(seconds));
        if matches!(next, Next::Promote(_) | Next::Step(_)) {
            prop_assert!(total >= 100 && seconds >= 60);
        }
        if matches!(next, Next::Promote(_)) {
            prop_assert_eq!(step, 2);
        }
    }
}
