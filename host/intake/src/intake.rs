//! All that is measured of one object: fed once a tick, gives the window, its health, and each pod's
//! latest values. Pure: `now` and the pods' answers are arguments. Owned by the operator (one per
//! LogProcessor) and by the simulator.

use crate::health::{Cause, MetricsHealth, NotReadyReason, judge, judge_series};
use crate::observation::{Counts, IntakeError, IntakeOptions, Observation, PodOutcome, PodReport, PodSample, QueryReport};
use crate::pod::{Pod, Worth};
use crate::profile::{Column, Profile};
use crate::ring::Ring;
use crate::sum;
use crate::time::Mono;
use std::sync::Arc;
use weir_core::window::Window;

#[derive(Debug)]
pub(crate) enum Status {
    Measured,
    Starting,
    Pending,
    Missing(Cause),
    /// It is not ready any more, or no longer there; what it carried may not have arrived elsewhere yet.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) pod: Pod,
    pub(crate) status: Status,
    /// Its rates were known at least once.
    rated: bool,
    tick: u32,
}

impl Entry {
    pub(crate) fn cause(&self) -> Option<(&str, &Cause)> {
        match &self.status {
            Status::Missing(cause) => Some((&self.pod.name, cause)),
            _ => None,
        }
    }

    /// Why it gives nothing of one of the user's series, though it has it.
    pub(crate) fn lacks(&self, column: &Column) -> Option<(&str, &Cause)> {
        match &self.status {
            Status::Measured | Status::Pending => Some((&self.pod.name, self.pod.lacks(column)?)),
            Status::Missing(_) => self.cause(),
            Status::Starting | Status::Gone => None,
        }
    }
}

#[derive(Debug)]
struct QueryState {
    column: usize,
    last: Option<(f64, Mono)>,
    problem: Option<(NotReadyReason, String)>,
}

/// One object's measurements.
#[derive(Debug)]
pub struct Intake {
    profile: Arc<Profile>,
    options: IntakeOptions,
    /// Sorted by name.
    pods: Vec<Entry>,
    queries: Vec<QueryState>,
    ring: Ring,
    /// Last known total of each column.
    totals: Box<[f64]>,
    health: MetricsHealth,
    counts: Counts,
    mono: Mono,
    tick: u32,
}

impl Intake {
    /// An object that was not measured yet.
    ///
    /// # Errors
    /// [`IntakeError`] when the options make no sense.
    pub fn new(profile: Arc<Profile>, options: IntakeOptions) -> Result<Self, IntakeError> {
        let own = profile.own_columns();
        let ring = Ring::new(options.interval_ms, options.slots()?, own, profile.series().len() - own);
        let queries = profile.queries().map(|(column, _)| QueryState { column, last: None, problem: None }).collect();
        let health = MetricsHealth::NotReady { reason: NotReadyReason::MetricsMissing, sentence: "nothing was measured yet".to_owned() };
        let totals = vec![f64::NAN; profile.columns.len()].into();
        Ok(Self { profile, options, pods: Vec::new(), queries, ring, totals, health, counts: Counts::default(), mono: Mono::default(), tick: 0 })
    }

    /// Takes a changed spec: everything is measured anew. Nothing happens when nothing changed.
    ///
    /// # Errors
    /// [`IntakeError`] when the options make no sense; the old ones then stay.
    pub fn reconfigure(&mut self, profile: Arc<Profile>, options: IntakeOptions) -> Result<(), IntakeError> {
        if !Arc::ptr_eq(&profile, &self.profile) || options != self.options {
            *self = Self::new(profile, options)?;
        }
        Ok(())
    }

    /// Takes what was observed at one tick.
    pub fn observe(&mut self, seen: &Observation<'_>) -> &MetricsHealth {
        self.tick = self.tick.wrapping_add(1);
        self.mono = seen.mono;
        self.counts = Counts::default();
        let mut hint = 0;
        for report in seen.pods {
            self.take_pod(report, seen, &mut hint);
        }
        let (tick, grace) = (self.tick, u64::from(self.options.grace_ms));
        self.pods.retain_mut(|entry| {
            if entry.tick != tick {
                entry.status = Status::Gone;
            }
            entry.tick == tick || (entry.rated && entry.pod.last_good.is_some_and(|last| seen.mono.ms_since(last) <= grace))
        });
        for report in seen.queries {
            self.take_query(report, seen.mono);
        }
        let writable = self.ring.advance(seen.now);
        self.health = self.judge(writable);
        if writable {
            self.write();
        }
        &self.health
    }

