//! Conditions with Kubernetes' semantics: the transition time changes only with the status.
//! Touches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use weir_core::ids::UnixMs;

/// A Kubernetes time from Unix milliseconds, cut to whole seconds as the API server does.
#[must_use]
pub fn time(at: UnixMs) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(at.0.div_euclid(1000)).unwrap_or_default())
}

/// Unix milliseconds of a Kubernetes time.
#[must_use]
pub fn millis(time: &Time) -> UnixMs {
    UnixMs(time.0.as_millisecond())
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Not known.
    Unknown,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// Conditions of one object that are being put together.
pub struct Conditions<'a> {
    before: &'a [Condition],
    now: UnixMs,
    generation: Option<i64>,
    set: Vec<Condition>,
}

impl<'a> Conditions<'a> {
    /// Starts from the conditions of the last status.
    #[must_use]
    pub const fn new(before: &'a [Condition], now: UnixMs, generation: Option<i64>) -> Self {
        Self { before, now, generation, set: Vec::new() }
    }

    /// Sets one. The message is cut to 1,000 characters.
    pub fn set(&mut self, kind: &str, status: Status, reason: &str, message: &str) {
        let before = self.before.iter().find(|condition| condition.type_ == kind);
        let same = before.filter(|condition| condition.status == status.as_str());
        self.set.push(Condition {
            type_: kind.to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.to_owned(),
            message: message.chars().take(1000).collect(),
            observed_generation: self.generation,
            last_transition_time: same.map_or_else(|| time(self.now), |condition| condition.last_transition_time.clone()),
        });
    }

    /// Takes one over as it is.
    pub fn keep(&mut self, known: &Condition) {
        self.set.push(known.clone());
    }

    /// The result.
    #[must_use]
    pub fn finish(self) -> Vec<Condition> {
        self.set
    }
}

/// Two significant digits: enough to act on, and stable enough not to be written every second.
#[must_use]
pub fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let magnitude = 10_f64.powf(value.abs().log10().floor() - 1.0);
    let rounded = (value / magnitude).round() * magnitude;
    // Takes the noise of binary fractions off.
    format!("{rounded:.6}").parse().unwrap_or(rounded)
}

/// The condition of that type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_stays_while_the_status_does() {
        let mut first = Conditions::new(&[], UnixMs(1_000_000), Some(1));
        first.set("Ready", Status::False, "A", "a");
        let first = first.finish();
        let mut second = Conditions::new(&first, UnixMs(2_000_000), Some(2));
        second.set("Ready", Status::False, "B", "b");
        let second = second.finish();
        assert_eq!((second[0].reason.as_str(), &second[0].last_transition_time), ("B", &first[0].last_transition_time));
        let mut third = Conditions::new(&second, UnixMs(3_000_000), Some(2));
        third.set("Ready", Status::True, "C", "");
        assert_eq!(third.finish()[0].last_transition_time, time(UnixMs(3_000_000)));
    }
}
