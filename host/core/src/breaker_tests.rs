use super::*;
use crate::scaling::{Failure, Refusal};
use proptest::prelude::*;
use rstest::rstest;

const TRAP: Answer = Answer::Failed(FailureKind::Trap);

fn at(seconds: i64) -> UnixMs {
    UnixMs(1_700_000_000_000 + seconds * 1000)
}

/// Calls at one per second from `from` on; the last turn.
fn calls(breaker: &mut Breaker, from: i64, answers: &[Answer]) -> Option<Turn> {
    (from..).zip(answers).filter_map(|(second, answer)| breaker.answered(*answer, at(second))).last()
}

fn opened(from: i64) -> Breaker {
    let mut breaker = Breaker::default();
    assert!(matches!(calls(&mut breaker, from, &[TRAP; 5]), Some(Turn::Opened(_))));
    breaker
}

#[rstest]
#[case::a_single_object_opens_after_five(&[TRAP; 5], true)]
#[case::four_are_too_few(&[TRAP; 4], false)]
#[case::half_is_enough(&[Answer::Good, Answer::Good, Answer::Good, Answer::Good, Answer::Good, TRAP, TRAP, TRAP, TRAP, TRAP], true)]
#[case::less_than_half_is_not(&[Answer::Good, Answer::Good, Answer::Good, Answer::Good, Answer::Good, Answer::Good, TRAP, TRAP, TRAP, TRAP, TRAP], false)]
#[case::what_the_host_could_not_ask_counts_for_nothing(&[TRAP, TRAP, TRAP, TRAP, Answer::NotAsked, Answer::NotAsked], false)]
fn it_opens_at_five_failures_that_are_half_of_the_calls(#[case] answers: &[Answer], #[case] opens: bool) {
    assert_eq!(calls(&mut Breaker::default(), 0, answers).is_some(), opens);
}

#[test]
fn one_object_with_bad_inputs_among_a_thousand_opens_nothing() {
    let mut breaker = Breaker::default();
    for second in 0..300 {
        for object in 0..1000 {
            let answer = if object == 7 { TRAP } else { Answer::Good };
            assert_eq!(breaker.answered(answer, at(second)), None);
        }
    }
    assert!(breaker.is_proven() && breaker.seconds.len() <= 60);
}

#[test]
fn failures_of_more_than_a_minute_ago_are_forgotten() {
    let mut breaker = Breaker::default();
    assert_eq!(calls(&mut breaker, 0, &[TRAP; 4]), None);
    assert_eq!(breaker.answered(TRAP, at(63)), None);
    assert_eq!(calls(&mut breaker, 64, &[TRAP; 3]), None);
    assert!(matches!(breaker.answered(TRAP, at(67)), Some(Turn::Opened(Opening { calls: 5, failures: 5, .. }))));
}

#[test]
fn what_outcomes_say_about_the_module() {
    let failure = |kind| Outcome::Failure(Failure { kind, message: String::new() });
    assert_eq!(Answer::of(&Outcome::Refusal(Refusal { code: "No".to_owned(), sentence: String::new() })), Answer::Good);
    for kind in [
        FailureKind::Trap,
        FailureKind::FuelExhausted,
        FailureKind::DeadlineExceeded,
        FailureKind::MemoryLimit,
        FailureKind::ResultTooLarge,
        FailureKind::StateTooLarge,
        FailureKind::InvalidProposal,
    ] {
        assert_eq!(Answer::of(&failure(kind)), Answer::Failed(kind));
    }
    assert_eq!((Answer::of(&failure(FailureKind::Host)), Answer::of(&failure(FailureKind::NotLoaded))), (Answer::NotAsked, Answer::NotAsked));
}

#[test]
fn it_is_half_open_after_thirty_seconds_and_three_good_probes_close_it() {
    let mut breaker = opened(0);
    assert!(!breaker.is_proven());
    assert_eq!(breaker.answered(Answer::Good, at(5)), None, "what was under way");
    assert!(matches!(breaker.state(at(33)), State::Open(_)) && !breaker.probe(at(33)));
    for good in 1..=3 {
        assert!(matches!(breaker.state(at(34)), State::HalfOpen(_)) && breaker.probe(at(34)));
        assert!(!breaker.probe(at(35)), "one at a time");
        assert_eq!(breaker.probed(Answer::Good, at(35)), (good == 3).then_some(Turn::Closed));
    }
    assert_eq!(breaker.state(at(35)), State::Closed);
    assert!(breaker.is_proven());
    assert_eq!(calls(&mut breaker, 36, &[TRAP; 4]), None, "what was before is forgotten");
}

