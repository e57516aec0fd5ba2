use super::*;
use crate::ids::UnixMs;
use crate::placement::{Map, Slot};
use proptest::prelude::*;
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};

fn map(epoch: u64) -> Map {
    let slot = |node: &str| Slot { node: node.into(), target: node.into(), endpoint: format!("http://{node}:9428") };
    Map { schema: 1, version: epoch, epoch, slots: vec![slot("a-0"), slot("b-0")], mirrors: vec![vec![0, 1, 0, 1]] }
}

fn maps() -> BTreeMap<String, Found> {
    BTreeMap::from([("logs".to_owned(), Ok(map(1)))])
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn on(scope: Scope, key: &str, test: Test) -> Match {
    Match { requirements: BTreeSet::from([Requirement { scope, key: key.into(), test }]), severity: None }
}

fn service(name: &str) -> Match {
    on(Scope::Resource, "service.name", Test::In(set(&[name])))
}

fn way(name: &str, when: Match, destination: &str) -> Way {
    Way { name: name.into(), when, destination: destination.into() }
}

fn source(name: &str, created: i64, rules: Vec<Way>) -> Source {
    let wish = |target| Wish { target: Some(target), sample: None };
    Source {
        name: name.into(),
        created: UnixMs(created),
        destinations: BTreeMap::from([
            ("main".into(), wish(Target::Storage("logs".into()))),
            ("none".into(), wish(Target::Drop)),
            ("tenth".into(), Wish { target: Some(Target::Storage("logs".into())), sample: Some(10) }),
        ]),
        rules,
        default: Some("main".into()),
        routing_key: RoutingKey::default(),
    }
}

fn part(name: &str, created: i64, rules: Vec<Way>) -> Source {
    Source { default: None, ..source(name, created, rules) }
}

fn compiled(root: &Source, parts: &[Source]) -> Table {
    compile(root, parts, &maps(), None).table.unwrap().table
}

fn from(service: &str) -> Record {
    Record { resource: BTreeMap::from([("service.name".into(), service.into())]), ..Record::default() }
}

fn messages(outcome: &Outcome) -> Vec<String> {
    outcome.warnings.iter().map(|warning| format!("{}: {}", warning.table, warning.message)).collect()
}

#[test]
fn the_first_rule_that_matches_counts_and_the_default_takes_the_rest() {
    let table = compiled(&source("base", 0, vec![way("a", service("a"), "none"), way("b", service("b"), "tenth")]), &[]);
    assert_eq!([table.route(&from("a")), table.route(&from("b")), table.route(&from("c"))], ["base.none", "base.tenth", "base.main"]);
    assert_eq!(table.storages["logs"], map(1));
}

#[test]
fn a_table_is_read_back_from_its_canonical_bytes() {
    let table = compiled(&source("base", 0, vec![way("a", service("a"), "none")]), &[]);
    assert_eq!(Table::from_json(&table.to_json().unwrap()).unwrap(), table);
    let broken = table.to_json().unwrap().replace(r#""default":"base.main""#, r#""default":"base.gone""#);
    assert!(Table::from_json(&broken).unwrap_err().to_string().contains("base.gone"));
}

#[rstest]
#[case::undefined(|root: &mut Source| root.rules[0].destination = "gone".into(), Reason::InvalidSpec, "rule a leads to destination gone")]
#[case::no_default(|root: &mut Source| root.default = Some("gone".into()), Reason::InvalidSpec, "default leads to destination gone")]
#[case::twice(|root: &mut Source| root.rules.push(root.rules[0].clone()), Reason::InvalidSpec, "two rules are called a")]
#[case::severity(|root: &mut Source| root.rules[0].when.severity = Some(SeverityRange { min: 17, max: 4 }), Reason::InvalidSpec, "swap them")]
#[case::no_target(|root: &mut Source| root.destinations.get_mut("main").unwrap().target = None, Reason::InvalidSpec, "exactly one of storageRef")]
#[case::no_map(|root: &mut Source| root.destinations.get_mut("main").unwrap().target = Some(Target::Storage("other".into())), Reason::DestinationUnreachable, "LogStorage other has no map yet")]
#[case::too_large(|root: &mut Source| root.rules[0].when = on(Scope::Record, "x", Test::In((0..50_000).map(|n| format!("a-rather-long-value-{n}")).collect())), Reason::TableTooLarge, "a ConfigMap holds 1 MiB")]
fn what_can_not_be_used_is_refused(#[case] spoil: fn(&mut Source), #[case] reason: Reason, #[case] words: &str) {
    let mut root = source("base", 0, vec![way("a", service("a"), "main")]);
    spoil(&mut root);
    let refusal = compile(&root, &[], &maps(), None).table.unwrap_err();
    assert_eq!(refusal.reason, reason);
    assert!(refusal.message.contains(words), "{refusal}");
}

#[test]
fn a_map_that_goes_back_is_refused_and_says_what_to_do() {
    let root = source("base", 0, vec![]);
    let of = |epoch| BTreeMap::from([("logs".to_owned(), Ok(map(epoch)))]);
    let newer = compile(&root, &[], &of(5), None).table.unwrap().table;
    let refusal = compile(&root, &[], &of(4), Some(&newer)).table.unwrap_err();
    assert_eq!(refusal.reason, Reason::MapOutOfDate);
    assert!(refusal.message.contains("take its destinations out"), "{refusal}");
    assert!(compile(&root, &[], &of(6), Some(&newer)).table.is_ok());
}

#[test]
fn rules_that_never_match_are_left_out_and_told() {
    let severe = |min, max, when: Match| Match { severity: Some(SeverityRange { min, max }), ..when };
    let rules = vec![
        way("team", on(Scope::Resource, "service.name", Test::Prefix(set(&["pay-"]))), "none"),
        way("pay-api", service("pay-api"), "main"),
        way("errors", severe(17, 24, Match::default()), "tenth"),
        way("fatal", severe(21, 24, service("x")), "main"),
        way("warnings", severe(13, 24, Match::default()), "main"),
        way(
            "both",
            Match { requirements: BTreeSet::from_iter([service("a"), service("b")].into_iter().flat_map(|when| when.requirements)), severity: None },
            "main",
        ),
    ];
    let outcome = compile(&source("base", 0, rules), &[], &maps(), None);
    assert_eq!(
        messages(&outcome),
        [
            "base: rule pay-api never matches: rule team comes first and takes all that it would",
            "base: rule fatal never matches: rule errors comes first and takes all that it would",
            "base: rule both never matches: two of its requirements exclude each other",
        ]
    );
    let names: Vec<String> = outcome.table.unwrap().table.rules.into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["team", "errors", "warnings"]);
}

#[test]
fn a_rule_for_everything_makes_the_default_useless_and_destinations_without_rules_are_told() {
    let outcome = compile(&source("base", 0, vec![way("all", Match::default(), "main")]), &[], &maps(), None);
    let told = messages(&outcome);
    assert!(told.contains(&"base: default is never used: rule all matches every record".to_owned()), "{told:?}");
    assert!(told.contains(&"base: destination none: no rule leads to it".to_owned()), "{told:?}");
    assert_eq!(outcome.table.unwrap().table.destinations.keys().collect::<Vec<_>>(), ["base.main"]);
}

#[test]
fn of_two_parts_that_claim_the_same_stream_the_older_one_has_it_and_the_other_is_told() {
    let root = source("base", 9, vec![way("rest", service("shop"), "main")]);
    let old = part("zebra", 1, vec![way("shop", service("shop"), "none")]);
    let young = part("ant", 2, vec![way("shop", service("shop"), "tenth")]);
    for parts in [vec![old.clone(), young.clone()], vec![young, old]] {
        let outcome = compile(&root, &parts, &maps(), None);
        assert!(
            messages(&outcome).contains(&"ant: rule shop never matches: rule shop of RoutingTable zebra comes first and takes all that it would".to_owned())
        );
        assert_eq!(outcome.table.unwrap().table.route(&from("shop")), "zebra.none");
    }
    let same = [part("b", 1, vec![way("shop", service("shop"), "none")]), part("a", 1, vec![way("shop", service("shop"), "tenth")])];
    assert_eq!(compiled(&root, &same).route(&from("shop")), "a.tenth");
}

#[test]
fn a_part_that_can_not_be_used_keeps_its_earlier_rules_and_stops_nobody() {
    let root = source("base", 9, vec![]);
    let good = part("team", 1, vec![way("shop", service("shop"), "none")]);
    let before = compiled(&root, std::slice::from_ref(&good));
    let mut bad = good;
    bad.rules[0].destination = "gone".into();
    let changed = source("base", 9, vec![way("other", service("other"), "tenth")]);
    let outcome = compile(&changed, &[bad.clone()], &maps(), Some(&before));
    assert!(outcome.refused["team"].message.contains("destination gone"));
    let table = outcome.table.unwrap().table;
    assert_eq!([table.route(&from("shop")), table.route(&from("other"))], ["team.none", "base.tenth"]);
    assert_eq!(compiled(&changed, &[bad]).route(&from("shop")), "base.main", "one that was never good is left out");
}

fn any_test() -> impl Strategy<Value = Test> {
    let values = || prop::collection::btree_set("[ab]{1,2}", 1..3);
    prop_oneof![values().prop_map(Test::In), values().prop_map(Test::NotIn), Just(Test::Exists), Just(Test::DoesNotExist), values().prop_map(Test::Prefix)]
}

fn any_match() -> impl Strategy<Value = Match> {
    let requirement = (any::<bool>(), "[xy]", any_test()).prop_map(|(resource, key, test)| Requirement {
        scope: if resource { Scope::Resource } else { Scope::Record },
        key,
        test,
    });
    let severity = prop::option::of((1_u8..25, 0_u8..6).prop_map(|(min, more)| SeverityRange { min, max: min + more }));
    (prop::collection::btree_set(requirement, 0..3), severity).prop_map(|(requirements, severity)| Match { requirements, severity })
}

fn any_record() -> impl Strategy<Value = Record> {
    let attributes = || prop::collection::btree_map("[xy]", "[abc]{1,3}", 0..3);
    (attributes(), attributes(), prop::option::of(1_u8..25)).prop_map(|(resource, attributes, severity)| Record { resource, attributes, severity })
}

fn any_rules() -> impl Strategy<Value = Vec<(Match, &'static str)>> {
    prop::collection::vec((any_match(), prop::sample::select(vec!["main", "none", "tenth"])), 0..8)
}

fn named(rules: &[(Match, &str)]) -> Vec<Way> {
    rules.iter().enumerate().map(|(at, (when, destination))| way(&format!("r{at}"), when.clone(), destination)).collect()
}

proptest! {
    #[test]
    fn the_compiled_table_agrees_with_the_rules_as_they_were_written(
        own in any_rules(), first in any_rules(), second in any_rules(), records in prop::collection::vec(any_record(), 1..20),
    ) {
        let root = source("base", 0, named(&own));
        let parts = [part("first", 1, named(&first)), part("second", 2, named(&second))];
        let table = compiled(&root, &[parts[1].clone(), parts[0].clone()]);
        for record in &records {
            let written = parts.iter().chain([&root]).flat_map(|source| source.rules.iter().map(move |rule| (source, rule)));
            let plain = written.filter(|(_, rule)| rule.when.matches(record)).map(|(source, rule)| format!("{}.{}", source.name, rule.destination)).next();
            let to = table.route(record);
            prop_assert_eq!(to, plain.unwrap_or_else(|| "base.main".to_owned()));
            prop_assert!(table.destinations.contains_key(to));
        }
    }

    #[test]
    fn a_rule_that_covers_another_matches_all_that_the_other_does(one in any_match(), two in any_match(), record in any_record()) {
        prop_assert!(!one.covers(&two) || !two.matches(&record) || one.matches(&record), "{one:?} {two:?}");
        prop_assert!(!one.is_impossible() || !one.matches(&record));
        prop_assert!(one.covers(&one));
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_order_in_which_parts_come(
        rules in prop::collection::vec(any_rules(), 3), order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
    ) {
        let root = source("base", 0, vec![]);
        let parts: Vec<Source> = [("a", 2), ("b", 1), ("c", 1)].iter().zip(&rules).map(|((name, created), rules)| part(name, *created, named(rules))).collect();
        let shuffled: Vec<Source> = order.iter().map(|at| parts[*at].clone()).collect();
        prop_assert_eq!(compiled(&root, &parts).to_json().unwrap(), compiled(&root, &shuffled).to_json().unwrap());
    }

    #[test]
    fn a_partition_is_one_of_those_that_there_are(record in any_record(), partitions in 1_u32..10_001) {
        let key = RoutingKey { resource: vec!["x".into()], record: vec!["y".into()] };
        prop_assert!(key.partition(&record, partitions) < partitions);
    }
}
