use super::*;
use proptest::prelude::*;
use weir_policy::testing::input;

const NAN: f64 = f64::NAN;

fn decided(replicas: u32, load: &[f64]) -> Proposal {
    decide(&input().capacity(100.0).replicas(replicas).series("offered", load).build(), &Params::default(), ()).unwrap()
}

fn word(replicas: u32, load: &[f64]) -> (u32, String) {
    let proposal = decided(replicas, load);
    (proposal.replicas, proposal.code)
}

#[test]
fn replicas_follow_the_load_out_of_the_band_and_rest_in_it() {
    assert_eq!(word(2, &[140.0; 60]), (2, "WithinBand".into()));
    assert_eq!(word(2, &[161.0; 60]), (3, "AboveCapacity".into()));
    assert_eq!(word(2, &[1400.0; 60]), (20, "AboveCapacity".into()));
    assert_eq!(word(20, &[140.0; 60]), (2, "BelowCapacity".into()));
    assert_eq!(word(2, &[0.0; 60]), (1, "BelowCapacity".into()));
    assert_eq!(word(1, &[0.0; 60]), (1, "WithinBand".into()));
}

#[test]
fn a_surge_is_answered_at_its_first_sample() {
    let mut load = vec![140.0; 59];
    load.push(1000.0);
    assert_eq!(decided(2, &load).code, "AboveCapacity");
}

#[test]
fn one_high_sample_in_the_long_window_keeps_the_replicas() {
    let mut load = vec![10.0; 60];
    load[20] = 900.0;
    assert_eq!(word(10, &load), (10, "WithinBand".into()));
}

#[test]
fn too_short_a_memory_never_scales_down() {
    assert_eq!(word(10, &[10.0; 20]), (10, "NotEnoughSamples".into()));
    assert_eq!(word(10, &[10.0]), (10, "NotEnoughSamples".into()));
}

#[test]
fn without_capacity_it_refuses_and_a_param_heals_that() {
    let input = input().replicas(2).series("offered", &[500.0; 60]).build();
    assert_eq!(decide(&input, &Params::default(), ()).unwrap_err().code, "CapacityUnknown");
    let params = Params { capacity_per_replica: Some(100.0), ..Params::default() };
    assert_eq!(decide(&input, &params, ()).unwrap().replicas, 8);
}

#[test]
fn gaps_are_held_never_read_as_zero() {
    let input = input().capacity(100.0).replicas(5).series("offered", &[400.0, NAN, NAN, NAN, NAN, NAN]).build();
    assert_eq!(decide(&input, &Params::default(), ()).unwrap_err().code, "NotEnoughSamples");
    assert_eq!(decide(&testing_without_series(), &Params::default(), ()).unwrap_err().code, "SeriesMissing");
}

fn testing_without_series() -> Input {
    input().capacity(100.0).build()
}

#[test]
fn thresholds_out_of_order_are_refused() {
    let input = input().capacity(100.0).series("offered", &[1.0; 60]).build();
    let params = Params { up: 0.6, ..Params::default() };
    assert_eq!(decide(&input, &params, ()).unwrap_err().code, "InvalidParams");
}

#[test]
fn nothing_asked_for_and_nothing_offered_stays_at_nothing() {
    assert_eq!(word(0, &[0.0; 60]), (0, "WithinBand".into()));
    assert_eq!(word(0, &[5.0; 60]), (1, "AboveCapacity".into()));
}

/// Follows its own proposals from `replicas` on, over `loads`; returns the counts it went through.
fn walk(replicas: u32, loads: &[f64]) -> Vec<u32> {
    let mut counts = vec![replicas];
    for end in 60..=loads.len() {
        let now = *counts.last().unwrap();
        counts.push(decided(now, &loads[end - 60..end]).replicas);
    }
    counts.dedup();
    counts
}

proptest! {
    #[test]
    fn a_constant_load_changes_the_replicas_at_most_once(replicas in 0_u32..200, load in 0.0..20_000.0_f64) {
        let counts = walk(replicas, &vec![load; 90]);
        prop_assert!(counts.len() <= 2, "{counts:?}");
    }

    #[test]
    fn noise_within_the_band_changes_nothing(replicas in 1_u32..200, noise in prop::collection::vec(0.5..0.8_f64, 60..140)) {
        let loads: Vec<f64> = noise.iter().map(|share| share * 100.0 * f64::from(replicas)).collect();
        prop_assert_eq!(walk(replicas, &loads), vec![replicas]);
    }

    /// The claim of the module's head: at most one up, and never an up after a down.
    #[test]
    fn noise_within_a_factor_of_up_over_target_never_flaps(
        replicas in 0_u32..200, base in 1.0..20_000.0_f64,
        noise in prop::collection::vec(1.0..(0.8 / 0.7_f64), 60..200),
    ) {
        let loads: Vec<f64> = noise.iter().map(|factor| factor * base).collect();
        let counts = walk(replicas, &loads);
        let ups = counts.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let up_after_down = counts.windows(3).any(|three| three[1] < three[0] && three[2] > three[1]);
        prop_assert!(ups <= 1 && !up_after_down, "{counts:?}");
    }

    #[test]
    fn whatever_comes_in_the_answer_is_sound(
        load in prop::collection::vec(prop_oneof![Just(NAN), Just(f64::INFINITY), any::<f64>(), 0.0..1e6], 0..80),
        replicas in any::<u32>(), capacity in prop_oneof![any::<f64>(), 1.0..1e6], step in 1_i64..100_000,
    ) {
        let input = input().capacity(capacity).replicas(replicas).step_ms(step).series("offered", &load).build();
        if let Ok(proposal) = decide(&input, &Params::default(), ()) {
            prop_assert!(proposal.replicas <= MAX_REPLICAS.max(replicas));
            prop_assert!(proposal.numbers.iter().all(|number| number.value.is_finite()));
        }
    }
}
