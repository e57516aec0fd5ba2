//! How long records are kept, as people and VictoriaLogs write it: `7d`, `2w`, `1y`. Touches nothing.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What the schema admits. VictoriaLogs takes no less than a day; a bare number would mean months to
/// it, and hours are finer than the days by which it deletes.
const PATTERN: &str = "^[1-9][0-9]{0,3}(d|w|y)$";

const DAY_MS: i64 = 86_400_000;

/// A whole number of days, weeks or years of 365 days, as VictoriaLogs counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Retention {
    count: u16,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unit {
    Day,
    Week,
    Year,
}

/// The text is not a retention.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a retention: write a whole number from 1 to 9999 with a unit of d, w or y, such as 7d")]
pub struct ParseRetentionError(String);

impl Retention {
    /// So many days.
    #[must_use]
    pub const fn days(count: u16) -> Self {
        Self { count, unit: Unit::Day }
    }

    /// Milliseconds.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        let days = match self.unit {
            Unit::Day => 1,
            Unit::Week => 7,
            Unit::Year => 365,
        };
        i64::from(self.count) * days * DAY_MS
    }
}

impl Default for Retention {
    fn default() -> Self {
        super::retention_default()
    }
}

impl FromStr for Retention {
    type Err = ParseRetentionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (unit, digits) =
                [("d", Unit::Day), ("w", Unit::Week), ("y", Unit::Year)].into_iter().find_map(|(name, unit)| Some((unit, text.strip_suffix(name)?)))?;
            let plain = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|count| plain && *count > 0).map(|count| Self { count, unit })
        };
        parse().ok_or_else(|| ParseRetentionError(text.to_owned()))
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Day => 'd',
            Unit::Week => 'w',
            Unit::Year => 'y',
        };
        write!(f, "{}{unit}", self.count)
    }
}

impl Serialize for Retention {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Retention {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Retention {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Retention".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 5 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("7d", 7)]
    #[case("2w", 14)]
    #[case("1y", 365)]
    #[case("9999y", 9999 * 365)]
    fn a_retention_is_read_and_written(#[case] text: &str, #[case] days: i64) {
        let retention: Retention = text.parse().unwrap();
        assert_eq!((retention.as_millis(), retention.to_string().as_str()), (days * DAY_MS, text));
    }

    #[rstest]
    fn what_is_no_retention_is_refused(#[values("", "7", "0d", "d", "1h", "-1d", "1.5d", "10000d", "+1d", "1 d")] text: &str) {
        assert!(text.parse::<Retention>().is_err());
    }
}
