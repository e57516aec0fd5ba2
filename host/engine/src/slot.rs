//! The place of one policy, in which the running one is exchanged without losing a decision. Touches
//! the Wasm engine through [`crate::load`]. The operator has one for each WasmPolicy object.
//!
//! Deciding reads one pointer. Loading works beside it and changes that pointer at its very end, or
//! not at all: whatever fails, the last good policy goes on. A decision in flight holds the policy it
//! began with, whose code goes when the last such decision is done.

use crate::engine::Engine;
use crate::error::LoadError;
use crate::load::{Candidate, StageTimes, Unpacked};
use crate::policy::Policy;
use crate::probe::Probe;
use crate::schema::canonical;
use crate::verify::Trust;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use weir_core::ids::UnixMs;
use weir_core::placement::PlacementInput;
use weir_core::scaling::{PolicyStamp, ScalingInput, ScalingPolicy as _};

/// Once the ring is full, an input is kept for probing at most this often (by the inputs' own time),
/// so that observing costs nothing at thousands of decisions a second.
const OBSERVE_EVERY_MS: i64 = 100;

/// A running policy and the inputs of its recent decisions.
#[derive(Debug)]
pub struct PolicySlot {
    engine: Engine,
    running: ArcSwapOption<Policy>,
    recent: Mutex<VecDeque<Probe>>,
    observed: AtomicI64,
    loading: tokio::sync::Mutex<()>,
}

/// What came of [`PolicySlot::load`].
#[derive(Debug)]
pub struct LoadReport {
    /// What happened.
    pub outcome: LoadOutcome,
    /// What each stage took.
    pub stages: StageTimes,
}

/// What happened to the running policy.
#[derive(Debug)]
pub enum LoadOutcome {
    /// The new one runs.
    Swapped {
        /// The new one.
        policy: Arc<Policy>,
        /// The one before it.
        previous: Option<PolicyStamp>,
    },
    /// Same digest, params, limits and WASI: nothing was done.
    Unchanged {
        /// The running one.
        policy: Arc<Policy>,
    },
    /// The new one was refused.
    Refused {
        /// Why.
        error: LoadError,
        /// The one that goes on running.
        kept: Option<PolicyStamp>,
    },
}

impl PolicySlot {
    /// An empty slot.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, running: ArcSwapOption::empty(), recent: Mutex::default(), observed: AtomicI64::new(i64::MIN), loading: tokio::sync::Mutex::new(()) }
    }

    /// The policy to decide with now; none before the first successful load.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Policy>> {
        self.running.load_full()
    }

    /// Keeps an input, so that the next policy is probed on what is real. Call it with each
    /// decision's input: most calls cost one comparison.
    pub fn observe(&self, input: &ScalingInput) {
        if self.is_due(input.now) {
            self.keep(input.clone().into());
        }
    }

    /// The same for a placement policy.
    pub fn observe_placement(&self, input: &PlacementInput) {
        if self.is_due(input.now) {
            self.keep(input.clone().into());
        }
    }

    fn is_due(&self, now: UnixMs) -> bool {
        let most = self.engine.config().probe_inputs;
        let soon = now.since(UnixMs(self.observed.load(Ordering::Relaxed))).unsigned_abs() < OBSERVE_EVERY_MS.unsigned_abs();
        most > 0 && !(soon && self.recent.lock().len() >= most)
    }

    fn keep(&self, probe: Probe) {
        self.observed.store(probe.now().0, Ordering::Relaxed);
        let mut recent = self.recent.lock();
        while recent.len() >= self.engine.config().probe_inputs {
            recent.pop_front();
        }
        recent.push_back(probe);
    }

    /// Inputs that the next policy would be probed on.
    #[must_use]
    pub fn probe_count(&self) -> usize {
        self.recent.lock().len()
    }

    /// Takes a candidate through all stages, probes it on the observed inputs, and lets it run when
    /// nothing is wrong with it. Loads of one slot wait for each other.
    pub async fn load(&self, candidate: &Candidate) -> LoadReport {
        self.load_signed(candidate, &Trust::default()).await
    }

    /// As [`Self::load`], for a module that has to be signed. The check comes before the compiler, and
    /// also before the question whether anything has changed: a key that was withdrawn is noticed.
    pub async fn load_signed(&self, candidate: &Candidate, trust: &Trust) -> LoadReport {
        let _one = self.loading.lock().await;
        let begun = std::time::Instant::now();
        let mut stages = StageTimes::default();
        let outcome = match self.prepare_or_same(candidate, trust, &mut stages).await {
            Err(error) => LoadOutcome::Refused { error, kept: self.current().map(|policy| policy.stamp().clone()) },
            Ok(Ready::Same(policy)) => LoadOutcome::Unchanged { policy },
            Ok(Ready::New(policy)) => {
                let swapping = std::time::Instant::now();
                let previous = self.swap(Arc::clone(&policy)).map(|old| old.stamp().clone());
                stages.swap = swapping.elapsed();
                LoadOutcome::Swapped { policy, previous }
            }
        };
        stages.total = begun.elapsed();
        LoadReport { outcome, stages }
    }

    /// The stages without the exchange, for a policy that is on trial first.
    pub async fn prepare_signed(&self, candidate: &Candidate, trust: &Trust) -> Prepared {
        let _one = self.loading.lock().await;
        let begun = std::time::Instant::now();
        let mut stages = StageTimes::default();
        let result = self.prepare_or_same(candidate, trust, &mut stages).await;
        stages.total = begun.elapsed();
        Prepared { result, stages }
    }

    /// Lets a prepared policy run. The next call of [`Self::current`] gives it.
    pub fn swap(&self, policy: Arc<Policy>) -> Option<Arc<Policy>> {
        self.running.swap(Some(policy))
    }

    /// Empties the slot, when its object was deleted.
    pub fn clear(&self) -> Option<Arc<Policy>> {
        self.recent.lock().clear();
        self.running.swap(None)
    }

    async fn prepare_or_same(&self, candidate: &Candidate, trust: &Trust, stages: &mut StageTimes) -> Result<Ready, LoadError> {
        let unpacked = self.engine.unpack(candidate, stages).await?;
        self.engine.verify(candidate, trust, stages).await?;
        if let Some(running) = self.current().filter(|running| self.is_same(running, candidate, &unpacked)) {
            return Ok(Ready::Same(running));
        }
        self.engine.load_unpacked(candidate, unpacked, (self.probes(), self.current()), stages).await.map(Ready::New)
    }

    fn is_same(&self, running: &Policy, candidate: &Candidate, unpacked: &Unpacked) -> bool {
        let params = if candidate.params.is_null() { "{}".to_owned() } else { canonical(&candidate.params) };
        running.stamp().digest == unpacked.digest
            && running.kind() == candidate.kind
            && running.stamp().object == candidate.object
            && running.params() == params
            && running.wasi() == candidate.wasi
            && *running.limits() == candidate.limits.capped_by(&self.engine.config().ceiling)
    }

    fn probes(&self) -> Vec<Probe> {
        self.recent.lock().iter().cloned().collect()
    }
}

/// What came of [`PolicySlot::prepare_signed`].
#[derive(Debug)]
pub struct Prepared {
    /// What may run, or the stage that refused it.
    pub result: Result<Ready, LoadError>,
    /// What each stage took; no exchange is among them.
    pub stages: StageTimes,
}

/// A policy that may run.
#[derive(Debug)]
pub enum Ready {
    /// It is the one that runs: same digest, params, limits and WASI.
    Same(Arc<Policy>),
    /// Another one, verified and probed.
    New(Arc<Policy>),
}
