use super::*;
use proptest::prelude::*;
use weir_policy::testing::{InputBuilder, input};

const NAN: f64 = f64::NAN;

fn decided(input: InputBuilder, memory: Memory) -> Proposal<Memory> {
    decide(&input.build(), &Params::default(), memory).unwrap()
}

/// One replica does 100 records/s; nothing waits.
fn calm(replicas: u32, load: f64) -> InputBuilder {
    input().capacity(100.0).replicas(replicas).series("offered", &[load; 60]).series("sent", &[load; 60]).series("backlog", &[0.0; 60])
}

fn loaded(replicas: u32, load: f64, backlog: f64) -> InputBuilder {
    input().capacity(100.0).start_up(0.0).replicas(replicas).series("offered", &[load; 60]).series("backlog", &[backlog; 60])
}

#[test]
fn a_steady_load_has_its_headroom() {
    let up = decided(calm(1, 99.0), Memory::default());
    assert_eq!((up.replicas, up.code.as_str()), (2, "AboveCapacity"));
    let held = decided(calm(6, 500.0), Memory::default());
    assert_eq!((held.replicas, held.code.as_str()), (6, "WithinBand"));
    let down = decided(calm(9, 500.0), Memory::default());
    assert_eq!((down.replicas, down.code.as_str()), (6, "BelowCapacity"));
}

#[test]
fn a_backlog_is_drained_by_its_deadline() {
    // 100 records/s come, 6,000 wait, 60 s to go: 200 records/s are needed
    let proposal = decided(loaded(1, 100.0, 6000.0), Memory::default());
    assert_eq!((proposal.replicas, proposal.code.as_str()), (2, "DrainingBacklog"));
    assert_eq!(proposal.get("drain-left"), Some(60.0));
}

#[test]
fn what_piles_up_until_new_replicas_work_is_counted() {
    // 300 records/s more come than are done, for 30 s of start-up, then 30 s are left: (400 + 9,000 / 30) / 100
    let proposal = decided(loaded(1, 400.0, 0.0).start_up(30.0), Memory::default());
    assert_eq!(proposal.get("pile-up"), Some(9000.0));
    assert_eq!(proposal.replicas, 7);
}

#[test]
fn the_freshness_objective_is_the_deadline_and_a_param_goes_before_it() {
    let fresh = loaded(1, 100.0, 6000.0).freshness(20.0);
    assert_eq!(decided(fresh.clone(), Memory::default()).replicas, 4);
    let params = Params { drain_seconds: Some(30.0), ..Params::default() };
    assert_eq!(decide(&fresh.build(), &params, Memory::default()).unwrap().replicas, 3);
}

#[test]
fn replicas_on_their_way_are_not_ordered_twice() {
    let first = decided(loaded(1, 400.0, 0.0).start_up(30.0), Memory::default());
    let mut memory = first.state;
    let start = input().build().now;
    let mut backlog = 0.0;
    for second in 1..30 {
        backlog += 300.0;
        let later = loaded(1, 400.0, backlog).start_up(30.0).starting(1, first.replicas - 1).now(start + 1000 * second);
        let proposal = decided(later, memory);
        assert!(proposal.replicas <= first.replicas + 1, "{second}: {} {}", proposal.replicas, proposal.sentence);
        memory = proposal.state;
    }
}

#[test]
fn nothing_is_taken_away_while_something_drains_starts_or_is_unmeasured() {
    let draining = decided(loaded(9, 100.0, 4000.0), Memory::default());
    assert_eq!((draining.replicas, draining.code.as_str()), (9, "DrainingBacklog"));
    assert_eq!(decided(calm(9, 100.0).starting(5, 4), Memory::default()).replicas, 9);
    let short_memory = input().capacity(100.0).replicas(9).series("offered", &[100.0; 20]).series("backlog", &[0.0; 20]);
    assert_eq!(decided(short_memory, Memory::default()).code, "NotEnoughSamples");
    let mut load = vec![100.0; 60];
    load[5] = 700.0;
    assert_eq!(decided(calm(9, 0.0).series("x", &[]).replicas(9), Memory::default()).replicas, 1);
    let one_peak = input().capacity(100.0).replicas(9).series("offered", &load).series("backlog", &[0.0; 60]);
    assert_eq!(decided(one_peak, Memory::default()).replicas, 9);
}

/// 3 ready replicas, known since long ago.
fn settled(true_rate: Option<f64>) -> Memory {
    let long_ago = input().build().now - 3_600_000;
    Memory { decided: long_ago, ready: 3, ready_since: long_ago, desired: 3, true_rate, ..Memory::default() }
}

