//! What one scrape of one pod gave: the wanted samples as plain numbers. Pure; filled by the scraper
//! with the chunks of a body, read by [`crate::Intake::observe`]. Reused from scrape to scrape.

use crate::exposition::{Format, Limits, ParseError, Parser, Sample};
use crate::profile::{Aggregate, Profile, Role, otel};
use crate::time::Mono;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// One wanted sample: which field it feeds, which child (label set) of its metric, and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) child: u64,
    pub(crate) value: f64,
    /// The pod's own timestamp in Unix ms, [`NO_STAMP`] without one.
    pub(crate) stamp: i64,
    pub(crate) field: u16,
    pub(crate) created: bool,
}

/// No timestamp was sent.
pub(crate) const NO_STAMP: i64 = i64::MIN;

/// The wanted samples of one body.
#[derive(Debug, Default)]
pub struct Readings {
    parser: Parser,
    pub(crate) received: Mono,
    pub(crate) items: Vec<Reading>,
    pub(crate) info: Vec<Option<Box<str>>>,
}

impl Readings {
    /// Empty, to be filled by [`crate::Scraper::scrape`] or [`Self::read`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// When the pod answered.
    #[must_use]
    pub const fn received(&self) -> Mono {
        self.received
    }

    /// How many wanted samples there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no wanted sample.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// What one pod says of a gauge of its own body, by the name of its series: its children put together
    /// as the series says. `None` when the body has none, or when the series is no gauge of pods.
    #[must_use]
    pub fn gauge(&self, profile: &Profile, series: &str) -> Option<f64> {
        let field = profile.gauge(series)?;
        let values = || self.items.iter().filter(|item| item.field == field && !item.created && item.value.is_finite()).map(|item| item.value);
        let count = values().count();
        let value = match profile.fields.get(usize::from(field))?.aggregate {
            Aggregate::Sum => values().sum(),
            Aggregate::Max => values().fold(f64::NEG_INFINITY, f64::max),
            Aggregate::Mean => values().sum::<f64>() / count as f64,
        };
        (count > 0).then_some(value)
    }

    /// Bytes of the body that was read last, after decompression.
    #[must_use]
    pub const fn body_bytes(&self) -> usize {
        self.parser.bytes()
    }

    /// Reads a whole body at once; for tests, the simulator and the benchmark.
    ///
    /// # Errors
    /// As [`Parser::feed`] and [`Parser::finish`].
    pub fn read(&mut self, received: Mono, format: Format, body: &[u8], profile: &Profile) -> Result<(), ParseError> {
        self.start(received, format, Limits::default(), profile);
        self.feed(body, profile)?;
        self.finish()
    }

    /// Forgets the last body, keeps the buffers.
    pub(crate) fn start(&mut self, received: Mono, format: Format, limits: Limits, profile: &Profile) {
        self.parser.start(format, limits);
        self.received = received;
        self.items.clear();
        self.info.clear();
        self.info.resize(profile.info_labels.len(), None);
    }

    pub(crate) fn feed(&mut self, chunk: &[u8], profile: &Profile) -> Result<(), ParseError> {
        let Self { parser, items, info, .. } = self;
        parser.feed(chunk, &|name| profile.wanted(name), &mut |id, sample| {
            for binding in profile.bindings(id) {
                let Some(field) = profile.fields.get(usize::from(binding.field)) else { continue };
                if !field.accepts(sample) {
                    continue;
                }
                if binding.role == Role::Info {
                    keep_info(sample, &profile.info_labels, info);
                    continue;
                }
                items.push(Reading {
                    child: child(sample),
                    value: sample.value,
                    stamp: sample.timestamp_ms.unwrap_or(NO_STAMP),
                    field: binding.field,
                    created: binding.role == Role::Created,
                });
            }
        })
    }

    pub(crate) fn finish(&mut self) -> Result<(), ParseError> {
        self.parser.finish()
    }
}

/// A number for a label set, the same in whatever order the labels come. Two sets of one pod share
/// a number with a chance of 2^-64 times their pairs; a pod that forges one harms its own numbers.
fn child(sample: &Sample<'_>) -> u64 {
    sample.labels().fold(0, |all, label| {
        let mut hasher = DefaultHasher::new();
        label.hash(&mut hasher);
        all.wrapping_add(hasher.finish())
    })
}

fn keep_info(sample: &Sample<'_>, wanted: &[String], info: &mut [Option<Box<str>>]) {
    for (name, value) in sample.labels() {
        let known = |want: &String| want == name || (!name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && *want == otel::as_label(name));
        for (_, kept) in wanted.iter().zip(info.iter_mut()).filter(|(want, _)| known(want)) {
            *kept = Some(value.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Kind, SeriesSpec, Source};

    fn profile() -> Profile {
        let series = |name: &str, metric: &str, kind, aggregate| SeriesSpec {
            name: name.to_owned(),
            unit: "By".to_owned(),
            source: Source::Scrape { metric: metric.to_owned(), labels: Vec::new(), kind, aggregate },
        };
        let all = [
            series("free", "free_bytes", Kind::Gauge, Aggregate::Max),
            series("size", "size_bytes", Kind::Gauge, Aggregate::Sum),
            series("rows", "rows_total", Kind::Counter, Aggregate::Sum),
        ];
        Profile::custom(&all).unwrap()
    }

    #[test]
    fn a_gauge_of_one_body_is_its_children_together_and_absent_is_not_zero() {
        let (profile, mut readings) = (profile(), Readings::new());
        let body = b"size_bytes{a=\"1\"} 3\nsize_bytes{a=\"2\"} 4\nrows_total 9\n";
        readings.read(Mono::default(), Format::default(), body, &profile).unwrap();
        assert_eq!(readings.gauge(&profile, "size"), Some(7.0));
        for series in ["free", "rows", "other"] {
            assert_eq!(readings.gauge(&profile, series), None, "{series}");
        }
    }
}
