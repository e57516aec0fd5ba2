//! The churn budget: how much may move, whatever a policy proposes, each clamp named. Touches nothing;
//! called by [`super::decision`].

use super::ledger::Ledger;
use super::load::Loads;
use super::policy::{NO_NODE, NodeColumns, PartitionColumns};
use crate::ids::UnixMs;
use serde::{Deserialize, Serialize};

/// Milliseconds of an hour.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// Share of the nodes that may be lost at once. When more are, the fourth that is left would have to do
/// what four did, and it is more likely that whoever looks sees badly: nothing gets new owners.
pub const MASS_LOSS: f64 = 0.75;

/// Owners, present and former, that a ledger may list until nothing more is moved by a policy's wish: as
/// JSON they take some 25 bytes each, and a ConfigMap holds 1 MiB.
pub const MAX_TENURES: usize = 32_000;

/// Limits on what a policy may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChurnLimits {
    /// Most partitions in one decision.
    pub max_moves_per_step: u32,
    /// Most partitions within any hour.
    pub max_moves_per_hour: u32,
    /// Milliseconds that must have passed since the last decision that moved any.
    pub min_interval_ms: i64,
}

/// Names of the guardrails as they stand in status, metrics and the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PlacementGuardrail {
    /// `guardrails.maxMovesPerStep`.
    StepBudget,
    /// `guardrails.maxMovesPerHour`.
    HourBudget,
    /// `guardrails.minInterval`.
    MinInterval,
    /// A proposed owner is not ready, or belongs to the other mirror.
    TargetNotReady,
    /// The ledger lists as many former owners as it can.
    History,
    /// Weights were measured before and are not now.
    StaleWeights,
    /// More nodes are lost at once than [`MASS_LOSS`].
    MassLoss,
    /// `nodes.min`.
    MinNodes,
    /// `nodes.max`.
    MaxNodes,
    /// `nodes.pin`.
    NodePin,
}

impl PlacementGuardrail {
    /// All of them, for metrics that start at zero.
    pub const ALL: [Self; 10] = [
        Self::StepBudget,
        Self::HourBudget,
        Self::MinInterval,
        Self::TargetNotReady,
        Self::History,
        Self::StaleWeights,
        Self::MassLoss,
        Self::MinNodes,
        Self::MaxNodes,
        Self::NodePin,
    ];

    /// The stable word, for example `StepBudget`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StepBudget => "StepBudget",
            Self::HourBudget => "HourBudget",
            Self::MinInterval => "MinInterval",
            Self::TargetNotReady => "TargetNotReady",
            Self::History => "History",
            Self::StaleWeights => "StaleWeights",
            Self::MassLoss => "MassLoss",
            Self::MinNodes => "MinNodes",
            Self::MaxNodes => "MaxNodes",
            Self::NodePin => "NodePin",
        }
    }
}

/// One guardrail that changed what was asked for: partitions to move, or nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementClamp {
    /// Which one.
    pub guardrail: PlacementGuardrail,
    /// What was asked for before it.
    pub from: u32,
    /// What is left after it.
    pub to: u32,
}

/// Most partitions that a policy may move now, and the guardrail that says so.
#[must_use]
pub fn budget(now: UnixMs, ledger: &Ledger, limits: &ChurnLimits, weights_stale: bool) -> (u32, PlacementGuardrail) {
    let recent = ledger.moved.iter().any(|(at, _)| now.since(*at) < limits.min_interval_ms);
    let tenures: usize = ledger.mirrors().iter().map(super::Ownership::tenures).sum();
    let hour = limits.max_moves_per_hour.saturating_sub(ledger.moves_last_hour(now));
    if weights_stale {
        (0, PlacementGuardrail::StaleWeights)
    } else if tenures >= MAX_TENURES {
        (0, PlacementGuardrail::History)
    } else if recent {
        (0, PlacementGuardrail::MinInterval)
    } else if hour < limits.max_moves_per_step {
        (hour, PlacementGuardrail::HourBudget)
    } else {
        (limits.max_moves_per_step, PlacementGuardrail::StepBudget)
    }
}

/// True when too many nodes are lost at once to believe it.
#[must_use]
pub fn mass_loss(nodes: &NodeColumns) -> bool {
    let lost = nodes.states.iter().filter(|state| **state == super::NodeState::Lost).count();
    lost as f64 > nodes.len() as f64 * MASS_LOSS
}

/// Which of the wished moves are made when not all may be: first those away from nodes that are meant to
/// go, then those from the fullest nodes, of equal ones the heaviest, so that as much as possible comes
/// of the few.
#[must_use]
pub fn choose(wishes: Vec<(u32, u32)>, most: u32, nodes: &NodeColumns, partitions: &PartitionColumns) -> Vec<(u32, u32)> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    if wishes.len() <= most {
        return wishes;
    }
    let loads = Loads::of(&partitions.owners, &partitions.weights, nodes.len());
    let urgency = |partition: u32| {
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        let owner = partitions.owners.get(at).copied().unwrap_or(NO_NODE);
        let node = usize::try_from(owner).unwrap_or(usize::MAX);
        let load = loads.weights.get(node).zip(nodes.capacities.get(node)).map_or(0.0, |(load, capacity)| load / capacity);
        (!nodes.takes(node), load, partitions.weights.get(at).copied().unwrap_or(0.0))
    };
    let mut ranked: Vec<_> = wishes.into_iter().map(|wish| (urgency(wish.0), wish)).collect();
    ranked.sort_by(|(a, first), (b, second)| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)).then(b.2.total_cmp(&a.2)).then(first.0.cmp(&second.0)));
    ranked.truncate(most);
    ranked.into_iter().map(|(_, wish)| wish).collect()
}
