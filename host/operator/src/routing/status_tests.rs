use super::*;
use rstest::rstest;
use std::collections::BTreeMap;
use weir_core::routing::{Destination, Reason, Refusal, RoutingKey, Table, Target};

fn known() -> Known {
    let target = Destination { target: Target::Drop, sample: None };
    let table = Table {
        schema: 1,
        name: "base".into(),
        routing_key: RoutingKey::default(),
        rules: Vec::new(),
        default: "base.none".into(),
        destinations: BTreeMap::from([("base.none".into(), target)]),
        storages: BTreeMap::new(),
    };
    let applied = AppliedTable { version: 4, hash: "0123456789ab".into(), config_map: "base-table-0123456789ab".into() };
    Known { routed: Arc::new(Routed { table, version: 4, hash: applied.hash.clone() }), applied }
}

fn users(of: &[(&str, u32, Option<u32>)]) -> BTreeMap<ObjectRef, Usage> {
    of.iter().map(|(name, desired, confirmed)| (ObjectRef::new("team", *name), Usage { desired: *desired, confirmed: *confirmed, trouble: None })).collect()
}

fn said(status: &RoutingTableStatus, kind: &str) -> String {
    find(&status.conditions, kind).map_or_else(String::new, |condition| format!("{}/{}/{}", condition.status, condition.reason, condition.message))
}

fn of(report: &Report, usages: &BTreeMap<ObjectRef, Usage>) -> RoutingTableStatus {
    compute(UnixMs(1_000_000), &RoutingTable::default(), &RoutingTableStatus::default(), report, usages)
}

#[rstest]
#[case::unused(users(&[]), "Unknown/NotUsed/no LogProcessor names this table", "True")]
#[case::rolling(users(&[("a", 3, Some(3)), ("b", 2, Some(1))]), "False/RollingOut/4 of 5 replicas confirm version 4", "False")]
#[case::all(users(&[("a", 3, Some(3)), ("b", 2, Some(2))]), "True/AsExpected/all 5 replicas confirm version 4 (0123456789ab)", "True")]
#[case::silent(users(&[("a", 3, Some(3)), ("b", 2, None)]), "Unknown/MetricsNotReady/replicas of LogProcessor b are not measured, so none can confirm: enable spec.metrics.scrape", "True")]
fn what_replicas_confirm_is_told(#[case] usages: BTreeMap<ObjectRef, Usage>, #[case] confirmed: &str, #[case] ready: &str) {
    let report = Report { known: Some(known()), compiled: true, ..Report::default() };
    let status = of(&report, &usages);
    assert_eq!(said(&status, kind::CONFIRMED), confirmed);
    assert_eq!(said(&status, kind::READY).split('/').next(), Some(ready));
    assert_eq!(status.applied.unwrap().version, 4);
}

#[test]
fn a_table_that_collectors_refused_names_the_processor_and_what_it_said() {
    let report = Report { known: Some(known()), compiled: true, ..Report::default() };
    let mut usages = users(&[("a", 3, Some(0))]);
    usages.values_mut().for_each(|usage| usage.trouble = Some((reason::ROLLED_BACK.to_owned(), "it crashed".to_owned())));
    assert_eq!(said(&of(&report, &usages), kind::CONFIRMED), "False/RolledBack/LogProcessor a: it crashed");
}

#[test]
fn what_can_not_be_compiled_leaves_the_last_good_table_and_says_so() {
    let refusal = Refusal { reason: Reason::DestinationUnreachable, message: "destination x can't be reached".into() };
    let mut report = Report { known: Some(known()), ..Report::default() };
    report.take(&Outcome { table: Err(refusal), refused: BTreeMap::new(), warnings: Vec::new() }, "base");
    let status = of(&report, &users(&[]));
    assert_eq!(said(&status, kind::READY), "False/DestinationUnreachable/destination x can't be reached; version 4 (0123456789ab) stays");
    assert_eq!(status.applied, Some(known().applied));
}

#[test]
fn a_part_tells_of_its_own_rules_and_of_its_place() {
    let mut report = Report::default();
    report.as_part("base", None, None);
    assert!(said(&of(&report, &users(&[])), kind::COMPILED).starts_with("Unknown/Starting"));
    let verdict = Verdict { generation: Some(1), refusal: None, rules: 2, warnings: vec!["rule a never matches".into()] };
    report.as_part("base", None, Some(verdict.clone()));
    let status = of(&report, &users(&[]));
    assert_eq!(said(&status, kind::READY), "True/AsExpected/its rules are part of RoutingTable base");
    assert_eq!((status.rules, status.warnings.len(), status.processors), (Some(2), 1, None));
    report.as_part("base", Some("there is no RoutingTable base".into()), Some(verdict));
    assert!(said(&of(&report, &users(&[])), kind::COMPILED).starts_with("False/ParentNotFound/there is no RoutingTable base"));
}
