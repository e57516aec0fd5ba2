//! The input of one decision as people write it, in JSON or YAML: every part may be left out, and the
//! parts that change between cases are short. Touches nothing but the file that `from` names.
//! Read by `run`, `bench`, `check` and by the cases of `test`.
//!
//! The names are those of `wit/scaling.wit` (`per-replica`; `perReplica` does as well).

use super::series::{Column, Recorded};
use anyhow::Context as _;
use serde::{Deserialize, Deserializer, de};
use std::collections::BTreeMap;
use std::path::Path;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::scaling::{Capacity, Objectives, Replicas, ScalingInput};
use weir_core::window::{Series, Window, names};

/// The time of a decision that says none: 2024-01-01T00:00:00Z, as in the SDKs' tests.
const NOW: i64 = 1_704_067_200_000;

/// Slots of a window whose series say no length.
const POINTS: usize = 60;

/// Milliseconds between two samples when nothing says otherwise.
const STEP_MS: f64 = 1000.0;

/// What somebody wrote of an input.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Input {
    /// A file with a recorded input, relative to the file that names it; the other parts go over it.
    pub(crate) from: Option<String>,
    /// Unix milliseconds; without it the newest time of the window, or a fixed day.
    pub(crate) now: Option<i64>,
    /// Namespace of the LogProcessor.
    pub(crate) namespace: Option<String>,
    /// Name of the LogProcessor.
    pub(crate) name: Option<String>,
    /// A number, or `{desired, ready, starting, min, max}`.
    pub(crate) replicas: ReplicasPart,
    /// Records a second of one replica, or `{per-replica, learnt, start-up}`.
    pub(crate) capacity: CapacityPart,
    /// The user's objectives.
    pub(crate) objectives: ObjectivesPart,
    /// A window as it was recorded: `{times, series}`.
    pub(crate) window: Option<Recorded>,
    /// Series in short, by name; they end at the newest time of the window.
    pub(crate) series: BTreeMap<String, Column>,
    /// Slots of the window, for series in short.
    pub(crate) points: Option<usize>,
    /// Seconds between two samples, for series in short.
    pub(crate) step: Option<f64>,
    /// What the policy returned as state at its last decision.
    pub(crate) state: Option<Vec<u8>>,
}

/// Replicas, each number optional.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReplicasPart {
    /// What is asked for now.
    pub(crate) desired: Option<u32>,
    /// Ready replicas; without it all that are asked for and not starting.
    pub(crate) ready: Option<u32>,
    /// Replicas that are not yet ready.
    pub(crate) starting: Option<u32>,
    /// Lower bound.
    pub(crate) min: Option<u32>,
    /// Upper bound.
    pub(crate) max: Option<u32>,
}

/// Capacity, each part optional.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CapacityPart {
    per_replica: Option<f64>,
    learnt: Option<bool>,
    start_up: Option<f64>,
}

/// Objectives, each part optional.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct ObjectivesPart {
    freshness: Option<f64>,
    #[serde(alias = "refusedShare")]
    refused_share: Option<f64>,
    #[serde(alias = "replicaHours")]
    replica_hours: Option<f64>,
}

impl<'de> Deserialize<'de> for ReplicasPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            desired: Option<u32>,
            ready: Option<u32>,
            starting: Option<u32>,
            min: Option<u32>,
            max: Option<u32>,
        }
        match NumberOr::<Parts>::deserialize(deserializer)? {
            NumberOr::Number(number) => {
                let count = whole(number).ok_or_else(|| de::Error::custom(format!("{number} is no number of replicas")))?;
                Ok(Self { desired: Some(count), ..Self::default() })
            }
            NumberOr::Parts(parts) => Ok(Self { desired: parts.desired, ready: parts.ready, starting: parts.starting, min: parts.min, max: parts.max }),
        }
    }
}

impl<'de> Deserialize<'de> for CapacityPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        struct Parts {
            #[serde(alias = "perReplica")]
            per_replica: Option<f64>,
            learnt: Option<bool>,
            #[serde(alias = "startUp")]
            start_up: Option<f64>,
        }
        match NumberOr::<Parts>::deserialize(deserializer)? {
            NumberOr::Number(number) => Ok(Self { per_replica: Some(number), ..Self::default() }),
            NumberOr::Parts(parts) => Ok(Self { per_replica: parts.per_replica, learnt: parts.learnt, start_up: parts.start_up }),
        }
    }
}

