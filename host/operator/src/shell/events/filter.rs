//! Which Events are worth a write. Touches nothing; [`super::Recorder`] asks it.
//!
//! - **Once**: what was said before about the same object in the same words raises a count. A
//!   `Normal` Event tells that something happened, so its count is written at once; a `Warning` tells
//!   of a state that lasts, so its count is written at most every [`HEARTBEAT`].
//! - **Bounded**: a token bucket per object, [`BURST`] at once and then one every [`REFILL`]. What a
//!   bucket holds back is not lost: the decision log has every decision.
//!
//! Local time is a [`Duration`] since any fixed moment of this process.

use kube::runtime::events::EventType;
use std::collections::HashMap;
use std::time::Duration;

/// Events of one object at once, as in client-go.
pub const BURST: u32 = 25;
/// Time until one more is allowed.
pub const REFILL: Duration = Duration::from_secs(30);
/// Time between two writes of a lasting state's count, as in client-go.
pub const HEARTBEAT: Duration = Duration::from_secs(6 * 60);
/// What was not said again for this long is new when it comes back.
pub const FORGET: Duration = Duration::from_secs(10 * 60);
/// Most series and most buckets that are remembered.
const REMEMBERED: usize = 16_384;

/// What makes two Events the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The object, by uid where it has one.
    pub object: String,
    /// Normal or Warning.
    pub type_: EventType,
    /// The stable word.
    pub reason: String,
    /// What was done or tried.
    pub action: &'static str,
    /// The sentence.
    pub note: String,
}

/// What to do with one Event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Write a new one.
    New,
    /// Write the count of the one with this name.
    Again {
        /// Name of the Event that was written first.
        name: String,
        /// How often it was said, this time included.
        count: i32,
    },
    /// Only count it.
    Repeated,
    /// The object has used up its tokens.
    Limited,
}

#[derive(Debug)]
struct Series {
    name: String,
    count: i32,
    seen: Duration,
    written: Duration,
}

/// A bucket as the time at which it is full again (the generic cell rate algorithm): one number,
/// and nothing to count up while nothing happens.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    fn take(&mut self, now: Duration) -> bool {
        let full_at = self.full_at.max(now).saturating_add(REFILL);
        let fits = full_at.saturating_sub(now) <= REFILL.saturating_mul(BURST);
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// What was said lately.
#[derive(Debug, Default)]
pub struct Filter {
    series: HashMap<Key, Series>,
    buckets: HashMap<String, Bucket>,
}

impl Filter {
    /// Decides on one Event at `now`. `name` makes the name of a new one.
    pub fn admit(&mut self, now: Duration, key: &Key, name: impl FnOnce() -> String) -> Admission {
        self.forget_old(now);
        if let Some(series) = self.series.get_mut(key).filter(|series| now.saturating_sub(series.seen) < FORGET) {
            series.seen = now;
            series.count = series.count.saturating_add(1);
            let quiet = key.type_ == EventType::Warning && now.saturating_sub(series.written) < HEARTBEAT;
            if quiet || !self.buckets.entry(key.object.clone()).or_default().take(now) {
                return Admission::Repeated;
            }
            series.written = now;
            return Admission::Again { name: series.name.clone(), count: series.count };
        }
        if !self.buckets.entry(key.object.clone()).or_default().take(now) {
            return Admission::Limited;
        }
        self.series.insert(key.clone(), Series { name: name(), count: 1, seen: now, written: now });
        Admission::New
    }

    /// Name of the Event that was last admitted as new under `key`.
    #[must_use]
    pub fn name(&self, key: &Key) -> Option<&str> {
        self.series.get(key).map(|series| series.name.as_str())
    }

    /// The write did not succeed: the next time it is new again.
    pub fn forget(&mut self, key: &Key) {
        self.series.remove(key);
    }

