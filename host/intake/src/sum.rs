//! From pods to the object: sums with estimates for pods that are missing, skew, and a pod's sample.
//! Pure; called by [`crate::Intake`] when a tick may be written.
//!
//! An estimate never understates what can be known. Of a pod that
//! - **is missing**, or does not tell a user's series that it told before: the larger of the mean of the measured pods and its own last known value (while not stale);
//!   the mean alone would understate the busiest pod, the last value alone one whose load just rose;
//! - **was read once**: its gauges as they are; for its rates what it counted over its uptime, or, when
//!   it does not tell its uptime but has counted, the mean of the measured pods. Nothing would make
//!   demand dip at each scale-up, as load moves to pods that have no rate yet;
//! - **was never read and is young**: nothing;
//! - **has gone** (it is not ready, or not there any more): its clients may not have found another pod
//!   yet. Until its last answer is older than the grace time, it keeps what tells of demand (`offered`,
//!   `backlog`, and users' series) from falling: with S the sum over the others, the total is at least
//!   min(S + its last value, the last total). So a crash is no fall in demand, and load that has moved
//!   to the others is not counted twice.
//!
//! How many pods were estimated is in [`crate::Counts`]. At the default share at most one of six is missing.

use crate::intake::{Entry, Status};
use crate::observation::{PodSample, PodState};
use crate::profile::otel::field;
use crate::profile::{Aggregate, Column, OWN_COLUMNS, Profile};
use crate::time::Mono;

const OFFERED: usize = 0;
const ACCEPTED: usize = 1;
const SENT: usize = 3;
const BACKLOG: usize = 5;
const QUEUE: usize = 6;
const CAPACITY: usize = 7;
const MEMORY: usize = 8;
const CPU: usize = 9;

/// All pods of one object at one tick.
pub(crate) struct Totals<'a> {
    profile: &'a Profile,
    pods: &'a [Entry],
    mono: Mono,
    staleness_ms: u64,
}

impl<'a> Totals<'a> {
    pub(crate) const fn new(profile: &'a Profile, pods: &'a [Entry], mono: Mono, staleness_ms: u64) -> Self {
        Self { profile, pods, mono, staleness_ms }
    }

    /// Pods that count with a value that is not their own of this tick.
    pub(crate) fn estimated(&self) -> u32 {
        let guessed = |entry: &&Entry| match entry.status {
            Status::Missing(_) | Status::Gone => true,
            Status::Starting => entry.pod.last_good.is_some(),
            Status::Measured | Status::Pending => false,
        };
        u32::try_from(self.pods.iter().filter(guessed).count()).unwrap_or(u32::MAX)
    }

    /// The value of a column; `last` is its last known one, NaN when there was none.
    pub(crate) fn column(&self, column: usize, made: &Column, last: f64) -> f64 {
        match made {
            Column::Otel if column == BACKLOG => self.backlog(last),
            Column::Otel => {
                let last = if column == OFFERED { last } else { f64::NAN };
                let own = |entry: &Entry| entry.pod.own(column);
                self.sum(last, own, own, |entry, mean| guess(entry, column, mean))
            }
            Column::Skew => self.skew(),
            Column::Field(_) => self.user(made, last),
            Column::Query(_) => f64::NAN,
        }
    }

    fn own_values<'b>(&'b self, value: impl Fn(&Entry) -> f64 + 'b) -> impl Iterator<Item = f64> + 'b {
        let known = |entry: &&Entry| matches!(entry.status, Status::Measured | Status::Pending);
        self.pods.iter().filter(known).map(value).filter(|value| value.is_finite())
    }

