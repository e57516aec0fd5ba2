//! One WasmPolicy: what runs, what may take over, who uses it. Touches nothing; made by [`super::Policies`],
//! kept up by [`super::runner`], asked by the actors at each decision.

use super::circuit::{self, Chosen, Circuit, Fallbacks};
use super::trial::Trial;
use crate::conditions::millis;
use crate::quota::Quick;
use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use weir_core::ids::{Digest, ObjectRef, UnixMs};
use weir_core::quota::Place;
use weir_core::scaling::ScalingPolicy as _;
use weir_crds::WasmPolicy;
use weir_crds::wasm_policy::SourceChoice;
use weir_engine::verify::Rules;
use weir_engine::{Engine, Policy, PolicySlot};

/// At a swap, this many users decide at once; the others at their next tick, so that a policy with
/// thousands of users does not make them all measure at the same moment.
const WOKEN_AT_SWAP: usize = 64;

/// One WasmPolicy.
pub struct Entry {
    /// Which one.
    pub object: ObjectRef,
    /// Where modules are loaded and tried.
    pub slot: PolicySlot,
    /// Its place in the line of its namespace's quota.
    pub(super) place: Place,
    /// What runs; the slot has the same policy.
    running: ArcSwapOption<Circuit>,
    pub(super) fallbacks: RwLock<Fallbacks>,
    /// A breaker has turned.
    pub(super) turned: Notify,
    pub(super) spec: watch::Sender<Arc<WasmPolicy>>,
    pub(super) source_changed: Notify,
    /// When the change of the source was seen that is being loaded.
    pub(super) seen: Mutex<Option<Instant>>,
    pub(super) users: Mutex<BTreeMap<ObjectRef, Arc<Notify>>>,
    pub(super) users_changed: Notify,
    swaps: AtomicU64,
    /// A first load has ended, well or badly.
    pub(super) tried: AtomicBool,
    /// The quota has no room for its newest module.
    pub(super) awaits_room: AtomicBool,
    pub(crate) quick: Quick,
    trial: RwLock<Option<Arc<Trial>>>,
    pub(super) stop: CancellationToken,
}

impl Entry {
    pub(super) fn new(object: ObjectRef, policy: Arc<WasmPolicy>, engine: Engine) -> Self {
        let created = policy.metadata.creation_timestamp.as_ref().map_or(UnixMs(i64::MAX), millis);
        Self {
            place: Place { created, name: object.name.clone() },
            object,
            slot: PolicySlot::new(engine),
            running: ArcSwapOption::empty(),
            fallbacks: RwLock::default(),
            turned: Notify::new(),
            spec: watch::channel(policy).0,
            source_changed: Notify::new(),
            seen: Mutex::new(Some(Instant::now())),
            users: Mutex::default(),
            users_changed: Notify::new(),
            swaps: AtomicU64::new(0),
            tried: AtomicBool::new(false),
            awaits_room: AtomicBool::new(false),
            quick: Quick::default(),
            trial: RwLock::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Objects that refer to it and may use it.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        u32::try_from(self.users.lock().len()).unwrap_or(u32::MAX)
    }

    /// Registers a user; its notify is woken at a swap.
    pub fn join(&self, user: &ObjectRef, decide_now: &Arc<Notify>) {
        if self.users.lock().insert(user.clone(), decide_now.clone()).is_none() {
            self.users_changed.notify_one();
        }
    }

    /// Forgets a user.
    pub fn leave(&self, user: &ObjectRef) {
        if self.users.lock().remove(user).is_some() {
            self.users_changed.notify_one();
        }
    }

    /// What runs, with its breaker.
    #[must_use]
    pub fn running(&self) -> Option<Arc<Circuit>> {
        self.running.load_full()
    }

    /// What runs.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Policy>> {
        self.running().map(|circuit| circuit.policy.clone())
    }

    /// Who decides now; `None`: no module runs.
    #[must_use]
    pub fn choose(&self) -> Option<Chosen> {
        let running = self.running()?;
        // Only who has opened costs a look at the fallbacks.
        if running.opening().is_none() {
            return Some(Chosen::Module(running));
        }
        Some(circuit::choose(&running, &self.fallbacks.read()))
    }

    /// A module that is not asked and may be probed now: its probe has begun.
    #[must_use]
    pub fn probe(&self, now: UnixMs) -> Option<Arc<Circuit>> {
        circuit::probe(&self.running()?, &self.fallbacks.read(), now)
    }

    /// A breaker has turned: who decides is another one, and its runner tells of it.
    pub fn breaker_turned(&self) {
        self.turned.notify_one();
    }

    /// The new module on trial, if there is one.
    #[must_use]
    pub fn trial(&self) -> Option<Arc<Trial>> {
        self.trial.read().clone()
    }

    pub(super) fn set_trial(&self, trial: Option<Arc<Trial>>) {
        *self.trial.write() = trial;
    }

    /// True until a first load has ended.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        !self.tried.load(Ordering::Relaxed)
    }

    /// Lets a prepared module decide from now on. False: the one before it kept failing, and is none to go
    /// back to.
    pub(super) fn take_over(&self, policy: &Arc<Policy>, rules: &[Rules]) -> bool {
        let before = self.running.swap(Some(Circuit::new(policy.clone(), rules)));
        let was_good = before.as_ref().is_none_or(|before| before.opening().is_none());
        self.slot.swap(policy.clone());
        self.fallbacks.write().took_over(before, policy);
        self.quick.forget();
        self.swaps.fetch_add(1, Ordering::Relaxed);
        self.wake_users();
        was_good
    }

    /// Modules that it holds besides those that Weir brings: digest and compiled bytes.
    pub(super) fn modules(&self, more: Option<&Policy>) -> Vec<(Digest, u64)> {
        let (running, trial) = (self.current(), self.trial());
        let previous = self.fallbacks.read().previous.as_ref().map(|previous| previous.policy.clone());
        let held = [running.as_deref(), trial.as_ref().map(|trial| &*trial.policy), previous.as_deref(), more];
        let free = matches!(self.spec.borrow().spec.source.choice(), Some(SourceChoice::Builtin(_)));
        held.into_iter().flatten().map(|policy| (policy.stamp().digest, if free { 0 } else { policy.compiled_bytes() })).collect()
    }

    /// Lets users decide at once, as many as may at one time.
    pub(crate) fn wake_users(&self) {
        for wake in self.users.lock().values().take(WOKEN_AT_SWAP) {
            wake.notify_one();
        }
    }

    /// ConfigMaps that the policy is made of: its module's, and those of keys.
    pub(super) fn config_maps(spec: &WasmPolicy) -> BTreeSet<ObjectRef> {
        let namespace = spec.metadata.namespace.clone().unwrap_or_default();
        let module = match spec.spec.source.choice() {
            Some(SourceChoice::ConfigMap(source)) => Some(&source.name),
            _ => None,
        };
        let keys = spec.spec.verification.iter().flat_map(|wanted| wanted.cosign.iter().chain(&wanted.ed25519));
        let keys = keys.filter_map(|key| key.key_config_map_ref.as_ref().map(|reference| &reference.name));
        module.into_iter().chain(keys).map(|name| ObjectRef::new(namespace.clone(), name)).collect()
    }
}
