use super::*;
use crate::placement::Owner;
use rstest::rstest;

const DAY: i64 = 86_400_000;

fn to(partition: u32, node: &str) -> Move {
    Move { partition, from: None, to: node.to_owned() }
}

fn ledger() -> Ledger {
    let mut ledger = Ledger::new(2, 1);
    ledger.grant(Epoch(0), UnixMs(0), &[vec![to(0, "a"), to(1, "a")]]).unwrap();
    ledger.grant(Epoch(1), UnixMs(DAY), &[vec![to(1, "b")]]).unwrap();
    ledger
}

fn former(ledger: &Ledger, partition: usize) -> Vec<&str> {
    ledger.mirrors()[0].owners(partition).filter(|owner| owner.until.is_some()).map(|owner| owner.node).collect()
}

#[test]
fn every_round_of_changes_has_an_epoch_of_its_own() {
    let ledger = ledger();
    let owners: Vec<Owner<'_>> = ledger.mirrors()[0].owners(1).collect();
    assert_eq!(
        owners,
        [Owner { node: "a", epoch: Epoch(1), from: UnixMs(0), until: Some(UnixMs(DAY)) }, Owner { node: "b", epoch: Epoch(2), from: UnixMs(DAY), until: None },]
    );
    let holds = ledger.holds();
    assert_eq!((holds["a"], holds["b"]), (Holds { owned: 1, former: 1, stood_in: 0 }, Holds { owned: 1, ..Holds::default() }));
}

#[test]
fn who_decided_from_an_older_epoch_changes_nothing() {
    let mut ledger = ledger();
    let before = ledger.clone();
    assert_eq!(ledger.grant(Epoch(1), UnixMs(DAY), &[vec![to(0, "c")]]), Err(StaleEpoch { from: Epoch(1), at: Epoch(2) }));
    assert_eq!(ledger, before);
}

#[test]
fn a_partition_gets_one_owner_in_an_epoch_and_no_change_makes_none() {
    let mut ledger = ledger();
    assert_eq!(ledger.grant(Epoch(2), UnixMs(DAY), &[vec![to(0, "a"), to(9, "c")]]), Ok(Epoch(2)), "nothing to change");
    assert_eq!(ledger.grant(Epoch(2), UnixMs(DAY), &[vec![to(0, "b"), to(0, "c")]]), Ok(Epoch(3)));
    assert_eq!(ledger.mirrors()[0].owner(0), Some("b"));
}

#[test]
fn a_clock_that_goes_backwards_does_not_turn_tenures_around() {
    let mut ledger = ledger();
    ledger.grant(Epoch(2), UnixMs(-DAY), &[vec![to(1, "c")]]).unwrap();
    assert_eq!(ledger.mirrors()[0].owners(1).last().map(|owner| owner.from), Some(UnixMs(DAY)));
    Ledger::from_json(&ledger.to_json().unwrap()).unwrap();
}

#[test]
fn a_former_owner_goes_when_its_last_record_has_passed_retention_and_not_before() {
    let mut ledger = ledger();
    let passed = DAY + 7 * DAY + LATE_MS;
    assert_eq!((ledger.trim(UnixMs(passed), Some(7 * DAY)), former(&ledger, 1)), (0, vec!["a"]));
    assert_eq!((ledger.trim(UnixMs(passed + 1), None), former(&ledger, 1)), (0, vec!["a"]), "retention is not known");
    assert_eq!((ledger.trim(UnixMs(passed + 1), Some(7 * DAY)), former(&ledger, 1)), (1, vec![]));
    assert_eq!((ledger.mirrors()[0].owner(0), ledger.mirrors()[0].owner(1)), (Some("a"), Some("b")));
}

#[test]
fn a_ledger_is_read_back_from_its_canonical_bytes() {
    let text = ledger().to_json().unwrap();
    assert_eq!(
        text,
        r#"{"schema":1,"version":0,"epoch":2,"nodes":0,"lost_at":null,"moved":[],"mirrors":[{"nodes":["a","b"],"partitions":[[[0,1,0]],[[0,1,0],[1,2,86400000]]]}],"stand_ins":[]}"#
    );
    assert_eq!(Ledger::from_json(&text).unwrap(), ledger());
}

#[rstest]
#[case(r#""schema":1"#, r#""schema":2"#, "run the version of Weir")]
#[case(r#"[1,2,86400000]"#, r#"[5,2,86400000]"#, "an owner without a name")]
#[case(r#"[1,2,86400000]"#, r#"[1,1,86400000]"#, "do not ascend")]
#[case(r#"[1,2,86400000]"#, r#"[1,2,-1]"#, "do not ascend")]
#[case(r#"[1,2,86400000]"#, r#"[1,3,86400000]"#, "an epoch that has not begun")]
#[case(r#"]]}]"#, r#"]]},{"nodes":[],"partitions":[]}]"#, "mirror 1 has 0 partitions and mirror 0 has 2")]
#[case(r#""nodes""#, r#""names""#, "not a ledger")]
fn a_ledger_that_somebody_changed_is_refused(#[case] from: &str, #[case] to: &str, #[case] words: &str) {
    let error = Ledger::from_json(&ledger().to_json().unwrap().replacen(from, to, 1)).unwrap_err().to_string();
    assert!(error.contains(words), "{error}");
}

#[test]
fn who_stands_in_for_a_lost_node_holds_its_queued_records_until_they_have_passed() {
    let mut ledger = Ledger::new(3, 1);
    ledger.grant(Epoch(0), UnixMs(0), &[vec![to(0, "a"), to(1, "a"), to(2, "a")]]).unwrap();
    ledger.grant(Epoch(1), UnixMs(0), &[vec![to(0, "b"), to(1, "c"), to(2, "c")]]).unwrap();
    assert_eq!(ledger.stand_in_for(0, "a", |_| true).as_deref(), Some("c"));
    assert_eq!(ledger.stand_in_for(0, "a", |node| node != "c").as_deref(), Some("b"));
    assert_eq!(ledger.stand_in_for(0, "z", |_| true).as_deref(), Some("b"), "nobody follows it: the first");
    assert!(ledger.point(UnixMs(1), "a", Some("c")) && !ledger.point(UnixMs(2), "a", Some("c")));
    assert_eq!((ledger.target("a"), ledger.target("b")), ("c", "b"));
    assert!(ledger.point(UnixMs(DAY), "a", None));
    assert_eq!((ledger.target("a"), ledger.holds()["c"].stood_in), ("a", 1));
    ledger.trim(UnixMs(DAY + 7 * DAY + LATE_MS), Some(7 * DAY));
    assert_eq!(ledger.holds()["c"].stood_in, 1);
    ledger.trim(UnixMs(DAY + 7 * DAY + LATE_MS + 1), Some(7 * DAY));
    assert_eq!(ledger.holds()["c"].stood_in, 0);
}

#[test]
fn a_ledger_after_a_loss_goes_on_with_the_epochs_and_is_blind_until_retention_has_passed() {
    let mut ledger = Ledger::new(1, 1).after_loss(UnixMs(0), 7, Epoch(5));
    assert_eq!((ledger.version, ledger.grant(Epoch(5), UnixMs(0), &[vec![to(0, "a")]])), (7, Ok(Epoch(6))));
    ledger.trim(UnixMs(7 * DAY + LATE_MS), Some(7 * DAY));
    assert!(ledger.is_blind());
    ledger.trim(UnixMs(7 * DAY + LATE_MS + 1), Some(7 * DAY));
    assert!(!ledger.is_blind());
}
