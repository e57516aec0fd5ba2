//! The rules one by one, then a small world in which revisions are good, bad or refused, and the
//! operator may stop at any point.

use super::*;
use proptest::prelude::*;

fn hash(n: u8) -> ConfigHash {
    format!("{n:012x}").parse().unwrap()
}

/// The parts of a state that tests change.
#[derive(Clone, Debug)]
struct Known {
    desired: ConfigHash,
    check: ConfigCheck,
    running: Option<ConfigHash>,
    last_good: Option<ConfigHash>,
    rolled_back: Option<ConfigHash>,
    rejected: Option<Rejected>,
    job: CheckOutcome,
    progress: Progress,
    confirmed: Option<Confirmed>,
    existing: Vec<ConfigHash>,
    jobs: Vec<ConfigHash>,
}

impl Known {
    /// Revision 1 runs well and is what the spec asks for.
    fn steady() -> Self {
        Self {
            desired: hash(1),
            check: ConfigCheck::Validate,
            running: Some(hash(1)),
            last_good: Some(hash(1)),
            rolled_back: None,
            rejected: None,
            job: CheckOutcome::None,
            progress: Progress::Settled { ready_ms: PROVEN_MS },
            confirmed: Some(Confirmed { replicas: 2, of: 2 }),
            existing: vec![hash(1), hash(2)],
            jobs: vec![],
        }
    }

    /// Nothing is there yet.
    fn fresh() -> Self {
        Self { running: None, last_good: None, progress: Progress::Idle, confirmed: None, ..Self::steady() }
    }

    fn wants(mut self, desired: u8) -> Self {
        self.desired = hash(desired);
        self
    }

    fn step(&self) -> Step {
        step(&State {
            desired: &self.desired,
            check: self.check,
            running: self.running.as_ref(),
            last_good: self.last_good.as_ref(),
            rolled_back: self.rolled_back.as_ref(),
            rejected: self.rejected.as_ref(),
            job: &self.job,
            progress: &self.progress,
            confirmed: self.confirmed,
            existing: &self.existing,
            jobs: &self.jobs,
        })
    }
}

#[test]
fn what_runs_well_and_is_asked_for_stays() {
    let step = Known::steady().step();
    assert_eq!(step.deploy, Some(hash(1)));
    assert_eq!((step.accepted.status, step.confirmed.status), (Status::True, Status::True));
    assert!(!step.start_check && step.change.is_none());
    assert_eq!(step.garbage_config_maps, [hash(2)]);
}

#[test]
fn the_first_configuration_is_checked_before_any_replica_exists() {
    let mut known = Known::fresh();
    let step = known.step();
    assert_eq!((step.deploy, step.start_check), (None, true));
    assert_eq!(step.accepted.reason, CHECKING);
    known.job = CheckOutcome::Running { waiting: None };
    assert_eq!((known.step().deploy, known.step().start_check), (None, false));
    known.job = CheckOutcome::Accepted;
    assert_eq!(known.step().deploy, Some(hash(1)));
}

#[test]
fn a_first_configuration_that_is_refused_starts_nothing() {
    let known = Known { job: CheckOutcome::Rejected("unknown key".into()), ..Known::fresh() };
    let step = known.step();
    assert_eq!(step.deploy, None);
    assert_eq!(step.accepted.reason, reason::CONFIG_REJECTED);
    assert!(step.accepted.message.contains("unknown key") && step.accepted.message.contains("No replica is started"));
}

#[test]
fn without_a_check_a_changed_configuration_is_rolled_out_at_once() {
    let step = Known { check: ConfigCheck::Skip, ..Known::steady().wants(2) }.step();
    assert_eq!((step.deploy, step.start_check), (Some(hash(2)), false));
    assert_eq!(step.accepted.reason, reason::CONFIG_CHECK_SKIPPED);
}

#[test]
fn a_refused_configuration_leaves_what_runs_and_is_told_once() {
    let mut known = Known { job: CheckOutcome::Rejected("no such exporter".into()), ..Known::steady().wants(2) };
    let first = known.step();
    assert_eq!((first.deploy.clone(), first.change), (Some(hash(1)), Some(Change::Rejected)));
    known.rejected = first.rejected;
    // The Job is gone after a while; the status remembers.
    known.job = CheckOutcome::None;
    let later = known.step();
    assert_eq!((later.deploy, later.change, later.start_check), (Some(hash(1)), None, false));
    assert_eq!(later.accepted.reason, reason::CONFIG_REJECTED);
    assert_eq!(known.wants(3).step().rejected, None, "a changed spec is a new chance");
}

#[test]
fn a_check_without_a_verdict_leaves_what_runs() {
    let step = Known { job: CheckOutcome::Inconclusive("no image".into()), ..Known::steady().wants(2) }.step();
    assert_eq!((step.deploy, step.start_check), (Some(hash(1)), false));
    assert_eq!((step.accepted.status, step.accepted.reason), (Status::Unknown, CHECK_INCONCLUSIVE));
}

