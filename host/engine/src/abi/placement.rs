//! The same for `wit/placement.wit`. Columns cross as whole lists: ten thousand partitions are two of them.

use super::{RationaleOut, RefusalOut};
use wasmtime::component::{ComponentType, Lift, Lower};
use weir_core::placement::{NodeState, PlacementInput, PlacementProposal};

/// Interface that decides.
pub(crate) const PLACEMENT: &str = "weir:policy/placement@0.1.0";

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct BoundsIn {
    count: u32,
    min: u32,
    max: u32,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum StateIn {
    #[component(name = "starting")]
    Starting,
    #[component(name = "ready")]
    Ready,
    #[component(name = "cordoned")]
    Cordoned,
    #[component(name = "silent")]
    Silent,
    #[component(name = "lost")]
    Lost,
    #[component(name = "quarantined")]
    Quarantined,
    #[component(name = "full")]
    Full,
}

impl From<NodeState> for StateIn {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Starting => Self::Starting,
            NodeState::Ready => Self::Ready,
            NodeState::Cordoned => Self::Cordoned,
            NodeState::Silent => Self::Silent,
            NodeState::Lost => Self::Lost,
            NodeState::Quarantined => Self::Quarantined,
            NodeState::Full => Self::Full,
        }
    }
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct NodesIn<'a> {
    names: &'a [&'a str],
    zones: &'a [u32],
    #[component(name = "zone-names")]
    zone_names: &'a [&'a str],
    states: &'a [StateIn],
    capacities: &'a [f64],
    fills: &'a [f64],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct PartitionsIn<'a> {
    owners: &'a [u32],
    weights: &'a [f64],
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
pub(crate) struct InputIn<'a> {
    now: i64,
    namespace: &'a str,
    name: &'a str,
    mirror: u32,
    bounds: BoundsIn,
    nodes: NodesIn<'a>,
    partitions: PartitionsIn<'a>,
    #[component(name = "max-moves")]
    max_moves: u32,
    params: &'a str,
    state: &'a [u8],
}

/// The columns of an input that have another form in the host.
pub(crate) struct Columns<'a> {
    names: Vec<&'a str>,
    zone_names: Vec<&'a str>,
    states: Vec<StateIn>,
}

/// The columns of an input, ready to be borrowed by [`input`].
pub(crate) fn columns(input: &PlacementInput) -> Columns<'_> {
    Columns {
        names: input.nodes.names.iter().map(String::as_str).collect(),
        zone_names: input.nodes.zone_names.iter().map(String::as_str).collect(),
        states: input.nodes.states.iter().map(|state| StateIn::from(*state)).collect(),
    }
}

/// An input as it goes in.
pub(crate) fn input<'a>(from: &'a PlacementInput, columns: &'a Columns<'a>) -> InputIn<'a> {
    InputIn {
        now: from.now.0,
        namespace: &from.object.namespace,
        name: &from.object.name,
        mirror: from.mirror,
        bounds: BoundsIn { count: from.bounds.count, min: from.bounds.min, max: from.bounds.max },
        nodes: NodesIn {
            names: &columns.names,
            zones: &from.nodes.zones,
            zone_names: &columns.zone_names,
            states: &columns.states,
            capacities: &from.nodes.capacities,
            fills: &from.nodes.fills,
        },
        partitions: PartitionsIn { owners: &from.partitions.owners, weights: &from.partitions.weights },
        max_moves: from.max_moves,
        params: &from.params,
        state: &from.state,
    }
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(crate) struct ProposalOut {
    nodes: u32,
    owners: Vec<u32>,
    rationale: RationaleOut,
    state: Vec<u8>,
}

/// Signature of `decide`.
pub(crate) type DecideParams<'a> = (InputIn<'a>,);
/// Result of `decide`.
pub(crate) type DecideResult = (Result<ProposalOut, RefusalOut>,);

impl From<ProposalOut> for PlacementProposal {
    fn from(out: ProposalOut) -> Self {
        Self { nodes: out.nodes, owners: out.owners, rationale: out.rationale.into(), state: out.state }
    }
}
