//! What the built-in policies do to a modelled log processor over minutes and days.

use policy_sim::{Model, Tick, counts, day, run, turns};
use proptest::prelude::*;

const MODEL: Model = Model { capacity: 100.0, declared: Some(100.0), start_up: 20, freshness: Some(60.0), replicas: 2 };

fn surge(quiet: f64, high: f64, at: usize, lasts: usize, total: usize) -> Vec<f64> {
    (0..total).map(|second| if (at..at + lasts).contains(&second) { high } else { quiet }).collect()
}

/// Seconds from the first second with more than `standing` seconds of load waiting to the last.
fn longest_backlog(ticks: &[Tick], standing: f64) -> usize {
    let (mut longest, mut run) = (0, 0);
    for tick in ticks {
        run = if tick.backlog > tick.offered * standing + 1e-6 { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[test]
fn backlog_drains_a_surge_by_its_deadline_and_then_gives_back() {
    let ticks = run::<backlog::Policy>(MODEL, "", &surge(120.0, 900.0, 200, 600, 1200));
    assert!(ticks[..200].iter().all(|tick| tick.desired == 2), "{:?}", counts(&ticks[..200]));
    assert!(longest_backlog(&ticks, 2.0) <= 60, "{}", longest_backlog(&ticks, 2.0));
    assert_eq!((ticks[799].desired, ticks[1199].desired), (11, 2));
    assert_eq!(turns(&ticks), 1, "{:?}", counts(&ticks));
}

#[test]
fn threshold_stops_a_surge_from_growing_and_then_gives_back() {
    let ticks = run::<threshold::Policy>(MODEL, "", &surge(120.0, 900.0, 200, 600, 1200));
    assert_eq!((ticks[199].desired, ticks[799].desired, ticks[1199].desired), (2, 13, 2));
    assert_eq!(turns(&ticks), 1, "{:?}", counts(&ticks));
    // 13 replicas do 1,300: what piled up in 20 s of start-up is gone after 40 more
    assert!(longest_backlog(&ticks, 2.0) <= 70, "{}", longest_backlog(&ticks, 2.0));
}

#[test]
fn a_noisy_day_turns_once() {
    let load = day(7200, 150.0, 2500.0, 0.04);
    let ticks = run::<backlog::Policy>(MODEL, "", &load);
    assert_eq!(turns(&ticks), 1, "{:?}", counts(&ticks));
    assert!(longest_backlog(&ticks, 2.0) == 0);
    let ticks = run::<threshold::Policy>(MODEL, "", &load);
    assert_eq!(turns(&ticks), 1, "{:?}", counts(&ticks));
}

#[test]
fn a_wrong_declared_capacity_is_found_out() {
    // a replica does 60, not 100: the declared 8 replicas for 620 records/s would never catch up
    let model = Model { capacity: 60.0, ..MODEL };
    let ticks = run::<backlog::Policy>(model, "", &surge(100.0, 620.0, 100, 1400, 1500));
    let last = ticks.last().unwrap();
    assert!(last.backlog < 1.0 && last.ready >= 11, "{last:?} {:?}", counts(&ticks));
}

#[test]
fn without_any_declared_capacity_a_backlog_teaches_it() {
    let model = Model { declared: None, ..MODEL };
    let ticks = run::<backlog::Policy>(model, "", &surge(100.0, 900.0, 100, 800, 900));
    let last = ticks.last().unwrap();
    assert!(last.backlog < 1.0 && (10..=13).contains(&last.ready), "{last:?} {:?}", counts(&ticks));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the surge, the drain time and the start-up: gone by the deadline that the policy's
    /// head promises, counted from the first record too many.
    #[test]
    fn backlog_meets_its_deadline(high in 150.0..5000.0_f64, drain in 20.0..180.0_f64, start_up in 1_u32..60) {
        let model = Model { start_up, freshness: Some(drain), ..MODEL };
        let ticks = run::<backlog::Policy>(model, "", &surge(120.0, high, 100, 700, 1000));
        let deadline = drain.max(f64::from(start_up) + drain / 2.0);
        let took = longest_backlog(&ticks, 2.0_f64.min(drain / 2.0)) as f64;
        prop_assert!(took <= deadline + 1.0, "took {took} s of {deadline} s: {:?}", counts(&ticks));
        prop_assert!(turns(&ticks) <= 1, "{:?}", counts(&ticks));
    }

    #[test]
    fn a_constant_load_is_met_and_then_nothing_moves(load in 1.0..3000.0_f64, replicas in 1_u32..60) {
        let model = Model { replicas, ..MODEL };
        for ticks in [run::<backlog::Policy>(model, "", &vec![load; 600]), run::<threshold::Policy>(model, "", &vec![load; 600])] {
            prop_assert!(ticks[400..].iter().all(|tick| tick.desired == ticks[400].desired), "{:?}", counts(&ticks));
            prop_assert!(turns(&ticks) <= 1, "{:?}", counts(&ticks));
            prop_assert!(ticks[599].backlog <= 2.0 * load + 1e-6);
        }
    }
}
