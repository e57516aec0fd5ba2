use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn at(seconds: i64) -> UnixMs {
    UnixMs(1_700_000_000_000 + seconds * 1000)
}

fn up(limits: Limits) -> Guardrails {
    Guardrails { up: limits, down: Limits::default() }
}

fn down(limits: Limits) -> Guardrails {
    Guardrails { up: Limits::default(), down: limits }
}

fn once(current: u32, wanted: u32, guardrails: &Guardrails) -> (u32, Vec<Guardrail>) {
    let (to, clamps) = guard(at(0), current, wanted, (1, 100), guardrails, &mut GuardMemory::default());
    (to, clamps.iter().map(|clamp| clamp.guardrail).collect())
}

#[rstest]
#[case::nothing_limits(5, 9, Limits::default(), 9, &[])]
#[case::max_is_a_bound(5, 900, Limits::default(), 100, &[Guardrail::Max])]
#[case::a_step_in_replicas(5, 9, Limits { max_replicas_per_step: Some(2), ..Limits::default() }, 7, &[Guardrail::StepUp])]
#[case::a_step_in_percent_rounds_up(5, 9, Limits { max_percent_per_step: Some(50), ..Limits::default() }, 8, &[Guardrail::StepUp])]
#[case::of_both_the_larger_counts(5, 20, Limits { max_replicas_per_step: Some(4), max_percent_per_step: Some(50), ..Limits::default() }, 9, &[Guardrail::StepUp])]
#[case::an_allowed_step_is_no_clamp(5, 7, Limits { max_replicas_per_step: Some(2), ..Limits::default() }, 7, &[])]
#[case::two_clamps_are_named_in_order(90, 400, Limits { max_replicas_per_step: Some(20), ..Limits::default() }, 100, &[Guardrail::StepUp, Guardrail::Max])]
fn scale_up_is_clamped(#[case] current: u32, #[case] wanted: u32, #[case] limits: Limits, #[case] to: u32, #[case] named: &[Guardrail]) {
    assert_eq!(once(current, wanted, &up(limits)), (to, named.to_vec()));
}

#[rstest]
#[case::min_is_a_bound(5, 0, Limits::default(), 1, &[Guardrail::Min])]
#[case::a_step_in_replicas(9, 2, Limits { max_replicas_per_step: Some(3), ..Limits::default() }, 6, &[Guardrail::StepDown])]
#[case::a_small_percentage_still_allows_one(9, 2, Limits { max_percent_per_step: Some(1), ..Limits::default() }, 8, &[Guardrail::StepDown])]
fn scale_down_is_clamped(#[case] current: u32, #[case] wanted: u32, #[case] limits: Limits, #[case] to: u32, #[case] named: &[Guardrail]) {
    assert_eq!(once(current, wanted, &down(limits)), (to, named.to_vec()));
}

#[test]
fn a_raised_minimum_is_not_slowed_by_a_step() {
    let limits = Limits { max_replicas_per_step: Some(1), ..Limits::default() };
    let (to, _) = guard(at(0), 2, 2, (10, 20), &up(limits), &mut GuardMemory::default());
    assert_eq!(to, 10);
}

#[test]
fn a_surge_must_last_for_the_stabilization_window() {
    let guardrails = up(Limits { stabilization_ms: 10_000, ..Limits::default() });
    let mut memory = GuardMemory::seeded(at(0), 3, None);
    for second in 1..10 {
        let (to, clamps) = guard(at(second), 3, 8, (1, 20), &guardrails, &mut memory);
        assert_eq!((to, clamps[0].guardrail), (3, Guardrail::StabilizationUp), "second {second}");
    }
    assert_eq!(guard(at(10), 3, 8, (1, 20), &guardrails, &mut memory), (8, vec![]));
}

#[test]
fn a_restarted_host_waits_a_full_window_before_it_scales_down() {
    let guardrails = down(Limits { stabilization_ms: 300_000, ..Limits::default() });
    let mut memory = GuardMemory::seeded(at(0), 9, None);
    for second in 1..300 {
        assert_eq!(guard(at(second), 9, 2, (1, 20), &guardrails, &mut memory).0, 9, "second {second}");
    }
    assert_eq!(guard(at(300), 9, 2, (1, 20), &guardrails, &mut memory).0, 2);
}

#[test]
fn scale_down_goes_to_the_highest_wish_of_the_window() {
    let guardrails = down(Limits { stabilization_ms: 60_000, ..Limits::default() });
    let mut memory = GuardMemory::default();
    for (second, wanted) in [(0, 10), (30, 6), (40, 4), (50, 5)] {
        guard(at(second), 10, wanted, (1, 20), &guardrails, &mut memory);
    }
    assert_eq!(guard(at(60), 10, 2, (1, 20), &guardrails, &mut memory).0, 6);
    assert_eq!(guard(at(90), 6, 2, (1, 20), &guardrails, &mut memory).0, 5);
}

