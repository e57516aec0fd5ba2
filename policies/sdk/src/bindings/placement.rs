//! The interface of placement policies, generated from `wit/`, and its translation to this crate's types: what
//! `bindings.rs` is for scaling policies.

#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, clippy::indexing_slicing)]

use crate::params::Params;
use crate::placement::{Bounds, Input, NodeState, Nodes, Partitions, PlacementPolicy, call};
use crate::state::State;
use core::marker::PhantomData;

wit_bindgen::generate!({
    path: "../../wit",
    world: "placement-policy",
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "weir_policy::bindings",
});

use exports::weir::policy::{describe, placement};

/// A placement policy as a component.
pub struct Component<P>(PhantomData<P>);

impl<P: PlacementPolicy + 'static> describe::Guest for Component<P> {
    fn describe() -> describe::Description {
        let about = P::describe();
        describe::Description {
            name: about.name.into(),
            version: about.version.into(),
            summary: about.summary.into(),
            params_schema: P::Params::schema(),
            series: Vec::new(),
            state: (P::State::VERSION > 0)
                .then(|| describe::StateVersions { version: P::State::VERSION.into(), reads: P::State::READS.iter().map(|read| u32::from(*read)).collect() }),
        }
    }
}

impl<P: PlacementPolicy + 'static> placement::Guest for Component<P> {
    fn decide(raw: placement::Input) -> Result<placement::Proposal, placement::Refusal> {
        let input = Input {
            now: raw.now,
            namespace: raw.namespace,
            name: raw.name,
            mirror: raw.mirror,
            bounds: Bounds { count: raw.bounds.count, min: raw.bounds.min, max: raw.bounds.max },
            nodes: Nodes {
                names: raw.nodes.names,
                zones: raw.nodes.zones,
                zone_names: raw.nodes.zone_names,
                states: raw.nodes.states.into_iter().map(state).collect(),
                capacities: raw.nodes.capacities,
                fills: raw.nodes.fills,
            },
            partitions: Partitions { owners: raw.partitions.owners, weights: raw.partitions.weights },
            max_moves: raw.max_moves,
        };
        match call::<P>(&input, &raw.params, &raw.state) {
            Ok(placed) => Ok(placement::Proposal {
                nodes: placed.nodes,
                owners: placed.owners,
                rationale: placement::Rationale {
                    code: placed.code,
                    sentence: placed.sentence,
                    numbers: placed.numbers.into_iter().map(|n| weir::policy::types::NamedNumber { name: n.name, value: n.value, unit: n.unit }).collect(),
                },
                state: placed.state,
            }),
            Err(refusal) => Err(placement::Refusal { code: refusal.code, sentence: refusal.sentence }),
        }
    }
}

fn state(raw: placement::NodeState) -> NodeState {
    match raw {
        placement::NodeState::Starting => NodeState::Starting,
        placement::NodeState::Ready => NodeState::Ready,
        placement::NodeState::Cordoned => NodeState::Cordoned,
        placement::NodeState::Silent => NodeState::Silent,
        placement::NodeState::Lost => NodeState::Lost,
        placement::NodeState::Quarantined => NodeState::Quarantined,
        placement::NodeState::Full => NodeState::Full,
    }
}
