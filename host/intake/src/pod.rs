//! What is remembered of one pod: the last value of each counter, and what it measured last. Pure;
//! owned and fed by [`crate::Intake`].
//!
//! Rates are taken child by child (one label set of one metric) and summed afterwards, so the reset
//! of one child never makes a sum go backwards:
//! - a value that dropped began again from zero: its increase is the new value;
//! - so it is for all children when the process began anew: another incarnation, less uptime, or another `_created`;
//! - a child that appears in a pod that was read before began at zero after that read (counters of
//!   OpenTelemetry appear with their first increment): its increase is its value;
//! - a pod's first read gives no rate; time between reads is the operator's, not the pod's.
//!
//! A child that is gone for 10 reads is forgotten; from then on, children that appear give no increase
//! at their first read, because they may be old ones that return.

use crate::backlog::{Backlog, Flow};
use crate::health::Cause;
use crate::profile::otel::field;
use crate::profile::{Aggregate, Column, Kind, OWN_COLUMNS, Profile};
use crate::reading::{NO_STAMP, Reading, Readings};
use crate::time::Mono;
use weir_core::ids::UnixMs;

/// Reads after which a child that is not seen any more is forgotten.
const KEEP_CHILD: u32 = 10;

/// The last value of one counter or gauge.
#[derive(Clone, Copy, Debug)]
struct Child {
    key: u64,
    value: f64,
    /// Seconds since the epoch at which it began to count, 0 when it does not say.
    created: f64,
    read: u32,
    field: u16,
}

/// One field over all its children.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Sum of the counters' values; the aggregate of gauges.
    pub(crate) total: f64,
    /// Aggregate of the counters' increases per second; NaN after the first read.
    pub(crate) rate: f64,
    increase: f64,
    pub(crate) children: u32,
    invalid: u32,
    /// The process has told it with a number before.
    told: bool,
    /// Newest value of it that was a number, NaN when there was none: an estimate while it is not told.
    known: f64,
}

impl Default for Cell {
    fn default() -> Self {
        Self { total: 0.0, rate: f64::NAN, increase: 0.0, children: 0, invalid: 0, told: false, known: f64::NAN }
    }
}

/// What happened in one read, besides numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) resets: u32,
    pub(crate) invalid: u32,
    pub(crate) duplicates: u32,
    pub(crate) stale: u32,
}

/// What a read was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Values and rates.
    Measured,
    /// Values, no rates yet.
    First,
    /// None of the wanted metrics is there.
    Nothing,
    /// Values that are no numbers.
    Invalid,
    /// The pod's own timestamps are far from now, or went backwards.
    Stale,
}

#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) name: Box<str>,
    pub(crate) incarnation: u64,
    pub(crate) last_good: Option<Mono>,
    pub(crate) cells: Box<[Cell]>,
    pub(crate) info: Box<[Option<Box<str>>]>,
    /// Last known value of each of the engine's own columns, NaN where not known.
    pub(crate) own: Box<[f32]>,
    children: Vec<Child>,
    backlog: Backlog,
    uptime: f64,
    last_stamp: i64,
    reads: u32,
    forgot: bool,
}

impl Pod {
    pub(crate) fn new(name: &str, profile: &Profile) -> Self {
        Self {
            name: name.into(),
            incarnation: 0,
            last_good: None,
            cells: vec![Cell::default(); profile.fields.len()].into(),
            info: Box::new([]),
            own: vec![f32::NAN; profile.own_columns()].into(),
            children: Vec::new(),
            backlog: Backlog::default(),
            uptime: 0.0,
            last_stamp: i64::MIN,
            reads: 0,
            forgot: false,
        }
    }