#[test]
fn a_configuration_that_crashes_is_put_back_and_stays_away() {
    let mut known = Known { running: Some(hash(2)), progress: Progress::Failing("CrashLoopBackOff".into()), ..Known::steady().wants(2) };
    let first = known.step();
    assert_eq!((first.deploy.clone(), first.change), (Some(hash(1)), Some(Change::RolledBack)));
    assert_eq!((first.rolled_back.clone(), first.last_good.clone()), (Some(hash(2)), Some(hash(1))));
    assert!(first.confirmed.message.contains("CrashLoopBackOff"), "{}", first.confirmed.message);
    (known.running, known.rolled_back, known.rejected) = (first.deploy, first.rolled_back, first.rejected);
    known.progress = Progress::Rolling;
    let later = known.step();
    assert_eq!((later.deploy, later.change, later.start_check), (Some(hash(1)), None, false));
    assert_eq!((later.accepted.status, later.confirmed.reason), (Status::True, reason::ROLLED_BACK));
    known.rejected = None;
    assert_eq!(known.step().deploy, Some(hash(1)), "the workload remembers what the status lost");
}

#[test]
fn a_first_configuration_that_crashes_stays_and_is_reported() {
    let known = Known { last_good: None, progress: Progress::Failing("CrashLoopBackOff".into()), ..Known::steady() };
    let step = known.step();
    assert_eq!((step.deploy, step.rolled_back, step.change), (Some(hash(1)), None, None));
    assert_eq!((step.confirmed.status, step.confirmed.reason), (Status::False, reason::DEGRADED));
}

#[test]
fn readiness_for_a_moment_makes_nothing_a_good_one() {
    let mut known = Known { running: Some(hash(2)), progress: Progress::Settled { ready_ms: 1_000 }, ..Known::steady().wants(2) };
    assert_eq!(known.step().last_good, Some(hash(1)));
    known.progress = Progress::Settled { ready_ms: PROVEN_MS };
    assert_eq!(known.step().last_good, Some(hash(2)));
}

#[test]
fn going_back_to_the_last_good_one_needs_no_check() {
    let step = Known { running: Some(hash(2)), progress: Progress::Rolling, ..Known::steady() }.step();
    assert_eq!((step.deploy, step.start_check), (Some(hash(1)), false));
}

#[test]
fn while_the_next_one_is_checked_a_failing_one_is_put_back() {
    let known = Known { running: Some(hash(2)), progress: Progress::Failing("stalled".into()), ..Known::steady().wants(3) };
    let step = known.step();
    assert_eq!((step.deploy, step.start_check, step.rolled_back), (Some(hash(1)), true, None));
}

#[test]
fn replicas_that_do_not_confirm_yet_are_counted() {
    let step = Known { confirmed: Some(Confirmed { replicas: 1, of: 3 }), ..Known::steady() }.step();
    assert_eq!(step.confirmed.status, Status::False);
    assert!(step.confirmed.message.starts_with("1 of 3 replicas"));
}

#[test]
fn a_last_good_one_whose_config_map_is_gone_is_none() {
    let known = Known { running: Some(hash(2)), progress: Progress::Failing("x".into()), existing: vec![hash(2)], ..Known::steady().wants(2) };
    assert_eq!(known.step().deploy, Some(hash(2)));
}

/// What a revision turns out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Good,
    Refused,
    Crashes,
}

/// A cluster that does what it is told: it answers checks, starts what is deployed, and knows no more.
struct World {
    natures: Vec<Nature>,
    known: Known,
    deployed: Vec<ConfigHash>,
}

impl World {
    fn nature(&self, hash: &ConfigHash) -> Nature {
        let at = (0..).zip(&self.natures).find(|(n, _)| self::hash(*n) == *hash);
        *at.unwrap().1
    }

    /// One pass; `writes` says how many of its writes happen before the operator stops.
    fn pass(&mut self, writes: usize) {
        let step = self.known.step();
        let refused = self.known.rejected.as_ref().map(|refused| refused.hash.clone());
        if let Some(deploy) = &step.deploy
            && self.known.running.as_ref() != Some(deploy)
        {
            // Where nothing is checked, the memory of what failed is the annotation alone.
            if self.known.check == ConfigCheck::Validate && self.known.last_good.as_ref() != Some(deploy) {
                assert_ne!(refused.as_ref(), Some(deploy), "a refused revision is not deployed");
            }
            assert_ne!(self.known.rolled_back.as_ref(), Some(deploy), "what was taken back is not deployed");
            let checked = self.known.check == ConfigCheck::Skip || self.nature(deploy) != Nature::Refused;
            assert!(checked, "nothing is deployed that its check refuses");
        }
        if writes > 0 && step.start_check {
            self.known.jobs.push(self.known.desired.clone());
            self.known.job = CheckOutcome::Running { waiting: None };
        }
        if writes > 1
            && let Some(deploy) = &step.deploy
        {
            if self.known.running.as_ref() != Some(deploy) {
                self.known.progress = Progress::Rolling;
                self.deployed.push(deploy.clone());
            }
            self.known.running = Some(deploy.clone());
            // Written in one apply.
            self.known.last_good = step.last_good.clone();
            self.known.rolled_back = step.rolled_back.clone();
        }
        if writes > 2 {
            self.known.rejected = step.rejected.clone();
            self.known.existing.retain(|hash| !step.garbage_config_maps.contains(hash));
            self.known.jobs.retain(|hash| !step.garbage_jobs.contains(hash));
        }
    }

