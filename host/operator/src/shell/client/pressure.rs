//! How many requests may wait for an answer at a time: fewer while the API server is slow. Touches
//! nothing; asked by [`super::counted`] for every bounded request.
//!
//! The rule is that of TCP's congestion avoidance (additive increase, multiplicative decrease;
//! Chiu and Jain 1989): an answer that took far longer than the fastest one takes a quarter of the
//! places away, and as many good answers as there are places give one back. What it protects is
//! everybody else's share of the server, and this process's own Lease.

use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Always allowed.
const LEAST: usize = 4;
/// An answer is slow that took this much longer than [`FAR`] times the fastest one.
const SLOW: Duration = Duration::from_millis(200);
/// See [`SLOW`]; the fastest one stands for the way to the server.
const FAR: u32 = 3;
/// Places are taken away at most this often: what waited at the same time is slow for the same reason.
const PAUSE: Duration = Duration::from_millis(500);

/// Places for requests.
#[derive(Debug)]
pub(super) struct Pressure {
    slots: Arc<Semaphore>,
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    allowed: usize,
    /// Places to take away as soon as they are given back.
    owed: usize,
    good: usize,
    lowered: Option<Instant>,
    fastest: Duration,
}

/// A place; to be given back with [`Pressure::done`]. One that is dropped counts as an answer of no use.
pub(super) struct Place(OwnedSemaphorePermit);

impl Pressure {
    /// At most `most` places, and at least one.
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let state = State { allowed: most, owed: 0, good: 0, lowered: None, fastest: Duration::MAX };
        Self { slots: Arc::new(Semaphore::new(most)), most, state: Mutex::new(state) }
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Option<Place> {
        // The semaphore is never closed.
        self.slots.clone().acquire_owned().await.ok().map(Place)
    }

    /// Gives a place back after an answer that took `took`.
    pub(super) fn done(&self, place: Place, took: Duration, now: Instant) {
        let mut state = self.state.lock();
        state.fastest = state.fastest.min(took);
        let slow = took > SLOW + state.fastest.saturating_mul(FAR);
        if slow {
            state.good = 0;
            if state.lowered.is_none_or(|lowered| now.saturating_duration_since(lowered) >= PAUSE) {
                let least = LEAST.min(self.most);
                let less = (state.allowed - state.allowed / 4).max(least);
                let over = state.allowed.saturating_sub(less).max(usize::from(state.allowed > least));
                state.allowed -= over;
                state.owed += over - self.slots.forget_permits(over);
                state.lowered = Some(now);
            }
        } else if state.allowed < self.most {
            state.good += 1;
            if state.good >= state.allowed {
                state.good = 0;
                state.allowed += 1;
                if state.owed > 0 {
                    state.owed -= 1;
                } else {
                    self.slots.add_permits(1);
                }
            }
        }
        if state.owed > 0 {
            state.owed -= 1;
            place.0.forget();
        }
    }

    #[cfg(test)]
    fn allowed(&self) -> usize {
        self.state.lock().allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answers(pressure: &Pressure, count: usize, took: Duration, now: &mut Instant) {
        for _ in 0..count {
            *now += Duration::from_millis(600);
            let place = pressure.place().await.unwrap();
            pressure.done(place, took, *now);
        }
    }

    #[tokio::test]
    async fn a_slow_server_is_asked_less_at_a_time_and_a_fast_one_more_again() {
        let (pressure, mut now) = (Pressure::new(64), Instant::now());
        answers(&pressure, 10, Duration::from_millis(5), &mut now).await;
        assert_eq!(pressure.allowed(), 64);
        answers(&pressure, 3, Duration::from_millis(800), &mut now).await;
        assert_eq!(pressure.allowed(), 27);
        assert_eq!(pressure.slots.available_permits(), 27);
        answers(&pressure, 100, Duration::from_millis(800), &mut now).await;
        assert_eq!(pressure.allowed(), 4);
        answers(&pressure, 4000, Duration::from_millis(5), &mut now).await;
        assert_eq!((pressure.allowed(), pressure.slots.available_permits()), (64, 64));
    }

    #[tokio::test]
    async fn places_that_are_taken_are_withdrawn_when_they_are_given_back() {
        let (pressure, mut now) = (Pressure::new(8), Instant::now());
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(pressure.place().await.unwrap());
        }
        pressure.done(held.pop().unwrap(), Duration::from_millis(1), now);
        held.push(pressure.place().await.unwrap());
        for place in held {
            now += Duration::from_secs(1);
            pressure.done(place, Duration::from_secs(1), now);
        }
        assert_eq!((pressure.allowed(), pressure.slots.available_permits()), (4, 4));
    }

    #[tokio::test]
    async fn a_server_that_is_far_away_is_not_slow() {
        let (pressure, mut now) = (Pressure::new(64), Instant::now());
        answers(&pressure, 100, Duration::from_millis(300), &mut now).await;
        assert_eq!(pressure.allowed(), 64);
    }

    #[tokio::test]
    async fn one_place_stays_one() {
        let (pressure, mut now) = (Pressure::new(1), Instant::now());
        answers(&pressure, 1, Duration::from_millis(1), &mut now).await;
        answers(&pressure, 5, Duration::from_secs(5), &mut now).await;
        assert_eq!((pressure.allowed(), pressure.slots.available_permits()), (1, 1));
    }
}
