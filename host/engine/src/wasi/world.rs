//! What exists in the virtual world during one call: a clock that nobody winds, a generator, timers,
//! and what the policy wrote. Touches nothing. Made by [`crate::policy`] for a decision and by
//! [`crate::load`] for `describe`; lives in the store of the call.

use super::output::Output;
use chacha20::ChaCha8Rng;
use chacha20::rand_core::{Rng as _, SeedableRng as _};
use weir_core::ids::{Digest, UnixMs};

/// How far the monotonic clock moves at each reading, so that a program that waits for time to pass
/// comes to an end and no two readings are the same instant.
const STEP_NS: u64 = 1_000;

/// The representation of a pollable that is always ready; timers follow it.
const READY: u32 = 0;

/// The virtual world of one call.
#[derive(Debug)]
pub(crate) struct World {
    now_ns: u64,
    monotonic_ns: u64,
    random: ChaCha8Rng,
    timers: Vec<Option<u64>>,
    free: Vec<usize>,
    pub(crate) output: Output,
}

impl World {
    /// A world at `now`, whose random numbers follow from `seed`.
    pub(crate) fn new(now: UnixMs, seed: &Digest) -> Self {
        let now_ns = u64::try_from(now.0).unwrap_or(0).saturating_mul(1_000_000);
        let random = ChaCha8Rng::from_seed(*seed.as_bytes());
        Self { now_ns, monotonic_ns: now_ns, random, timers: Vec::new(), free: Vec::new(), output: Output::default() }
    }

    /// The wall clock: nanoseconds since 1970. It stands still.
    pub(crate) const fn wall(&self) -> u64 {
        self.now_ns
    }

    /// A reading of the monotonic clock.
    pub(crate) fn monotonic(&mut self) -> u64 {
        self.monotonic_ns = self.monotonic_ns.saturating_add(STEP_NS);
        self.monotonic_ns
    }

    /// The next random number.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Fills `bytes` with random numbers.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        self.random.fill_bytes(bytes);
    }

    /// A pollable that is ready.
    pub(crate) const fn ready(&self) -> u32 {
        READY
    }

    /// A pollable that is ready at an instant of the monotonic clock.
    pub(crate) fn timer_at(&mut self, instant: u64) -> u32 {
        let place = self.free.pop().unwrap_or(self.timers.len());
        match self.timers.get_mut(place) {
            Some(timer) => *timer = Some(instant),
            None => self.timers.push(Some(instant)),
        }
        u32::try_from(place).map_or(READY, |place| place.saturating_add(1))
    }

    /// A pollable that is ready after a time.
    pub(crate) fn timer_after(&mut self, duration: u64) -> u32 {
        self.timer_at(self.monotonic_ns.saturating_add(duration))
    }

    /// Forgets a pollable.
    pub(crate) fn drop_timer(&mut self, pollable: u32) {
        let Some(place) = pollable.checked_sub(1).and_then(|place| usize::try_from(place).ok()) else { return };
        if let Some(timer) = self.timers.get_mut(place)
            && timer.take().is_some()
        {
            self.free.push(place);
        }
    }

    /// Whether a pollable is ready.
    pub(crate) fn is_ready(&self, pollable: u32) -> bool {
        self.due(pollable) <= self.monotonic_ns
    }

    /// Which of `pollables` are ready. When none is, the clock jumps to the first that will be.
    pub(crate) fn poll(&mut self, pollables: &[u32]) -> Vec<u32> {
        if let Some(first) = pollables.iter().map(|pollable| self.due(*pollable)).min() {
            self.monotonic_ns = self.monotonic_ns.max(first);
        }
        let ready = (0_u32..).zip(pollables).filter(|(_, pollable)| self.is_ready(**pollable));
        ready.map(|(place, _)| place).collect()
    }

    fn due(&self, pollable: u32) -> u64 {
        let place = pollable.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.timers.get(place).copied().flatten()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        World::new(UnixMs(1_700_000_000_000), &Digest::of(b"input"))
    }

    #[test]
    fn the_wall_clock_stands_and_the_monotonic_clock_only_moves_forward() {
        let mut world = world();
        let (first, second) = (world.monotonic(), world.monotonic());
        assert_eq!((world.wall(), first, second), (1_700_000_000_000_000_000, 1_700_000_000_000_001_000, 1_700_000_000_000_002_000));
        assert_eq!(World::new(UnixMs(i64::MIN), &Digest::of(b"")).wall(), 0);
    }

    #[test]
    fn a_sleep_takes_no_time_and_the_clock_says_that_it_did() {
        let mut world = world();
        let begun = world.monotonic();
        let (long, short) = (world.timer_after(60_000_000_000), world.timer_after(1_000_000));
        assert!(!world.is_ready(short));
        assert_eq!(world.poll(&[long, short]), [1]);
        assert!(world.monotonic() - begun >= 1_000_000);
        assert_eq!(world.poll(&[long, world.ready()]), [1]);
        assert_eq!(world.poll(&[long]), [0]);
        assert!(world.monotonic() - begun >= 60_000_000_000);
    }

    #[test]
    fn dropped_timers_are_used_again_and_dropping_twice_does_no_harm() {
        let mut world = world();
        for _ in 0..1000 {
            let timer = world.timer_after(u64::MAX);
            world.drop_timer(timer);
            world.drop_timer(timer);
            world.drop_timer(77);
        }
        assert!(world.timers.len() <= 1 && world.free.len() <= 1);
    }

    #[test]
    fn random_numbers_follow_from_the_seed_alone() {
        let (mut one, mut same, mut other) = (world(), world(), World::new(UnixMs(0), &Digest::of(b"other")));
        let mut bytes = [0_u8; 5];
        one.fill(&mut bytes);
        let mut again = [0_u8; 5];
        same.fill(&mut again);
        assert_eq!((bytes, one.random()), (again, same.random()));
        assert_ne!(one.random(), other.random());
    }

    #[test]
    fn the_generator_is_chacha8_and_stays_it() {
        // What policies saw yesterday must be what a replay gives tomorrow.
        let mut world = World::new(UnixMs(0), &Digest::of(b""));
        let first: Vec<u64> = (0..2).map(|_| world.random()).collect();
        assert_eq!(first, [0x1de6_044b_7941_c702, 0x7fa7_f302_cc5d_933a]);
    }
}
