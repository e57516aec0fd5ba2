//! A size as people write it in manifests: `64Mi` or a plain number of bytes. Touches nothing.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What the schema admits where the value is text: whole numbers with the suffixes of a Kubernetes
/// quantity that make sense for memory.
const PATTERN: &str = "^[0-9]{1,9}(k|M|G|Ki|Mi|Gi)?$";

const UNITS: [(&str, u64); 6] = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(u64);

/// The text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a size: write a whole number of at most nine digits with a suffix of k, M, G, Ki, Mi, Gi or none, such as 64Mi")]
pub struct ParseBytesError(String);

impl Bytes {
    /// From bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From mebibytes.
    #[must_use]
    pub const fn from_mib(mib: u32) -> Self {
        // Widening, which `From` can't do in a const fn.
        Self((mib as u64) << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, factor) = UNITS.into_iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|digits| (digits, factor))).unwrap_or((text, 1));
        let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
        match digits.parse::<u64>() {
            Ok(count) if plain => Ok(Self(count * factor)),
            _ => Err(ParseBytesError(text.to_owned())),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.into_iter().take(3).find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Text is admitted up to nine digits; a larger plain number stays a number.
        if self.0 > 999_999_999 && !self.0.is_multiple_of(1 << 10) { serializer.serialize_u64(self.0) } else { serializer.collect_str(self) }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 64Mi, or a number of bytes")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Bytes, E> {
                u64::try_from(bytes).map(Bytes).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Bytes {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": PATTERN, "maxLength": 11, "minimum": 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(serde_json::json!("64Mi"), 64 << 20)]
    #[case(serde_json::json!("1k"), 1000)]
    #[case(serde_json::json!("4096"), 4096)]
    #[case(serde_json::json!(4096), 4096)]
    fn a_size_is_read(#[case] json: serde_json::Value, #[case] bytes: u64) {
        assert_eq!(serde_json::from_value::<Bytes>(json).unwrap().get(), bytes);
    }

    #[rstest]
    fn what_is_no_size_is_refused(#[values("", "Mi", "-1", "1.5Gi", "1Ti", "+1", "1234567890")] text: &str) {
        assert!(text.parse::<Bytes>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in 0..(1_u64 << 50)) {
            let json = serde_json::to_value(Bytes::new(bytes)).unwrap();
            // More than nine digits of KiB do not fit the text form, and no limit comes near.
            if let Ok(back) = serde_json::from_value::<Bytes>(json) {
                prop_assert_eq!(back.get(), bytes);
            } else {
                prop_assert!(bytes > 999_999_999 << 10);
            }
        }
    }
}
