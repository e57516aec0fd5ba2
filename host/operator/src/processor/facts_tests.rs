use super::*;
use crate::labels::Labels;
use crate::views::{Selector, WorkloadKey, WorkloadKind};
use rstest::rstest;
use std::collections::BTreeMap;

/// Three replicas that were given a configuration at 100 s.
fn members(change: impl FnOnce(&mut WorkloadView)) -> Members {
    let mut workload = WorkloadView {
        key: WorkloadKey::new(WorkloadKind::Deployment, "team", "logs-collector"),
        uid: "1".into(),
        version: 1,
        generation: 2,
        observed_generation: 2,
        replicas: 3,
        current: 3,
        ready: 3,
        updated: 3,
        available: 3,
        selector: Selector::default(),
        stalled: None,
        deleting: false,
        labels: Labels::default(),
        annotations: Labels::from(Some(&BTreeMap::from([(ANNOTATION_GIVEN_AT.to_owned(), "100000".to_owned()), (LABEL_TEMPLATE.to_owned(), "t".to_owned())]))),
        config_hash: Some("0123456789ab".into()),
        owner: None,
    };
    change(&mut workload);
    Members { workload: Some(Arc::new(workload)), ..Members::default() }
}

fn said(replicas: u32, others: u32) -> Option<Said> {
    Some((Confirmed { replicas, of: 3 }, others))
}

#[rstest]
#[case::all_say_so(140_000, said(3, 0), Progress::Settled { ready_ms: 40_000 })]
#[case::some_do_not_yet(140_000, said(2, 1), Progress::Rolling)]
#[case::some_are_silent_for_long(400_000, said(2, 0), Progress::Rolling)]
#[case::some_say_something_else_for_long(161_000, said(2, 1), Progress::Failing("1 of 3 replicas still run another configuration 61 s after they were given it".into()))]
#[case::nobody_is_asked(400_000, None, Progress::Rolling)]
fn pods_that_read_their_configuration_anew_are_judged_by_what_they_say(#[case] now: i64, #[case] said: Option<Said>, #[case] is: Progress) {
    assert_eq!(progress(UnixMs(now), &members(|_| {}), &[], said), is);
}

#[test]
fn pods_that_are_being_replaced_may_say_something_else_for_as_long_as_they_drain() {
    assert_eq!(progress(UnixMs(400_000), &members(|workload| workload.updated = 2), &[], said(2, 1)), Progress::Rolling);
}
