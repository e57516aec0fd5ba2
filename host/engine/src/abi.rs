//! The types of `wit/` as they cross the border of a component, and their translation from
//! and to the types of `weir_core`. Touches nothing. Used by [`crate::call`].
//!
//! What goes in is borrowed: columns and texts are copied once, from the snapshot into the guest's
//! memory. What comes out is owned, and lifting it is bounded (see [`crate::call`]). Wasmtime compares
//! these types with the component's own at load, name by name; a test compares them with the WIT file.

pub(crate) mod placement;

use wasmtime::component::{ComponentType, Lift, Lower};
use weir_core::scaling::{NamedNumber, Proposal, Rationale, Refusal, ScalingInput};

/// Interface that says what a policy is.
pub(crate) const DESCRIBE: &str = "weir:policy/describe@0.1.0";
/// Interface that decides.
pub(crate) const SCALING: &str = "weir:policy/scaling@0.1.0";

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct ObjectivesIn {
    freshness: Option<f64>,
    #[component(name = "refused-share")]
    refused_share: Option<f64>,
    #[component(name = "replica-hours")]
    replica_hours: Option<f64>,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct ReplicasIn {
    desired: u32,
    ready: u32,
    starting: u32,
    min: u32,
    max: u32,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct CapacityIn {
    #[component(name = "per-replica")]
    per_replica: Option<f64>,
    learnt: bool,
    #[component(name = "start-up")]
    start_up: f64,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct SeriesIn<'a> {
    name: &'a str,
    unit: &'a str,
    values: &'a [f64],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct WindowIn<'a> {
    times: &'a [i64],
    series: &'a [SeriesIn<'a>],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct InputIn<'a> {
    now: i64,
    namespace: &'a str,
    name: &'a str,
    replicas: ReplicasIn,
    capacity: CapacityIn,
    objectives: ObjectivesIn,
    window: WindowIn<'a>,
    params: &'a str,
    state: &'a [u8],
}

/// The columns of an input, ready to be borrowed by [`input`].
pub(crate) fn columns(input: &ScalingInput) -> Vec<SeriesIn<'_>> {
    input.window.series.iter().map(|series| SeriesIn { name: &series.name, unit: &series.unit, values: &series.values }).collect()
}

/// An input as it goes in.
pub(crate) fn input<'a>(from: &'a ScalingInput, columns: &'a [SeriesIn<'a>]) -> InputIn<'a> {
    let (replicas, capacity, objectives) = (&from.replicas, &from.capacity, &from.objectives);
    InputIn {
        now: from.now.0,
        namespace: &from.object.namespace,
        name: &from.object.name,
        replicas: ReplicasIn { desired: replicas.desired, ready: replicas.ready, starting: replicas.starting, min: replicas.min, max: replicas.max },
        capacity: CapacityIn { per_replica: capacity.per_replica, learnt: capacity.learnt, start_up: capacity.start_up },
        objectives: ObjectivesIn { freshness: objectives.freshness, refused_share: objectives.refused_share, replica_hours: objectives.replica_hours },
        window: WindowIn { times: &from.window.times, series: columns },
        params: &from.params,
        state: &from.state,
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct NumberOut {
    name: String,
    value: f64,
    unit: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RationaleOut {
    code: String,
    sentence: String,
    numbers: Vec<NumberOut>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ProposalOut {
    replicas: u32,
    rationale: RationaleOut,
    state: Vec<u8>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct RefusalOut {
    code: String,
    sentence: String,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct SeriesNeedOut {
    pub(crate) name: String,
    pub(crate) required: bool,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct StateVersionsOut {
    pub(crate) version: u32,
    pub(crate) reads: Vec<u32>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct DescriptionOut {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    #[component(name = "params-schema")]
    pub(crate) params_schema: String,
    pub(crate) series: Vec<SeriesNeedOut>,
    pub(crate) state: Option<StateVersionsOut>,
}

/// Signature of `decide`.
pub(crate) type DecideParams<'a> = (InputIn<'a>,);
/// Result of `decide`.
pub(crate) type DecideResult = (Result<ProposalOut, RefusalOut>,);
/// Result of `describe`.
pub(crate) type DescribeResult = (DescriptionOut,);

impl From<RationaleOut> for Rationale {
    fn from(out: RationaleOut) -> Self {
        let numbers = out.numbers.into_iter().map(|n| NamedNumber { name: n.name, value: n.value, unit: n.unit }).collect();
        Self { code: out.code, sentence: out.sentence, numbers }
    }
}

impl From<ProposalOut> for Proposal {
    fn from(out: ProposalOut) -> Self {
        Self { replicas: out.replicas, rationale: out.rationale.into(), state: out.state }
    }
}

impl From<RefusalOut> for Refusal {
    fn from(out: RefusalOut) -> Self {
        Self { code: out.code, sentence: out.sentence }
    }
}
