//! Quotas per namespace, kept: who has what, how much time decisions took, and whom to trust with the
//! thread of a tick. Touches nothing but memory and metrics; the policies' runners and the actors call it.
//!
//! Bytes of code count for the namespace of the WasmPolicy, decision time for that of the object that
//! is decided on.

mod options;

pub use options::{DEFAULT, Parts, PartsFor, QuotaOptions};

use crate::shell::metrics::{Metrics, NamespaceHandles};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use weir_core::ids::{Digest, UnixMs};
use weir_core::quota::{Bucket, Exceeded, Ledger, Place, Quota};

/// A decision that takes less is quick; most take a fiftieth of it.
pub(crate) const QUICK: Duration = Duration::from_millis(1);
/// Quick decisions after which one is trusted to be quick, at first and at most.
const TRUSTED_AFTER: u32 = 3;
const MOST_TRUSTED_AFTER: u32 = 100_000;

/// Whether the next decision may be made on the thread that wants it, instead of one that is there for
/// blocking work: the last ones were quick, and changing threads would cost as much as they did. Who is slow
/// once has to be quick eight times as often before being trusted again, so what one can hold up in all
/// is little.
#[derive(Debug)]
pub(crate) struct Quick {
    /// Decisions of late that were quick, without one that was not.
    row: AtomicU32,
    trusted_after: AtomicU32,
}

impl Default for Quick {
    fn default() -> Self {
        Self { row: AtomicU32::new(0), trusted_after: AtomicU32::new(TRUSTED_AFTER) }
    }
}

impl Quick {
    /// Whether it is trusted.
    pub(crate) fn is_trusted(&self) -> bool {
        self.row.load(Ordering::Relaxed) >= self.trusted_after.load(Ordering::Relaxed)
    }

    /// Takes in how long a decision took.
    pub(crate) fn took(&self, time: Duration) {
        if time < QUICK {
            self.row.fetch_add(1, Ordering::Relaxed);
        } else {
            self.forget();
            let after = self.trusted_after.load(Ordering::Relaxed);
            self.trusted_after.store(after.saturating_mul(8).min(MOST_TRUSTED_AFTER), Ordering::Relaxed);
        }
    }

    /// Something else is asked from now on.
    pub(crate) fn forget(&self) {
        self.row.store(0, Ordering::Relaxed);
    }
}

/// One namespace.
pub struct Namespace {
    quota: Quota,
    ledger: Mutex<Ledger>,
    bucket: Mutex<Bucket>,
    /// One slow decision where a quick one was expected, and none of the namespace's policies is trusted:
    /// many that turn slow together hold the ticks up once, not one after the other.
    quick: Quick,
    handles: NamespaceHandles,
}

impl Namespace {
    /// Its limits.
    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    /// `None`: a decision may begin. Otherwise the milliseconds until one may.
    pub fn wait(&self, now: UnixMs) -> Option<i64> {
        self.bucket.lock().wait(now)
    }

    /// A decision was held for want of time.
    pub fn held(&self) {
        self.handles.held.inc();
    }

    /// A call took so much processor time.
    pub fn spend(&self, time: Duration) {
        self.bucket.lock().spend(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        self.handles.seconds.inc_by(time.as_secs_f64());
    }

    pub(crate) const fn quick(&self) -> &Quick {
        &self.quick
    }

    fn change<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut ledger = self.ledger.lock();
        let result = change(&mut ledger);
        let (policies, bytes) = ledger.used();
        self.handles.policies.set(i64::from(policies));
        self.handles.compiled.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        result
    }
}

/// All namespaces.
pub struct Quotas {
    options: QuotaOptions,
    metrics: Arc<Metrics>,
    namespaces: RwLock<HashMap<String, Arc<Namespace>>>,
}

impl Quotas {
    /// Nobody has anything yet.
    #[must_use]
    pub fn new(options: QuotaOptions, metrics: Arc<Metrics>) -> Self {
        Self { options, metrics, namespaces: RwLock::default() }
    }

