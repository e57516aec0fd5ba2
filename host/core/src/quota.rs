//! What one namespace may have of the operator: policies that run, bytes of compiled code, processor
//! time of decisions. Touches nothing; the operator keeps one [`Ledger`] and one [`Bucket`] a namespace.
//!
//! A namespace that asks for too much is kept short itself, never another one: policies that came last are
//! not loaded, and decisions are spaced out. What runs is not stopped for a quota.

use crate::ids::{Digest, UnixMs};
use std::collections::BTreeMap;
use std::fmt;

/// Seconds of decision time that a namespace may use at once after a quiet time.
const BURST_S: i64 = 5;

/// The limits of one namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// WasmPolicies with a module that runs.
    pub policies: u32,
    /// Bytes of compiled code of their modules, each module counted once.
    pub compiled_bytes: u64,
    /// Microseconds of processor time that decisions on the namespace's objects may take in a second.
    pub decision_us: u32,
}

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// [`Quota::policies`].
    Policies,
    /// [`Quota::compiled_bytes`].
    Compiled,
}

impl Resource {
    /// The stable word, as in the operator's option.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Compiled => "compiled",
        }
    }
}

/// A policy for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// What there is too little of.
    pub resource: Resource,
    /// What the namespace may have.
    pub limit: u64,
    /// What the namespace's other policies have or, being older, are about to have.
    pub used: u64,
    /// What this one needs.
    pub asked: u64,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, used, asked, .. } = self;
        match self.resource {
            Resource::Policies => write!(f, "{used} WasmPolicies of this namespace have or await a running module and {limit} may")?,
            Resource::Compiled => {
                write!(f, "the namespace's other modules are {used} bytes of compiled code, this one needs {asked} more and {limit} are allowed in all")?
            }
        }
        f.write_str(": delete a WasmPolicy or have the operator's --namespace-quota-for raised; it is loaded by itself as soon as there is room")
    }
}

/// A policy's place in line: the older comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its creationTimestamp.
    pub created: UnixMs,
    /// Its name.
    pub name: String,
}

/// What a policy has of its namespace's quota.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Share {
    /// A first module is being fetched.
    Awaits,
    /// Nothing, and nothing is about to be loaded.
    Nothing,
    /// Compiled bytes of its modules: the one that runs, on trial, and kept as a fallback.
    Modules(BTreeMap<Digest, u64>),
}

/// Who has what of one namespace's quota.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    shares: BTreeMap<Place, Share>,
}

impl Ledger {
    /// A policy is there and awaits its first module. One that is known keeps what it has.
    pub fn enrol(&mut self, place: Place) {
        self.shares.entry(place).or_insert(Share::Awaits);
    }

    /// A policy has no module and awaits none: its source is broken, or its module was refused. True: that
    /// made room.
    pub fn has_nothing(&mut self, place: &Place) -> bool {
        self.shares.insert(place.clone(), Share::Nothing).is_some_and(|before| before != Share::Nothing)
    }

    /// A policy is gone. True: that made room.
    pub fn remove(&mut self, place: &Place) -> bool {
        self.shares.remove(place).is_some_and(|before| before != Share::Nothing)
    }

    /// Whether one more policy may have a module. Older ones that still await theirs count, so that after a
    /// restart the same ones are loaded whichever is fetched first.
    ///
    /// # Errors
    /// There are too many.
    pub fn room(&self, place: &Place, quota: &Quota) -> Result<(), Exceeded> {
        if matches!(self.shares.get(place), Some(Share::Modules(_))) {
            return Ok(());
        }
        let counts = |other: &Place, share: &Share| match share {
            Share::Modules(_) => true,
            Share::Awaits => other < place,
            Share::Nothing => false,
        };
        let used = self.shares.iter().filter(|(other, share)| *other != place && counts(other, share)).count() as u64;
        let limit = u64::from(quota.policies);
        if used < limit { Ok(()) } else { Err(Exceeded { resource: Resource::Policies, limit, used, asked: 1 }) }
    }

    /// Gives a policy these modules (digest and compiled bytes) instead of those that it has. True: that made
    /// room.
    ///
    /// # Errors
    /// There is no room; it keeps what it has.
    pub fn give(&mut self, place: &Place, modules: &[(Digest, u64)], quota: &Quota) -> Result<bool, Exceeded> {
        self.room(place, quota)?;
        let wanted: BTreeMap<Digest, u64> = modules.iter().copied().collect();
        let others: BTreeMap<Digest, u64> = self.modules_but(Some(place)).collect();
        let used: u64 = others.values().sum();
        let asked: u64 = wanted.iter().filter(|(digest, _)| !others.contains_key(*digest)).map(|(_, bytes)| bytes).sum();
        // Who needs no more than before is not refused, whatever the quota has become.
        let before: u64 = match self.shares.get(place) {
            Some(Share::Modules(had)) => had.iter().filter(|(digest, _)| !others.contains_key(*digest)).map(|(_, bytes)| bytes).sum(),
            _ => 0,
        };
        if asked > before && used.saturating_add(asked) > quota.compiled_bytes {
            return Err(Exceeded { resource: Resource::Compiled, limit: quota.compiled_bytes, used, asked });
        }
        self.shares.insert(place.clone(), Share::Modules(wanted));
        Ok(asked < before)
    }

    fn modules_but<'a>(&'a self, place: Option<&'a Place>) -> impl Iterator<Item = (Digest, u64)> + 'a {
        let modules = |share: &'a Share| if let Share::Modules(modules) = share { Some(modules) } else { None };
        let others = self.shares.iter().filter(move |(other, _)| Some(*other) != place);
        others.filter_map(move |(_, share)| modules(share)).flatten().map(|(digest, bytes)| (*digest, *bytes))
    }

    /// Policies with a module that runs, and the bytes of all their modules.
    #[must_use]
    pub fn used(&self) -> (u32, u64) {
        let policies = self.shares.values().filter(|share| matches!(share, Share::Modules(_))).count();
        let modules: BTreeMap<Digest, u64> = self.modules_but(None).collect();
        (u32::try_from(policies).unwrap_or(u32::MAX), modules.values().sum())
    }
}

/// Processor time of decisions: a token bucket. It fills with time, up to five seconds' worth; a decision
/// may begin while there is something in it, and takes out what it used, into debt if need be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    per_second_us: i64,
    left_ns: i64,
    at: UnixMs,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(per_second_us: u32, now: UnixMs) -> Self {
        let per_second_us = i64::from(per_second_us);
        Self { per_second_us, left_ns: Self::most_ns(per_second_us), at: now }
    }

    const fn most_ns(per_second_us: i64) -> i64 {
        per_second_us.saturating_mul(1000).saturating_mul(BURST_S)
    }

    /// `None`: a decision may begin. Otherwise the milliseconds until one may.
    pub fn wait(&mut self, now: UnixMs) -> Option<i64> {
        // Microseconds a second times milliseconds are nanoseconds.
        let came = now.since(self.at).max(0).saturating_mul(self.per_second_us);
        self.left_ns = self.left_ns.saturating_add(came).min(Self::most_ns(self.per_second_us));
        self.at = now;
        let missing = 1_i64.saturating_sub(self.left_ns);
        (missing > 0).then(|| missing.saturating_add(self.per_second_us - 1) / self.per_second_us.max(1))
    }

    /// A decision took so many nanoseconds of processor time.
    pub const fn spend(&mut self, ns: i64) {
        self.left_ns = self.left_ns.saturating_sub(ns);
    }
}

#[cfg(test)]
#[path = "quota_tests.rs"]
mod tests;
