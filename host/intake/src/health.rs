//! Whether an object's metrics may be decided on. Pure; judged by [`crate::Intake`] after each tick.
//!
//! Metrics that are missing, partial, stale or no numbers mean hold, never zero.

use crate::scrape::ScrapeError;
use std::borrow::Cow;
use std::fmt;

/// Whether the newest window may be decided on: the condition `MetricsReady`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetricsHealth {
    /// It may.
    Ready,
    /// The replicas are held.
    NotReady {
        /// Stable word.
        reason: NotReadyReason,
        /// One sentence that names pods and counts.
        sentence: String,
    },
}

impl MetricsHealth {
    /// Whether the window may be decided on.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}

/// Why not; the words are reasons of the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotReadyReason {
    /// No pod (or no query) answered.
    MetricsUnreachable,
    /// Too many of the ready pods are missing.
    MetricsPartial,
    /// What is known is too old.
    MetricsStale,
    /// Answers came, without what is needed; or nothing was measured yet.
    MetricsMissing,
    /// Values that are NaN, infinite, or negative counters.
    MetricsInvalid,
}

impl NotReadyReason {
    /// The stable word, for example `MetricsPartial`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MetricsUnreachable => "MetricsUnreachable",
            Self::MetricsPartial => "MetricsPartial",
            Self::MetricsStale => "MetricsStale",
            Self::MetricsMissing => "MetricsMissing",
            Self::MetricsInvalid => "MetricsInvalid",
        }
    }
}

impl fmt::Display for NotReadyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why one pod gives nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The scrape failed.
    Unreachable(ScrapeError),
    /// Its last good answer is too old.
    Stale,
    /// Its own timestamps are too far from the operator's clock, or went backwards.
    Clock,
    /// It answered with values that are no numbers.
    Invalid,
    /// It answered without any of the wanted metrics.
    Nothing,
    /// It answered without one that it told before.
    Vanished,
}

impl Cause {
    /// The word for a pod's state.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(error) => error.reason(),
            Self::Stale => "Stale",
            Self::Clock => "ClockOff",
            Self::Invalid => "NotANumber",
            Self::Nothing => "NoWantedMetric",
            Self::Vanished => "NotTold",
        }
    }

    const fn reason(&self) -> NotReadyReason {
        match self {
            Self::Unreachable(_) => NotReadyReason::MetricsUnreachable,
            Self::Stale | Self::Clock => NotReadyReason::MetricsStale,
            Self::Invalid => NotReadyReason::MetricsInvalid,
            Self::Nothing | Self::Vanished => NotReadyReason::MetricsMissing,
        }
    }

    /// What happened, and what to look at.
    fn sentence(&self) -> Cow<'static, str> {
        match self {
            Self::Unreachable(error) => error.to_string().into(),
            Self::Stale => "the last good answer is too old".into(),
            Self::Clock => "the timestamps in the answer are too far from the operator's clock, or went backwards; check the pod's clock".into(),
            Self::Invalid => "values are NaN, infinite, or negative counters".into(),
            Self::Nothing => "the answer holds none of the wanted metrics; check the names in spec.metrics, the port and the path".into(),
            Self::Vanished => "the metric was told before and is not told any more; mend that, or take the series out of spec.metrics.series".into(),
        }
    }
}

/// Judges over pods: `ready` of them should have been measured, `starting` are too young to be
/// missed, `missing` gave nothing that can be used.
///
/// Held when the missing share is `most` **or more**: with the default of 0.2, one silent pod of
/// five is held and one of six is not.
pub(crate) fn judge(ready: usize, starting: usize, missing: &[(&str, &Cause)], most: f64) -> MetricsHealth {
    if ready == 0 {
        let sentence = if starting == 0 {
            "no pod is ready".to_owned()
        } else {
            format!("{starting} of {starting} ready pods have just started or were read once only; a rate needs two reads")
        };
        return MetricsHealth::NotReady { reason: NotReadyReason::MetricsMissing, sentence };
    }
    refuse(ready, missing, most, "metrics")
}

