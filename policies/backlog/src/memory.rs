//! What the policy remembers of an object from one decision to the next. Touches nothing.

use serde::{Deserialize, Serialize};
use weir_policy::prelude::*;

/// The memory. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// When the policy last decided; 0 before the first time.
    pub decided: i64,
    /// Replicas that were ready then, and since when it was that many.
    pub ready: u32,
    /// See `ready`.
    pub ready_since: i64,
    /// Replicas that were asked for then.
    pub desired: u32,
    /// When more were last asked for; 0 when that was never seen.
    pub raised: i64,
    /// Records a second that one replica processes when busy, smoothed.
    pub true_rate: Option<f64>,
    /// The newest sample that is in `true_rate`.
    pub learnt_until: i64,
    /// When the present backlog is to be gone.
    pub drain_by: Option<i64>,
}

impl State for Memory {
    const VERSION: u8 = 1;
}

impl Memory {
    /// The memory after a look at the replicas, before anything is decided.
    ///
    /// The window does not say how many replicas each sample was taken with, so this is where a
    /// change is noticed: rates per replica are learnt only from what was measured since.
    #[must_use]
    pub fn observe(self, input: &Input) -> Self {
        let first = self.decided == 0;
        let replicas = input.replicas;
        Self {
            decided: input.now,
            ready: replicas.ready,
            ready_since: if first || replicas.ready != self.ready { input.now } else { self.ready_since },
            desired: replicas.desired,
            true_rate: self.true_rate.filter(|rate| rate.is_finite() && *rate > 0.0),
            raised: if !first && replicas.desired > self.desired { input.now } else { self.raised },
            ..self
        }
    }
}
