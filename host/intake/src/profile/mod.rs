//! Which metrics are wanted and which series they make. Pure; built once per distinct metrics spec and
//! shared (`Arc`) by all objects that have it. Asked by the reading of a body for each run of lines.
//!
//! A *metric* is a name in a body. A *field* is what a metric feeds, per pod: a counter whose rate is
//! taken, or a gauge. A *column* is a series of the window, made from fields over all pods.

pub mod otel;

use crate::exposition::Sample;
pub use otel::{OtelOptions, QueueUnit};
use std::collections::HashMap;
use weir_core::window::names;

/// Whether a metric is rated or taken as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Only grows, until its process starts anew: the series is its increase per second.
    Counter,
    /// The series is the value.
    Gauge,
}

/// How the children of a metric (one per label set and pod) become one value. Counters are rated
/// child by child first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// All together.
    Sum,
    /// The largest child of any pod.
    Max,
    /// The mean over all children of all pods.
    Mean,
}

/// Where the values of a user's series come from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A metric that the pods expose.
    Scrape {
        /// Name as in the body; of a counter with or without `_total`.
        metric: String,
        /// Labels that must be equal; the empty value also means absent, as in PromQL.
        labels: Vec<(String, String)>,
        /// Counter or gauge.
        kind: Kind,
        /// Over children and pods.
        aggregate: Aggregate,
    },
    /// An instant query that gives one number.
    PromQl {
        /// In PromQL (or MetricsQL, when the server speaks it).
        query: String,
    },
}

/// A series that a user adds: `spec.metrics.series[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesSpec {
    /// Name in the window; not one of the engine's own.
    pub name: String,
    /// Unit of the values, for example `records/s`.
    pub unit: String,
    /// Where they come from.
    pub source: Source,
}

/// Name and unit of one column of the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesName {
    /// For example `offered`.
    pub name: String,
    /// For example `records/s`.
    pub unit: String,
}

/// A metrics spec that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Two series have one name.
    #[error("the series `{0}` is defined twice; names of the engine's own series are taken")]
    Duplicate(String),
    /// A name is empty or longer than 63 characters.
    #[error("`{0}` is no name for a series: write 1 to 63 characters")]
    Name(String),
    /// Metric or query is empty.
    #[error("the series `{0}` has neither a metric nor a query")]
    Empty(String),
    /// Too many series.
    #[error("{0} series; at most 64 are allowed")]
    TooMany(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Match {
    /// The label has this value; empty: or is absent.
    Equal(String, String),
    /// The label is absent or has this value.
    AbsentOr(&'static str, &'static str),
    /// The label is there and has another value.
    Other(&'static str, &'static str),
}

impl Match {
    fn accepts(&self, sample: &Sample<'_>) -> bool {
        match self {
            Self::Equal(name, value) => sample.label(name).unwrap_or_default() == value,
            Self::AbsentOr(name, value) => sample.label(name).is_none_or(|found| found == *value),
            Self::Other(name, value) => sample.label(name).is_some_and(|found| found != *value),
        }
    }
}

/// What a metric is to its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Value,
    /// `_created` of OpenMetrics: when the child's counting began.
    Created,
    /// `target_info`: labels to keep.
    Info,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) field: u16,
    pub(crate) role: Role,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) aggregate: Aggregate,
    matches: Vec<Match>,
}

impl Field {
    pub(crate) fn accepts(&self, sample: &Sample<'_>) -> bool {
        self.matches.iter().all(|part| part.accepts(sample))
    }
}

/// What a column is made from.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    /// One of the collector's own, computed per pod by [`otel`].
    Otel,
    /// Busiest pod over the mean of all.
    Skew,
    /// A field as the user defined it.
    Field(u16),
    /// Answered by a query.
    Query(String),
}

/// Wanted metrics and the series that they make. The default wants none.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    by_name: HashMap<String, Vec<Binding>>,
    bindings: Vec<Vec<Binding>>,
    ids: HashMap<String, u32>,
    pub(crate) fields: Vec<Field>,
    names: Vec<SeriesName>,
    pub(crate) columns: Vec<Column>,
    pub(crate) otel: Option<OtelOptions>,
    pub(crate) info_labels: Vec<String>,
}

impl Profile {
    /// The series of `wit/scaling.wit` from a collector's own metrics, and `extra` ones.
    ///
    /// # Errors
    /// [`ProfileError`] when `extra` makes no sense.
    pub fn otel_collector(options: &OtelOptions, extra: &[SeriesSpec]) -> Result<Self, ProfileError> {
        let mut profile = Self::default();
        otel::define(&mut profile, options);
        profile.extend(extra)
    }

