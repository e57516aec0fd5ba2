//! What partitions weigh: their shares of the bytes that were stored of late. Touches nothing; the operator
//! tells it what nodes say they have stored, and the snapshot holds what comes of it.
//!
//! A weight is `0.9 · bytes / mean bytes + 0.1`, so that the mean of all is 1. The even tenth is what streams
//! count that begin tomorrow: without it a partition that is empty today could lie anywhere. Bytes are an
//! exponentially weighted mean over windows.

use serde::{Deserialize, Serialize};

/// Windows until weights are known: fewer say more about a minute than about a partition.
const FEWEST: u32 = 3;
/// Share of the newest window in the mean. With a window each minute, half of what changed has come in after
/// 17 of them (`0.96^17 = 0.5`).
const NEWEST: f64 = 0.04;
/// Share of the load that is taken as spread evenly.
const EVEN: f64 = 0.1;
/// Weights that are in use change when this share of all load is elsewhere: each change is a new decision.
const NOTABLE: f64 = 0.05;

/// Bytes of the partitions of one LogStorage, window by window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighing {
    bytes: Vec<f64>,
    windows: u32,
    used: Option<Vec<f64>>,
}

impl Weighing {
    /// Takes in the bytes of each partition that were stored within one window. A window in which nothing
    /// was stored says nothing about the partitions and is left out, and so is a number that is none.
    pub fn take(&mut self, bytes: &[f64]) {
        let plausible = bytes.iter().all(|bytes| bytes.is_finite() && *bytes >= 0.0);
        if !plausible || bytes.iter().sum::<f64>() <= 0.0 {
            return;
        }
        if self.bytes.len() != bytes.len() {
            *self = Self { bytes: vec![0.0; bytes.len()], ..Self::default() };
        }
        self.windows = self.windows.saturating_add(1);
        // The plain mean at first.
        let share = NEWEST.max(1.0 / f64::from(self.windows));
        for (mean, newest) in self.bytes.iter_mut().zip(bytes) {
            *mean += share * (newest - *mean);
        }
        let fresh = self.fresh();
        if let Some(fresh) = fresh.filter(|fresh| self.used.as_ref().is_none_or(|used| elsewhere(used, fresh) > NOTABLE)) {
            self.used = Some(fresh);
        }
    }

    /// Weights of the partitions, their mean 1; `None` before there is enough to go by.
    #[must_use]
    pub fn weights(&self) -> Option<&[f64]> {
        self.used.as_deref()
    }

    /// The newest, to two decimals.
    fn fresh(&self) -> Option<Vec<f64>> {
        let mean = self.bytes.iter().sum::<f64>() / self.bytes.len() as f64;
        let weight = |bytes: &f64| (((1.0 - EVEN) * bytes / mean + EVEN) * 100.0).round() / 100.0;
        (self.windows >= FEWEST && mean > 0.0).then(|| self.bytes.iter().map(weight).collect())
    }
}

/// Share of the load that lies on other partitions in one than in the other.
fn elsewhere(one: &[f64], other: &[f64]) -> f64 {
    let differing: f64 = one.iter().zip(other).map(|(one, other)| (one - other).abs()).sum();
    differing / (2.0 * one.iter().sum::<f64>().max(f64::MIN_POSITIVE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn three_windows_with_records_make_weights_with_an_even_tenth() {
        let mut weighing = Weighing::default();
        for bytes in [[300.0, 100.0, 0.0, 0.0], [0.0; 4], [f64::NAN, 0.0, 0.0, 1.0], [300.0, 100.0, 0.0, 0.0]] {
            weighing.take(&bytes);
            assert_eq!(weighing.weights(), None);
        }
        weighing.take(&[300.0, 100.0, 0.0, 0.0]);
        assert_eq!(weighing.weights(), Some(&[2.8, 1.0, 0.1, 0.1][..]));
    }

    #[test]
    fn a_load_that_wavers_changes_nothing_and_one_that_moves_does() {
        let mut weighing = Weighing::default();
        for window in 0..60 {
            weighing.take(if window % 2 == 0 { &[110.0, 90.0] } else { &[90.0, 110.0] });
        }
        let before = weighing.weights().map(<[f64]>::to_vec);
        assert_eq!(before, weighing.weights().map(<[f64]>::to_vec));
        let mut windows = 0;
        while weighing.weights().map(<[f64]>::to_vec) == before {
            weighing.take(&[200.0, 0.0]);
            windows += 1;
        }
        assert!((2..10).contains(&windows), "{windows} windows until a load that has moved counts");
        for _ in 0..200 {
            weighing.take(&[200.0, 0.0]);
        }
        let weights = weighing.weights().unwrap();
        assert!(weights[0] > 1.8 && weights[1] < 0.2, "{weights:?}");
    }

    proptest! {
        #[test]
        fn weights_have_a_mean_of_one_and_are_never_nothing(windows in prop::collection::vec(prop::collection::vec(0.0_f64..1e12, 8), 3..20)) {
            let mut weighing = Weighing::default();
            for window in &windows {
                weighing.take(window);
            }
            if let Some(weights) = weighing.weights() {
                let mean = weights.iter().sum::<f64>() / 8.0;
                prop_assert!((mean - 1.0).abs() < 0.01, "{mean}");
                prop_assert!(weights.iter().all(|weight| *weight >= EVEN - 1e-9));
            }
        }
    }
}