/// Judges one series that the spec defines: the pods of `lacking` gave no usable value of it, though
/// they gave one before or give one that is no number. The rest of `ready` did, or never had the series.
pub(crate) fn judge_series(series: &str, ready: usize, lacking: &[(&str, &Cause)], most: f64) -> MetricsHealth {
    refuse(ready, lacking, most, &format!("value of the series `{series}`"))
}

fn refuse(ready: usize, missing: &[(&str, &Cause)], most: f64, what: &str) -> MetricsHealth {
    let gone = missing.len();
    // the small term: 0.2 × 5 is 1 also in binary
    let Some((_, first)) = missing.first().filter(|_| gone as f64 >= most * ready as f64 - 1e-9) else { return MetricsHealth::Ready };
    let first = first.reason();
    let alike = missing.iter().all(|(_, cause)| cause.reason() == first);
    let reason = match (gone == ready, alike) {
        (true, true) => first,
        (false, true) if first == NotReadyReason::MetricsStale => first,
        _ => NotReadyReason::MetricsPartial,
    };
    let limit = if gone == ready { String::new() } else { format!("; held from a share of {most} on") };
    MetricsHealth::NotReady { reason, sentence: format!("{gone} of {ready} ready pods gave no usable {what}: {}{limit}", causes(missing)) }
}

/// Each cause once, with the pods it hits; at most three causes and three pods of each are named.
fn causes(missing: &[(&str, &Cause)]) -> String {
    let mut words: Vec<&'static str> = Vec::new();
    for (_, cause) in missing {
        if !words.contains(&cause.word()) {
            words.push(cause.word());
        }
    }
    let mut told: Vec<String> = Vec::new();
    for word in words.iter().take(3) {
        let of = || missing.iter().filter(|(_, cause)| cause.word() == *word);
        let Some((_, cause)) = of().next() else { continue };
        let mut pods: Vec<String> = of().take(3).map(|(pod, _)| (*pod).to_owned()).collect();
        if of().count() > pods.len() {
            pods.push(format!("{} more", of().count() - pods.len()));
        }
        told.push(format!("{word} ({}): {}", pods.join(", "), cause.sentence()));
    }
    if words.len() > told.len() {
        told.push(format!("{} other causes", words.len() - told.len()));
    }
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1, 5, false)]
    #[case(1, 6, true)]
    #[case(2, 10, false)]
    #[case(1, 1, false)]
    #[case(0, 1, true)]
    #[case(3, 15, false)]
    fn one_silent_pod_of_five_is_held_and_one_of_six_is_not(#[case] missing: usize, #[case] ready: usize, #[case] expected: bool) {
        let cause = Cause::Unreachable(ScrapeError::Timeout(200));
        assert_eq!(judge(ready, 0, &vec![("collector-1", &cause); missing], 0.2).is_ready(), expected);
        assert_eq!(judge_series("offered", ready, &vec![("collector-1", &cause); missing], 0.2).is_ready(), expected);
    }

    fn refused(health: MetricsHealth) -> (NotReadyReason, String) {
        let MetricsHealth::NotReady { reason, sentence } = health else { panic!("ready") };
        (reason, sentence)
    }

    #[test]
    fn the_sentence_names_pods_counts_and_what_to_look_at() {
        let (late, gone) = (Cause::Unreachable(ScrapeError::Timeout(200)), Cause::Nothing);
        let missing: Vec<_> = ["a", "b", "c", "d"].into_iter().map(|pod| (pod, &late)).chain([("e", &gone)]).collect();
        let (reason, sentence) = refused(judge(6, 0, &missing, 0.2));
        assert_eq!(reason, NotReadyReason::MetricsPartial);
        assert_eq!(
            sentence,
            "5 of 6 ready pods gave no usable metrics: Timeout (a, b, c, 1 more): no complete answer within 200 ms; NoWantedMetric (e): \
             the answer holds none of the wanted metrics; check the names in spec.metrics, the port and the path; held from a share of 0.2 on"
        );
        let (reason, sentence) = refused(judge_series("load", 1, &[("a", &Cause::Invalid)], 0.2));
        assert_eq!(reason, NotReadyReason::MetricsInvalid);
        assert_eq!(sentence, "1 of 1 ready pods gave no usable value of the series `load`: NotANumber (a): values are NaN, infinite, or negative counters");
    }
}