    /// Time passes: checks end, replicas start.
    fn tick(&mut self) {
        if self.known.job == (CheckOutcome::Running { waiting: None }) {
            self.known.job = match self.nature(&self.known.desired) {
                Nature::Refused => CheckOutcome::Rejected("refused".into()),
                _ => CheckOutcome::Accepted,
            };
        }
        if let Some(running) = &self.known.running {
            self.known.progress = match self.nature(running) {
                Nature::Good => Progress::Settled { ready_ms: PROVEN_MS },
                _ => Progress::Failing("crashes".into()),
            };
        }
    }

    fn ask_for(&mut self, n: u8) {
        self.known.desired = hash(n);
        self.known.job = CheckOutcome::None;
        if !self.known.existing.contains(&hash(n)) {
            self.known.existing.push(hash(n));
        }
    }
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![Just(Nature::Good), Just(Nature::Refused), Just(Nature::Crashes)]
}

proptest! {
    #[test]
    fn it_converges_wherever_the_operator_stops(
        natures in prop::collection::vec(nature(), 4),
        wishes in prop::collection::vec((0..4_u8, prop::collection::vec(0..4_usize, 0..6)), 1..6),
        skip in any::<bool>(),
    ) {
        let check = if skip { ConfigCheck::Skip } else { ConfigCheck::Validate };
        let mut world = World { natures, known: Known { check, existing: vec![], ..Known::fresh() }, deployed: vec![] };
        for (wish, stops) in wishes {
            world.ask_for(wish);
            for writes in stops {
                world.pass(writes);
                world.tick();
            }
        }
        for _ in 0..12 {
            world.pass(3);
            world.tick();
        }
        let settled = world.known.clone();
        let rollouts = world.deployed.len();
        world.pass(3);
        world.tick();
        prop_assert_eq!(world.deployed.len(), rollouts, "no more rollouts once it has converged");
        prop_assert_eq!(format!("{:?}", world.known), format!("{settled:?}"), "and nothing else changes");

        let nature = world.nature(&world.known.desired);
        if nature == Nature::Good && world.known.rolled_back.is_none() && world.known.rejected.is_none() {
            prop_assert_eq!(world.known.running.as_ref(), Some(&world.known.desired));
        }
        if let Some(good) = &world.known.last_good {
            prop_assert_eq!(world.nature(good), Nature::Good);
            let running = world.known.running.clone();
            prop_assert_eq!(running.map(|running| world.nature(&running)), Some(Nature::Good), "what is good once is not given up for what is not");
            prop_assert!(world.known.existing.contains(good));
        }
    }

    #[test]
    fn a_step_is_a_function_of_its_state_and_never_refers_to_garbage(
        desired in 0..4_u8,
        running in prop::option::of(0..4_u8),
        last_good in prop::option::of(0..4_u8),
        rolled_back in prop::option::of(0..4_u8),
        rejected in prop::option::of(0..4_u8),
        job in prop_oneof![Just(CheckOutcome::None), Just(CheckOutcome::Accepted), Just(CheckOutcome::Rejected("r".into())), Just(CheckOutcome::Inconclusive("i".into()))],
        progress in prop_oneof![Just(Progress::Idle), Just(Progress::Rolling), Just(Progress::Settled { ready_ms: PROVEN_MS }), Just(Progress::Failing("f".into()))],
    ) {
        let known = Known {
            running: running.map(hash),
            last_good: last_good.map(hash),
            rolled_back: rolled_back.map(hash),
            rejected: rejected.map(|n| Rejected { hash: hash(n), message: "m".into() }),
            job,
            progress,
            existing: (0..4).map(hash).collect(),
            ..Known::steady().wants(desired)
        };
        let step = known.step();
        prop_assert_eq!(&step, &known.step());
        for needed in [step.deploy.as_ref(), step.last_good.as_ref(), Some(&known.desired)].into_iter().flatten() {
            prop_assert!(!step.garbage_config_maps.contains(needed));
        }
        if step.deploy != known.running {
            let refused = step.rejected.as_ref().map(|refused| &refused.hash);
            prop_assert!(step.deploy.is_none() || step.deploy.as_ref() != refused);
        }
        prop_assert!(step.deploy.is_some() || known.running.is_none(), "what runs is never taken away");
    }
}