    /// Takes what a scrape gave.
    pub(crate) fn read(&mut self, profile: &Profile, readings: &Readings, incarnation: u64, now: UnixMs, staleness_ms: i64) -> (Worth, Findings) {
        let mut findings = Findings::default();
        if *self.info != *readings.info {
            self.info = readings.info.clone().into();
        }
        if self.stale(readings, now, staleness_ms) {
            findings.stale = 1;
            return (Worth::Stale, findings);
        }
        let elapsed = self.last_good.map(|last| readings.received.seconds_since(last));
        if elapsed.is_some_and(|seconds| seconds <= 0.0) {
            return (Worth::Measured, findings); // the same read once more
        }
        // judged before anything is remembered, so that a bad body leaves no trace in the next rate
        if let Some(worth) = unusable(profile, readings, &mut findings) {
            return (worth, findings);
        }
        let new_process = self.new_process(readings, incarnation, elapsed);
        self.incarnation = incarnation;
        self.begin(new_process, readings);
        let mut cursor = 0;
        for reading in readings.items.iter().filter(|reading| !reading.created) {
            self.fold(profile, reading, &mut cursor, elapsed.is_some(), &mut findings);
        }
        self.keep_created(readings);
        self.settle(profile, elapsed, new_process);
        self.last_good = Some(readings.received);
        self.forget_children();
        (if elapsed.is_some() { Worth::Measured } else { Worth::First }, findings)
    }

    /// A body whose own timestamps are far from now or older than those before tells of another time.
    fn stale(&mut self, readings: &Readings, now: UnixMs, staleness_ms: i64) -> bool {
        let stamps = || readings.items.iter().map(|reading| reading.stamp).filter(|&stamp| stamp != NO_STAMP);
        let Some(newest) = stamps().max() else { return false };
        let backwards = newest < self.last_stamp;
        let far = now.since(UnixMs(newest)).saturating_abs() > staleness_ms;
        // remembered also when it is stale: a pod that keeps its new, earlier time is read again from then on
        self.last_stamp = newest;
        backwards || far
    }

    /// Another incarnation, or an uptime that did not grow as time did (within 5 s).
    fn new_process(&mut self, readings: &Readings, incarnation: u64, elapsed: Option<f64>) -> bool {
        let uptime = readings.items.iter().find(|reading| reading.field == field::UPTIME && !reading.created).map_or(0.0, |reading| reading.value);
        let other = self.incarnation != 0 && incarnation != 0 && incarnation != self.incarnation;
        let tells = uptime.is_finite() && uptime > 0.0 && self.uptime > 0.0;
        let less = tells && (uptime + 1.0 < self.uptime || uptime + 5.0 < self.uptime + elapsed.unwrap_or_default());
        self.uptime = if uptime.is_finite() { uptime } else { 0.0 };
        elapsed.is_some() && (other || less)
    }

    fn begin(&mut self, new_process: bool, readings: &Readings) {
        self.reads = self.reads.wrapping_add(1);
        for cell in &mut self.cells {
            let kept = if new_process { Cell::default() } else { *cell };
            *cell = Cell { told: kept.told, known: kept.known, ..Cell::default() };
        }
        if new_process {
            // every child then counts as one that appeared since
            self.backlog.restarted();
            self.children.clear();
            self.forgot = false;
        }
        for (child, created) in created(&mut self.children, readings) {
            // a drop is seen by itself; a later start makes a higher value count from zero, too
            if child.created > 0.0 && created > child.created {
                child.value = 0.0;
            }
        }
    }

    fn keep_created(&mut self, readings: &Readings) {
        for (child, at) in created(&mut self.children, readings) {
            child.created = at;
        }
    }

    fn fold(&mut self, profile: &Profile, reading: &Reading, cursor: &mut usize, before: bool, findings: &mut Findings) {
        let index = usize::from(reading.field);
        let (Some(field), Some(cell)) = (profile.fields.get(index), self.cells.get_mut(index)) else { return };
        if invalid(field.kind, reading.value) {
            cell.invalid += 1;
            return;
        }
        let is_it = |child: &Child| child.key == reading.child && child.field == reading.field;
        // bodies keep their order from read to read, so the child is nearly always the next one
        let at = if self.children.get(*cursor).is_some_and(is_it) { Some(*cursor) } else { self.children.iter().position(is_it) };
        let increase = if let Some(child) = at.and_then(|at| self.children.get_mut(at)) {
            *cursor = at.unwrap_or_default() + 1;
            if child.read == self.reads {
                findings.duplicates += 1;
                return;
            }
            child.read = self.reads;
            let last = std::mem::replace(&mut child.value, reading.value);
            if reading.value >= last {
                reading.value - last
            } else {
                findings.resets += u32::from(field.kind == Kind::Counter);
                reading.value
            }
        } else {
            self.children.push(Child { key: reading.child, value: reading.value, created: 0.0, read: self.reads, field: reading.field });
            *cursor = self.children.len();
            if before && !self.forgot { reading.value } else { 0.0 }
        };
        cell.children += 1;
        let first = cell.children == 1;
        match (field.kind, field.aggregate) {
            (Kind::Counter, aggregate) => {
                cell.total += reading.value;
                cell.increase = if aggregate == Aggregate::Max && !first { cell.increase.max(increase) } else { cell.increase + increase };
            }
            (Kind::Gauge, Aggregate::Max) if !first => cell.total = cell.total.max(reading.value),
            (Kind::Gauge, _) => cell.total += reading.value,
        }
    }

