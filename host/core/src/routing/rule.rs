//! What a record must fulfil, and when one rule takes all that another would. Touches nothing.
//!
//! Values that are not text count in their text form, as the collector's `String()` makes it.

use super::partition::Record;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whose attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Of the resource that wrote the record.
    Resource,
    /// Of the record itself.
    Record,
}

/// How an attribute relates to values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Test {
    /// It is there with one of the values.
    In(BTreeSet<String>),
    /// It is absent or has none of the values.
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
    /// It is there and begins with one of the values.
    Prefix(BTreeSet<String>),
}

impl Test {
    /// Whether an attribute with this value, or an absent one, fulfils it.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::In(values), Some(value)) => values.contains(value),
            (Self::NotIn(values), Some(value)) => !values.contains(value),
            (Self::Prefix(values), Some(value)) => starts(value, values),
            (Self::Exists, Some(_)) | (Self::DoesNotExist | Self::NotIn(_), None) => true,
            (Self::DoesNotExist, Some(_)) | (Self::In(_) | Self::Prefix(_) | Self::Exists, None) => false,
        }
    }

    /// Whether every value that fulfils `self` fulfils `other`.
    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::In(values), other) => values.iter().all(|value| other.holds(Some(value))),
            (Self::DoesNotExist, other) => other.holds(None),
            (Self::Prefix(longer), Self::Prefix(values)) => longer.iter().all(|prefix| starts(prefix, values)),
            (Self::Prefix(prefixes), Self::NotIn(values)) => values.iter().all(|value| !starts(value, prefixes)),
            (Self::NotIn(more), Self::NotIn(values)) => values.is_subset(more),
            (Self::Prefix(_) | Self::Exists, Self::Exists) => true,
            _ => false,
        }
    }

    /// Whether no value fulfils both.
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::In(values), other) | (other, Self::In(values)) => !values.iter().any(|value| other.holds(Some(value))),
            (Self::DoesNotExist, other) | (other, Self::DoesNotExist) => !other.holds(None),
            (Self::Prefix(one), Self::Prefix(two)) => !one.iter().any(|prefix| starts(prefix, two)) && !two.iter().any(|prefix| starts(prefix, one)),
            _ => false,
        }
    }
}

fn starts(value: &str, prefixes: &BTreeSet<String>) -> bool {
    prefixes.iter().any(|prefix| value.starts_with(prefix.as_str()))
}

/// One requirement on an attribute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Whose attribute.
    pub scope: Scope,
    /// Its name.
    pub key: String,
    /// How it relates to values.
    pub test: Test,
}

impl Requirement {
    fn same_attribute(&self, other: &Self) -> bool {
        self.scope == other.scope && self.key == other.key
    }
}

/// Severity numbers of OpenTelemetry, 1 to 24, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeverityRange {
    /// The lowest.
    pub min: u8,
    /// The highest.
    pub max: u8,
}

/// What a record must fulfil, all of it. Empty: every record matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Requirements on attributes.
    pub requirements: BTreeSet<Requirement>,
    /// Severities; a record without one fulfils no range.
    pub severity: Option<SeverityRange>,
}

impl Match {
    /// Whether the record fulfils it.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.requirements.iter().all(|need| need.test.holds(record.attribute(need.scope, &need.key)))
            && self.severity.is_none_or(|range| record.severity.is_some_and(|severity| (range.min..=range.max).contains(&severity)))
    }

    /// Whether all that matches `other` matches `self`, as far as single requirements tell: what only
    /// several of them together rule out is not seen.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let implied = |need: &Requirement| other.requirements.iter().any(|given| given.same_attribute(need) && given.test.implies(&need.test));
        let severities = match (self.severity, other.severity) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => wide.min <= narrow.min && narrow.max <= wide.max,
        };
        severities && self.requirements.iter().all(implied)
    }

    /// Whether no record can match, because two requirements exclude each other.
    #[must_use]
    pub fn is_impossible(&self) -> bool {
        self.severity.is_some_and(|range| range.min > range.max)
            || self.requirements.iter().any(|one| self.requirements.iter().any(|two| one.same_attribute(two) && one.test.excludes(&two.test)))
    }

    /// Whether it looks at nothing but the resource.
    #[must_use]
    pub fn of_resource_only(&self) -> bool {
        self.severity.is_none() && self.requirements.iter().all(|need| need.scope == Scope::Resource)
    }
}
