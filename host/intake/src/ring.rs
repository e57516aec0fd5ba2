//! The last slots of an object's series, on a grid of the interval. Pure; owned by [`crate::Intake`].
//!
//! The engine's own columns are kept with seven digits (`f32`: rates, bytes and fills need no more),
//! the user's with all (`f64`: they may be offsets of 13 digits): 60 slots of the collector's 11
//! columns are 2,640 bytes.
//!
//! A tick at `now` goes into the slot nearest to `now` less the phase that the first tick had on the
//! grid, so ticks that jitter by less than half an interval fill one slot each. A slot's time is
//! never after the tick that filled it, and less than one and a half intervals before it.

use weir_core::ids::UnixMs;
use weir_core::window::{Series, Window};

use crate::backlog::narrow;
use crate::profile::SeriesName;

#[derive(Debug)]
pub(crate) struct Ring {
    interval: i64,
    slots: usize,
    phase: i64,
    newest: i64,
    filled: usize,
    own: Box<[f32]>,
    user: Box<[f64]>,
    own_columns: usize,
}

impl Ring {
    pub(crate) fn new(interval_ms: u32, slots: usize, own_columns: usize, user_columns: usize) -> Self {
        Self {
            interval: i64::from(interval_ms.max(1)),
            slots: slots.max(1),
            phase: 0,
            newest: i64::MIN,
            filled: 0,
            own: vec![f32::NAN; slots.max(1) * own_columns].into(),
            user: vec![f64::NAN; slots.max(1) * user_columns].into(),
            own_columns,
        }
    }

    /// Makes the slot of `now` the newest, with slots between that nobody filled as missing. False
    /// when the wall clock went back behind the newest slot by less than the window: nothing is written.
    pub(crate) fn advance(&mut self, now: UnixMs) -> bool {
        let whole = now.0.div_euclid(self.interval);
        if self.newest == i64::MIN {
            self.restart(whole, now);
            return true;
        }
        let nearest = (now.0.saturating_sub(self.phase).saturating_add(self.interval / 2)).div_euclid(self.interval);
        let slot = nearest.min(whole);
        let slots = i64::try_from(self.slots).unwrap_or(i64::MAX);
        match slot.saturating_sub(self.newest) {
            0 => true,
            steps if (1..slots).contains(&steps) => {
                for _ in 0..steps {
                    self.newest += 1;
                    self.clear(self.newest);
                }
                self.filled = self.filled.saturating_add(usize::try_from(steps).unwrap_or(self.slots)).min(self.slots);
                true
            }
            steps if steps > -slots && steps < 0 => false,
            // a jump by a window or more, in whichever direction: nothing old is of use
            _ => {
                self.own.fill(f32::NAN);
                self.user.fill(f64::NAN);
                self.restart(whole, now);
                true
            }
        }
    }

    fn restart(&mut self, slot: i64, now: UnixMs) {
        self.phase = now.0.rem_euclid(self.interval);
        self.newest = slot;
        self.filled = 1;
    }

    fn clear(&mut self, slot: i64) {
        let at = self.at(slot);
        self.own.iter_mut().skip(at).step_by(self.slots).for_each(|value| *value = f32::NAN);
        self.user.iter_mut().skip(at).step_by(self.slots).for_each(|value| *value = f64::NAN);
    }

    fn at(&self, slot: i64) -> usize {
        usize::try_from(slot.rem_euclid(i64::try_from(self.slots).unwrap_or(i64::MAX))).unwrap_or_default()
    }

    /// Writes a value of the newest slot; what is not finite is missing.
    pub(crate) fn set(&mut self, column: usize, value: f64) {
        let value = if value.is_finite() { value } else { f64::NAN };
        let at = self.at(self.newest);
        if column < self.own_columns {
            self.own.get_mut(column * self.slots + at).into_iter().for_each(|slot| *slot = narrow(value));
        } else {
            self.user.get_mut((column - self.own_columns) * self.slots + at).into_iter().for_each(|slot| *slot = value);
        }
    }

