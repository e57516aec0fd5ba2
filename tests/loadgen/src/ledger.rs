//! Which record numbers were sent, acknowledged or rejected: the truth that the checker compares
//! with the store. Pure state behind a lock per stream. Written by `sender` and `lane`, read by
//! `report`.
use crate::ranges::RangeSet;
use parking_lot::Mutex;
use std::ops::Range;

/// What is known of one stream's numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamLedger {
    /// Numbers given out: `0..numbered`.
    pub(crate) numbered: u64,
    /// Sent at least once, whatever came back.
    pub(crate) sent: RangeSet,
    /// Acknowledged in full: these must exist.
    pub(crate) acked: RangeSet,
    /// Answered with an error that no retry heals; given up.
    pub(crate) rejected: RangeSet,
}

impl StreamLedger {
    /// Sent, and neither acknowledged nor rejected: these may or may not exist.
    pub(crate) fn in_doubt(&self) -> RangeSet {
        self.sent.minus(&self.acked).minus(&self.rejected)
    }
}

/// All streams of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    streams: Vec<Mutex<StreamLedger>>,
}

impl Ledger {
    pub(crate) fn new(streams: usize) -> Self {
        Self { streams: (0..streams).map(|_| Mutex::default()).collect() }
    }

    fn with(&self, stream: usize, change: impl FnOnce(&mut StreamLedger)) {
        if let Some(ledger) = self.streams.get(stream) {
            change(&mut ledger.lock());
        }
    }

    /// These numbers are in a batch now.
    pub(crate) fn number(&self, stream: usize, range: &Range<u64>) {
        self.with(stream, |s| s.numbered = s.numbered.max(range.end));
    }

    /// An attempt to send them begins.
    pub(crate) fn send(&self, stream: usize, range: Range<u64>) {
        self.with(stream, |s| {
            s.sent.insert(range);
        });
    }

    /// The target has said that it took all of them.
    pub(crate) fn ack(&self, stream: usize, range: Range<u64>) {
        self.with(stream, |s| {
            s.acked.insert(range);
        });
    }

    /// The target has said that it will never take them.
    pub(crate) fn reject(&self, stream: usize, range: Range<u64>) {
        self.with(stream, |s| {
            s.rejected.insert(range);
        });
    }

    /// A copy of every stream's state, in order. Streams are copied one after the other.
    pub(crate) fn copy(&self) -> Vec<StreamLedger> {
        self.streams.iter().map(|s| s.lock().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_in_doubt_from_its_first_attempt_until_it_is_acknowledged_or_rejected() {
        let ledger = Ledger::new(1);
        ledger.number(0, &(0..30));
        for from in [0, 10, 20] {
            ledger.send(0, from..from + 10);
        }
        ledger.send(0, 10..20);
        ledger.ack(0, 10..20);
        ledger.reject(0, 20..30);
        let stream = ledger.copy().remove(0);
        assert_eq!(stream.in_doubt(), RangeSet::from(0..10));
        assert_eq!(stream.acked, RangeSet::from(10..20));
        assert_eq!(stream.numbered, 30);
    }
}
