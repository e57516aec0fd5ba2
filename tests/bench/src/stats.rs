//! Quantiles of durations, exact: every sample is kept. Touches nothing.

use std::fmt;
use std::time::Duration;

/// Durations of one measurement, sorted.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Takes the samples in any order.
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// The smallest sample that `per_mille` of all samples do not exceed; zero when there is none.
    pub(crate) fn at(&self, per_mille: usize) -> Duration {
        let rank = self.0.len().saturating_mul(per_mille).div_ceil(1000);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.at(500)
    }

    pub(crate) fn p99(&self) -> Duration {
        self.at(990)
    }

    pub(crate) fn max(&self) -> Duration {
        self.at(1000)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Times {
    /// As many quantiles as the samples can tell apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {}", short(self.p50()))?;
        if self.len() >= 100 {
            write!(f, ", p99 {}", short(self.p99()))?;
        }
        if self.len() >= 1000 {
            write!(f, ", p99.9 {}", short(self.at(999)))?;
        }
        if self.len() < 1000 { write!(f, ", max {} of {}", short(self.max()), self.len()) } else { Ok(()) }
    }
}

/// A duration with three digits.
pub(crate) fn short(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    let digits = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {unit}")
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate, rounded to a whole number with its thousands apart.
pub(crate) fn rate(count: u64, time: Duration) -> String {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
    grouped(u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(nanos)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_and_the_last_one_is_the_largest() {
        let times = Times::new((1..=1000).rev().map(Duration::from_micros).collect());
        assert_eq!((times.p50(), times.p99(), times.at(999)), (Duration::from_micros(500), Duration::from_micros(990), Duration::from_micros(999)));
        assert_eq!(times.max(), Duration::from_micros(1000));
        assert_eq!(Times::new(Vec::new()).p99(), Duration::ZERO);
        assert_eq!(Times::new(vec![Duration::from_secs(1)]).p50(), Duration::from_secs(1));
    }

    #[test]
    fn durations_and_counts_are_short() {
        assert_eq!(short(Duration::from_nanos(8_734)), "8.73 µs");
        assert_eq!(short(Duration::from_micros(41_260)), "41.3 ms");
        assert_eq!(short(Duration::from_secs(125)), "125 s");
        assert_eq!((grouped(7), grouped(1000), grouped(1_234_567)), ("7".to_owned(), "1,000".to_owned(), "1,234,567".to_owned()));
        assert_eq!(rate(1000, Duration::from_millis(100)), "10,000");
    }
}