    /// Only the user's own series.
    ///
    /// # Errors
    /// [`ProfileError`] when `series` makes no sense.
    pub fn custom(series: &[SeriesSpec]) -> Result<Self, ProfileError> {
        Self::default().extend(series)
    }

    /// Names and units in the order of the window's columns.
    #[must_use]
    pub fn series(&self) -> &[SeriesName] {
        &self.names
    }

    /// The queries to ask each tick, with the column that each one fills.
    pub fn queries(&self) -> impl Iterator<Item = (usize, &str)> {
        self.columns.iter().enumerate().filter_map(|(column, made)| match made {
            Column::Query(query) => Some((column, query.as_str())),
            _ => None,
        })
    }

    /// Whether pods have to be scraped at all.
    #[must_use]
    pub fn scrapes(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The field of a series that is a gauge of pods.
    pub(crate) fn gauge(&self, series: &str) -> Option<u16> {
        let at = self.names.iter().position(|known| known.name == series)?;
        match self.columns.get(at)? {
            Column::Field(field) => self.fields.get(usize::from(*field)).filter(|found| found.kind == Kind::Gauge).map(|_| *field),
            _ => None,
        }
    }

    /// The number under which the parser reports a metric.
    pub(crate) fn wanted(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub(crate) fn bindings(&self, id: u32) -> &[Binding] {
        usize::try_from(id).ok().and_then(|id| self.bindings.get(id)).map_or(&[], Vec::as_slice)
    }

    /// How many of the first columns are the engine's own.
    pub(crate) fn own_columns(&self) -> usize {
        if self.otel.is_some() { otel::COLUMNS } else { 0 }
    }

    fn extend(mut self, extra: &[SeriesSpec]) -> Result<Self, ProfileError> {
        if extra.len() > 64 {
            return Err(ProfileError::TooMany(extra.len()));
        }
        for spec in extra {
            if spec.name.is_empty() || spec.name.chars().count() > 63 {
                return Err(ProfileError::Name(spec.name.clone()));
            }
            if self.names.iter().any(|known| known.name == spec.name) {
                return Err(ProfileError::Duplicate(spec.name.clone()));
            }
            let column = match &spec.source {
                Source::PromQl { query } if !query.trim().is_empty() => Column::Query(query.clone()),
                Source::Scrape { metric, labels, kind, aggregate } if !metric.is_empty() => {
                    let matches = labels.iter().map(|(name, value)| Match::Equal(name.clone(), value.clone())).collect();
                    let field = self.field(*kind, *aggregate, matches);
                    let base = match kind {
                        Kind::Counter => metric.strip_suffix("_total").unwrap_or(metric),
                        Kind::Gauge => metric,
                    };
                    self.bind(metric, field, Role::Value);
                    if *kind == Kind::Counter {
                        for name in [base.to_owned(), format!("{base}_total")] {
                            if name != *metric {
                                self.bind(&name, field, Role::Value);
                            }
                        }
                        self.bind(&format!("{base}_created"), field, Role::Created);
                    }
                    Column::Field(field)
                }
                _ => return Err(ProfileError::Empty(spec.name.clone())),
            };
            self.column(&spec.name, &spec.unit, column);
        }
        // names become numbers, so that a sample finds its bindings without hashing its name again
        for (name, bindings) in self.by_name.drain() {
            self.ids.insert(name, u32::try_from(self.bindings.len()).unwrap_or(u32::MAX));
            self.bindings.push(bindings);
        }
        Ok(self)
    }

    pub(crate) fn field(&mut self, kind: Kind, aggregate: Aggregate, matches: Vec<Match>) -> u16 {
        self.fields.push(Field { kind, aggregate, matches });
        u16::try_from(self.fields.len() - 1).unwrap_or(u16::MAX)
    }

    pub(crate) fn bind(&mut self, name: &str, field: u16, role: Role) {
        self.by_name.entry(name.to_owned()).or_default().push(Binding { field, role });
    }

    pub(crate) fn column(&mut self, name: &str, unit: &str, column: Column) {
        self.names.push(SeriesName { name: name.to_owned(), unit: unit.to_owned() });
        self.columns.push(column);
    }
}

/// The engine's own columns, in their order, with their units.
pub(crate) const OWN_COLUMNS: [(&str, &str); otel::COLUMNS] = [
    (names::OFFERED, "records/s"),
    (names::ACCEPTED, "records/s"),
    (names::REFUSED, "records/s"),
    (names::SENT, "records/s"),
    (names::FAILED, "records/s"),
    (names::BACKLOG, "records"),
    (names::QUEUE, "1"),
    (names::QUEUE_CAPACITY, "1"),
    (names::MEMORY, "By"),
    (names::CPU, "1"),
    (names::SKEW, "1"),
];
