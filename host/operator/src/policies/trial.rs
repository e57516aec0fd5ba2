//! A new module on trial, as the operator runs it: who decides for which object, and what was counted.
//! Touches nothing; the processors count here after their decisions, the runner of the policy judges
//! once a second ([`weir_core::trial`]).

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use weir_core::ids::{Digest, ObjectRef, UnixMs};
use weir_core::scaling::{Outcome, ScalingPolicy as _};
use weir_core::trial::{Arm, Calls, Difference, Fate, Fates, Seen, arm};
use weir_engine::Policy;

/// Differences that are kept for people to look at.
const LATEST: usize = 5;
/// Weight of the newest value in the mean of an object's records.
const NEWEST: f64 = 0.2;

/// A snapshot on which both versions would decide differently.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Whose.
    pub object: ObjectRef,
    /// When.
    pub at: UnixMs,
    /// The live decision.
    pub decision: String,
    /// In which way.
    pub kind: Difference,
    /// What the current version answered.
    pub current: String,
    /// What the candidate answered.
    pub candidate: String,
}

/// One decision, for which both versions were asked.
pub struct Compared<'a> {
    /// Whose.
    pub object: &'a ObjectRef,
    /// When.
    pub at: UnixMs,
    /// The live decision.
    pub decision: &'a str,
    /// The current version's answer.
    pub current: &'a Outcome,
    /// The candidate's answer, and how long it took.
    pub candidate: (&'a Outcome, Duration),
}

/// A candidate on trial.
pub struct Trial {
    /// The candidate.
    pub policy: Arc<Policy>,
    percent: AtomicU8,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    since: UnixMs,
    step: usize,
    candidate: Tally,
    current: Tally,
    compared: u64,
    skipped: u64,
    differences: [u64; 5],
    latest: VecDeque<Found>,
    objects: HashMap<ObjectRef, Fates>,
}

/// Calls of one version, with their times in buckets that grow by a fifth.
#[derive(Clone)]
struct Tally {
    calls: Calls,
    buckets: [u32; Self::BUCKETS],
}

impl Default for Tally {
    fn default() -> Self {
        Self { calls: Calls::default(), buckets: [0; Self::BUCKETS] }
    }
}

impl Tally {
    /// From 1 µs to 10 s in steps of a fifth.
    const BUCKETS: usize = 90;
    const GROWTH: f64 = 1.2;

    fn count(&mut self, outcome: &Outcome, took: Duration) {
        self.calls.total += 1;
        match outcome {
            Outcome::Proposal(_) => {}
            Outcome::Refusal(_) => self.calls.refusals += 1,
            Outcome::Failure(_) => self.calls.failures += 1,
        }
        let micros = (took.as_secs_f64() * 1e6).max(1.0);
        let at = (0..Self::BUCKETS - 1).find(|at| micros <= Self::upper(*at)).unwrap_or(Self::BUCKETS - 1);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket = bucket.saturating_add(1);
        }
    }

    fn upper(bucket: usize) -> f64 {
        Self::GROWTH.powi(i32::try_from(bucket).unwrap_or(i32::MAX))
    }

    fn read(&self) -> Calls {
        let all: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        // All but one of a hundred.
        let wanted = all - all / 100;
        let mut sum = 0;
        let at = self.buckets.iter().position(|count| {
            sum += u64::from(*count);
            sum >= wanted
        });
        let p99 = at.filter(|_| all > 0).map_or(0.0, Self::upper);
        // At most 1.2 to the power of 89: 11 s in microseconds.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1.2e7")]
        Calls { p99_us: p99.ceil() as u64, ..self.calls }
    }
}

impl Trial {
    /// Begins with nothing counted. `percent` 0: the candidate only runs beside.
    #[must_use]
    pub fn new(policy: Arc<Policy>, percent: u8, since: UnixMs) -> Self {
        Self { policy, percent: AtomicU8::new(percent), counted: Mutex::new(Counted { since, ..Counted::default() }) }
    }

    /// Goes on with what another process counted of the same candidate.
    pub fn resume(&self, seen: &Seen, percent: u8) {
        self.percent.store(percent, Ordering::Relaxed);
        let mut counted = self.counted.lock();
        (counted.since, counted.step, counted.differences) = (seen.since, seen.step, seen.differences);
        (counted.compared, counted.skipped) = (seen.compared, seen.skipped);
        counted.candidate.calls = seen.candidate;
        counted.current.calls = seen.current;
    }