    /// Own values, and estimates for the pods that have none: from their newest `known` one and the
    /// mean. NaN when no pod has an own value.
    fn sum(&self, last: f64, value: impl Fn(&Entry) -> f64, known: impl Fn(&Entry) -> f64, starting: impl Fn(&Entry, f64) -> f64) -> f64 {
        let (mut sum, mut count) = (0.0, 0_u32);
        for own in self.own_values(&value) {
            sum += own;
            count += 1;
        }
        if count == 0 {
            return f64::NAN;
        }
        let mean = sum / f64::from(count);
        // `max` takes the other one for NaN
        for entry in self.pods {
            sum += match entry.status {
                Status::Measured | Status::Pending if value(entry).is_finite() => 0.0,
                Status::Measured | Status::Pending => known(entry).max(mean),
                Status::Starting if value(entry).is_finite() => value(entry),
                Status::Starting => starting(entry, mean),
                Status::Missing(_) if self.fresh(entry) => known(entry).max(mean),
                Status::Missing(_) => mean,
                Status::Gone => 0.0,
            };
        }
        self.carried(last, sum, known)
    }

    /// Keeps what pods carried that have gone, as far as it has not arrived elsewhere. With a `last` of
    /// NaN nothing is kept.
    fn carried(&self, last: f64, sum: f64, value: impl Fn(&Entry) -> f64) -> f64 {
        let gone: f64 = self.pods.iter().filter(|entry| matches!(entry.status, Status::Gone)).map(value).filter(|own| own.is_finite()).sum();
        if last.is_finite() { sum.max((sum + gone).min(last)) } else { sum }
    }

    fn fresh(&self, entry: &Entry) -> bool {
        entry.pod.last_good.is_some_and(|last| self.mono.ms_since(last) <= self.staleness_ms)
    }

    /// Pods that do not know their requests' sizes are priced with those of the others.
    fn backlog(&self, last: f64) -> f64 {
        let (mut records, mut requests) = (0.0, 0.0);
        for entry in self.pods {
            let (backlog, queue) = (entry.pod.own(BACKLOG), entry.pod.own(QUEUE));
            if backlog.is_finite() && queue > 0.0 {
                records += backlog;
                requests += queue;
            }
        }
        let price = if requests > 0.0 { records / requests } else { f64::NAN };
        let priced = |entry: &Entry| {
            let (backlog, queue) = (entry.pod.own(BACKLOG), entry.pod.own(QUEUE));
            if backlog.is_finite() || queue.is_nan() { backlog } else { queue * price }
        };
        // a queue with records that nothing prices: the sum is not known, and not the sum of the rest
        let unknown = |entry: &Entry| priced(entry).is_nan() && entry.pod.own(QUEUE) > 0.0;
        if self.pods.iter().any(|entry| !matches!(entry.status, Status::Missing(_) | Status::Gone) && unknown(entry)) {
            return f64::NAN;
        }
        self.sum(last, priced, priced, |_, _| 0.0)
    }

    fn skew(&self) -> f64 {
        let offered = || self.own_values(|entry| entry.pod.own(OFFERED));
        let (sum, count, most) = offered().fold((0.0, 0_u32, 0.0_f64), |(sum, count, most), value| (sum + value, count + 1, most.max(value)));
        match (count, sum > 0.0) {
            (0, _) => f64::NAN,
            (_, false) => 1.0,
            _ => most * f64::from(count) / sum,
        }
    }

