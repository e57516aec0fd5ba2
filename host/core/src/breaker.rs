//! A circuit breaker around one module of a policy: when too many of its calls fail, it is not asked any
//! more, and a fallback decides. Touches nothing; the operator and the replay tell it what was answered.
//!
//! ```text
//! closed ──5 failures within a minute, at least half of the calls──▶ open ──pause──▶ half-open
//!    ▲                                                                ▲                  │
//!    └───────────────── 3 good probes in a row ───────────────────────┼──────────────────┤
//!                                                                     └─ a probe fails ──┘
//! ```
//!
//! A probe is a call of the broken module beside the fallback, on the snapshot of a real object; the
//! fallback's answer is the one that counts. The pause is 30 s and doubles with each failed probe, up to
//! 10 minutes. There is no jitter: the same answers at the same times give the same turns.

use crate::ids::UnixMs;
use crate::scaling::{FailureKind, Outcome};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Seconds that calls are remembered for.
const WINDOW_S: i64 = 60;
/// Fewer failures open nothing: one object's bad inputs are not the module's end.
const FEWEST: u32 = 5;
/// Good probes in a row that close the breaker.
const GOOD_PROBES: u32 = 3;
/// First and longest pause, in milliseconds. Who opens again within the longest after a close goes on
/// doubling.
const PAUSES_MS: (i64, i64) = (30_000, 600_000);
/// A probe without an answer for this long, in milliseconds, is taken for lost: no call lasts as long.
const LOST_MS: i64 = 60_000;

/// What an answer says about the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It answered: a proposal, or a refusal.
    Good,
    /// It failed.
    Failed(FailureKind),
    /// The host could not ask it, which says nothing.
    NotAsked,
}

impl Answer {
    /// What an outcome says.
    #[must_use]
    pub const fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Proposal(_) | Outcome::Refusal(_) => Self::Good,
            Outcome::Failure(failure) => match failure.kind {
                FailureKind::Host | FailureKind::NotLoaded => Self::NotAsked,
                kind => Self::Failed(kind),
            },
        }
    }
}

/// Why a breaker is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// When it opened; failed probes do not change it.
    pub since: UnixMs,
    /// Calls within the minute before.
    pub calls: u32,
    /// Those that failed.
    pub failures: u32,
    /// The last failure, of a probe too.
    pub last: FailureKind,
    /// Milliseconds of the present pause.
    pub pause_ms: i64,
    /// When the present pause began.
    pub paused: UnixMs,
}

impl Opening {
    /// When the next probe may be made.
    #[must_use]
    pub const fn until(&self) -> UnixMs {
        self.paused.plus(self.pause_ms)
    }
}

/// Whether the module is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// It decides.
    Closed,
    /// It is not asked.
    Open(Opening),
    /// It is asked beside the fallback.
    HalfOpen(Opening),
}

/// A change that somebody should hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It opened.
    Opened(Opening),
    /// A probe failed: the pause begins anew, twice as long.
    Reopened(Opening),
    /// It closed.
    Closed,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Second {
    at: i64,
    calls: u32,
    failures: u32,
}

/// The breaker of one module. A new digest or other params begin with a new one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Ascending; at most [`WINDOW_S`] of them.
    seconds: VecDeque<Second>,
    opening: Option<Opening>,
    /// Good probes in a row.
    good: u32,
    /// When the probe began that is under way.
    probing: Option<UnixMs>,
    /// When it last closed, and the pause that it had then.
    closed: Option<(UnixMs, i64)>,
    proven: bool,
}

impl Breaker {
    /// Whether the module is asked.
    #[must_use]
    pub fn state(&self, now: UnixMs) -> State {
        match self.opening {
            None => State::Closed,
            // A clock that was set back does not prolong a pause.
            Some(opening) if (0..opening.pause_ms).contains(&now.since(opening.paused)) => State::Open(opening),
            Some(opening) => State::HalfOpen(opening),
        }
    }

    /// Why it is not closed.
    #[must_use]
    pub const fn opening(&self) -> Option<&Opening> {
        self.opening.as_ref()
    }

    /// True for a module that is closed and has answered well: one to go back to.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        self.proven && self.opening.is_none()
    }

    /// Takes in the answer to a decision that the module was asked for.
    pub fn answered(&mut self, answer: Answer, now: UnixMs) -> Option<Turn> {
        // What was under way when it opened says nothing new.
        if self.opening.is_some() {
            return None;
        }
        match answer {
            Answer::NotAsked => None,
            Answer::Good => {
                self.proven = true;
                self.count(0, now);
                None
            }
            Answer::Failed(kind) => {
                self.count(1, now);
                let (calls, failures) = self
                    .seconds
                    .iter()
                    .fold((0, 0_u32), |(calls, failures), second| (second.calls.saturating_add(calls), second.failures.saturating_add(failures)));
                (failures >= FEWEST && failures >= calls - failures).then(|| Turn::Opened(self.open(calls, failures, kind, now)))
            }
        }
    }

    /// Whether a probe may begin now; it has, when this is true. One is under way at a time.
    pub fn probe(&mut self, now: UnixMs) -> bool {
        let free = self.probing.is_none_or(|begun| !(0..LOST_MS).contains(&now.since(begun)));
        let may = free && matches!(self.state(now), State::HalfOpen(_));
        if may {
            self.probing = Some(now);
        }
        may
    }

    /// Takes in the answer to a probe.
    pub fn probed(&mut self, answer: Answer, now: UnixMs) -> Option<Turn> {
        self.probing = None;
        let mut opening = self.opening?;
        match answer {
            Answer::NotAsked => None,
            Answer::Failed(kind) => {
                self.good = 0;
                (opening.last, opening.paused, opening.pause_ms) = (kind, now, longer(opening.pause_ms));
                self.opening = Some(opening);
                Some(Turn::Reopened(opening))
            }
            Answer::Good => {
                self.good = self.good.saturating_add(1);
                if self.good < GOOD_PROBES {
                    return None;
                }
                *self = Self { closed: Some((now, opening.pause_ms)), proven: true, ..Self::default() };
                Some(Turn::Closed)
            }
        }
    }

    fn open(&mut self, calls: u32, failures: u32, last: FailureKind, now: UnixMs) -> Opening {
        let recent = self.closed.filter(|(at, _)| (0..PAUSES_MS.1).contains(&now.since(*at)));
        let pause_ms = recent.map_or(PAUSES_MS.0, |(_, pause)| longer(pause));
        let opening = Opening { since: now, calls, failures, last, pause_ms, paused: now };
        (self.opening, self.good, self.probing) = (Some(opening), 0, None);
        opening
    }

    fn count(&mut self, failures: u32, now: UnixMs) {
        let at = now.0.div_euclid(1000);
        if self.seconds.back().is_some_and(|newest| newest.at.saturating_sub(at) >= WINDOW_S) {
            // The clock was set back.
            self.seconds.clear();
        }
        match self.seconds.back_mut().filter(|newest| newest.at >= at) {
            Some(newest) => {
                newest.calls = newest.calls.saturating_add(1);
                newest.failures = newest.failures.saturating_add(failures);
            }
            None => self.seconds.push_back(Second { at, calls: 1, failures }),
        }
        while self.seconds.front().is_some_and(|oldest| at.saturating_sub(oldest.at) >= WINDOW_S) {
            self.seconds.pop_front();
        }
    }
}

fn longer(pause_ms: i64) -> i64 {
    pause_ms.saturating_mul(2).min(PAUSES_MS.1)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