#[test]
fn a_failed_probe_opens_it_again_for_twice_as_long_up_to_ten_minutes() {
    let mut breaker = opened(0);
    let mut now = 4;
    for pause in [30, 60, 120, 240, 480, 600, 600] {
        assert!(!breaker.probe(at(now + pause - 1)));
        now += pause;
        assert!(breaker.probe(at(now)));
        assert_eq!(breaker.probed(Answer::Good, at(now)), None);
        assert!(breaker.probe(at(now)));
        assert!(
            matches!(breaker.probed(Answer::Failed(FailureKind::FuelExhausted), at(now)), Some(Turn::Reopened(opening)) if opening.last == FailureKind::FuelExhausted && opening.since == at(4))
        );
    }
}

#[test]
fn who_opens_soon_after_a_close_pauses_longer_and_who_held_for_ten_minutes_does_not() {
    let close = |breaker: &mut Breaker, now: i64| {
        for _ in 0..3 {
            assert!(breaker.probe(at(now)));
            breaker.probed(Answer::Good, at(now));
        }
    };
    for (held, pause) in [(10, 60_000), (700, 30_000)] {
        let mut breaker = opened(0);
        close(&mut breaker, 34);
        let turn = calls(&mut breaker, 34 + held, &[TRAP; 5]);
        assert!(matches!(turn, Some(Turn::Opened(opening)) if opening.pause_ms == pause), "{turn:?}");
    }
}

#[test]
fn a_probe_that_is_lost_does_not_keep_it_open_and_a_probe_that_was_not_asked_says_nothing() {
    let mut breaker = opened(0);
    assert!(breaker.probe(at(40)));
    assert!(!breaker.probe(at(99)) && breaker.probe(at(100)));
    assert_eq!(breaker.probed(Answer::NotAsked, at(101)), None);
    assert!(breaker.probe(at(101)));
}

#[test]
fn a_clock_that_is_set_back_prolongs_nothing() {
    let mut breaker = opened(10_000);
    assert!(breaker.probe(at(0)));
    let mut counting = Breaker::default();
    assert_eq!(calls(&mut counting, 10_000, &[TRAP; 4]), None);
    assert!(matches!(calls(&mut counting, 0, &[TRAP; 5]), Some(Turn::Opened(_))), "of the last minute of this clock");
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![Just(Answer::Good), Just(TRAP), Just(Answer::NotAsked)]
}

proptest! {
    /// The rule as it is written down, beside the sums that are kept.
    #[test]
    fn it_opens_exactly_when_the_last_minute_says_so(calls in prop::collection::vec((0_i64..20, answer()), 0..200)) {
        let (mut breaker, mut now, mut all) = (Breaker::default(), 0, Vec::new());
        for (pause, answer) in calls {
            now += pause;
            let turn = breaker.answered(answer, at(now));
            if answer != Answer::NotAsked {
                all.push((now, answer == TRAP));
            }
            let minute: Vec<bool> = all.iter().filter(|(then, _)| now - then < 60).map(|(_, failed)| *failed).collect();
            let failures = minute.iter().filter(|failed| **failed).count();
            let should = answer == TRAP && failures >= 5 && failures * 2 >= minute.len();
            prop_assert_eq!(turn.is_some(), should);
            if should {
                break;
            }
        }
    }

    /// Whatever happens: a pause is 30 s to 10 min, closed means that it was, and no more is kept than a minute.
    #[test]
    fn pauses_and_memory_are_bounded(steps in prop::collection::vec((0_i64..200, answer(), any::<bool>()), 0..300)) {
        let (mut breaker, mut now, mut probes) = (Breaker::default(), 0, 0);
        for (pause, answer, probe) in steps {
            now += pause;
            let open = breaker.opening().is_some();
            let turn = if probe && breaker.probe(at(now)) {
                prop_assert!(open);
                probes = if answer == Answer::Good { probes + 1 } else if answer == Answer::NotAsked { probes } else { 0 };
                breaker.probed(answer, at(now))
            } else {
                breaker.answered(answer, at(now))
            };
            match turn {
                Some(Turn::Closed) => prop_assert!(probes == 3 && open),
                Some(Turn::Opened(_)) => { prop_assert!(!open); probes = 0; }
                Some(Turn::Reopened(_)) => prop_assert!(open),
                None => {}
            }
            if turn == Some(Turn::Closed) { probes = 0; }
            if let Some(opening) = breaker.opening() {
                prop_assert!((30_000..=600_000).contains(&opening.pause_ms) && opening.failures * 2 >= opening.calls && opening.failures >= 5);
            }
            prop_assert!(breaker.seconds.len() <= 60);
        }
    }
}
