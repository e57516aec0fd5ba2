//! The component's interface, generated from `wit/`, and its translation to this crate's types.
//!
//! The generated code here and the allocator in `memory` are the only places with `unsafe`: this moves values
//! over the border of the component. Vectors and strings are moved, not copied.

#![allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, clippy::indexing_slicing)]

use crate::input::{Capacity, Input, Objectives, Replicas};
use crate::params::Params;
use crate::policy::{ScalingPolicy, call};
use crate::state::State;
use crate::window::{Series, Window};
use core::marker::PhantomData;

wit_bindgen::generate!({
    path: "../../wit",
    world: "scaling-policy",
    pub_export_macro: true,
    export_macro_name: "export",
    default_bindings_module: "weir_policy::bindings",
});

use exports::weir::policy::{describe, scaling};

/// A policy as a component.
pub struct Component<P>(PhantomData<P>);

impl<P: ScalingPolicy + 'static> describe::Guest for Component<P> {
    fn describe() -> describe::Description {
        let about = P::describe();
        describe::Description {
            name: about.name.into(),
            version: about.version.into(),
            summary: about.summary.into(),
            params_schema: P::Params::schema(),
            series: about.series.iter().map(|need| describe::SeriesNeed { name: need.name.into(), required: need.required }).collect(),
            state: (P::State::VERSION > 0)
                .then(|| describe::StateVersions { version: P::State::VERSION.into(), reads: P::State::READS.iter().map(|read| u32::from(*read)).collect() }),
        }
    }
}

impl<P: ScalingPolicy + 'static> scaling::Guest for Component<P> {
    fn decide(raw: scaling::Input) -> Result<scaling::Proposal, scaling::Refusal> {
        let input = Input {
            now: raw.now,
            namespace: raw.namespace,
            name: raw.name,
            replicas: Replicas {
                desired: raw.replicas.desired,
                ready: raw.replicas.ready,
                starting: raw.replicas.starting,
                min: raw.replicas.min,
                max: raw.replicas.max,
            },
            capacity: Capacity { per_replica: raw.capacity.per_replica, learnt: raw.capacity.learnt, start_up: raw.capacity.start_up },
            objectives: Objectives {
                freshness: raw.objectives.freshness,
                refused_share: raw.objectives.refused_share,
                replica_hours: raw.objectives.replica_hours,
            },
            window: Window {
                times: raw.window.times,
                series: raw.window.series.into_iter().map(|one| Series { name: one.name, unit: one.unit, values: one.values }).collect(),
            },
        };
        match call::<P>(&input, &raw.params, &raw.state) {
            Ok(proposal) => Ok(scaling::Proposal {
                replicas: proposal.replicas,
                rationale: scaling::Rationale {
                    code: proposal.code,
                    sentence: proposal.sentence,
                    numbers: proposal.numbers.into_iter().map(|n| weir::policy::types::NamedNumber { name: n.name, value: n.value, unit: n.unit }).collect(),
                },
                state: proposal.state,
            }),
            Err(refusal) => Err(scaling::Refusal { code: refusal.code, sentence: refusal.sentence }),
        }
    }
}