/// A number, or a map of parts. Unlike an untagged enum it says what is wrong inside the map.
enum NumberOr<T> {
    Number(f64),
    Parts(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for NumberOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = NumberOr<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, or a map of its parts")
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
                Ok(NumberOr::Number(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(NumberOr::Number(number as f64))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(NumberOr::Number(number as f64))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(de::value::MapAccessDeserializer::new(map)).map(NumberOr::Parts)
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// A number as a count, when it is one.
pub(crate) fn whole(number: f64) -> Option<u32> {
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    if fits { format!("{number:.0}").parse().ok() } else { None }
}

impl Input {
    /// Reads an input: a file, `-` for standard input, or the JSON itself.
    ///
    /// # Errors
    /// The file can't be read, or is no input; the message says where.
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let (text, folder) = match text {
            "-" => (std::io::read_to_string(std::io::stdin())?, Path::new(".")),
            json if json.trim_start().starts_with('{') => (json.to_owned(), Path::new(".")),
            file => (std::fs::read_to_string(file).with_context(|| format!("{file} can't be read"))?, Path::new(file).parent().unwrap_or(Path::new("."))),
        };
        let input = parse(&text).context("the input is not as wit/scaling.wit and docs/policy-authoring.md describe it")?;
        input.resolved(folder)
    }

    /// The input with the file that `from` names under it.
    ///
    /// # Errors
    /// That file can't be read, or is no input.
    pub(crate) fn resolved(mut self, folder: &Path) -> anyhow::Result<Self> {
        let Some(from) = self.from.take() else { return Ok(self) };
        let file = folder.join(&from);
        let text = std::fs::read_to_string(&file).with_context(|| format!("`from: {from}`: {} can't be read", file.display()))?;
        let base = parse(&text).with_context(|| format!("{} is no recorded input", file.display()))?;
        anyhow::ensure!(base.from.is_none(), "{} has `from` itself: name the recorded input directly", file.display());
        Ok(self.over(base))
    }

    /// This input, and what it does not say as `base` says it.
    pub(crate) fn over(self, base: Self) -> Self {
        let (replicas, capacity, objectives) = (self.replicas, self.capacity, self.objectives);
        let mut series = base.series;
        series.extend(self.series);
        Self {
            from: self.from.or(base.from),
            now: self.now.or(base.now),
            namespace: self.namespace.or(base.namespace),
            name: self.name.or(base.name),
            replicas: ReplicasPart {
                desired: replicas.desired.or(base.replicas.desired),
                // a new count makes what was ready of the old one meaningless
                ready: if replicas.desired.is_some() { replicas.ready } else { replicas.ready.or(base.replicas.ready) },
                starting: if replicas.desired.is_some() { replicas.starting } else { replicas.starting.or(base.replicas.starting) },
                min: replicas.min.or(base.replicas.min),
                max: replicas.max.or(base.replicas.max),
            },
            capacity: CapacityPart {
                per_replica: capacity.per_replica.or(base.capacity.per_replica),
                learnt: capacity.learnt.or(base.capacity.learnt),
                start_up: capacity.start_up.or(base.capacity.start_up),
            },
            objectives: ObjectivesPart {
                freshness: objectives.freshness.or(base.objectives.freshness),
                refused_share: objectives.refused_share.or(base.objectives.refused_share),
                replica_hours: objectives.replica_hours.or(base.objectives.replica_hours),
            },
            window: self.window.or(base.window),
            series,
            points: self.points.or(base.points),
            step: self.step.or(base.step),
            state: self.state.or(base.state),
        }
    }

    /// The whole input, what is left out at its default.
    ///
    /// # Errors
    /// A column of a recorded window is not as long as its times.
    pub(crate) fn build(&self, params: &str) -> anyhow::Result<ScalingInput> {
        let window = self.window()?;
        let replicas = self.replicas;
        let desired = replicas.desired.unwrap_or(1);
        let starting = replicas.starting.unwrap_or(0);
        Ok(ScalingInput {
            now: UnixMs(self.now.or_else(|| window.times.last().copied()).unwrap_or(NOW)),
            object: ObjectRef::new(self.namespace.as_deref().unwrap_or("logs"), self.name.as_deref().unwrap_or("edge")),
            replicas: Replicas {
                desired,
                ready: replicas.ready.unwrap_or_else(|| desired.saturating_sub(starting)),
                starting,
                min: replicas.min.unwrap_or(1),
                max: replicas.max.unwrap_or(100),
            },
            capacity: Capacity {
                per_replica: self.capacity.per_replica,
                learnt: self.capacity.learnt.unwrap_or(false),
                start_up: self.capacity.start_up.unwrap_or(10.0),
            },
            objectives: Objectives {
                freshness: self.objectives.freshness,
                refused_share: self.objectives.refused_share,
                replica_hours: self.objectives.replica_hours,
            },
            window,
            params: params.to_owned(),
            state: self.state.clone().unwrap_or_default(),
        })
    }

    fn window(&self) -> anyhow::Result<Window> {
        let mut window = self.window.clone().map(Recorded::window).transpose()?.unwrap_or_default();
        if self.series.is_empty() {
            return Ok(window);
        }
        if window.times.is_empty() {
            let longest = self.series.values().filter_map(Column::length).max();
            let points = self.points.or(longest).unwrap_or(POINTS);
            window.times = super::series::times(self.now.unwrap_or(NOW), self.step.map_or(STEP_MS, |step| step * 1000.0), points);
        }
        for (name, column) in &self.series {
            let unit = column.unit().unwrap_or_else(|| unit_of(name)).to_owned();
            let values = column.values(window.times.len());
            window.series.retain(|series| series.name != *name);
            window.series.push(Series { name: name.clone(), unit, values });
        }
        Ok(window)
    }
}

/// An input as JSON, or else as YAML, whose messages name line and column.
fn parse(text: &str) -> Result<Input, serde_yaml_ng::Error> {
    serde_json::from_str(text).or_else(|_| serde_yaml_ng::from_str(text))
}

/// The unit of a series that every collector has.
fn unit_of(name: &str) -> &'static str {
    match name {
        names::OFFERED | names::ACCEPTED | names::REFUSED | names::SENT | names::FAILED => "records/s",
        names::BACKLOG => "records",
        names::MEMORY => "By",
        _ => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(yaml: &str) -> ScalingInput {
        serde_yaml_ng::from_str::<Input>(yaml).unwrap().build("{}").unwrap()
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let input = input("{}");
        assert_eq!((input.replicas.desired, input.replicas.ready, input.replicas.max), (1, 1, 100));
        assert!(input.window.times.is_empty() && input.capacity.per_replica.is_none());
    }

    #[test]
    fn short_forms_and_long_forms_mean_the_same() {
        let short = input("{replicas: 3, capacity: 1000, series: {offered: 900}}");
        let long =
            input("{replicas: {desired: 3, ready: 3}, capacity: {perReplica: 1000}, series: {offered: {values: [900, 900], unit: records/s}}, points: 60}");
        assert_eq!((short.replicas, short.capacity), (long.replicas, long.capacity));
        assert_eq!((short.window.times.len(), long.window.times.len()), (60, 60));
        assert_eq!(short.window.latest("offered"), Some(900.0));
        assert_eq!(short.window.get("offered").unwrap().unit, "records/s");
    }

    #[test]
    fn short_series_end_now_and_have_gaps_before() {
        let input = input("{now: 100000, step: 10, series: {offered: [1, null, 3], cpu: [0.5]}}");
        assert_eq!(input.window.times, [80_000, 90_000, 100_000]);
        let column = &input.window.get("offered").unwrap().values;
        assert!(column[0] == 1.0 && column[1].is_nan() && column[2] == 3.0);
        assert!(input.window.get("cpu").unwrap().values[1].is_nan());
    }

    #[test]
    fn a_recorded_window_says_when_it_was() {
        let input = input("{window: {times: [1000, 2000], series: [{name: offered, values: [1, null]}]}}");
        assert_eq!(input.now, UnixMs(2000));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let error = serde_yaml_ng::from_str::<Input>("replicas: {desierd: 3}").unwrap_err().to_string();
        assert!(error.contains("desierd") && error.contains("desired"), "{error}");
        let wrong = serde_yaml_ng::from_str::<Input>("{window: {times: [1], series: [{name: x, values: []}]}}").unwrap();
        assert!(wrong.build("{}").unwrap_err().to_string().contains("one value, or null, for each time"));
    }
}