#[test]
fn the_true_rate_is_seen_when_replicas_are_busy_and_only_then() {
    let busy = input().replicas(3).series("offered", &[240.0; 60]).series("sent", &[240.0; 60]).series("backlog", &[5000.0; 60]);
    assert_eq!(decided(busy.clone(), settled(None)).state.true_rate, Some(80.0));
    let idle = input().replicas(3).series("offered", &[240.0; 60]).series("sent", &[240.0; 60]).series("backlog", &[0.0; 60]);
    assert_eq!(decided(idle, settled(None)).state.true_rate, None);
    let uneven = busy.series("skew", &[1.5; 60]);
    assert!((decided(uneven, settled(None)).state.true_rate.unwrap() - 120.0).abs() < 1e-9);
}

#[test]
fn processor_time_tells_the_rate_of_replicas_that_are_not_busy() {
    let input =
        input().replicas(3).series("offered", &[150.0; 60]).series("sent", &[150.0; 60]).series("backlog", &[0.0; 60]).series("cpu", &[1.5; 60]).build();
    let params = Params { busy_cpu: Some(1.0), ..Params::default() };
    assert_eq!(decide(&input, &params, settled(None)).unwrap().state.true_rate, Some(100.0));
}

#[test]
fn an_unknown_capacity_is_held_and_learnt_from_the_first_backlog() {
    let unknown = |second: i64| {
        let start = input().build().now;
        input().replicas(3).now(start + 1000 * second).series("offered", &[300.0; 60]).series("sent", &[240.0; 60]).series("backlog", &[5000.0; 60])
    };
    let first = decided(unknown(0), Memory::default());
    assert_eq!((first.replicas, first.code.as_str()), (3, "CapacityUnknown"));
    let second = decided(unknown(1), first.state);
    assert_eq!((second.state.true_rate, second.code.as_str()), (Some(80.0), "DrainingBacklog"));
}

#[test]
fn a_stalled_destination_does_not_ask_for_the_world() {
    let stalled = input().capacity(100.0).replicas(3).series("offered", &[200.0; 60]).series("sent", &[0.5; 60]).series("backlog", &[5000.0; 60]);
    let proposal = decided(stalled, settled(None));
    assert!(proposal.state.true_rate.unwrap() >= 50.0 && proposal.replicas <= 8, "{proposal:?}");
}

#[test]
fn samples_from_before_a_change_of_replicas_teach_nothing() {
    let input = input().replicas(6).series("offered", &[240.0; 60]).series("sent", &[240.0; 60]).series("backlog", &[5000.0; 60]);
    assert_eq!(decided(input, settled(None)).state.true_rate, None);
}

#[test]
fn gaps_are_refused_and_missing_series_named() {
    let gaps = input().capacity(100.0).series("offered", &[NAN; 60]).series("backlog", &[0.0; 60]).build();
    assert_eq!(decide(&gaps, &Params::default(), Memory::default()).unwrap_err().code, "NotEnoughSamples");
    let missing = input().capacity(100.0).series("offered", &[1.0; 60]).build();
    assert!(decide(&missing, &Params::default(), Memory::default()).unwrap_err().sentence.contains("backlog"));
}

#[test]
fn nothing_asked_for_and_nothing_offered_stays_at_nothing() {
    assert_eq!(decided(calm(0, 0.0), Memory::default()).replicas, 0);
    assert_eq!(decided(calm(0, 50.0), Memory::default()).replicas, 1);
}

fn wild() -> impl Strategy<Value = f64> {
    prop_oneof![Just(NAN), Just(f64::INFINITY), Just(0.0), any::<f64>(), 0.0..1e6]
}

proptest! {
    #[test]
    fn whatever_comes_in_the_answer_is_sound(
        offered in prop::collection::vec(wild(), 0..70), backlog in prop::collection::vec(wild(), 0..70),
        sent in prop::collection::vec(wild(), 0..70), cpu in prop::collection::vec(wild(), 0..70),
        replicas in (0..300_u32, 0..300_u32), capacity in prop_oneof![wild(), 1.0..1e6], start_up in wild(), freshness in wild(),
        now in any::<i64>(), step in 1_i64..100_000, decided in any::<i64>(), drain_by in any::<Option<i64>>(), true_rate in prop::option::of(wild()),
    ) {
        let input = input().now(now).step_ms(step).capacity(capacity).start_up(start_up).freshness(freshness).starting(replicas.0, replicas.1)
            .series("offered", &offered).series("backlog", &backlog).series("sent", &sent).series("cpu", &cpu).build();
        let params = Params { busy_cpu: Some(1.0), ..Params::default() };
        let memory = Memory { decided, ready: replicas.0, ready_since: decided, desired: 1, raised: decided, true_rate, learnt_until: 0, drain_by };
        if let Ok(proposal) = decide(&input, &params, memory) {
            prop_assert!(proposal.replicas <= MAX_REPLICAS);
            prop_assert!(proposal.numbers.iter().all(|number| number.value.is_finite()));
            prop_assert!(proposal.state.true_rate.is_none_or(|rate| rate.is_finite() && rate > 0.0), "{:?}", proposal.state);
        }
    }
}