#[test]
fn the_rate_counts_what_the_last_minute_already_added() {
    let guardrails = up(Limits { max_replicas_per_minute: Some(4), ..Limits::default() });
    let mut memory = GuardMemory::default();
    let (to, _) = guard(at(0), 10, 13, (1, 50), &guardrails, &mut memory);
    memory.changed(Some(Change { at: at(0), from: 10, to }));
    let (to, clamps) = guard(at(30), 13, 20, (1, 50), &guardrails, &mut memory);
    assert_eq!((to, clamps[0].guardrail), (14, Guardrail::RateUp));
    memory.changed(Some(Change { at: at(30), from: 13, to }));
    assert_eq!(guard(at(59), 14, 20, (1, 50), &guardrails, &mut memory).0, 14);
    assert_eq!(guard(at(60), 14, 20, (1, 50), &guardrails, &mut memory).0, 17);
}

#[test]
fn a_cooldown_counts_changes_in_either_direction() {
    let guardrails = Guardrails { up: Limits { cooldown_ms: 20_000, ..Limits::default() }, down: Limits::default() };
    let mut memory = GuardMemory::seeded(at(0), 5, Some(Change { at: at(-5), from: 8, to: 5 }));
    let (to, clamps) = guard(at(10), 5, 9, (1, 20), &guardrails, &mut memory);
    assert_eq!((to, clamps[0].guardrail), (5, Guardrail::Cooldown));
    assert_eq!(guard(at(15), 5, 9, (1, 20), &guardrails, &mut memory).0, 9);
}

#[test]
fn a_clock_that_went_back_forgets_the_future() {
    let guardrails = down(Limits { stabilization_ms: 60_000, ..Limits::default() });
    let mut memory = GuardMemory::seeded(at(1000), 9, Some(Change { at: at(1000), from: 1, to: 9 }));
    let (to, _) = guard(at(0), 9, 2, (1, 20), &guardrails, &mut memory);
    assert_eq!(to, 2);
    assert_eq!(memory.last_change(), None);
}

fn limits() -> impl Strategy<Value = Limits> {
    let number = proptest::option::of(0..20_u32);
    let percent = proptest::option::of(0..150_u32);
    (number.clone(), percent.clone(), number, percent, 0..30_000_i64, 0..10_000_i64).prop_map(
        |(max_replicas_per_step, max_percent_per_step, max_replicas_per_minute, max_percent_per_minute, stabilization_ms, cooldown_ms)| Limits {
            max_replicas_per_step,
            max_percent_per_step,
            max_replicas_per_minute,
            max_percent_per_minute,
            stabilization_ms,
            cooldown_ms,
        },
    )
}

/// The plain definition that the monotonic queues must agree with.
fn reference(history: &[(UnixMs, u32)], now: UnixMs, current: u32, span_up: i64, span_down: i64) -> u32 {
    let low = history.iter().rev().filter(|entry| now.since(entry.0) < span_up.max(1)).map(|entry| entry.1).min();
    let high = history.iter().rev().filter(|entry| now.since(entry.0) < span_down.max(1)).map(|entry| entry.1).max();
    let mut to = current;
    if let Some(low) = low.filter(|low| *low > to) {
        to = low;
    }
    if let Some(high) = high.filter(|high| *high < to) {
        to = high;
    }
    to
}

proptest! {
    #[test]
    fn bounds_hold_and_each_clamp_follows_the_one_before(
        up in limits(), down in limits(), wishes in prop::collection::vec((0..40_i64, 0..300_u32), 1..80), min in 0..10_u32, span in 0..50_u32,
    ) {
        let (max, guardrails) = (min + span, Guardrails { up, down });
        let (mut now, mut current, mut memory) = (at(0), min, GuardMemory::default());
        for (seconds, wanted) in wishes {
            now = now.plus(seconds * 500);
            let (to, clamps) = guard(now, current, wanted, (min, max), &guardrails, &mut memory);
            prop_assert!((min..=max).contains(&to));
            let mut last = wanted;
            for clamp in &clamps {
                prop_assert_eq!(clamp.from, last);
                prop_assert_ne!(clamp.from, clamp.to);
                last = clamp.to;
            }
            prop_assert_eq!(last, to);
            // No guardrail reverses a wish.
            let (up_kept, down_kept) = (to >= current.min(max), to <= current.max(min));
            prop_assert!((wanted >= current && up_kept) || (wanted < current && down_kept), "wanted {}, current {}, to {}", wanted, current, to);
            if let (Some(step), None, true) = (up.max_replicas_per_step, up.max_percent_per_step, to > current) {
                prop_assert!(to - current <= step || to == min);
            }
            if to != current {
                memory.changed(Some(Change { at: now, from: current, to }));
                current = to;
            }
        }
    }

    #[test]
    fn the_monotonic_queues_agree_with_the_whole_history(
        wishes in prop::collection::vec((1..8_i64, 1..30_u32), 1..120), up_s in 0..20_i64, down_s in 0..60_i64,
    ) {
        let limits = |seconds: i64| Limits { stabilization_ms: seconds * 1000, ..Limits::default() };
        let guardrails = Guardrails { up: limits(up_s), down: limits(down_s) };
        let (mut now, mut current, mut memory, mut history) = (at(0), 10, GuardMemory::default(), Vec::new());
        for (seconds, wanted) in wishes {
            now = now.plus(seconds * 1000);
            history.push((now, wanted));
            let (to, _) = guard(now, current, wanted, (1, 30), &guardrails, &mut memory);
            prop_assert_eq!(to, reference(&history, now, current, up_s * 1000, down_s * 1000));
            current = to;
        }
    }
}