    /// Makes rates from increases, and the engine's own series from both.
    fn settle(&mut self, profile: &Profile, elapsed: Option<f64>, new_process: bool) {
        for (cell, defined) in self.cells.iter_mut().zip(&profile.fields) {
            cell.rate = match elapsed {
                Some(seconds) if defined.kind == Kind::Counter && cell.invalid == 0 => cell.increase / seconds,
                _ => f64::NAN,
            };
            if cell.children > 0 && cell.invalid == 0 {
                cell.told = true;
                let value = if defined.kind == Kind::Counter { cell.rate } else { cell.total };
                cell.known = if value.is_finite() { value } else { cell.known };
            }
        }
        let Some(options) = &profile.otel else { return };
        let cell = |f: u16| self.cells.get(usize::from(f)).copied().unwrap_or_default();
        let gauge = |f| if cell(f).children > 0 && cell(f).invalid == 0 { cell(f).total } else { f64::NAN };
        // at the first read the totals: the mean over the life of the process
        let counted = |f| if elapsed.is_some() { cell(f).increase } else { cell(f).total };
        let pair = |records, requests| (cell(requests).children > 0 && cell(field::OTHER_SIGNALS).children == 0).then(|| (counted(records), counted(requests)));
        let mut flow = Flow {
            queue: gauge(field::QUEUE),
            accepted: cell(field::ACCEPTED).increase,
            sent: cell(field::SENT).increase,
            send_failed: cell(field::SEND_FAILED).increase,
            enqueue_failed: cell(field::ENQUEUE_FAILED).increase,
            requests: pair(field::REQUEST_RECORDS, field::REQUESTS),
            batches: pair(field::BATCH_RECORDS, field::BATCHES),
        };
        if new_process {
            // what was sent since the start came partly from the queue on disk: flow begins at the next read
            flow = Flow { queue: flow.queue, requests: flow.requests, batches: flow.batches, ..Flow::default() };
        }
        let backlog = self.backlog.step(options.queue_unit, &flow);
        let refused = cell(field::REFUSED).rate + cell(field::RECEIVER_FAILED).rate;
        let failed = cell(field::SEND_FAILED).rate + cell(field::ENQUEUE_FAILED).rate;
        let accepted = cell(field::ACCEPTED).rate;
        let values = [
            accepted + refused,
            accepted,
            refused,
            cell(field::SENT).rate,
            failed,
            backlog,
            gauge(field::QUEUE),
            gauge(field::CAPACITY),
            gauge(field::MEMORY),
            if cell(field::CPU).children > 0 { cell(field::CPU).rate } else { f64::NAN },
        ];
        for (own, value) in self.own.iter_mut().zip(values) {
            *own = crate::backlog::narrow(value);
        }
    }

    fn forget_children(&mut self) {
        let (reads, before) = (self.reads, self.children.len());
        self.children.retain(|child| reads.wrapping_sub(child.read) < KEEP_CHILD);
        self.forgot |= self.children.len() < before;
    }

    pub(crate) fn cell(&self, field: u16) -> Cell {
        self.cells.get(usize::from(field)).copied().unwrap_or_default()
    }

    /// The newest own value of a column, NaN when not known.
    pub(crate) fn own(&self, column: usize) -> f64 {
        self.own.get(column).copied().map_or(f64::NAN, f64::from)
    }