    fn take_pod(&mut self, report: &PodReport<'_>, seen: &Observation<'_>, hint: &mut usize) {
        let found = if self.pods.get(*hint).is_some_and(|entry| *entry.pod.name == *report.pod) {
            Ok(*hint)
        } else {
            self.pods.binary_search_by(|entry| (*entry.pod.name).cmp(report.pod))
        };
        let at = found.unwrap_or_else(|at| {
            let pod = Pod::new(report.pod, &self.profile);
            self.pods.insert(at, Entry { pod, status: Status::Starting, rated: false, tick: 0 });
            at
        });
        *hint = at + 1;
        let staleness = self.options.staleness_ms;
        let young = seen.now.since(report.ready_since) < i64::from(self.options.grace_ms);
        let Some(entry) = self.pods.get_mut(at) else { return };
        entry.tick = self.tick;
        let unread = entry.pod.last_good.is_none();
        let missing = |cause| if young && unread { Status::Starting } else { Status::Missing(cause) };
        entry.status = match report.outcome {
            PodOutcome::Scraped(readings) => {
                let (worth, found) = entry.pod.read(&self.profile, readings, report.incarnation, seen.now, i64::from(staleness));
                self.counts.resets += found.resets;
                self.counts.invalid += found.invalid;
                self.counts.duplicates += found.duplicates;
                self.counts.stale += found.stale;
                match worth {
                    Worth::Measured if entry.pod.last_good.is_some_and(|last| seen.mono.ms_since(last) > u64::from(staleness)) => Status::Missing(Cause::Stale),
                    Worth::Measured => Status::Measured,
                    Worth::First => Status::Starting,
                    Worth::Nothing => missing(Cause::Nothing),
                    Worth::Invalid => Status::Missing(Cause::Invalid),
                    Worth::Stale => Status::Missing(Cause::Clock),
                }
            }
            PodOutcome::Failed(error) => missing(Cause::Unreachable(error.clone())),
            PodOutcome::Pending => match entry.pod.last_good {
                Some(last) if seen.mono.ms_since(last) > u64::from(staleness) => Status::Missing(Cause::Stale),
                Some(_) if entry.rated => Status::Pending,
                Some(_) => Status::Starting,
                None => missing(Cause::Stale),
            },
        };
        entry.rated |= matches!(entry.status, Status::Measured);
    }

    fn take_query(&mut self, report: &QueryReport<'_>, mono: Mono) {
        let Some(state) = self.queries.iter_mut().find(|state| state.column == report.column) else { return };
        let name = self.profile.series().get(report.column).map_or("", |series| series.name.as_str());
        state.problem = match report.outcome {
            Ok(Some(value)) if value.is_finite() => {
                state.last = Some((value, mono));
                None
            }
            Ok(Some(value)) => {
                state.last = None;
                Some((NotReadyReason::MetricsInvalid, format!("the query of the series `{name}` gave {value}")))
            }
            Ok(None) => {
                state.last = None;
                Some((NotReadyReason::MetricsMissing, format!("the query of the series `{name}` gave an empty result")))
            }
            Err(error) => Some((NotReadyReason::MetricsUnreachable, format!("the query of the series `{name}` failed: {error}"))),
        };
    }

    fn judge(&mut self, writable: bool) -> MetricsHealth {
        let count = |wanted: fn(&Status) -> bool| self.pods.iter().filter(|entry| wanted(&entry.status)).count();
        let starting = count(|status| matches!(status, Status::Starting));
        let missing = count(|status| matches!(status, Status::Missing(_)));
        let known = count(|status| !matches!(status, Status::Starting | Status::Gone));
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.counts.measured = narrow(known - missing);
        (self.counts.starting, self.counts.missing) = (narrow(starting), narrow(missing));
        if !writable {
            let sentence = "the operator's wall clock went back; waiting until it has passed the newest slot".to_owned();
            return MetricsHealth::NotReady { reason: NotReadyReason::MetricsStale, sentence };
        }
        if self.profile.scrapes() {
            let (most, missing) = (self.options.max_missing_share, self.pods.iter().filter_map(Entry::cause).collect::<Vec<_>>());
            let health = judge(known, starting, &missing, most);
            return if health.is_ready() { self.judge_series(known, most) } else { health };
        }
        // an object of queries only: held when none of them gives anything
        if !self.queries.is_empty() && self.queries.iter().any(|state| self.query_value(state).is_finite()) {
            return MetricsHealth::Ready;
        }
        let problem = self.queries.iter().find_map(|state| state.problem.clone());
        let (reason, sentence) = problem.unwrap_or((NotReadyReason::MetricsMissing, "no query was answered yet".to_owned()));
        MetricsHealth::NotReady { reason, sentence }
    }

