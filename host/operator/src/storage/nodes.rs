//! Which nodes a LogStorage has, and what may be done with each. Touches nothing; called by the actor at each
//! tick with what was seen of them.

use super::engine::Vitals;
use super::index::Members;
use super::valid::{Group, Valid};
use std::collections::BTreeMap;
use weir_core::ids::UnixMs;
use weir_core::placement::{Holds, Ledger, Liveness, NodeState, Sight};

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    /// Index into the groups.
    pub(super) group: usize,
    pub(super) mirror: usize,
    pub(super) ordinal: u32,
    pub(super) zone: Option<String>,
    pub(super) state: NodeState,
    pub(super) holds: Holds,
    pub(super) vitals: Vitals,
}

/// What was seen of the pods of nodes at one tick: answers, by name.
pub(super) type Answers = BTreeMap<String, Option<Vitals>>;

/// What is remembered of nodes from tick to tick.
#[derive(Debug, Default)]
pub(super) struct Memory {
    liveness: BTreeMap<String, Liveness>,
    vitals: BTreeMap<String, Vitals>,
}

/// All nodes: those that should be, those that are, and those that hold something, sorted by name.
pub(super) fn roster(now: UnixMs, valid: &Valid, ledger: &Ledger, members: &Members, answers: &Answers, memory: &mut Memory) -> Vec<Node> {
    let holds = ledger.holds();
    let wanted = valid.spread(ledger.nodes);
    let mut nodes = Vec::new();
    for (index, group) in valid.groups.iter().enumerate() {
        let should = wanted.get(index).copied().unwrap_or(0);
        let live = members.sets.get(&group.name).map_or(0, |set| set.replicas);
        for ordinal in 0..should.max(live).max(needed(group, &holds)) {
            let name = group.node(ordinal);
            let holds = holds.get(name.as_str()).copied().unwrap_or_default();
            let sight = sight(&name, members, answers, holds, memory);
            if let Some(Some(vitals)) = answers.get(&name) {
                memory.vitals.insert(name.clone(), *vitals);
            }
            let liveness = memory.liveness.entry(name.clone()).or_default();
            liveness.see(now, sight, &valid.failover);
            let state = liveness.state(ordinal >= should);
            let vitals = memory.vitals.get(&name).copied().unwrap_or_default();
            nodes.push(Node { name, group: index, mirror: group.mirror, ordinal, zone: group.zone.clone(), state, holds, vitals });
        }
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let known = |name: &String| nodes.iter().any(|node| node.name == *name);
    memory.liveness.retain(|name, _| known(name));
    memory.vitals.retain(|name, _| known(name));
    nodes
}

/// Nodes that a group must have because of what they hold: up to the last that holds something.
fn needed(group: &Group, holds: &BTreeMap<&str, Holds>) -> u32 {
    let ordinal = |name: &&str| name.strip_prefix(group.name.as_str())?.strip_prefix('-')?.parse::<u32>().ok();
    holds.iter().filter(|(_, holds)| !holds.nothing()).filter_map(|(name, _)| ordinal(name)).max().map_or(0, |last| last.saturating_add(1))
}

/// A node that owns something, or has answered before, and does not answer is silent. Of one that has never
/// been needed nothing follows yet.
fn sight(name: &str, members: &Members, answers: &Answers, holds: Holds, memory: &Memory) -> Sight {
    match answers.get(name) {
        Some(Some(vitals)) if vitals.read_only => Sight::Full,
        Some(Some(_)) => Sight::Answers,
        asked => {
            let runs = members.pods.get(name).is_some_and(|pod| !pod.facts.deleting && !pod.finished && pod.ip.is_some());
            let expected = holds.owned > 0 || memory.vitals.contains_key(name);
            // A pod that came just now is asked at the next tick.
            let not_yet = runs && asked.is_none();
            if expected && !not_yet { Sight::Silent } else { Sight::Unknown }
        }
    }
}

/// Replicas of each group's StatefulSet: all that should be, and more as long as the last of them holds
/// something, or nobody knows what they hold. While paused the number never falls.
pub(super) fn replicas(valid: &Valid, ledger: &Ledger, members: &Members) -> Vec<u32> {
    let holds = ledger.holds();
    let wanted = valid.spread(ledger.nodes);
    let of = |(group, should): (&Group, u32)| {
        let live = members.sets.get(&group.name).map_or(0, |set| set.replicas);
        let kept = if ledger.is_blind() || valid.paused { live } else { needed(group, &holds) };
        should.max(kept)
    };
    valid.groups.iter().zip(wanted).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::index::SetView;
    use super::super::valid::tests::valid;
    use super::*;
    use weir_core::placement::{Epoch, Move};

    fn ledger(owners: &[&str]) -> Ledger {
        let mut ledger = Ledger::new(owners.len(), 1);
        let moves = owners.iter().zip(0..).map(|(node, partition)| Move { partition, from: None, to: (*node).to_owned() }).collect();
        ledger.grant(Epoch(0), UnixMs(0), &[moves]).unwrap();
        ledger.nodes = 2;
        ledger
    }

    fn states(nodes: &[Node]) -> Vec<(&str, NodeState)> {
        nodes.iter().map(|node| (node.name.as_str(), node.state)).collect()
    }

    #[test]
    fn nodes_are_those_that_should_be_and_those_that_still_hold_something() {
        let (valid, ledger, mut memory) = (valid(&["a", "b"], 1), ledger(&["logs-a-0", "logs-b-0", "logs-b-2"]), Memory::default());
        let answers: Answers = ["logs-a-0", "logs-b-0", "logs-b-1", "logs-b-2"].map(|name| (name.to_owned(), Some(Vitals::default()))).into();
        let nodes = roster(UnixMs(0), &valid, &ledger, &Members::default(), &answers, &mut memory);
        use NodeState::{Cordoned, Ready};
        assert_eq!(states(&nodes), [("logs-a-0", Ready), ("logs-b-0", Ready), ("logs-b-1", Cordoned), ("logs-b-2", Cordoned)]);
        assert_eq!(replicas(&valid, &ledger, &Members::default()), [1, 3]);
    }

    #[test]
    fn what_owns_partitions_is_missed_and_what_never_came_is_not() {
        let (valid, ledger, mut memory) = (valid(&[], 1), ledger(&["logs-0"]), Memory::default());
        let mut at = |ms, answers: &Answers| roster(UnixMs(ms), &valid, &ledger, &Members::default(), answers, &mut memory);
        use NodeState::{Full, Lost, Silent, Starting};
        assert_eq!(states(&at(0, &Answers::new())), [("logs-0", Silent), ("logs-1", Starting)]);
        assert_eq!(states(&at(15_000, &Answers::new())), [("logs-0", Lost), ("logs-1", Starting)]);
        let full = Vitals { read_only: true, ..Vitals::default() };
        let answers: Answers = [("logs-0".to_owned(), Some(full)), ("logs-1".to_owned(), None)].into();
        assert_eq!(states(&at(16_000, &answers)), [("logs-0", Full), ("logs-1", Starting)]);
    }

    #[test]
    fn nothing_is_removed_while_paused_or_while_nobody_knows_what_nodes_hold() {
        let mut valid = valid(&[], 1);
        let members = Members { sets: [("logs".to_owned(), SetView { replicas: 5, claim_size: None })].into(), ..Members::default() };
        let known = ledger(&["logs-0"]);
        assert_eq!(replicas(&valid, &known, &members), [2]);
        let mut blind = Ledger::new(1, 1).after_loss(UnixMs(0), 1, Epoch(1));
        blind.nodes = 2;
        assert_eq!(replicas(&valid, &blind, &members), [5]);
        valid.paused = true;
        assert_eq!(replicas(&valid, &known, &members), [5]);
    }
}
