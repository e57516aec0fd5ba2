//! Who leads, as a state machine: what was seen of the Lease and local time in, what to do next out.
//! Touches nothing; [`super`] drives it.
//!
//! The rules are those of client-go's `leaderelection`:
//! - no clock of another machine is trusted. A candidate waits until a record **has not changed**
//!   for the lease duration by the candidate's own monotonic clock, counted from when it saw it;
//! - a leader counts its deadline from **before** it sent the renewal that succeeded, so it stops
//!   before anybody may count it out: `deadline` < `lease`, and the gap is what clocks may drift;
//! - every write carries the resource version that was seen, so of two writers one fails;
//! - an empty holder is free at once.
//!
//! Local time is a [`Duration`] since any fixed moment of this process.

use std::time::Duration;

/// The three durations of an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait after the last renewal that they saw. Whole seconds, as the API has it.
    pub lease: Duration,
    /// Time between two renewals.
    pub renew: Duration,
    /// A leader that could not renew for this long stops.
    pub deadline: Duration,
}

impl Default for Timing {
    /// A dead leader is replaced after 2 s. Clocks may differ in speed by a third.
    fn default() -> Self {
        Self { lease: Duration::from_secs(2), renew: Duration::from_millis(500), deadline: Duration::from_millis(1500) }
    }
}

/// The durations don't fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTiming {
    /// The API has whole seconds.
    #[error("the lease duration has to be whole seconds, at least 1 s, at most a day")]
    Lease,
    /// No gap is left for clocks that differ.
    #[error("the renew deadline has to be at most 4/5 of the lease duration, so that a leader stops before another may start")]
    Deadline,
    /// One lost request would cost the leadership.
    #[error("the renew interval has to be more than zero and at most half of the renew deadline")]
    Renew,
}

impl Timing {
    /// The lease duration as the API has it.
    ///
    /// # Errors
    /// The durations don't fit together.
    pub fn check(&self) -> Result<i32, InvalidTiming> {
        let seconds = i32::try_from(self.lease.as_secs()).ok().filter(|seconds| (1..=86_400).contains(seconds) && self.lease.subsec_nanos() == 0);
        let seconds = seconds.ok_or(InvalidTiming::Lease)?;
        if self.deadline > self.lease.mul_f64(0.8) {
            return Err(InvalidTiming::Deadline);
        }
        if self.renew.is_zero() || self.renew > self.deadline / 2 {
            return Err(InvalidTiming::Renew);
        }
        Ok(seconds)
    }
}

/// What stands in a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who leads; empty: nobody.
    pub holder: String,
    /// How long the holder asks others to wait.
    pub lease: Duration,
    /// When the holder last wrote, microseconds of its own clock: only ever compared for equality.
    pub renewed: i64,
    /// How often the holder changed.
    pub transitions: i32,
}

/// The newest record that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Observed {
    record: Record,
    version: String,
    /// When it was seen to change.
    at: Duration,
}

/// What is known of the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It does not exist, and may be created from this local time on.
    Absent(Duration),
    Is(Observed),
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the Lease.
    Read,
    /// Create the Lease with oneself as its holder.
    Create,
    /// Become or stay its holder, with [`Election::version`] as the condition.
    Claim,
    /// Nothing before this local time.
    Wait(Duration),
}

/// One candidate.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    timing: Timing,
    known: Known,
    /// Leading until this local time.
    until: Option<Duration>,
    /// Start of the last renewal that succeeded.
    renewed: Option<Duration>,
    /// After a failure, nothing before this.
    not_before: Duration,
    /// When this candidate last resigned.
    resigned: Option<Duration>,
}