    /// Mean rate since its process began, for a pod of which only one read is known: of a counter's
    /// column what it counted over its uptime. `None` when the pod does not tell its uptime.
    pub(crate) fn lifetime_rate(&self, column: usize) -> Option<f64> {
        let counted = |fields: &[u16]| fields.iter().map(|&f| self.cell(f).total).sum::<f64>();
        let total = match OWN_COLUMNS.get(column).map(|(name, _)| *name)? {
            weir_core::window::names::OFFERED => counted(&[field::ACCEPTED, field::REFUSED, field::RECEIVER_FAILED]),
            weir_core::window::names::ACCEPTED => counted(&[field::ACCEPTED]),
            weir_core::window::names::REFUSED => counted(&[field::REFUSED, field::RECEIVER_FAILED]),
            weir_core::window::names::SENT => counted(&[field::SENT]),
            weir_core::window::names::FAILED => counted(&[field::SEND_FAILED, field::ENQUEUE_FAILED]),
            weir_core::window::names::CPU => counted(&[field::CPU]),
            _ => return None,
        };
        (self.uptime > 0.0).then(|| total / self.uptime.max(1.0))
    }

    /// Why it does not tell a user's column now that it has: it did before, or tells no numbers. What a
    /// process never told it does not have: counters may appear with their first increment.
    pub(crate) fn lacks(&self, column: &Column) -> Option<&'static Cause> {
        let Column::Field(number) = column else { return None };
        let cell = self.cell(*number);
        if cell.invalid > 0 { Some(&Cause::Invalid) } else { (cell.told && cell.children == 0).then_some(&Cause::Vanished) }
    }

    /// Whether a user's column is a counter that has counted, of which no rate is known yet.
    pub(crate) fn has_counted(&self, column: &Column) -> bool {
        let Column::Field(number) = column else { return false };
        let cell = self.cell(*number);
        self.last_good.is_some() && cell.told && cell.invalid == 0 && cell.rate.is_nan() && cell.total > 0.0
    }

    /// The newest value that a user's column had, while it is not told.
    pub(crate) fn known(&self, column: &Column) -> f64 {
        let Column::Field(number) = column else { return f64::NAN };
        self.cell(*number).known
    }

    /// Value and number of children of a user's column in this pod.
    pub(crate) fn user(&self, profile: &Profile, column: &Column) -> Option<(f64, u32, Aggregate)> {
        let Column::Field(number) = column else { return None };
        let field = profile.fields.get(usize::from(*number))?;
        let cell = self.cell(*number);
        let value = if field.kind == Kind::Counter { cell.rate } else { cell.total };
        (cell.children > 0 && cell.invalid == 0 && value.is_finite()).then_some((value, cell.children, field.aggregate))
    }
}

/// NaN and infinite values are no measurements, and counters are never negative.
fn invalid(kind: Kind, value: f64) -> bool {
    !value.is_finite() || (kind == Kind::Counter && value < 0.0)
}

/// Whether a body holds nothing that can be used: none of the wanted metrics, no number at all, or no
/// number where a collector's demand should be.
fn unusable(profile: &Profile, readings: &Readings, findings: &mut Findings) -> Option<Worth> {
    let (mut good, mut demand) = (0_u32, true);
    for reading in readings.items.iter().filter(|reading| !reading.created) {
        let Some(field) = profile.fields.get(usize::from(reading.field)) else { continue };
        if invalid(field.kind, reading.value) {
            findings.invalid += 1;
            demand &= profile.otel.is_none() || !matches!(reading.field, field::ACCEPTED | field::REFUSED);
        } else {
            good += 1;
        }
    }
    match (good, findings.invalid) {
        (0, 0) => Some(Worth::Nothing),
        (0, _) => Some(Worth::Invalid),
        _ if !demand => Some(Worth::Invalid),
        _ => None,
    }
}

/// The children whose `_created` a body tells, with it, in Unix seconds.
fn created<'a>(children: &'a mut [Child], readings: &'a Readings) -> impl Iterator<Item = (&'a mut Child, f64)> {
    children.iter_mut().filter_map(|child| {
        let told =
            readings.items.iter().find(|reading| reading.created && reading.child == child.key && reading.field == child.field && reading.value.is_finite());
        told.map(|reading| (child, reading.value))
    })
}