    fn get(&self, column: usize, slot: i64) -> f64 {
        let at = self.at(slot);
        let value = if column < self.own_columns {
            self.own.get(column * self.slots + at).copied().map_or(f64::NAN, f64::from)
        } else {
            self.user.get((column - self.own_columns) * self.slots + at).copied().unwrap_or(f64::NAN)
        };
        // one NaN only: the window is hashed
        if value.is_finite() { value } else { f64::NAN }
    }

    /// The newest value of a column, NaN when missing.
    pub(crate) fn newest(&self, column: usize) -> f64 {
        if self.filled == 0 { f64::NAN } else { self.get(column, self.newest) }
    }

    /// Writes the window into `window`, reusing its buffers.
    pub(crate) fn write(&self, names: &[SeriesName], window: &mut Window) {
        let count = i64::try_from(self.filled).unwrap_or_default();
        let slots = || (0..count).map(|back| self.newest - (count - 1 - back));
        window.times.clear();
        window.times.extend(slots().map(|slot| slot.saturating_mul(self.interval)));
        window.series.resize_with(names.len(), Series::default);
        for (column, (series, name)) in window.series.iter_mut().zip(names).enumerate() {
            if series.name != name.name || series.unit != name.unit {
                series.name.clone_from(&name.name);
                series.unit.clone_from(&name.unit);
            }
            series.values.clear();
            series.values.extend(slots().map(|slot| self.get(column, slot)));
        }
    }

    /// Bytes on the heap.
    pub(crate) const fn heap_bytes(&self) -> usize {
        self.own.len() * size_of::<f32>() + self.user.len() * size_of::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Vec<SeriesName> {
        vec![SeriesName { name: "a".into(), unit: "1".into() }, SeriesName { name: "b".into(), unit: "1".into() }]
    }

    fn window(ring: &Ring) -> Window {
        let mut window = Window::default();
        ring.write(&names(), &mut window);
        window
    }

    #[test]
    fn ticks_that_jitter_fill_one_slot_each_on_the_grid() {
        let mut ring = Ring::new(1_000, 10, 1, 1);
        for (tick, value) in [(10_400, 1.0), (11_180, 2.0), (12_730, 3.0), (13_400, 4.0)] {
            assert!(ring.advance(UnixMs(tick)));
            ring.set(0, value);
            ring.set(1, value * 10.0);
        }
        let window = window(&ring);
        assert_eq!(window.times, [10_000, 11_000, 12_000, 13_000]);
        assert_eq!(window.series[0].values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(window.series[1].values, [10.0, 20.0, 30.0, 40.0]);
    }

    #[test]
    fn slots_that_no_tick_filled_are_missing_and_old_ones_leave() {
        let mut ring = Ring::new(1_000, 4, 1, 1);
        for (tick, value) in [(1_000, 1.0), (2_000, 2.0), (5_000, 5.0)] {
            ring.advance(UnixMs(tick));
            ring.set(0, value);
        }
        let window = window(&ring);
        assert_eq!(window.times, [2_000, 3_000, 4_000, 5_000]);
        assert_eq!(window.series[0].values[0], 2.0);
        assert!(window.series[0].values[1].is_nan() && window.series[0].values[2].is_nan());
        assert_eq!(window.series[0].values[3], 5.0);
    }

    #[test]
    fn a_wall_clock_that_goes_back_a_little_writes_nothing_and_one_that_jumps_starts_anew() {
        let mut ring = Ring::new(1_000, 4, 1, 1);
        ring.advance(UnixMs(10_000));
        ring.set(0, 1.0);
        assert!(!ring.advance(UnixMs(8_000)));
        assert_eq!(window(&ring).times, [10_000]);
        assert!(ring.advance(UnixMs(-100_000)));
        assert!(window(&ring).series[0].values[0].is_nan());
        assert_eq!(window(&ring).times, [-100_000]);
    }

    #[test]
    fn a_tick_that_comes_early_is_never_put_after_its_own_time() {
        let mut ring = Ring::new(1_000, 4, 1, 1);
        ring.advance(UnixMs(10_000));
        ring.advance(UnixMs(10_990));
        assert_eq!(window(&ring).times, [10_000]);
    }

    #[test]
    fn sixty_slots_of_the_collectors_series_cost_far_less_than_8_kib() {
        assert!(Ring::new(1_000, 60, 11, 0).heap_bytes() + size_of::<Ring>() < 3_000);
    }
}
