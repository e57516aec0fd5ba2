//! Measured series as people write them, and recorded windows. Touches nothing. Used by [`super::input`].

use serde::{Deserialize, Deserializer, de};
use weir_core::window::{Series, Window};

/// A window as it was recorded.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    /// Unix milliseconds, ascending.
    pub(crate) times: Vec<i64>,
    /// One column each.
    #[serde(default)]
    pub(crate) series: Vec<RecordedSeries>,
}

/// A recorded column.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordedSeries {
    name: String,
    #[serde(default = "one")]
    unit: String,
    /// `null` for a missing sample.
    values: Vec<Option<f64>>,
}

fn one() -> String {
    "1".to_owned()
}

impl Recorded {
    /// The window.
    ///
    /// # Errors
    /// A column is not as long as the times.
    pub(crate) fn window(self) -> anyhow::Result<Window> {
        let length = self.times.len();
        for series in &self.series {
            anyhow::ensure!(
                series.values.len() == length,
                "series `{}` has {} values and window.times has {length}: give one value, or null, for each time",
                series.name,
                series.values.len()
            );
        }
        let series = self.series.into_iter().map(|series| Series {
            name: series.name,
            unit: series.unit,
            values: series.values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
        });
        Ok(Window { times: self.times, series: series.collect() })
    }

    /// The slots from `first` on, `points` of them.
    pub(crate) fn part(&self, first: usize, points: usize) -> Self {
        let series = self.series.iter().map(|series| RecordedSeries {
            name: series.name.clone(),
            unit: series.unit.clone(),
            values: series.values.iter().skip(first).take(points).copied().collect(),
        });
        Self { times: self.times.iter().skip(first).take(points).copied().collect(), series: series.collect() }
    }
}

/// `points` times, `step` milliseconds apart, the newest last.
pub(crate) fn times(newest: i64, step: f64, points: usize) -> Vec<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the largest integer, which is as wrong as what was written")]
    let step = step.round() as i64;
    let mut times: Vec<i64> = std::iter::successors(Some(newest), |time| Some(time.saturating_sub(step))).take(points).collect();
    times.reverse();
    times
}

/// A series in short.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    shape: Shape,
    unit: Option<String>,
}

#[derive(Clone, Debug)]
enum Shape {
    /// The same value throughout.
    Constant(f64),
    /// These values, the newest last.
    Values(Vec<Option<f64>>),
    /// From the first value, evenly, to the last.
    Ramp(f64, f64),
}

impl Column {
    /// How many values it has by itself.
    pub(crate) fn length(&self) -> Option<usize> {
        match &self.shape {
            Shape::Values(values) => Some(values.len()),
            _ => None,
        }
    }

    /// Its unit, when it says one.
    pub(crate) fn unit(&self) -> Option<&str> {
        self.unit.as_deref()
    }

    /// Its values over that many slots; NaN in front when it has fewer.
    pub(crate) fn values(&self, slots: usize) -> Vec<f64> {
        match &self.shape {
            Shape::Constant(value) => vec![*value; slots],
            Shape::Ramp(from, to) => {
                let last = slots.saturating_sub(1).max(1) as f64;
                (0..slots).map(|slot| from + (to - from) * slot as f64 / last).collect()
            }
            Shape::Values(values) => {
                let missing = slots.saturating_sub(values.len());
                let given = values.iter().skip(values.len().saturating_sub(slots)).map(|value| value.unwrap_or(f64::NAN));
                std::iter::repeat_n(f64::NAN, missing).chain(given).collect()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ColumnVisitor)
    }
}

struct ColumnVisitor;

impl<'de> de::Visitor<'de> for ColumnVisitor {
    type Value = Column;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, a list of numbers (null for a gap, the newest last), {from, to} for a ramp, or {values, unit}")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Column, E> {
        Ok(Column { shape: Shape::Constant(value), unit: None })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Column, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Column, E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, sequence: A) -> Result<Column, A::Error> {
        let values = Vec::deserialize(de::value::SeqAccessDeserializer::new(sequence))?;
        Ok(Column { shape: Shape::Values(values), unit: None })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Column, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            value: Option<f64>,
            values: Option<Vec<Option<f64>>>,
            from: Option<f64>,
            to: Option<f64>,
            unit: Option<String>,
        }
        let parts = Parts::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let shape = match (parts.value, parts.values, parts.from, parts.to) {
            (Some(value), None, None, None) => Shape::Constant(value),
            (None, Some(values), None, None) => Shape::Values(values),
            (None, None, Some(from), Some(to)) => Shape::Ramp(from, to),
            _ => return Err(de::Error::custom("a series has either `value`, or `values`, or `from` and `to`")),
        };
        Ok(Column { shape, unit: parts.unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(yaml: &str, slots: usize) -> Vec<f64> {
        serde_yaml_ng::from_str::<Column>(yaml).unwrap().values(slots)
    }

    #[test]
    fn a_series_has_a_shape() {
        assert_eq!(values("7", 3), [7.0; 3]);
        assert_eq!(values("[1, 2, 3]", 2), [2.0, 3.0]);
        assert_eq!(values("{from: 0, to: 10}", 3), [0.0, 5.0, 10.0]);
        assert_eq!(values("{from: 4, to: 10}", 1), [4.0]);
        assert!(values("{value: 1, unit: s}", 0).is_empty());
    }

    #[test]
    fn two_shapes_at_once_are_refused() {
        let error = serde_yaml_ng::from_str::<Column>("{from: 1, values: [2]}").unwrap_err();
        assert!(error.to_string().contains("either"), "{error}");
    }
}
