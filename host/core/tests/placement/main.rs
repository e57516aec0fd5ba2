//! Placement under whatever may happen: nodes that are lost and come back, drains, shifting weights, measurements
//! that are missing, policies that propose nonsense, a second process that decides from what it read before, and
//! clocks that jump. Whatever happens, no partition has two owners in one epoch, nothing that is owed is
//! dropped, and no more moves than allowed; when it is over, the load is balanced and nothing moves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test fails by panicking"
)]

mod rules;
mod store;

use rules::{Balanced, Wild};
use store::{LIMITS, Random, Store};
use weir_core::placement::{Ledger, PlacementGuardrail, decide_placement};

/// Something happens.
fn disturb(store: &mut Store, random: &mut Random) {
    let nodes = store.names.len();
    match random.below(7) {
        0 => store.up[random.below(nodes)] = false,
        1 => store.up.iter_mut().for_each(|up| *up |= random.chance(2)),
        2 => {
            let zone = random.below(3);
            store.up.iter_mut().enumerate().filter(|(node, _)| node % 3 == zone).for_each(|(_, up)| *up = false);
        }
        3 => store.cordoned[random.below(nodes)] ^= true,
        4 => {
            let hot = random.below(store.weights.len());
            store.weights[hot] = 1.0 + random.below(6) as f64;
        }
        5 => store.weights.iter_mut().for_each(|weight| *weight = (*weight * (0.9 + random.below(3) as f64 / 10.0)).clamp(0.2, 8.0)),
        _ => {}
    }
}

fn live(store: &mut Store, random: &mut Random, steps: usize) {
    for step in 0..steps {
        disturb(store, random);
        let ms = match random.below(12) {
            0 => 86_400_000 * random.below(9) as i64,
            // A clock that goes backwards.
            1 => -(random.below(60_000) as i64),
            2..=5 => 1000 * random.below(3_000) as i64,
            _ => 1000 * random.below(30) as i64,
        };
        store.pass(ms, random.chance(6));
        let stale = random.chance(5);
        let earlier = store.ledger.clone();
        match random.below(8) {
            0 => store.decide(&Wild(random.next()), stale),
            _ => store.decide(&Balanced, stale),
        };
        // A process that still believes to lead, and decided from what it had read before.
        if store.ledger.epoch() > earlier.epoch() {
            let late = decide_placement(&store.snapshot(&earlier, false), Some(&Wild(random.next()))).unwrap();
            assert!(store.ledger.clone().grant(late.epoch, store.now, &late.grants()).is_err(), "an older epoch was granted");
        }
        if step % 8 == 7 {
            store.nothing_owed_is_dropped();
        }
    }
    store.nothing_owed_is_dropped();
    Ledger::from_json(&store.ledger.to_json().unwrap()).unwrap();
}

/// All is well again for a while: everything finds its place, and then nothing moves.
fn rest(store: &mut Store, number: usize) {
    store.up.fill(true);
    store.cordoned.fill(false);
    let mut quiet = 0;
    for _ in 0..2_000 {
        store.pass(300_000, false);
        let decision = store.decide(&Balanced, false);
        let still = decision.moves() + decision.failovers() + decision.held_back() == 0;
        quiet = if still { quiet + 1 } else { 0 };
        // The budget of an hour may be spent, so that nothing moves though something should.
        if quiet > 15 {
            break;
        }
    }
    assert!(quiet > 15, "sequence {number} does not come to rest");
    let mut weights = store.weights.clone();
    weights.sort_by(|a, b| b.total_cmp(a));
    let mean = weights.iter().sum::<f64>() / store.names.len() as f64;
    let allowed = 1.05_f64.max(balanced::bounds::longest_first(&weights, &vec![1.0; store.names.len()]) / mean);
    assert!(store.ratio() <= allowed * 1.02, "sequence {number} rests at {} where {allowed} is possible", store.ratio());
    store.nothing_owed_is_dropped();
}

#[test]
fn a_thousand_small_stores_survive_whatever_happens() {
    for number in 0..1_000_usize {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9));
        let nodes = 2 + random.below(11);
        let partitions = nodes * (8 + random.below(8));
        let mut store = Store::new(nodes, partitions);
        live(&mut store, &mut random, 40);
        rest(&mut store, number);
    }
}

#[test]
fn five_hundred_nodes_with_ten_thousand_partitions_do_too() {
    for number in 0..3 {
        let mut random = Random(77 + number);
        let mut store = Store::new(500, 10_000);
        live(&mut store, &mut random, 24);
    }
}

#[test]
fn a_budget_that_is_spent_is_named() {
    let mut store = Store::new(4, 64);
    store.pass(0, false);
    let first = store.decide(&Balanced, false);
    assert_eq!((first.failovers(), first.moves()), (64, 0));
    store.pass(60_000, false);
    let wild = store.decide(&Wild(5), false);
    assert_eq!(wild.moves(), LIMITS.max_moves_per_step);
    assert!(wild.clamps.iter().any(|clamp| clamp.guardrail == PlacementGuardrail::StepBudget));
    store.pass(1_000, false);
    let held = store.decide(&Wild(6), false);
    assert_eq!((held.moves(), held.clamps.iter().any(|clamp| clamp.guardrail == PlacementGuardrail::MinInterval)), (0, true));
}
