//! Exchanging a policy while others decide with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod common;

use bytes::Bytes;
use common::{Guest, candidate, engine, input};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use weir_core::ids::UnixMs;
use weir_core::scaling::{Outcome, ScalingInput, ScalingPolicy};
use weir_engine::verify::Trust;
use weir_engine::{Candidate, Limits, LoadOutcome, PolicySlot, Ready};

/// A policy whose version and whose proposal are both `n`.
fn numbered(n: u32) -> Guest {
    Guest { version: n.to_string(), replicas: n, ..Guest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_swaps_lose_no_decision_and_mix_none() {
    const SWAPS: u32 = 50; // and one policy before them
    let slot = Arc::new(PolicySlot::new(engine()));
    assert!(matches!(slot.load(&candidate(&numbered(0).build())).await.outcome, LoadOutcome::Swapped { previous: None, .. }));
    let stop = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicU64::new(0));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (slot, stop, made) = (Arc::clone(&slot), Arc::clone(&stop), Arc::clone(&made));
            std::thread::spawn(move || {
                let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
                let (mut asked, mut newest) = (0_u64, 0);
                while !stop.load(Ordering::SeqCst) {
                    asked += 1;
                    let policy = slot.current().expect("a slot is never empty once it was filled");
                    let invocation = policy.decide(&input());
                    slot.observe(&input());
                    let Outcome::Proposal(proposal) = invocation.outcome else { panic!("{invocation:?}") };
                    // What it proposes, and who it says it is, are one policy.
                    assert_eq!(policy.stamp().version, proposal.replicas.to_string());
                    assert!(proposal.replicas >= newest, "an older policy came back");
                    newest = proposal.replicas;
                    *counts.entry(proposal.replicas).or_default() += 1;
                    made.fetch_add(1, Ordering::SeqCst);
                }
                assert_eq!(counts.values().sum::<u64>(), asked);
                counts
            })
        })
        .collect();
    let mut swapped = 0;
    for n in 1..=SWAPS {
        let report = slot.load(&candidate(&numbered(n).build())).await;
        let LoadOutcome::Swapped { policy, previous } = report.outcome else { panic!("{report:?}") };
        assert_eq!((policy.stamp().version.clone(), previous.unwrap().version), (n.to_string(), (n - 1).to_string()));
        swapped += 1;
        // Three decisions may still be in flight on the old one, so the fourth and the fifth are on the new one.
        let before = made.load(Ordering::SeqCst);
        while made.load(Ordering::SeqCst) < before + 5 {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut decisions = 0;
    let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
    for thread in threads {
        for (version, count) in thread.join().unwrap() {
            *seen.entry(version).or_default() += count;
            decisions += count;
        }
    }
    assert_eq!(swapped, SWAPS);
    assert_eq!(decisions, made.load(Ordering::SeqCst));
    assert_eq!(seen.len(), 51, "every policy decided while it ran: {seen:?}");
}

#[tokio::test]
async fn what_is_refused_leaves_the_last_good_one_running() {
    let slot = PolicySlot::new(engine());
    slot.load(&candidate(&numbered(1).build())).await;
    slot.observe(&input());
    let bad: [(bytes::Bytes, &str); 4] = [
        (b"<html>".as_slice().into(), "NotWasm"),
        (Guest::deciding("(unreachable)").build(), "ProbeFailed"),
        (Guest::deciding("(loop $l (br $l)) (unreachable)").build(), "ProbeFailed"),
        (Guest { name: String::new(), ..Guest::default() }.build(), "InvalidDescription"),
    ];
    for (bytes, reason) in bad {
        let report = slot.load(&candidate(&bytes)).await;
        let LoadOutcome::Refused { error, kept: Some(kept) } = report.outcome else { panic!("{report:?}") };
        assert_eq!((error.reason(), kept.version.as_str()), (reason, "1"));
        assert_eq!(slot.current().unwrap().stamp().version, "1");
    }
    assert!(matches!(slot.current().unwrap().decide(&input()).outcome, Outcome::Proposal(_)));
}

#[tokio::test]
async fn the_same_again_is_no_change_and_anything_else_is_one() {
    let slot = PolicySlot::new(engine());
    let first = Candidate { params: json!({"a": 1, "b": 2}), ..candidate(&Guest { schema: json!({"type": "object"}).to_string(), ..numbered(2) }.build()) };
    assert!(matches!(slot.load(&first).await.outcome, LoadOutcome::Swapped { .. }));
    let running = slot.current().unwrap();
    let same = Candidate { params: serde_json::from_str("{\"b\": 2, \"a\": 1}").unwrap(), ..first.clone() };
    assert!(matches!(slot.load(&same).await.outcome, LoadOutcome::Unchanged { .. }));
    assert!(Arc::ptr_eq(&running, &slot.current().unwrap()));
    let params = Candidate { params: json!({"a": 2}), ..first.clone() };
    assert!(matches!(slot.load(&params).await.outcome, LoadOutcome::Swapped { .. }));
    let limits = Candidate { limits: Limits { fuel: 1_000_000, ..Limits::default() }, ..params };
    assert!(matches!(slot.load(&limits).await.outcome, LoadOutcome::Swapped { .. }));
}

#[tokio::test]
async fn a_replaced_policy_goes_when_its_last_decision_does() {
    let slot = PolicySlot::new(engine());
    slot.load(&candidate(&numbered(3).build())).await;
    let in_flight = slot.current().unwrap();
    let watched = Arc::downgrade(&in_flight);
    slot.load(&candidate(&numbered(4).build())).await;
    assert!(matches!(in_flight.decide(&input()).outcome, Outcome::Proposal(proposal) if proposal.replicas == 3));
    drop(in_flight);
    assert!(watched.upgrade().is_none());
    let last = slot.clear().unwrap();
    assert_eq!(last.stamp().version, "4");
    assert!(slot.current().is_none());
}

#[tokio::test]
async fn probes_are_the_newest_inputs_and_no_more_than_the_ring_holds() {
    let slot = PolicySlot::new(engine());
    let most = engine().config().probe_inputs;
    for n in 0..100_i64 {
        let mut seen = input();
        seen.now = UnixMs(seen.now.0 + n * 1000);
        seen.replicas.max = u32::try_from(n).unwrap();
        slot.observe(&seen);
    }
    // Traps on what is no longer in the ring, so it is refused if an old input is still probed.
    let oldest = 100 - most;
    let body = format!("(if (i32.lt_u (i32.load offset=40 (local.get $in)) (i32.const {oldest})) (then (unreachable))) (i32.const 256)");
    let report = slot.load(&candidate(&Guest::deciding(body).build())).await;
    assert!(matches!(report.outcome, LoadOutcome::Swapped { .. }), "{report:?}");
    assert_eq!(report.stages.probes, most);
}

#[tokio::test]
async fn a_module_is_probed_on_the_states_that_it_says_it_can_read() {
    // It trips over any state.
    let body = "(if (i32.load offset=156 (local.get $in)) (then (unreachable))) (i32.const 256)";
    let next = |version, reads| Guest { state_versions: Some((version, reads)), ..Guest::deciding(body) };
    for (next, refused) in
        [(next(2, vec![1]), true), (next(1, vec![]), true), (next(2, vec![]), false), (Guest { name: "other".to_owned(), ..next(1, vec![]) }, false)]
    {
        let slot = PolicySlot::new(engine());
        slot.load(&candidate(&Guest { state_versions: Some((1, vec![])), ..numbered(5) }.build())).await;
        slot.observe(&ScalingInput { state: vec![7], ..input() });
        let told = next.state_versions.clone();
        let outcome = slot.load(&candidate(&next.build())).await.outcome;
        match outcome {
            LoadOutcome::Refused { error, .. } => assert!(refused && error.reason() == "ProbeFailed", "{told:?}: {error}"),
            outcome => assert!(!refused, "{told:?}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_policy_can_be_prepared_beside_the_running_one_and_swapped_in_later() {
    let slot = PolicySlot::new(engine());
    slot.load(&candidate(&numbered(5).build())).await;
    let Ready::New(beside) = slot.prepare_signed(&candidate(&numbered(6).build()), &Trust::default()).await.result.unwrap() else {
        panic!("it is another one")
    };
    assert_eq!(slot.current().unwrap().stamp().version, "5");
    assert_eq!(slot.swap(beside).unwrap().stamp().version, "5");
    assert_eq!(slot.current().unwrap().stamp().version, "6");
}

#[tokio::test]
async fn the_code_of_a_policy_is_fitted_to_other_params_and_refuses_those_that_do_not_fit() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "additionalProperties": false });
    let first = Candidate { params: json!({ "a": 1 }), ..candidate(&Guest { schema: schema.to_string(), ..numbered(7) }.build()) };
    let engine = engine();
    let policy = engine.load(&first, &[]).await.result.unwrap();
    assert!(policy.compiled_bytes() > 1000, "{}", policy.compiled_bytes());
    let other = Candidate { bytes: Bytes::new(), params: json!({ "a": 2 }), limits: Limits { fuel: 1_000_000, ..Limits::default() }, ..first.clone() };
    let fitted = engine.refit(&policy, &other).await.unwrap();
    assert_eq!((fitted.stamp(), fitted.params(), fitted.limits().fuel), (policy.stamp(), r#"{"a":2}"#, 1_000_000));
    assert!(matches!(fitted.decide(&input()).outcome, Outcome::Proposal(proposal) if proposal.replicas == 7));
    let refused = engine.refit(&policy, &Candidate { params: json!({ "b": 2 }), ..other }).await.unwrap_err();
    assert_eq!(refused.reason(), "InvalidParams");
}
