//! Measured series as columns over one time axis, and what can be asked of them. Touches nothing.
//!
//! A missing sample is NaN. Every function here looks at the finite samples only and says `None`
//! when there are too few, so a gap is never read as zero and a NaN never reaches a proposal.
//!
//! "The last `seconds` seconds" counts back from the newest time of the window: with one sample a
//! second, `mean(5.0)` is over the newest five slots. The newest slot always belongs.

/// What was measured of late.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Unix milliseconds, ascending, equally spaced, the newest last.
    pub times: Vec<i64>,
    /// The columns.
    pub series: Vec<Series>,
}

/// One measured series.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// For example `offered`.
    pub name: String,
    /// Unit of the values, for example `records/s`.
    pub unit: String,
    /// A value for each time of the window, NaN where the sample is missing.
    pub values: Vec<f64>,
}

impl Window {
    /// The column of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Column<'_>> {
        let series = self.series.iter().find(|series| series.name == name)?;
        Some(Column { times: &self.times, values: &series.values, unit: &series.unit })
    }

    /// Seconds between two times, 0 when there are fewer than two.
    #[must_use]
    pub fn step(&self) -> f64 {
        step(&self.times)
    }
}

fn step(times: &[i64]) -> f64 {
    match (times.first(), times.last()) {
        (Some(first), Some(last)) if times.len() > 1 => seconds_between(*first, *last) / (times.len() - 1) as f64,
        _ => 0.0,
    }
}

fn seconds_between(earlier: i64, later: i64) -> f64 {
    later.saturating_sub(earlier) as f64 / 1000.0
}

/// A finite sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Unix milliseconds.
    pub time: i64,
    /// Seconds from this sample to the newest time of the window, 0 for the newest itself.
    pub age: f64,
    /// The value, finite.
    pub value: f64,
}

/// One series together with the window's times.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    times: &'a [i64],
    values: &'a [f64],
    unit: &'a str,
}

impl<'a> Column<'a> {
    /// A column from its parts; what is longer of the two is ignored beyond the other's length.
    #[must_use]
    pub fn new(times: &'a [i64], values: &'a [f64], unit: &'a str) -> Self {
        Self { times, values, unit }
    }

