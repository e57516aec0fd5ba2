//! A length of time as people write it in manifests: `500ms`, `1m30s`. Touches nothing.
//!
//! The format is that of the Gateway API (GEP-2257): one to four parts, each at most five digits
//! and a unit of h, m, s or ms. It is a subset of what Go, and so CEL's `duration()` in the API
//! server, parses, without fractions and signs, so every text that the schema admits has a value.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What the schema admits.
const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const MAX_MILLIS: u64 = 99_999 * 3_600_000;

/// A length of time in whole milliseconds, at most 99,999 hours; longer ones are cut to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration {
    millis: u64,
}

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write one to four whole numbers of at most five digits, each with a unit of h, m, s or ms, such as 500ms or 1m30s")]
pub struct ParseDurationError(String);

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self { millis: 0 };

    /// From milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis: if millis > MAX_MILLIS { MAX_MILLIS } else { millis } }
    }

    /// From seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self::from_millis(secs.saturating_mul(1_000))
    }

    /// Whole milliseconds.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.millis
    }

    /// Seconds with their fraction.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.as_std().as_secs_f64()
    }

    /// As the standard library's type.
    #[must_use]
    pub const fn as_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.millis)
    }

    /// True for no time at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.millis == 0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.as_std()
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self::from_millis).ok_or_else(|| ParseDurationError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut millis = 0_u64;
    for _ in 0..4 {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = rest.split_at(digits);
        if number.len() > 5 {
            return None;
        }
        // `ms` before `m`: the longer unit wins, as it does in Go.
        let (factor, after) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find_map(|(name, factor)| unit.strip_prefix(name).map(|after| (factor, after)))?;
        millis += number.parse::<u64>().ok()? * factor;
        rest = after;
        if rest.is_empty() {
            return Some(millis);
        }
    }
    None
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.millis;
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            let count = rest / factor;
            rest %= factor;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 28 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("0s", 0)]
    #[case("500ms", 500)]
    #[case("1m30s", 90_000)]
    #[case("1h1m1s1ms", 3_661_001)]
    #[case("30s1m", 90_000)]
    #[case("99999h99999h", MAX_MILLIS)]
    fn a_duration_is_read(#[case] text: &str, #[case] millis: u64) {
        assert_eq!(text.parse::<Duration>().unwrap().as_millis(), millis);
    }

    #[rstest]
    fn what_is_no_duration_is_refused(#[values("", "5", "s", "-1s", "1.5h", "1d", "100000s", "1s 2s", "1s1s1s1s1s", "1sm")] text: &str) {
        assert!(text.parse::<Duration>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..=MAX_MILLIS) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }

        #[test]
        fn whatever_the_schema_admits_is_read(text in "([0-9]{1,5}(h|m|s|ms)){1,4}") {
            prop_assert!(text.parse::<Duration>().is_ok());
        }
    }
}