    /// Keeps the memory bounded: at its limit, what is old goes, then what is less and less old.
    fn forget_old(&mut self, now: Duration) {
        let mut span = FORGET;
        while self.series.len() >= REMEMBERED {
            self.series.retain(|_, series| now.saturating_sub(series.seen) < span);
            span /= 2;
        }
        if self.buckets.len() >= REMEMBERED {
            self.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        if self.buckets.len() >= REMEMBERED {
            self.buckets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(object: &str, type_: EventType, note: &str) -> Key {
        Key { object: object.into(), type_, reason: "Scaled".into(), action: "Scale", note: note.into() }
    }

    const fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_state_that_lasts_is_said_once_and_then_counted_every_six_minutes() {
        let (mut filter, key) = (Filter::default(), key("a", EventType::Warning, "no metrics"));
        let mut writes = Vec::new();
        for second in 0..800 {
            match filter.admit(s(second), &key, || "first".into()) {
                Admission::Repeated => {}
                other => writes.push((second, other)),
            }
        }
        let again = |count| Admission::Again { name: "first".into(), count };
        assert_eq!(writes, [(0, Admission::New), (360, again(361)), (720, again(721))]);
    }

    #[test]
    fn what_happened_twice_in_the_same_words_is_counted_at_once() {
        let (mut filter, key) = (Filter::default(), key("a", EventType::Normal, "2 to 4"));
        assert_eq!(filter.admit(s(0), &key, || "first".into()), Admission::New);
        assert_eq!(filter.admit(s(60), &key, || "second".into()), Admission::Again { name: "first".into(), count: 2 });
    }

    #[test]
    fn what_was_quiet_for_ten_minutes_or_was_not_written_is_new_again() {
        let (mut filter, key) = (Filter::default(), key("a", EventType::Warning, "no metrics"));
        assert_eq!(filter.admit(s(0), &key, || "first".into()), Admission::New);
        assert_eq!(filter.admit(s(600), &key, || "second".into()), Admission::New);
        filter.forget(&key);
        assert_eq!(filter.admit(s(601), &key, || "third".into()), Admission::New);
        assert_eq!(filter.name(&key), Some("third"));
    }

    #[test]
    fn an_object_that_says_too_much_does_not_silence_another() {
        let mut filter = Filter::default();
        let mut admitted = |second: u64, object: &str, note: u64| filter.admit(s(second), &key(object, EventType::Normal, &note.to_string()), String::new);
        let first: Vec<_> = (0..30).map(|note| admitted(0, "loud", note)).collect();
        assert_eq!(first.iter().filter(|admission| **admission == Admission::New).count(), 25);
        assert_eq!(admitted(0, "quiet", 0), Admission::New);
        assert_eq!(admitted(29, "loud", 100), Admission::Limited);
        assert_eq!(admitted(30, "loud", 101), Admission::New);
        assert_eq!(admitted(31, "loud", 102), Admission::Limited);
    }

    #[test]
    fn the_memory_stays_bounded_whatever_is_said() {
        let mut filter = Filter::default();
        for n in 0..40_000_u64 {
            filter.admit(Duration::from_millis(n), &key(&n.to_string(), EventType::Warning, "x"), String::new);
        }
        assert!(filter.series.len() <= REMEMBERED && filter.buckets.len() <= REMEMBERED);
    }

    proptest! {
        #[test]
        fn writes_of_one_object_never_exceed_burst_and_refill(gaps in prop::collection::vec(0_u64..20_000, 1..300)) {
            let (mut filter, mut now, mut writes) = (Filter::default(), Duration::ZERO, 0_u32);
            for (n, gap) in gaps.into_iter().enumerate() {
                now += Duration::from_millis(gap);
                let note = (n % 7).to_string();
                if matches!(filter.admit(now, &key("a", EventType::Normal, &note), String::new), Admission::New | Admission::Again { .. }) {
                    writes += 1;
                }
            }
            let allowed = BURST + u32::try_from(now.as_secs() / REFILL.as_secs()).unwrap();
            prop_assert!(writes <= allowed, "{writes} > {allowed}");
        }
    }
}