    /// A series that some pods had and do not tell now would be summed too small.
    fn judge_series(&self, known: usize, most: f64) -> MetricsHealth {
        let scraped = self.profile.columns.iter().zip(self.profile.series()).filter(|(column, _)| matches!(column, Column::Field(_)));
        for (column, series) in scraped {
            let lacking: Vec<_> = self.pods.iter().filter_map(|entry| entry.lacks(column)).collect();
            let health = judge_series(&series.name, known, &lacking, most);
            if !health.is_ready() {
                return health;
            }
        }
        MetricsHealth::Ready
    }

    /// The last answer as long as it is not stale.
    fn query_value(&self, state: &QueryState) -> f64 {
        match state.last {
            Some((value, at)) if self.mono.ms_since(at) <= u64::from(self.options.staleness_ms) => value,
            _ => f64::NAN,
        }
    }

    /// Fills the newest slot. Pods' series stay missing while health forbids to decide on them.
    fn write(&mut self) {
        if self.health.is_ready() {
            let totals = sum::Totals::new(&self.profile, &self.pods, self.mono, u64::from(self.options.staleness_ms));
            self.counts.estimated = totals.estimated();
            for ((column, made), last) in self.profile.columns.iter().enumerate().zip(&mut self.totals) {
                if !matches!(made, Column::Query(_)) {
                    let total = totals.column(column, made, *last);
                    self.ring.set(column, total);
                    if total.is_finite() {
                        *last = total;
                    }
                }
            }
        } else {
            (0..self.profile.columns.len()).for_each(|column| self.ring.set(column, f64::NAN));
        }
        for at in 0..self.queries.len() {
            if let Some(state) = self.queries.get(at) {
                let (column, value) = (state.column, self.query_value(state));
                self.ring.set(column, value);
            }
        }
    }

    /// Whether the newest window may be decided on.
    #[must_use]
    pub const fn health(&self) -> &MetricsHealth {
        &self.health
    }

    /// As [`Self::health`], and not ready either when one of the series that a policy requires is missing.
    #[must_use]
    pub fn health_for<'a>(&self, required: impl IntoIterator<Item = &'a str>) -> MetricsHealth {
        if !self.health.is_ready() {
            return self.health.clone();
        }
        for name in required {
            let column = self.profile.series().iter().position(|series| series.name == name);
            if column.is_some_and(|column| self.ring.newest(column).is_finite()) {
                continue;
            }
            let problem = self.queries.iter().find(|state| Some(state.column) == column).and_then(|state| state.problem.clone());
            let why = if column.is_some() { "no pod exposes it" } else { "spec.metrics does not define it" };
            let (reason, sentence) = problem.unwrap_or_else(|| (NotReadyReason::MetricsMissing, format!("the policy requires the series `{name}`, and {why}")));
            return MetricsHealth::NotReady { reason, sentence };
        }
        MetricsHealth::Ready
    }

    /// What the last tick was made from.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The window as a value of its own.
    #[must_use]
    pub fn window(&self) -> Window {
        let mut window = Window::default();
        self.window_into(&mut window);
        window
    }

    /// Writes the window, reusing the buffers of `window`: the way at thousands of decisions a second.
    pub fn window_into(&self, window: &mut Window) {
        self.ring.write(self.profile.series(), window);
    }

    /// Bytes of the window's slots, for the operator's own metrics.
    #[must_use]
    pub const fn window_bytes(&self) -> usize {
        self.ring.heap_bytes()
    }

    /// Names of the series whose newest value is missing.
    pub fn missing_series(&self) -> impl Iterator<Item = &str> {
        self.profile.series().iter().enumerate().filter(|(column, _)| self.ring.newest(*column).is_nan()).map(|(_, series)| series.name.as_str())
    }

    /// The latest values of every pod that was reported at the last tick, by name.
    pub fn pods(&self) -> impl Iterator<Item = PodSample<'_>> {
        self.pods.iter().filter(|entry| !matches!(entry.status, Status::Gone)).map(|entry| sum::sample(entry, self.mono))
    }

    /// The latest values of one pod.
    #[must_use]
    pub fn pod(&self, name: &str) -> Option<PodSample<'_>> {
        let at = self.pods.binary_search_by(|entry| (*entry.pod.name).cmp(name)).ok()?;
        self.pods.get(at).filter(|entry| !matches!(entry.status, Status::Gone)).map(|entry| sum::sample(entry, self.mono))
    }
}
