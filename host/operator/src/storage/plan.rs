//! Plan: what follows from a decision, as values. Touches nothing; called by the actor, which writes them.

use super::build;
use super::ledger::Kept;
use super::nodes::Node;
use super::valid::Valid;
use std::collections::BTreeMap;
use weir_core::ids::UnixMs;
use weir_core::placement::{Ledger, Map, NodeState, PlacementDecision, Slot};
use weir_core::snapshot::Mode;

/// The ledger and the map that follow.
pub(super) fn next(valid: &Valid, kept: &Kept, nodes: &[Node], now: UnixMs, decision: Option<&PlacementDecision>) -> (Ledger, Option<Map>) {
    let mut ledger = kept.ledger.clone();
    if let Some(decision) = decision
        && ledger.grant(decision.epoch, now, &decision.grants()).is_ok()
    {
        let moves = if decision.mode == Mode::Enforce { decision.moves() } else { 0 };
        ledger.moved(now, moves);
        ledger.nodes = decision.nodes();
    }
    if !valid.paused {
        point_slots(&mut ledger, nodes, now);
    }
    ledger.trim(now, Some(valid.retention.0));
    let made = Map::of(&ledger, slots(valid, kept, &ledger, nodes)).ok();
    let map = match (made, &kept.map) {
        (Some(mut made), Some(known)) if !made.differs(known) => {
            made.version = known.version;
            Some(made)
        }
        (Some(mut made), _) => {
            ledger.version = ledger.version.saturating_add(1);
            made.version = ledger.version;
            Some(made)
        }
        (None, known) => known.clone(),
    };
    (ledger, map)
}

/// The slot of a lost node that owns nothing any more points at another one, so that what is queued for it
/// follows; when it is back, or who stood in is lost too, it is pointed anew.
fn point_slots(ledger: &mut Ledger, nodes: &[Node], now: UnixMs) {
    let takes = |name: &str| nodes.iter().any(|node| node.name == name && node.state.takes());
    let holds = ledger.holds().into_iter().map(|(name, holds)| (name.to_owned(), holds.owned)).collect::<BTreeMap<String, u32>>();
    for node in nodes {
        let gone = node.state == NodeState::Lost && holds.get(&node.name).is_none_or(|owned| *owned == 0) && !node.holds.nothing();
        let target = ledger.target(&node.name).to_owned();
        if gone && (target == node.name || !takes(&target)) {
            if let Some(stand_in) = ledger.stand_in_for(node.mirror, &node.name, takes) {
                ledger.point(now, &node.name, Some(&stand_in));
            }
        } else if !gone && target != node.name && node.state != NodeState::Silent {
            ledger.point(now, &node.name, None);
        }
    }
}

/// Slots of all nodes that have ever been there, in the order of the map before, new ones at the end.
fn slots(valid: &Valid, kept: &Kept, ledger: &Ledger, nodes: &[Node]) -> Vec<Slot> {
    let holds = ledger.holds();
    let place = |name: &str| kept.map.as_ref().and_then(|map| map.slots.iter().position(|slot| slot.node == name)).unwrap_or(usize::MAX);
    let mut named: Vec<&Node> = nodes.iter().filter(|node| node.state != NodeState::Starting || holds.contains_key(node.name.as_str())).collect();
    named.sort_by_key(|node| (place(&node.name), node.ordinal, node.group));
    let slot = |node: &&Node| {
        let target = ledger.target(&node.name).to_owned();
        Slot { node: node.name.clone(), endpoint: format!("http://{}", build::node_address(valid, &target)), target }
    };
    named.iter().map(slot).collect()
}

/// Nodes that the query endpoint asks: those of one mirror that are not lost, of the mirror that misses fewest, of
/// equal ones the one that lost nodes least often, because a node that dies takes along what was not yet on its
/// volume. VictoriaLogs answers only when all answer, so a lost node is left out, and the condition Reachable tells.
pub(super) fn queried(valid: &Valid, ledger: &Ledger, nodes: &[Node], before: &[String]) -> Vec<String> {
    let missing = |mirror: &usize| nodes.iter().filter(|node| node.mirror == *mirror && node.state == NodeState::Lost && !node.holds.nothing()).count();
    let losses = |mirror: usize| nodes.iter().filter(|node| node.mirror == mirror).map(|node| ledger.losses(&node.name)).sum::<usize>();
    let Some(mirror) = (0..valid.mirrors).min_by_key(|mirror| (missing(mirror), losses(*mirror))) else { return before.to_vec() };
    let there = |node: &&Node| node.mirror == mirror && !matches!(node.state, NodeState::Lost | NodeState::Starting);
    let names: Vec<String> = nodes.iter().filter(there).map(|node| node.name.clone()).collect();
    if names.is_empty() { before.to_vec() } else { names }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