    fn user(&self, made: &Column, last: f64) -> f64 {
        let aggregate = match made {
            Column::Field(number) => self.profile.fields.get(usize::from(*number)).map(|field| field.aggregate),
            _ => None,
        };
        let of = |entry: &Entry| entry.pod.user(self.profile, made);
        match aggregate {
            // no estimate for a pod that never had the series; one that does not tell it now counts as a missing pod
            Some(Aggregate::Sum) => {
                let lacks = |entry: &Entry| entry.pod.lacks(made).is_some();
                let has = |entry: &Entry| if lacks(entry) { f64::NAN } else { of(entry).map_or(f64::NAN, |(value, _, _)| value) };
                let never = |entry: &Entry| of(entry).is_none() && !lacks(entry);
                let any = self.pods.iter().any(|entry| matches!(entry.status, Status::Measured | Status::Pending) && never(entry));
                let known = |entry: &Entry| if has(entry).is_finite() { has(entry) } else { entry.pod.known(made) };
                let starting = |entry: &Entry, mean: f64| if entry.pod.has_counted(made) { mean } else { 0.0 };
                if any { self.plain_sum(last, known, starting) } else { self.sum(last, has, known, starting) }
            }
            Some(Aggregate::Max) => {
                let usable = self.pods.iter().filter(|entry| self.counts(entry));
                usable.map(|entry| of(entry).map_or_else(|| entry.pod.known(made), |(value, _, _)| value)).fold(f64::NAN, f64::max)
            }
            Some(Aggregate::Mean) => {
                let usable = self.pods.iter().filter(|entry| !matches!(entry.status, Status::Missing(_) | Status::Gone));
                let (sum, count) = usable.filter_map(of).fold((0.0, 0_u32), |(sum, count), (value, children, _)| (sum + value, count + children));
                if count == 0 { f64::NAN } else { sum / f64::from(count) }
            }
            None => f64::NAN,
        }
    }

    /// Values of the pods that have the series; of missing ones the last known.
    fn plain_sum(&self, last: f64, value: impl Fn(&Entry) -> f64, starting: impl Fn(&Entry, f64) -> f64) -> f64 {
        let usable = self.pods.iter().filter(|entry| self.counts(entry));
        let (sum, count) = usable.map(&value).filter(|value| value.is_finite()).fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
        if count == 0 {
            return f64::NAN;
        }
        let mean = sum / f64::from(count);
        let young = self.pods.iter().filter(|entry| matches!(entry.status, Status::Starting) && !value(entry).is_finite());
        self.carried(last, sum + young.map(|entry| starting(entry, mean)).sum::<f64>(), value)
    }

    /// Whether what is known of a pod stands: it is there, and has answered lately.
    fn counts(&self, entry: &Entry) -> bool {
        match entry.status {
            Status::Missing(_) => self.fresh(entry),
            Status::Gone => false,
            Status::Measured | Status::Starting | Status::Pending => true,
        }
    }
}

/// A rate of a pod that was read once.
fn guess(entry: &Entry, column: usize, mean: f64) -> f64 {
    if entry.pod.last_good.is_none() {
        return 0.0;
    }
    let counted = entry.pod.cell(field::ACCEPTED).total + entry.pod.cell(field::REFUSED).total > 0.0;
    match OWN_COLUMNS.get(column) {
        Some(_) => entry.pod.lifetime_rate(column).unwrap_or(if counted { mean } else { 0.0 }),
        None => 0.0,
    }
}

pub(crate) fn sample(entry: &Entry, mono: Mono) -> PodSample<'_> {
    let pod = &entry.pod;
    let total = |f| if !pod.own.is_empty() && pod.last_good.is_some() { pod.cell(f).total } else { f64::NAN };
    PodSample {
        pod: &pod.name,
        state: match entry.status {
            Status::Measured => PodState::Measured,
            Status::Starting => PodState::Starting,
            Status::Pending => PodState::Pending,
            Status::Missing(ref cause) => PodState::Missing(cause.word()),
            // Not told of: see `Intake::pods`.
            Status::Gone => PodState::Missing("Gone"),
        },
        age_ms: pod.last_good.map_or(u64::MAX, |last| mono.ms_since(last)),
        queue: pod.own(QUEUE),
        queue_capacity: pod.own(CAPACITY),
        backlog: pod.own(BACKLOG),
        offered: pod.own(OFFERED),
        accepted: pod.own(ACCEPTED),
        sent: pod.own(SENT),
        memory: pod.own(MEMORY),
        cpu: pod.own(CPU),
        accepted_total: total(field::ACCEPTED),
        sent_total: total(field::SENT),
        info: &pod.info,
    }
}
