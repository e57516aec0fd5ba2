//! An instance that is kept between calls, to measure with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Guest, input};
use weir_core::scaling::{FailureKind, Outcome, ScalingPolicy};

fn replicas(outcome: &Outcome) -> u32 {
    let Outcome::Proposal(proposal) = outcome else { panic!("{outcome:?}") };
    proposal.replicas
}

#[test]
fn a_kept_instance_remembers_what_a_fresh_one_cannot() {
    // replicas of the static proposal, one more at each call
    let policy = Guest::deciding("(i32.store (i32.const 260) (i32.add (i32.const 1) (i32.load (i32.const 260)))) (i32.const 256)").load();
    let mut kept = policy.keep().unwrap();
    let said: Vec<u32> = (0..3).map(|_| replicas(&kept.decide(&input()).outcome)).collect();
    let fresh: Vec<u32> = (0..3).map(|_| replicas(&policy.decide(&input()).outcome)).collect();
    assert_eq!((said, fresh), (vec![4, 5, 6], vec![4, 4, 4]));
    assert_eq!(kept.memory_bytes(), 3 << 16, "the three pages that the guest begins with");
}

#[test]
fn its_first_call_is_that_of_a_fresh_instance_and_limits_hold() {
    let policy = Guest::default().load();
    let (kept, fresh) = (policy.keep().unwrap().decide(&input()), policy.decide(&input()));
    assert_eq!(kept.outcome, fresh.outcome);
    let endless = Guest::deciding("(loop $l (br $l)) (i32.const 256)").load();
    let Outcome::Failure(failure) = endless.keep().unwrap().decide(&input()).outcome else { panic!("it ended") };
    assert!(matches!(failure.kind, FailureKind::FuelExhausted | FailureKind::DeadlineExceeded), "{failure:?}");
}
