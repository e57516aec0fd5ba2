//! The code of a policy for another spec: params, limits and the grant of WASI may have changed since it
//! was loaded. Touches the Wasm engine, on a thread for blocking work. Called by the operator, for the
//! module before the present one as its fallback.

use crate::engine::Engine;
use crate::error::LoadError;
use crate::load::{Candidate, StageTimes};
use crate::policy::Policy;
use std::sync::Arc;

impl Engine {
    /// What a candidate of the same bytes would become. Its own `bytes` and `digest` are not looked at, and
    /// nothing is compiled.
    ///
    /// # Errors
    /// The code does not fit any more: its imports are not granted, or its params schema refuses the params.
    pub async fn refit(&self, policy: &Policy, candidate: &Candidate) -> Result<Arc<Policy>, LoadError> {
        policy.compiled.imports.admit(candidate.wasi)?;
        let (compiled, digest, candidate) = (Arc::clone(&policy.compiled), policy.stamp.digest, candidate.clone());
        let mut stages = StageTimes::default();
        self.stage("describing", &mut stages, move |inner, stages| inner.describe_stage(&candidate, &digest, compiled, stages)).await.map(Arc::new)
    }
}
