//! `spec.limits`: what one call of a policy may use. Touches nothing.

use crate::{Bytes, Duration};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What one call may use, in each case at most what the operator allows at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Instructions, roughly: each one of WebAssembly costs about one unit of fuel. The same call
    /// uses the same fuel on every machine, so this is the limit that replays. A policy in Rust
    /// needs thousands; one in JavaScript or Python needs millions.
    #[serde(default = "fuel")]
    #[schemars(range(min = 1_000, max = 1_000_000_000_000_i64))]
    pub fuel: u64,

    /// Longest time, whatever the machine is busy with. 1ms to 10s.
    #[serde(default = "deadline")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('10s')")
        .message("limits.deadline must be from 1ms to 10s: write for example 50ms"))]
    pub deadline: Duration,

    /// Linear memory, as 64Mi or as a number of bytes. 64Ki (one page) to 1Gi. The default suits
    /// compiled languages; JavaScript and Python need more.
    #[serde(default = "memory")]
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity('64Ki')) >= 0 && quantity(string(self)).compareTo(quantity('1Gi')) <= 0")
        .message("limits.memory must be from 64Ki to 1Gi: write for example 64Mi"))]
    pub memory: Bytes,

    /// Entries of all tables of the component.
    #[serde(default = "table_elements")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub table_elements: u32,

    /// Bytes of the result: rationale and state together.
    #[serde(default = "result_bytes")]
    #[schemars(range(min = 1_024, max = 16_777_216))]
    pub result_bytes: u32,

    /// Bytes of the state that the policy hands to its next call.
    #[serde(default = "state_bytes")]
    #[schemars(range(min = 0, max = 1_048_576))]
    pub state_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: fuel(),
            deadline: deadline(),
            memory: memory(),
            table_elements: table_elements(),
            result_bytes: result_bytes(),
            state_bytes: state_bytes(),
        }
    }
}

const fn fuel() -> u64 {
    50_000_000
}

const fn deadline() -> Duration {
    Duration::from_millis(50)
}

/// Enough for compiled languages; the garbage-collected ones say how much they need.
const fn memory() -> Bytes {
    Bytes::from_mib(16)
}

const fn table_elements() -> u32 {
    20_000
}

const fn result_bytes() -> u32 {
    65_536
}

const fn state_bytes() -> u32 {
    65_536
}
