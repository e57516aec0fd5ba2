//! Whether an object's metrics may be decided on. Pure; judged by [`crate::Intake`] after each tick.
//!
//! Metrics that are missing, partial, stale or no numbers mean hold, never zero.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The scrape failed, for this reason.
    Unreachable(&'static str),
    /// Its last good answer is too old, or its own timestamps are.
    Stale,
    /// It answered with values that are no numbers.
    Invalid,
    /// It answered without any of the wanted metrics.
    Nothing,
}

impl Cause {
    /// The word for a pod's state.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Unreachable(reason) => reason,
            Self::Stale => "Stale",
            Self::Invalid => "NotANumber",
            Self::Nothing => "NoWantedMetric",
        }
    }

    const fn reason(self) -> NotReadyReason {
        match self {
            Self::Unreachable(_) => NotReadyReason::MetricsUnreachable,
            Self::Stale => NotReadyReason::MetricsStale,
            Self::Invalid => NotReadyReason::MetricsInvalid,
            Self::Nothing => NotReadyReason::MetricsMissing,
        }
    }
}

/// Judges over pods: `ready` of them should have been measured, `starting` are too young to be
/// missed, `missing` gave nothing that can be used.
///
/// Held when the missing share is `most` **or more**: with the default of 0.2, one silent pod of
/// five is held and one of six is not.
pub(crate) fn judge<'a>(ready: usize, starting: usize, missing: impl Iterator<Item = (&'a str, Cause)> + Clone, most: f64) -> MetricsHealth {
    let gone = missing.clone().count();
    let not_ready = |reason, sentence| MetricsHealth::NotReady { reason, sentence };
    if ready == 0 {
        let sentence = if starting == 0 {
            "no pod is ready".to_owned()
        } else {
            format!("{starting} of {starting} ready pods have just started or were read once only; a rate needs two reads")
        };
        return not_ready(NotReadyReason::MetricsMissing, sentence);
    }
    // the small term: 0.2 × 5 is 1 also in binary
    if gone == 0 || (gone as f64) < most * ready as f64 - 1e-9 {
        return MetricsHealth::Ready;
    }
    let mut causes = missing.clone().map(|(_, cause)| cause.reason());
    let first = causes.next().unwrap_or(NotReadyReason::MetricsMissing);
    let alike = causes.all(|reason| reason == first);
    let reason = match (gone == ready, alike) {
        (true, true) => first,
        (false, true) if first == NotReadyReason::MetricsStale => first,
        _ => NotReadyReason::MetricsPartial,
    };
    let mut named: Vec<String> = missing.take(3).map(|(pod, cause)| format!("{pod} ({})", cause.word())).collect();
    if gone > named.len() {
        named.push(format!("{} more", gone - named.len()));
    }
    let limit = if gone == ready { String::new() } else { format!("; held from a share of {most} on") };
    not_ready(reason, format!("{gone} of {ready} ready pods gave no usable metrics: {}{limit}", named.join(", ")))
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
        let gone = std::iter::repeat_n(("collector-1", Cause::Unreachable("Timeout")), missing);
        assert_eq!(judge(ready, 0, gone, 0.2).is_ready(), expected);
    }

    #[test]
    fn the_sentence_names_pods_and_counts() {
        let pods = ["a", "b", "c", "d", "e"];
        let health = judge(6, 0, pods.iter().map(|pod| (*pod, Cause::Unreachable("Timeout"))), 0.2);
        let MetricsHealth::NotReady { reason, sentence } = health else { panic!("ready") };
        assert_eq!(reason, NotReadyReason::MetricsPartial);
        assert_eq!(sentence, "5 of 6 ready pods gave no usable metrics: a (Timeout), b (Timeout), c (Timeout), 2 more; held from a share of 0.2 on");
    }
}
