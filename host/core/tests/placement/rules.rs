//! Policies as plain functions: the built-in one, and one that proposes anything.

use crate::store::Random;
use weir_core::placement::{NO_NODE, NodeState, PlacementInput, PlacementInvocation, PlacementOutcome, PlacementPolicy, PlacementProposal};
use weir_core::scaling::{Rationale, Refusal};
use weir_policy::placement as sdk;

/// The built-in rule, natively.
pub(crate) struct Balanced;

fn state(state: NodeState) -> sdk::NodeState {
    match state {
        NodeState::Starting => sdk::NodeState::Starting,
        NodeState::Ready => sdk::NodeState::Ready,
        NodeState::Cordoned => sdk::NodeState::Cordoned,
        NodeState::Silent => sdk::NodeState::Silent,
        NodeState::Lost => sdk::NodeState::Lost,
        NodeState::Quarantined => sdk::NodeState::Quarantined,
        NodeState::Full => sdk::NodeState::Full,
    }
}

/// An input as the SDK has it.
fn given(input: &PlacementInput) -> sdk::Input {
    let nodes = &input.nodes;
    sdk::Input {
        now: input.now.0,
        namespace: input.object.namespace.clone(),
        name: input.object.name.clone(),
        mirror: input.mirror,
        bounds: sdk::Bounds { count: input.bounds.count, min: input.bounds.min, max: input.bounds.max },
        nodes: sdk::Nodes {
            names: nodes.names.clone(),
            zones: nodes.zones.clone(),
            zone_names: nodes.zone_names.clone(),
            states: nodes.states.iter().map(|known| state(*known)).collect(),
            capacities: nodes.capacities.clone(),
            fills: nodes.fills.clone(),
        },
        partitions: sdk::Partitions { owners: input.partitions.owners.clone(), weights: input.partitions.weights.clone() },
        max_moves: input.max_moves,
    }
}

impl PlacementPolicy for Balanced {
    fn place(&self, input: &PlacementInput) -> PlacementInvocation {
        let outcome = match balanced::decide(&given(input), &balanced::Params::default(), ()) {
            Ok(placed) => {
                let rationale = Rationale { code: placed.code, sentence: placed.sentence, numbers: Vec::new() };
                PlacementOutcome::Proposal(PlacementProposal { nodes: placed.nodes, owners: placed.owners, rationale, state: Vec::new() })
            }
            Err(refusal) => PlacementOutcome::Refusal(Refusal { code: refusal.code, sentence: refusal.sentence }),
        };
        PlacementInvocation { outcome, fuel: 0, output: String::new() }
    }
}

/// Proposes owners at random.
pub(crate) struct Wild(pub(crate) u64);

impl PlacementPolicy for Wild {
    fn place(&self, input: &PlacementInput) -> PlacementInvocation {
        let mut random = Random(self.0);
        let owners = input.partitions.owners.iter().map(|_| if random.chance(9) { NO_NODE } else { random.below(input.nodes.len()) as u32 }).collect();
        let rationale = Rationale { code: "Wild".into(), sentence: String::new(), numbers: Vec::new() };
        let proposal = PlacementProposal { nodes: random.below(2_000) as u32, owners, rationale, state: Vec::new() };
        PlacementInvocation { outcome: PlacementOutcome::Proposal(proposal), fuel: 0, output: String::new() }
    }
}
