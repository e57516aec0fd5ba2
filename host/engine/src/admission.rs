//! A place for each call: at most as many calls run at one time as the pool has instances, the next
//! ones wait. So a call never fails because others are running.
//!
//! Touches a lock. Used by [`crate::call`].

use parking_lot::{Condvar, Mutex};
use std::time::Duration;

/// Counts free places.
#[derive(Debug)]
pub(crate) struct Admission {
    free: Mutex<u32>,
    freed: Condvar,
}

/// A place; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Admission);

impl Admission {
    pub(crate) fn new(places: u32) -> Self {
        Self { free: Mutex::new(places), freed: Condvar::new() }
    }

    /// Waits at most `patience` for a place.
    pub(crate) fn enter(&self, patience: Duration) -> Option<Place<'_>> {
        let mut free = self.free.lock();
        // What counts is whether a place is free, not whether the time was over as well.
        let _ = self.freed.wait_while_for(&mut free, |free| *free == 0, patience);
        if *free == 0 {
            return None;
        }
        *free -= 1;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_makes_the_next_one_wait_until_somebody_leaves() {
        let admission = Admission::new(1);
        let first = admission.enter(Duration::ZERO).unwrap();
        assert!(admission.enter(Duration::ZERO).is_none());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| admission.enter(Duration::from_secs(60)).is_some());
            drop(first);
            assert!(second.join().unwrap());
        });
    }
}
