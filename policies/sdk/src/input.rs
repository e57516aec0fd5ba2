//! What a policy is handed at one decision: `record input` of `wit/scaling.wit`. Touches nothing.
//!
//! Params and state are not here: they arrive typed, as arguments of their own.

use crate::proposal::Refusal;
use crate::window::{Column, Window};

/// Everything that a decision may depend on, besides params and state.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Unix milliseconds of this decision.
    pub now: i64,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Replicas as they are, and their bounds.
    pub replicas: Replicas,
    /// What one replica can process.
    pub capacity: Capacity,
    /// What the user wants to reach.
    pub objectives: Objectives,
    /// What was measured of late, over all replicas together.
    pub window: Window,
}

/// Replicas as they are, and the bounds that the host enforces after the proposal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replicas {
    /// What the workload asks for now.
    pub desired: u32,
    /// Replicas that are ready.
    pub ready: u32,
    /// Replicas that exist, are wanted, and are not yet ready.
    pub starting: u32,
    /// Lower bound.
    pub min: u32,
    /// Upper bound.
    pub max: u32,
}

/// What one replica can process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capacity {
    /// Records a second; absent when neither declared nor learnt yet.
    pub per_replica: Option<f64>,
    /// True when learnt from measurements, false when declared.
    pub learnt: bool,
    /// Seconds from a changed replica count to a ready replica.
    pub start_up: f64,
}

impl Capacity {
    /// Records a second of one replica if that is a number that one can divide by.
    #[must_use]
    pub fn known(&self) -> Option<f64> {
        self.per_replica.filter(|rate| rate.is_finite() && *rate > 0.0)
    }

    /// Seconds to a ready replica; 0 when the number is not finite or negative.
    #[must_use]
    pub fn start_up_seconds(&self) -> f64 {
        if self.start_up.is_finite() { self.start_up.max(0.0) } else { 0.0 }
    }
}

/// What the user wants to reach; an absent part is no objective.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Objectives {
    /// How old the oldest waiting record may get, in seconds.
    pub freshness: Option<f64>,
    /// Largest tolerated share of refused records, 0 to 1.
    pub refused_share: Option<f64>,
    /// Replica-hours a day that may be spent.
    pub replica_hours: Option<f64>,
}

impl Input {
    /// The column of that name.
    ///
    /// # Errors
    /// Refusal `SeriesMissing` when the window has no such column. The host does not even ask a
    /// policy whose required series are missing, so this fires for optional ones.
    pub fn series(&self, name: &str) -> Result<Column<'_>, Refusal> {
        self.window.get(name).ok_or_else(|| Refusal::new("SeriesMissing", format!("The window has no series `{name}`.")))
    }

    /// Records a second of one replica: `own` (usually a param) when given, else what the host
    /// declared or learnt.
    ///
    /// # Errors
    /// Refusal `CapacityUnknown` when neither is a positive finite number.
    pub fn capacity_or(&self, own: Option<f64>) -> Result<f64, Refusal> {
        own.filter(|rate| rate.is_finite() && *rate > 0.0).or_else(|| self.capacity.known()).ok_or_else(Refusal::capacity_unknown)
    }
}
