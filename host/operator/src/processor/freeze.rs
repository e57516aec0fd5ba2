//! Snapshot: freezes everything that a decision may depend on. Touches nothing; called by the actor.

use crate::build::Valid;
use weir_core::guardrails::GuardMemory;
use weir_core::ids::UnixMs;
use weir_core::scaling::{Capacity, PolicyStamp, Replicas, ScalingInput};
use weir_core::snapshot::{Block, Fallback, MetricsHealth, Mode, SCHEMA, Snapshot};
use weir_core::state::DroppedState;
use weir_core::window::Window;

/// Parts of a snapshot that the actor holds.
pub(super) struct Parts {
    pub(super) now: UnixMs,
    /// Replicas that serve: what the workload asks for, without those that are leaving.
    pub(super) desired: u32,
    pub(super) ready: u32,
    pub(super) starting: u32,
    pub(super) capacity: Capacity,
    pub(super) window: Window,
    pub(super) policy: Option<PolicyStamp>,
    /// Why it is another one than the object's own.
    pub(super) fallback: Option<Fallback>,
    /// Why there is no policy, where one is configured.
    pub(super) unresolved: Option<Block>,
    pub(super) params: String,
    pub(super) state: Vec<u8>,
    pub(super) dropped_state: Option<DroppedState>,
    pub(super) metrics: MetricsHealth,
    pub(super) memory: GuardMemory,
    pub(super) block: Option<Block>,
}

/// Puts the snapshot together.
pub(super) fn freeze(valid: &Valid, parts: Parts) -> Snapshot {
    let scaling = valid.scaling.as_ref();
    Snapshot {
        schema: SCHEMA,
        input: ScalingInput {
            now: parts.now,
            object: valid.owner.object_ref(),
            replicas: Replicas { desired: parts.desired, ready: parts.ready, starting: parts.starting, min: valid.bounds.min, max: valid.bounds.max },
            capacity: parts.capacity,
            objectives: valid.objectives,
            window: parts.window,
            params: parts.params,
            state: parts.state,
        },
        policy: parts.policy,
        fallback: parts.fallback,
        dropped_state: parts.dropped_state,
        unresolved: parts.unresolved,
        metrics: parts.metrics,
        guardrails: scaling.map(|scaling| scaling.guardrails).unwrap_or_default(),
        memory: parts.memory,
        pin: valid.pin,
        mode: scaling.map_or(Mode::Enforce, |scaling| scaling.mode),
        paused: scaling.is_some_and(|scaling| scaling.paused),
        block: parts.block,
    }
}