impl Election {
    /// A candidate that knows nothing yet.
    #[must_use]
    pub fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, known: Known::Nothing, until: None, renewed: None, not_before: Duration::ZERO, resigned: None }
    }

    /// Until when this candidate leads, if it does at `now`.
    #[must_use]
    pub fn leads_until(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| now < *until)
    }

    /// The resource version that a write has to carry.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        match &self.known {
            Known::Is(observed) => Some(&observed.version),
            _ => None,
        }
    }

    /// True when the newest record names this candidate.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(&self.known, Known::Is(observed) if observed.record.holder == self.identity)
    }

    /// How often the holder will have changed when this candidate holds the Lease.
    #[must_use]
    pub fn transitions(&self) -> i32 {
        match &self.known {
            Known::Is(observed) if self.holds() => observed.record.transitions,
            Known::Is(observed) => observed.record.transitions.saturating_add(1),
            _ => 0,
        }
    }

    /// What to do at `now`, when nothing is under way.
    #[must_use]
    pub fn next(&self, now: Duration) -> Action {
        let (due, action) = match &self.known {
            Known::Nothing => (Duration::ZERO, Action::Read),
            Known::Absent(free) => (*free, Action::Create),
            Known::Is(observed) if observed.record.holder == self.identity => {
                (self.renewed.map_or(Duration::ZERO, |renewed| renewed.saturating_add(self.timing.renew)), Action::Claim)
            }
            Known::Is(observed) if observed.record.holder.is_empty() => (Duration::ZERO, Action::Claim),
            Known::Is(observed) => (observed.at.saturating_add(observed.record.lease), Action::Claim),
        };
        let due = due.max(self.not_before);
        if now < due { Action::Wait(due) } else { action }
    }

    /// The Lease was seen, by a watch or a read. Another holder in it ends the own leadership.
    pub fn seen(&mut self, now: Duration, record: Record, version: String) {
        let known = match &mut self.known {
            Known::Is(observed) if older(&version, &observed.version) => return,
            Known::Is(observed) if observed.record == record => {
                observed.version = version;
                return;
            }
            known => known,
        };
        if record.holder != self.identity {
            self.until = None;
        }
        *known = Known::Is(Observed { record, version, at: now });
    }

    /// The Lease does not exist. Where somebody else held it when it was last seen, that one may not
    /// know yet: its time has to pass.
    pub fn absent(&mut self) {
        let free = match &self.known {
            Known::Is(observed) if observed.record.holder == self.identity => Duration::ZERO,
            Known::Is(observed) => observed.at.saturating_add(observed.record.lease),
            Known::Absent(free) => *free,
            Known::Nothing => Duration::ZERO,
        };
        self.known = Known::Absent(free);
    }

    /// Own write, sent at `sent`, was accepted.
    pub fn claimed(&mut self, sent: Duration, now: Duration, record: Record, version: String) {
        if matches!(&self.known, Known::Is(observed) if older(&version, &observed.version) && observed.record.holder != self.identity) {
            return;
        }
        self.known = Known::Is(Observed { record, version, at: now });
        if self.resigned.is_some_and(|resigned| sent <= resigned) {
            return;
        }
        self.until = Some(sent.saturating_add(self.timing.deadline));
        self.renewed = Some(sent);
        self.not_before = Duration::ZERO;
    }

    /// Own write came too late: somebody wrote in between.
    pub fn outrun(&mut self) {
        self.known = Known::Nothing;
    }

    /// A request failed, or nobody knows what became of it; the next one waits for `pause`.
    pub fn failed(&mut self, now: Duration, pause: Duration) {
        self.not_before = now.saturating_add(pause);
    }

    /// Stops leading at `now`; a claim that was sent before does not begin it again.
    pub fn resign(&mut self, now: Duration) {
        self.until = None;
        self.resigned = Some(now);
    }
}

/// True when `a` is surely older than `b`. Resource versions of one resource are whole numbers that
/// rise (Kubernetes 1.35, "Resource versions"); others are taken as they come. Ignoring an old one is
/// no matter of safety, because a write with a version that is not the newest fails.
fn older(a: &str, b: &str) -> bool {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    }
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
