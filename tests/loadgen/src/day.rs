//! The shape of a day: how busy a platform is at each hour. Pure. Called by `profile`.
//!
//! **Where it comes from.** Daily request rates are described well by a few harmonics of 24 hours
//! (M. Calzarossa and G. Serazzi, "A characterization of the variation in time of workload arrival
//! patterns", IEEE Trans. Computers, 1985), and public services show one trough before dawn and two
//! humps, at midday and in the evening. No trace is redistributed here: the curve is constructed, as
//! the sum of three harmonics that puts the trough at 04:00 and the humps at noon and 20:00, the
//! evening being the higher one. On it lies noise, a function of seed and time of day alone: ±4 %
//! that wanders from one 5-minute slot to the next, and in about 3 % of the slots a burst of up to
//! 30 %, because real days have deploys and retries.
use crate::num::{floor, mix, unit};
use std::f64::consts::TAU;

/// (times a day, weight, hour of its crest) of each harmonic.
const HARMONICS: [(f64, f64, f64); 3] = [(1.0, 1.0, 16.0), (2.0, 0.55, 9.9), (3.0, 0.12, 11.7)];
/// Smallest and largest value of the sum, so that the shape spans 0..1. A test recomputes them.
const LOWEST: f64 = -1.432_72;
const HIGHEST: f64 = 0.916_37;
/// Slots of noise in a day: 5 minutes each.
const SLOTS: f64 = 288.0;
const WANDER: f64 = 0.04;
const BURST_SHARE: f64 = 0.03;
const BURST_HEIGHT: f64 = 0.30;

/// How busy it is at `day` (0 = midnight, 0.5 = noon; the fraction counts), 0 in the trough and 1
/// at the evening crest, without noise.
pub(crate) fn shape(day: f64) -> f64 {
    let sum: f64 = HARMONICS.iter().map(|(times, weight, crest)| weight * (TAU * times * (day - crest / 24.0)).cos()).sum();
    ((sum - LOWEST) / (HIGHEST - LOWEST)).clamp(0.0, 1.0)
}

/// The factor by which noise changes the rate at `day` (whole part: which day), about 1.
pub(crate) fn noise(day: f64, seed: u64) -> f64 {
    let place = day.max(0.0) * SLOTS;
    let (slot, within) = (floor(place), place.fract());
    let at = |slot: u64| {
        let key = mix(seed) ^ slot;
        let wander = WANDER * (2.0 * unit(key) - 1.0);
        let burst = if unit(key ^ 0xb0b0) < BURST_SHARE { BURST_HEIGHT * unit(key ^ 0xcafe) } else { 0.0 };
        wander + burst
    };
    1.0 + at(slot) * (1.0 - within) + at(slot + 1) * within
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: f64) -> f64 {
        shape(hour / 24.0)
    }

    #[test]
    fn the_shape_spans_nought_to_one_and_its_bounds_are_what_the_harmonics_give() {
        let raw = |d: f64| -> f64 { HARMONICS.iter().map(|(t, w, c)| w * (TAU * t * (d - c / 24.0)).cos()).sum() };
        let values: Vec<f64> = (0..14_400).map(|i| raw(f64::from(i) / 14_400.0)).collect();
        let low = values.iter().copied().fold(f64::MAX, f64::min);
        let high = values.iter().copied().fold(f64::MIN, f64::max);
        assert!((low - LOWEST).abs() < 1e-4, "lowest is {low}");
        assert!((high - HIGHEST).abs() < 1e-4, "highest is {high}");
    }

    #[test]
    fn a_day_has_its_trough_before_dawn_and_two_humps() {
        let hours: Vec<f64> = (0..24).map(|h| at(f64::from(h))).collect();
        let peaks: Vec<usize> = (0..24).filter(|&h| hours[h] > hours[(h + 23) % 24] && hours[h] > hours[(h + 1) % 24]).collect();
        assert_eq!(peaks.len(), 2, "{hours:?}");
        assert!((11..=13).contains(&peaks[0]), "{peaks:?} {hours:?}");
        assert!((19..=21).contains(&peaks[1]), "{peaks:?} {hours:?}");
        let trough = (0..24).min_by(|a, b| hours[*a].total_cmp(&hours[*b])).unwrap();
        assert!((3..=5).contains(&trough), "{hours:?}");
    }

    #[test]
    fn noise_is_a_function_of_seed_and_time_and_stays_within_its_bounds() {
        for i in 0..5_000 {
            let day = f64::from(i) / 2_000.0;
            let n = noise(day, 7);
            assert!(n.to_bits() == noise(day, 7).to_bits());
            assert!((1.0 - WANDER..=1.0 + WANDER + BURST_HEIGHT).contains(&n));
        }
        assert!((0..100).any(|i| noise(f64::from(i) / 100.0, 1) != noise(f64::from(i) / 100.0, 2)));
    }
}
