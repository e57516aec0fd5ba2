//! Load that is due → numbered batches. Pure: time is an argument. Called by `sender` at each tick.
//!
//! Open loop: what is due comes from the profile alone. A slow target changes nothing here until
//! the backlog of batches has no room; what is due then is *shed*: counted, never numbered, so
//! that the numbers of a stream stay without holes.
use crate::num::{floor, wide};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Consecutive records of one stream that are sent in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Which stream.
    pub(crate) stream: usize,
    /// Number of the first record.
    pub(crate) first: u64,
    /// How many records.
    pub(crate) count: u64,
    /// When the first record came about, nanoseconds since 1970.
    pub(crate) from_unix_ns: u64,
    /// When the last one did.
    pub(crate) until_unix_ns: u64,
    /// When the batch was complete: the start of its latency, whether or not it can be sent then.
    pub(crate) offered: Instant,
}

impl Batch {
    /// The numbers of its records.
    pub(crate) fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.count
    }

    /// When record `seq` came about: evenly spread over the time the batch took to fill.
    pub(crate) fn time_of(&self, seq: u64) -> u64 {
        let place = u128::from(seq.saturating_sub(self.first) + 1);
        let span = u128::from(self.until_unix_ns.saturating_sub(self.from_unix_ns));
        let within = place * span / u128::from(self.count.max(1));
        self.from_unix_ns.saturating_add(u64::try_from(within).unwrap_or(u64::MAX))
    }
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix_ns: u64,
}

/// One stream's place.
#[derive(Debug)]
struct Pace {
    /// Share of the load, 0..1.
    weight: f64,
    /// Records that came about and are in no batch yet; the fraction is kept.
    due: f64,
    /// Number of the next record.
    next: u64,
    /// Since when `due` is being gathered.
    since: Now,
}

/// Turns load into batches for all streams.
#[derive(Debug)]
pub(crate) struct Pacer {
    paces: Vec<Pace>,
    batch_size: u64,
    linger: Duration,
}

/// What one tick gave.
#[derive(Debug, Default)]
pub(crate) struct Tick {
    pub(crate) batches: Vec<Batch>,
    /// Records that found no room.
    pub(crate) shed: u64,
}

impl Pacer {
    /// Batches have at most `batch_size` records and wait for more at most `linger`.
    pub(crate) fn new(weights: &[f64], batch_size: u64, linger: Duration, start: Now) -> Self {
        let pace = |weight: &f64| Pace { weight: *weight, due: 0.0, next: 0, since: start };
        Self { paces: weights.iter().map(pace).collect(), batch_size: batch_size.max(1), linger }
    }

    /// `records` more are due, over all streams. `room`: how many batches may be made.
    pub(crate) fn tick(&mut self, now: Now, records: f64, room: u64) -> Tick {
        self.advance(now, records, room, false)
    }

    /// The last batches, however small.
    pub(crate) fn finish(&mut self, now: Now, room: u64) -> Tick {
        self.advance(now, 0.0, room, true)
    }

    fn advance(&mut self, now: Now, records: f64, room: u64, all: bool) -> Tick {
        let mut tick = Tick::default();
        for (stream, pace) in self.paces.iter_mut().enumerate() {
            pace.due += records * pace.weight;
            let waited = now.instant.saturating_duration_since(pace.since.instant);
            let flush = all || waited >= self.linger;
            while pace.due >= self.batch_size as f64 || (flush && pace.due >= 1.0) {
                let count = floor(pace.due).min(self.batch_size);
                pace.due -= count as f64;
                if wide(tick.batches.len()) >= room {
                    tick.shed += count;
                } else {
                    tick.batches.push(Batch {
                        stream,
                        first: pace.next,
                        count,
                        from_unix_ns: pace.since.unix_ns,
                        until_unix_ns: now.unix_ns,
                        offered: now.instant,
                    });
                    pace.next += count;
                }
                pace.since = now;
            }
            if pace.due < 1.0 && flush {
                pace.since = now;
            }
        }
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clock() -> impl Fn(u64) -> Now {
        let start = Instant::now();
        move |ms| Now { instant: start + Duration::from_millis(ms), unix_ns: ms * 1_000_000 }
    }

    #[test]
    fn full_batches_leave_at_once_and_the_rest_after_the_linger() {
        let at = clock();
        let mut pacer = Pacer::new(&[1.0], 100, Duration::from_millis(200), at(0));
        let tick = pacer.tick(at(10), 250.0, 99);
        let made: Vec<_> = tick.batches.iter().map(Batch::numbers).collect();
        assert_eq!(made, [0..100, 100..200]);
        assert!(pacer.tick(at(100), 0.0, 99).batches.is_empty());
        assert_eq!(pacer.tick(at(210), 0.0, 99).batches[0].numbers(), 200..250);
    }

    #[test]
    fn without_room_load_is_shed_and_numbers_stay_without_holes() {
        let at = clock();
        let mut pacer = Pacer::new(&[1.0], 10, Duration::from_secs(1), at(0));
        let tick = pacer.tick(at(10), 50.0, 2);
        assert_eq!((tick.batches.len(), tick.shed), (2, 30));
        assert_eq!(pacer.tick(at(20), 10.0, 1).batches[0].numbers(), 20..30);
    }

    #[test]
    fn times_of_records_lie_within_the_time_the_batch_took() {
        let at = clock();
        let mut pacer = Pacer::new(&[1.0], 10, Duration::from_secs(1), at(5));
        let batch = pacer.tick(at(25), 10.0, 1).batches.remove(0);
        assert_eq!(batch.time_of(0), 7_000_000);
        assert_eq!(batch.time_of(9), 25_000_000);
    }

    proptest! {
        #[test]
        fn every_record_due_is_in_a_batch_or_shed_and_weights_hold(
            loads in prop::collection::vec((0.0_f64..500.0, 0_u64..20), 1..60),
        ) {
            let at = clock();
            let weights = [0.5, 0.3, 0.2];
            let mut pacer = Pacer::new(&weights, 50, Duration::from_millis(30), at(0));
            let (mut next, mut shed, mut total) = ([0_u64; 3], 0, 0.0);
            let mut take = |tick: Tick, next: &mut [u64; 3]| {
                for b in tick.batches {
                    assert_eq!(b.first, next[b.stream]);
                    assert!((1..=50).contains(&b.count));
                    next[b.stream] += b.count;
                }
                shed += tick.shed;
            };
            let mut ms = 0;
            for (records, room) in loads {
                ms += 10;
                total += records;
                take(pacer.tick(at(ms), records, room), &mut next);
            }
            take(pacer.finish(at(ms), u64::MAX), &mut next);
            let made = next.iter().sum::<u64>() + shed;
            prop_assert!((made as f64) <= total + 1e-6 && (made as f64) > total - 3.0 - 1e-6);
            if shed == 0 {
                for (n, w) in next.iter().zip(weights) {
                    prop_assert!((*n as f64 - total * w).abs() <= 1.0 + 1e-6);
                }
            }
        }
    }
}
