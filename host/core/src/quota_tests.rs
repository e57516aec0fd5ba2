use super::*;
use proptest::prelude::*;

const QUOTA: Quota = Quota { policies: 2, compiled_bytes: 100, decision_us: 500_000 };

fn place(created: i64, name: &str) -> Place {
    Place { created: UnixMs(created), name: name.to_owned() }
}

fn module(name: &str, bytes: u64) -> (Digest, u64) {
    (Digest::of(name.as_bytes()), bytes)
}

#[test]
fn after_a_restart_the_oldest_are_loaded_whichever_is_fetched_first() {
    let mut ledger = Ledger::default();
    let [a, b, c] = [place(1, "b"), place(2, "a"), place(2, "c")];
    for place in [&c, &b, &a] {
        ledger.enrol(place.clone());
    }
    assert_eq!(ledger.room(&c, &QUOTA), Err(Exceeded { resource: Resource::Policies, limit: 2, used: 2, asked: 1 }));
    assert_eq!(ledger.give(&b, &[module("b", 1)], &QUOTA), Ok(false));
    assert_eq!(ledger.give(&a, &[module("a", 1)], &QUOTA), Ok(false));
    assert!(ledger.give(&c, &[module("c", 1)], &QUOTA).is_err());
    assert_eq!(ledger.used(), (2, 2));
    // Room appears: one goes, or turns out to have no module that runs.
    assert!(ledger.clone().remove(&a) && ledger.has_nothing(&a) && !ledger.has_nothing(&a));
    assert_eq!(ledger.give(&c, &[module("c", 1)], &QUOTA), Ok(false));
    // What runs is not stopped for one that is older.
    assert!(ledger.give(&a, &[module("a", 1)], &QUOTA).is_err());
}

#[test]
fn a_module_counts_once_and_who_is_refused_keeps_what_runs() {
    let mut ledger = Ledger::default();
    let [a, b] = [place(1, "a"), place(2, "b")];
    assert_eq!(ledger.give(&a, &[module("x", 60)], &QUOTA), Ok(false));
    assert_eq!(ledger.give(&b, &[module("x", 60)], &QUOTA), Ok(false), "the same code");
    assert_eq!(ledger.used(), (2, 60));
    let refused = ledger.give(&b, &[module("y", 41)], &QUOTA).unwrap_err();
    assert_eq!(refused, Exceeded { resource: Resource::Compiled, limit: 100, used: 60, asked: 41 });
    assert!(refused.to_string().contains("60 bytes") && refused.to_string().contains("--namespace-quota-for"), "{refused}");
    assert_eq!(ledger.give(&b, &[module("y", 40)], &QUOTA), Ok(false));
    assert_eq!(ledger.used(), (2, 100));
    assert_eq!(ledger.give(&b, &[module("y", 40), module("z", 1)], &QUOTA).unwrap_err().asked, 41);
    assert_eq!(ledger.give(&b, &[module("z", 1)], &QUOTA), Ok(true), "that made room");
}

#[test]
fn who_has_more_than_a_lowered_quota_allows_may_still_become_smaller() {
    let mut ledger = Ledger::default();
    let a = place(1, "a");
    assert_eq!(ledger.give(&a, &[module("x", 90)], &QUOTA), Ok(false));
    let less = Quota { policies: 0, compiled_bytes: 10, ..QUOTA };
    assert_eq!(ledger.give(&a, &[module("y", 80)], &less), Ok(true));
    assert!(ledger.give(&a, &[module("z", 81)], &less).is_err());
}

#[test]
fn a_namespace_that_was_quiet_may_use_five_seconds_at_once_and_then_its_rate() {
    let mut bucket = Bucket::new(100_000, UnixMs(0));
    assert_eq!(bucket.wait(UnixMs(0)), None);
    bucket.spend(500_000_000);
    assert_eq!(bucket.wait(UnixMs(0)), Some(1));
    bucket.spend(100_000_000);
    assert_eq!(bucket.wait(UnixMs(0)), Some(1001), "a debt is paid first");
    assert!(bucket.wait(UnixMs(1000)).is_some());
    assert_eq!(bucket.wait(UnixMs(1001)), None);
    // A clock that is set back brings nothing and takes nothing.
    assert_eq!(bucket.wait(UnixMs(0)), None);
}

proptest! {
    #[test]
    fn no_more_is_used_than_burst_and_rate_and_one_decision_allow(
        rate in 1_u32..2_000_000, asks in prop::collection::vec((0_i64..2_000, 0_i64..200_000_000), 1..200)
    ) {
        let (mut bucket, mut now, mut used, mut largest) = (Bucket::new(rate, UnixMs(0)), 0, 0_i64, 0_i64);
        for (pause, ns) in asks {
            now += pause;
            match bucket.wait(UnixMs(now)) {
                None => { bucket.spend(ns); used += ns; largest = largest.max(ns); }
                Some(ms) => {
                    prop_assert!(ms > 0);
                    prop_assert!(bucket.clone().wait(UnixMs(now + ms)).is_none(), "after {ms} ms it may");
                    prop_assert!(ms == 1 || bucket.clone().wait(UnixMs(now + ms - 1)).is_some(), "and not before");
                }
            }
            prop_assert!(used <= i64::from(rate) * (5_000 + now) + largest);
        }
    }

    #[test]
    fn the_ledger_never_gives_more_than_the_quota(gives in prop::collection::vec((0_i64..6, prop::collection::vec((0_u8..8, 1_u64..60), 0..3), any::<bool>()), 0..60)) {
        let mut ledger = Ledger::default();
        // The size of a module is a matter of its bytes.
        let sized = |(name, _): &(u8, u64)| (Digest::of(&[*name]), u64::from(*name) * 9 + 3);
        for (who, modules, goes) in gives {
            let place = place(who, "p");
            if goes {
                ledger.remove(&place);
            } else {
                let modules: Vec<(Digest, u64)> = modules.iter().map(sized).collect();
                let before = ledger.used();
                if ledger.give(&place, &modules, &QUOTA).is_err() {
                    prop_assert_eq!(ledger.used(), before);
                }
            }
            let (policies, bytes) = ledger.used();
            prop_assert!(policies <= 2 && bytes <= 100);
        }
    }
}