    fn known(&self, name: &str) -> Option<Arc<Namespace>> {
        self.namespaces.read().get(name).cloned()
    }

    /// One namespace.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Arc<Namespace> {
        if let Some(known) = self.known(name) {
            return known;
        }
        let mut namespaces = self.namespaces.write();
        let made = || {
            let quota = self.options.of(name);
            // Full from the first question on, whatever the time is then.
            let bucket = Mutex::new(Bucket::new(quota.decision_us, UnixMs(0)));
            Arc::new(Namespace { quota, ledger: Mutex::default(), bucket, quick: Quick::default(), handles: self.metrics.namespace(name) })
        };
        namespaces.entry(name.to_owned()).or_insert_with(made).clone()
    }

    /// The namespace is gone: its series go.
    pub fn forget(&self, name: &str) {
        if self.namespaces.write().remove(name).is_some() {
            self.metrics.namespace_gone(name);
        }
    }

    /// A policy is there and awaits its first module.
    pub(crate) fn enrol(&self, namespace: &str, place: &Place) {
        self.namespace(namespace).change(|ledger| ledger.enrol(place.clone()));
    }

    /// Whether one more policy may have a module.
    pub(crate) fn room(&self, namespace: &str, place: &Place) -> Result<(), Exceeded> {
        let namespace = self.namespace(namespace);
        namespace.change(|ledger| ledger.room(place, &namespace.quota))
    }

    /// Gives a policy these modules instead of those that it has. True: that made room.
    pub(crate) fn give(&self, namespace: &str, place: &Place, modules: &[(Digest, u64)]) -> Result<bool, Exceeded> {
        let namespace = self.namespace(namespace);
        namespace.change(|ledger| ledger.give(place, modules, &namespace.quota))
    }

    /// A policy has no module and awaits none. True: that made room.
    pub(crate) fn has_nothing(&self, namespace: &str, place: &Place) -> bool {
        self.known(namespace).is_some_and(|namespace| namespace.change(|ledger| ledger.has_nothing(place)))
    }

    /// A policy is gone. True: that made room.
    pub(crate) fn remove(&self, namespace: &str, place: &Place) -> bool {
        self.known(namespace).is_some_and(|namespace| namespace.change(|ledger| ledger.remove(place)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::metrics::MetricsOptions;

    #[test]
    fn who_is_slow_once_has_to_be_quick_eight_times_as_often() {
        let quick = Quick::default();
        let trusted_after = |quick: &Quick| {
            for calls in 0..1_000_000 {
                if quick.is_trusted() {
                    return calls;
                }
                quick.took(Duration::from_micros(20));
            }
            panic!("never")
        };
        for expected in [3, 24, 192, 1_536, 12_288, 98_304, 100_000, 100_000] {
            assert_eq!(trusted_after(&quick), expected);
            quick.took(QUICK);
            assert!(!quick.is_trusted());
        }
    }

    #[test]
    fn a_namespace_that_uses_up_its_time_waits_itself_and_no_other_does() {
        let metrics = Metrics::new(MetricsOptions { version: "0", per_object: false });
        let quotas = Quotas::new(QuotaOptions::new("decision=100ms".parse().unwrap(), Vec::new()), metrics.clone());
        let (busy, quiet, now) = (quotas.namespace("busy"), quotas.namespace("quiet"), UnixMs(1_700_000_000_000));
        assert_eq!(busy.wait(now), None);
        busy.spend(Duration::from_millis(600));
        assert_eq!((busy.wait(now), quiet.wait(now)), (Some(1001), None));
        busy.held();
        let shown = || metrics.encode().unwrap();
        for line in
            [r#"weir_namespace_held_decisions_total{object_namespace="busy"} 1"#, r#"weir_namespace_decision_time_seconds_total{object_namespace="busy"} 0.6"#]
        {
            assert!(shown().contains(line), "{}", shown());
        }
        quotas.forget("busy");
        assert!(!shown().contains("busy"));
    }
}