    /// Digest of the candidate.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.policy.stamp().digest
    }

    /// Who decides for an object.
    #[must_use]
    pub fn arm(&self, object: &ObjectRef) -> Arm {
        arm(object, &self.digest(), self.percent.load(Ordering::Relaxed))
    }

    /// Percent of the objects for which the candidate decides.
    #[must_use]
    pub fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }

    /// The next step begins: everything is counted anew.
    pub fn enter(&self, step: usize, percent: u8, now: UnixMs) {
        let mut counted = self.counted.lock();
        let mut objects = std::mem::take(&mut counted.objects);
        for fates in objects.values_mut() {
            fates.before = fates.now;
        }
        *counted = Counted { since: now, step, objects, latest: std::mem::take(&mut counted.latest), ..Counted::default() };
        self.percent.store(percent, Ordering::Relaxed);
    }

    /// Counts a live decision of the candidate for which the current version was not asked.
    pub fn decided(&self, outcome: &Outcome, took: Duration) {
        self.counted.lock().candidate.count(outcome, took);
    }

    /// Counts a snapshot on which both were asked. `live` says that the candidate's answer was counted
    /// by [`Self::decided`] already. In which way they differ; `None`: they have the same effect.
    pub fn compared(&self, both: &Compared<'_>, live: bool) -> Option<Difference> {
        let mut counted = self.counted.lock();
        if !live {
            counted.candidate.count(both.candidate.0, both.candidate.1);
        }
        counted.current.count(both.current, Duration::ZERO);
        counted.compared += 1;
        let kind = Difference::between(both.current, both.candidate.0)?;
        let at = Difference::ALL.iter().position(|known| *known == kind);
        if let Some(count) = at.and_then(|at| counted.differences.get_mut(at)) {
            *count += 1;
        }
        counted.latest.push_front(Found {
            object: both.object.clone(),
            at: both.at,
            decision: both.decision.to_owned(),
            kind,
            current: words(both.current),
            candidate: words(both.candidate.0),
        });
        counted.latest.truncate(LATEST);
        Some(kind)
    }

    /// Counts a snapshot on which both would have been asked, and there was no place for it.
    pub fn skipped(&self) {
        self.counted.lock().skipped += 1;
    }

    /// Takes in how the records of an object fare.
    pub fn fares(&self, object: &ObjectRef, fate: Fate) {
        let mut counted = self.counted.lock();
        let fates = counted.objects.entry(object.clone()).or_insert(Fates { before: fate, now: fate });
        let mean = |known: Option<f64>, new: Option<f64>| match (known, new) {
            (Some(known), Some(new)) => Some(known + (new - known) * NEWEST),
            (known, new) => new.or(known),
        };
        fates.now = Fate { refused_share: mean(fates.now.refused_share, fate.refused_share), age_s: mean(fates.now.age_s, fate.age_s) };
    }

    /// What was counted, and the latest differences.
    #[must_use]
    pub fn seen(&self) -> (Seen, Vec<Found>) {
        let counted = self.counted.lock();
        let fates = |wanted: Arm| {
            let of = || counted.objects.iter().filter(|(object, _)| self.arm(object) == wanted).map(|(_, fates)| fates);
            let mean = |value: fn(&Fates) -> Option<f64>| {
                let (sum, count) = of().filter_map(value).fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
                (count > 0).then(|| sum / f64::from(count))
            };
            Fates {
                before: Fate { refused_share: mean(|fates| fates.before.refused_share), age_s: mean(|fates| fates.before.age_s) },
                now: Fate { refused_share: mean(|fates| fates.now.refused_share), age_s: mean(|fates| fates.now.age_s) },
            }
        };
        let seen = Seen {
            since: counted.since,
            step: counted.step,
            candidate: counted.candidate.read(),
            current: counted.current.read(),
            compared: counted.compared,
            skipped: counted.skipped,
            differences: counted.differences,
            candidate_fates: fates(Arm::Candidate),
            current_fates: fates(Arm::Current),
        };
        (seen, counted.latest.iter().cloned().collect())
    }
}

/// An answer in a few words.
fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Proposal(proposal) => format!("{} replicas ({})", proposal.replicas, proposal.rationale.code),
        Outcome::Refusal(refusal) => format!("refuses ({})", refusal.code),
        Outcome::Failure(failure) => format!("fails ({})", failure.kind.as_str()),
    }
}