    /// Unit of the values.
    #[must_use]
    pub fn unit(&self) -> &'a str {
        self.unit
    }

    /// Every slot of the last `seconds` seconds, missing ones as NaN, the newest first.
    fn slots(&self, seconds: f64) -> impl Iterator<Item = Sample> + use<'a> {
        let length = self.times.len().min(self.values.len());
        let (times, values) = (self.times, self.values);
        let newest = length.checked_sub(1).and_then(|last| times.get(last)).copied().unwrap_or_default();
        times
            .iter()
            .zip(values)
            .rev()
            .map(move |(time, value)| Sample { time: *time, age: seconds_between(*time, newest), value: *value })
            .take_while(move |sample| sample.age <= 0.0 || sample.age < seconds)
    }

    /// The finite samples of the last `seconds` seconds, the newest first.
    pub fn samples(&self, seconds: f64) -> impl Iterator<Item = Sample> + use<'a> {
        self.slots(seconds).filter(|sample| sample.value.is_finite())
    }

    /// The newest finite value of the last `seconds` seconds.
    #[must_use]
    pub fn latest(&self, seconds: f64) -> Option<f64> {
        self.samples(seconds).next().map(|sample| sample.value)
    }

    /// The arithmetic mean of the last `seconds` seconds.
    #[must_use]
    pub fn mean(&self, seconds: f64) -> Option<f64> {
        let mut mean = 0.0;
        let mut count = 0.0;
        for sample in self.samples(seconds) {
            count += 1.0;
            // a running mean does not overflow where a sum would
            mean += sample.value / count - mean / count;
        }
        (count > 0.0 && f64::is_finite(mean)).then_some(mean)
    }

    /// The largest value of the last `seconds` seconds.
    #[must_use]
    pub fn max(&self, seconds: f64) -> Option<f64> {
        self.samples(seconds).map(|sample| sample.value).reduce(f64::max)
    }

    /// The smallest value of the last `seconds` seconds.
    #[must_use]
    pub fn min(&self, seconds: f64) -> Option<f64> {
        self.samples(seconds).map(|sample| sample.value).reduce(f64::min)
    }

    /// The value that `percent` percent of the samples of the last `seconds` seconds do not exceed
    /// (nearest rank, so always a value that was measured). `percent` is bounded to 0..=100.
    #[must_use]
    pub fn percentile(&self, percent: f64, seconds: f64) -> Option<f64> {
        let mut values: Vec<f64> = self.samples(seconds).map(|sample| sample.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let share = if percent.is_finite() { percent.clamp(0.0, 100.0) / 100.0 } else { return None };
        let rank = (share * values.len() as f64).ceil();
        let below = (1..values.len()).take_while(|index| (*index as f64) < rank).count();
        values.get(below).copied()
    }

    /// How much the value rises per second: the least-squares line through the samples of the last
    /// `seconds` seconds. `None` with fewer than two samples.
    #[must_use]
    pub fn slope(&self, seconds: f64) -> Option<f64> {
        let mean_value = self.mean(seconds)?;
        let (count, sum_age) = self.samples(seconds).fold((0.0, 0.0), |(count, sum), sample| (count + 1.0, sum + sample.age));
        let mean_age = sum_age / count;
        let (mut covariance, mut variance) = (0.0, 0.0);
        for sample in self.samples(seconds) {
            // age runs against time
            let time = mean_age - sample.age;
            covariance += time * (sample.value - mean_value);
            variance += time * time;
        }
        Some(covariance / variance).filter(|slope| slope.is_finite())
    }

    /// Increase per second of a counter over the last `seconds` seconds. A fall is a reset: the
    /// counter began again at zero, as in Prometheus. `None` with fewer than two samples.
    #[must_use]
    pub fn rate(&self, seconds: f64) -> Option<f64> {
        let mut samples = self.samples(seconds);
        let mut later = samples.next()?;
        let newest_age = later.age;
        let mut increase = 0.0;
        for earlier in samples {
            increase += if later.value >= earlier.value { later.value - earlier.value } else { later.value };
            later = earlier;
        }
        Some(increase / (later.age - newest_age)).filter(|rate| rate.is_finite())
    }

    /// Share of the slots of the last `seconds` seconds that hold a finite sample, 0 to 1; 0 when
    /// the window is empty.
    #[must_use]
    pub fn presence(&self, seconds: f64) -> f64 {
        let slots = self.slots(seconds).count();
        if slots == 0 { 0.0 } else { self.samples(seconds).count() as f64 / slots as f64 }
    }

    /// How many of the last `seconds` seconds are measured: finite samples times the step of the
    /// window. 0 when the window holds fewer than two times.
    #[must_use]
    pub fn covered(&self, seconds: f64) -> f64 {
        self.samples(seconds).count() as f64 * step(self.times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAN: f64 = f64::NAN;

    fn window(values: &[f64]) -> Window {
        let times = (0..values.len()).map(|second| 1_000_000 + 1000 * i64::try_from(second).unwrap()).collect();
        Window { times, series: vec![Series { name: "x".into(), unit: "1".into(), values: values.to_vec() }] }
    }

    #[test]
    fn the_last_seconds_count_back_from_the_newest_time() {
        let window = window(&[9.0, 1.0, 2.0, 3.0]);
        let x = window.get("x").unwrap();
        assert_eq!(x.mean(3.0), Some(2.0));
        assert_eq!(x.max(100.0), Some(9.0));
        assert_eq!(x.max(0.0), Some(3.0));
        assert_eq!(x.latest(0.5), Some(3.0));
        assert!(window.get("y").is_none());
    }

    #[test]
    fn missing_samples_are_left_out_and_never_read_as_zero() {
        let window = window(&[NAN, 4.0, NAN, 8.0, NAN]);
        let x = window.get("x").unwrap();
        assert_eq!((x.mean(5.0), x.min(5.0), x.latest(5.0), x.latest(1.0)), (Some(6.0), Some(4.0), Some(8.0), None));
        assert_eq!((x.presence(5.0), x.covered(5.0)), (0.4, 2.0));
        assert_eq!(x.slope(5.0), Some(2.0));
    }

    #[test]
    fn an_empty_window_answers_none_to_everything() {
        let window = window(&[]);
        let x = window.get("x").unwrap();
        assert_eq!((x.mean(5.0), x.max(5.0), x.percentile(50.0, 5.0), x.slope(5.0), x.rate(5.0)), (None, None, None, None, None));
        assert_eq!((x.presence(5.0), x.covered(5.0), window.step()), (0.0, 0.0, 0.0));
    }

    #[test]
    fn a_percentile_is_a_measured_value_of_nearest_rank() {
        let window = window(&[15.0, 20.0, 35.0, 40.0, 50.0]);
        let x = window.get("x").unwrap();
        let ranks: Vec<_> = [0.0, 5.0, 30.0, 40.0, 50.0, 100.0].iter().map(|p| x.percentile(*p, 9.0).unwrap()).collect();
        assert_eq!(ranks, [15.0, 15.0, 20.0, 20.0, 35.0, 50.0]);
    }

    #[test]
    fn a_counter_that_falls_began_again_at_zero() {
        let window = window(&[10.0, 30.0, 5.0, 25.0]);
        assert_eq!(window.get("x").unwrap().rate(10.0), Some(15.0));
    }

    proptest! {
        #[test]
        fn whatever_was_measured_answers_are_finite_and_in_order(
            values in prop::collection::vec(prop_oneof![Just(NAN), Just(f64::INFINITY), any::<f64>(), 0.0..1e9], 0..80),
            seconds in prop_oneof![any::<f64>(), 0.0..100.0],
            percent in any::<f64>(),
        ) {
            let window = window(&values);
            let x = window.get("x").unwrap();
            let answers = [x.latest(seconds), x.mean(seconds), x.max(seconds), x.min(seconds), x.percentile(percent, seconds), x.slope(seconds), x.rate(seconds)];
            for answer in answers.into_iter().flatten() {
                prop_assert!(answer.is_finite());
            }
            if let (Some(low), Some(high)) = (x.min(seconds), x.max(seconds)) {
                prop_assert!(low <= high);
                let middle = x.percentile(50.0, seconds).unwrap();
                prop_assert!(low <= middle && middle <= high);
            }
            prop_assert!((0.0..=1.0).contains(&x.presence(seconds)));
        }
    }
}
