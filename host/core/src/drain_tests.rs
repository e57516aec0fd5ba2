use super::*;
use proptest::prelude::*;

const PATIENCE: Patience = Patience { intake_ms: 60_000 };

fn at(seconds: i64) -> UnixMs {
    UnixMs(seconds * 1000)
}

fn serving(name: &str, backlog: f64) -> Replica {
    Replica { name: name.into(), running: true, never_started: false, cordoned: None, marked: false, backlog: Some(backlog), intake: Some(10.0) }
}

fn cordoned(name: &str, backlog: Option<f64>, intake: f64, marked: bool) -> Replica {
    Replica { cordoned: Some(at(0)), backlog, intake: Some(intake), marked, ..serving(name, 0.0) }
}

#[test]
fn the_emptiest_are_cordoned_and_nothing_is_deleted_yet() {
    let replicas = [serving("a", 50.0), serving("b", 0.0), serving("c", 7.0)];
    let plan = plan(at(1), 3, 1, &replicas, PATIENCE);
    assert_eq!(plan.actions, [Action::Cordon("b".into()), Action::Cordon("c".into())]);
}

#[test]
fn a_replica_that_never_started_goes_before_an_empty_one() {
    let pending = Replica { running: false, never_started: true, backlog: None, intake: None, ..serving("z", 0.0) };
    let plan = plan(at(1), 2, 1, &[serving("a", 0.0), pending], PATIENCE);
    assert_eq!(plan.actions, [Action::Cordon("z".into())]);
}

#[test]
fn a_cordoned_replica_waits_for_its_queue_then_is_marked_then_goes() {
    let others = serving("a", 5.0);
    let full = plan(at(9), 2, 1, &[others.clone(), cordoned("b", Some(12.0), 0.0, false)], PATIENCE);
    assert_eq!((full.actions.len(), full.waiting), (0, vec!["b".to_owned()]));
    let empty = plan(at(9), 2, 1, &[others.clone(), cordoned("b", Some(0.0), 0.0, false)], PATIENCE);
    assert_eq!(empty.actions, [Action::Mark("b".into())]);
    let marked = plan(at(9), 2, 1, &[others, cordoned("b", Some(0.0), 0.0, true)], PATIENCE);
    assert_eq!(marked.actions, [Action::Scale(1)]);
}

#[test]
fn a_queue_that_cannot_be_seen_is_not_empty() {
    let plan = plan(at(900), 2, 1, &[serving("a", 5.0), cordoned("b", None, 0.0, true)], PATIENCE);
    assert_eq!((plan.actions.len(), plan.waiting.len()), (0, 1));
}

#[test]
fn a_client_that_never_lets_go_is_waited_for_but_not_forever() {
    let replicas = [serving("a", 5.0), cordoned("b", Some(0.0), 3.0, false)];
    assert_eq!(plan(at(59), 2, 1, &replicas, PATIENCE).actions, []);
    assert_eq!(plan(at(60), 2, 1, &replicas, PATIENCE).actions, [Action::Mark("b".into())]);
}

#[test]
fn a_rising_load_takes_the_fullest_back_first() {
    let replicas = [serving("a", 5.0), cordoned("b", Some(0.0), 0.0, false), cordoned("c", Some(9.0), 0.0, false)];
    assert_eq!(plan(at(9), 3, 2, &replicas, PATIENCE).actions, [Action::Uncordon("c".into())]);
    let more = plan(at(9), 3, 5, &replicas, PATIENCE);
    assert_eq!(more.actions, [Action::Uncordon("b".into()), Action::Uncordon("c".into()), Action::Scale(5)]);
}

#[test]
fn nobody_is_deleted_while_another_replica_that_may_hold_records_is_down() {
    let down = Replica { running: false, backlog: None, ..serving("a", 0.0) };
    let plan = plan(at(9), 2, 1, &[down, cordoned("b", Some(0.0), 0.0, true)], PATIENCE);
    assert_eq!(plan.actions, []);
}

fn replica() -> impl Strategy<Value = Replica> {
    (any::<bool>(), prop::bool::weighted(0.1), proptest::option::of(0..100_i64), any::<bool>(), proptest::option::of(0..3_u32), proptest::option::of(0..2_u32))
        .prop_map(|(running, never_started, cordoned, marked, backlog, intake)| Replica {
            name: String::new(),
            running: running && !never_started,
            never_started,
            cordoned: cordoned.map(at),
            marked: marked && cordoned.is_some(),
            backlog: backlog.map(f64::from),
            intake: intake.map(f64::from),
        })
}

proptest! {
    #[test]
    fn only_empty_marked_replicas_are_ever_given_up(mut replicas in prop::collection::vec(replica(), 0..12), wanted in 0..15_u32) {
        for (index, replica) in replicas.iter_mut().enumerate() {
            replica.name = format!("pod-{index}");
        }
        let desired = u32::try_from(replicas.len()).unwrap();
        let plan = plan(at(100), desired, wanted, &replicas, PATIENCE);
        for action in &plan.actions {
            if let Action::Scale(to) = action {
                prop_assert!(*to >= wanted);
                if *to < desired {
                    let ready = replicas.iter().filter(|r| r.marked && r.cordoned.is_some() && drained(at(100), r, PATIENCE)).count();
                    prop_assert!(usize::try_from(desired - to).unwrap() <= ready);
                }
            }
        }
        let moves = plan.actions.iter().filter(|action| matches!(action, Action::Cordon(_) | Action::Uncordon(_))).count();
        prop_assert!(moves <= replicas.len());
    }
}
