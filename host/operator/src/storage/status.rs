//! Record: the status of a LogStorage, computed. Touches nothing; written by [`super::keeper`].

use super::build;
use super::index::Members;
use super::ledger::{Fault, Kept};
use super::nodes::Node;
use super::valid::Valid;
use super::volumes::Growth;
use super::weigh::Weights;
use crate::conditions::{Conditions, Status, round, time};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::collections::BTreeMap;
use weir_core::health::{Grace, WorkloadFacts, assess};
use weir_core::ids::UnixMs;
use weir_core::placement::{NodeState, PlacementDecision, PlacementOutcome, PlacementVerdict};
use weir_core::snapshot::{Block, Mode};
use weir_crds::LogStorage;
use weir_crds::conditions::{kind, reason};
use weir_crds::log_processor::{Mode as SpecMode, PolicyStamp};
use weir_crds::log_storage::{BalanceStatus, LogStorageStatus, LogStorageSummary, MapStatus, NodeStatus, PlacementDecision as DecisionStatus};
use weir_crds::names::LABEL_STORAGE;

/// The fullest node may have this much more than the mean to count as balanced: what the built-in policy
/// aims at.
const BALANCED: f64 = 1.05;
/// Names at most this many nodes.
const NAMED: usize = 3;

/// What a status is computed from.
pub(super) struct Seen<'a> {
    pub(super) now: UnixMs,
    pub(super) storage: &'a LogStorage,
    pub(super) before: &'a LogStorageStatus,
    pub(super) valid: &'a Valid,
    pub(super) trouble: Option<&'a Fault>,
    pub(super) kept: Option<&'a Kept>,
    pub(super) nodes: &'a [Node],
    pub(super) members: &'a Members,
    pub(super) unresolved: Option<&'a Block>,
    pub(super) decision: Option<&'a PlacementDecision>,
    pub(super) notable: Option<&'a DecisionStatus>,
    pub(super) growth: &'a Growth,
    pub(super) weights: Weights<'a>,
}

/// Computes the status.
pub(super) fn compute(seen: &Seen<'_>) -> LogStorageStatus {
    let ready = count(seen.nodes.iter().filter(|node| answers(node.state)));
    let desired = seen.kept.map(|kept| kept.ledger.nodes.saturating_mul(u32::try_from(seen.valid.mirrors).unwrap_or(1)));
    let balance = balance(seen);
    LogStorageStatus {
        observed_generation: seen.storage.metadata.generation,
        conditions: conditions(seen, balance),
        desired_nodes: desired.or(seen.before.desired_nodes),
        ready_nodes: Some(ready),
        selector: Some(format!("{LABEL_STORAGE}={}", seen.valid.object.name)),
        query_endpoint: Some(build::query_address(seen.valid)),
        nodes: node_statuses(seen),
        map: map_status(seen).or_else(|| seen.before.map.clone()),
        balance: balance.map(|max_over_mean| BalanceStatus {
            max_over_mean,
            moves_last_hour: seen.kept.map_or(0, |kept| kept.ledger.moves_last_hour(seen.now)),
            measured: seen.weights != Weights::Alike,
        }),
        last_decision: seen.notable.cloned().or_else(|| seen.before.last_decision.clone()),
        summary: Some(LogStorageSummary {
            nodes: Some(format!("{ready}/{}", desired.unwrap_or(0))),
            balance: balance.map(|ratio| format!("{ratio:.2}")),
            mode: Some(mode(seen).to_owned()),
            last_decision: seen.notable.map(in_short).or_else(|| seen.before.summary.as_ref()?.last_decision.clone()),
        }),
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

const fn answers(state: NodeState) -> bool {
    matches!(state, NodeState::Ready | NodeState::Cordoned | NodeState::Quarantined | NodeState::Full)
}

/// Two decimals are enough to act on.
fn balance(seen: &Seen<'_>) -> Option<f64> {
    let (before, after) = seen.decision?.balance();
    let acted = seen.decision.is_some_and(|decision| decision.mode == Mode::Enforce);
    (if acted { after } else { before }).map(|ratio| (ratio * 100.0).round() / 100.0)
}

fn node_statuses(seen: &Seen<'_>) -> Vec<NodeStatus> {
    let weight = |partition: usize| match seen.weights {
        Weights::Measured(weights) => weights.get(partition).copied().unwrap_or(1.0),
        Weights::Stale | Weights::Alike => 1.0,
    };
    let mut loads: BTreeMap<&str, f64> = BTreeMap::new();
    for ownership in seen.kept.iter().flat_map(|kept| kept.ledger.mirrors()) {
        for (partition, node) in (0..ownership.len()).filter_map(|partition| Some((partition, ownership.owner(partition)?))) {
            *loads.entry(node).or_default() += weight(partition);
        }
    }
    seen.nodes.iter().map(|node| node_status(node, seen.nodes, &loads)).collect()
}

fn node_status(node: &Node, nodes: &[Node], loads: &BTreeMap<&str, f64>) -> NodeStatus {
    let load = |node: &Node| loads.get(node.name.as_str()).copied().unwrap_or(0.0);
    let own = load(node);
    let of_mirror = || nodes.iter().filter(|other| other.mirror == node.mirror && other.state.takes());
    let mean = of_mirror().map(load).sum::<f64>() / f64::from(count(of_mirror()).max(1));
    NodeStatus {
        name: node.name.clone(),
        zone: node.zone.clone(),
        state: node.state.as_str().to_owned(),
        disk_free_bytes: node.vitals.disk_free.map(round).and_then(|bytes| format!("{bytes:.0}").parse().ok()),
        partitions: node.holds.owned,
        former_partitions: node.holds.former,
        weight: (mean > 0.0).then(|| (own / mean * 100.0).round() / 100.0),
    }
}

fn map_status(seen: &Seen<'_>) -> Option<MapStatus> {
    let map = seen.kept?.map.as_ref()?;
    let hash = map.digest().ok()?.to_string();
    Some(MapStatus { version: map.version, epoch: map.epoch, hash, config_map: build::map_name(&seen.valid.object.name) })
}

fn in_short(decision: &DecisionStatus) -> String {
    let changed = decision.moves.saturating_add(decision.failovers);
    match (decision.before, decision.after) {
        (Some(before), Some(after)) if changed > 0 => format!("{changed} moves {before:.2}->{after:.2}"),
        _ if decision.nodes_from != decision.nodes_to => format!("{}->{} nodes {}", decision.nodes_from, decision.nodes_to, decision.reason),
        _ if changed > 0 => format!("{changed} moves {}", decision.reason),
        _ => decision.reason.clone(),
    }
}

/// A decision as it stands in status.
pub(super) fn in_status(decision: &PlacementDecision) -> DecisionStatus {
    let (before, after) = decision.balance();
    let two = |ratio: Option<f64>| ratio.map(|ratio| (ratio * 100.0).round() / 100.0);
    DecisionStatus {
        id: decision.id.clone(),
        time: time(decision.at),
        verdict: decision.verdict.as_str().to_owned(),
        nodes_from: decision.nodes_from,
        nodes_to: decision.nodes_to,
        moves: decision.moves(),
        failovers: decision.failovers(),
        held_back: decision.held_back(),
        before: two(before),
        after: two(after),
        reason: decision.reason.clone(),
        message: decision.sentence.clone(),
        snapshot: Some(decision.snapshot.to_string()),
        policy: decision.policy.as_ref().map(|stamp| PolicyStamp {
            name: stamp.object.name.clone(),
            namespace: stamp.object.namespace.clone(),
            digest: stamp.digest.to_string(),
            version: Some(stamp.version.clone()),
        }),
        clamps: decision.clamps.iter().map(|clamp| clamp.guardrail.as_str().to_owned()).collect(),
        mode: if decision.mode == Mode::DryRun { SpecMode::DryRun } else { SpecMode::Enforce },
    }
}

fn conditions(seen: &Seen<'_>, balance: Option<f64>) -> Vec<Condition> {
    let mut conditions = Conditions::new(&seen.before.conditions, seen.now, seen.storage.metadata.generation);
    let parts = [
        (kind::NODES_READY, nodes_ready(seen)),
        (kind::REACHABLE, reachable(seen)),
        (kind::BALANCED, balanced(balance)),
        (kind::PLACEMENT_ACCEPTED, accepted(seen)),
        (kind::PLACEMENT_ACTIVE, active(seen)),
        (kind::VOLUMES_GROWN, grown(seen)),
    ];
    let (status, why, message) = readiness(seen, &parts);
    conditions.set(kind::READY, status, &why, &message);
    for (kind, (status, why, message)) in &parts {
        conditions.set(kind, *status, why, message);
    }
    conditions.finish()
}

type Verdict = (Status, String, String);

fn verdict(status: Status, why: &str, message: impl Into<String>) -> Verdict {
    (status, why.to_owned(), message.into())
}

fn readiness(seen: &Seen<'_>, parts: &[(&str, Verdict)]) -> Verdict {
    if let Some(trouble) = seen.trouble {
        return verdict(Status::False, trouble.reason, &trouble.message);
    }
    // What keeps records from being taken or found; the others are told of where they stand.
    let worst = parts.iter().take(2).find(|(_, (status, ..))| *status != Status::True);
    if let Some((_, (_, why, message))) = worst {
        let why = if why == reason::NODES_STARTING { reason::PROGRESSING } else { reason::DEGRADED };
        return verdict(Status::False, why, message);
    }
    if seen.kept.is_none_or(|kept| kept.map.is_none()) {
        return verdict(Status::False, reason::PROGRESSING, "not every partition has an owner yet");
    }
    verdict(Status::True, reason::AS_EXPECTED, format!("{} nodes answer and every partition has an owner", seen.nodes.len()))
}

fn named<'a>(nodes: impl Iterator<Item = &'a Node>) -> String {
    let all: Vec<String> = nodes.map(|node| format!("{} ({})", node.name, node.state.as_str())).collect();
    let more = all.len().saturating_sub(NAMED);
    let shown = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn nodes_ready(seen: &Seen<'_>) -> Verdict {
    let of = |states: &'static [NodeState]| seen.nodes.iter().filter(move |node| states.contains(&node.state));
    let bad = [
        (&[NodeState::Lost, NodeState::Silent][..], reason::NODES_LOST, "do not answer"),
        (&[NodeState::Full][..], reason::NODES_FULL, "have no room on their disks: raise spec.volume.size or spec.nodes.max, or shorten spec.retention"),
        (&[NodeState::Starting][..], reason::NODES_STARTING, "have not answered yet"),
    ];
    for (states, why, what) in bad {
        if of(states).next().is_some() {
            return verdict(Status::False, why, format!("{} {what}{}", named(of(states)), ailing(seen)));
        }
    }
    if seen.nodes.is_empty() {
        return verdict(Status::Unknown, reason::STARTING, "no node is known yet");
    }
    verdict(Status::True, reason::AS_EXPECTED, "every node answers")
}

/// What is wrong with the pods of nodes, as far as Kubernetes tells.
fn ailing(seen: &Seen<'_>) -> String {
    let pods = seen.members.pods.values().filter(|pod| !pod.finished).map(|pod| pod.facts.clone()).collect();
    let findings = assess(seen.now, &WorkloadFacts { stalled: None, pods }, Grace::default());
    findings.first().map_or_else(String::new, |finding| format!("; {}", finding.sentence))
}

/// A lost node keeps what it stored, and with one mirror nobody else has it.
fn reachable(seen: &Seen<'_>) -> Verdict {
    let Some(kept) = seen.kept else { return verdict(Status::Unknown, reason::STARTING, "the owners are not known yet") };
    let missing: Vec<&Node> = seen.nodes.iter().filter(|node| !answers(node.state) && !node.holds.nothing()).collect();
    let whole = |mirror: usize| missing.iter().all(|node| node.mirror != mirror);
    if (0..seen.valid.mirrors).any(whole) {
        let served = if missing.is_empty() { "every node that holds records answers" } else { "one mirror answers as a whole and is the one that is asked" };
        return verdict(Status::True, reason::AS_EXPECTED, served);
    }
    let range = missing.first().and_then(|node| unreachable_range(kept, node));
    let range = range.map_or_else(String::new, |range| format!("; {range}"));
    verdict(Status::False, reason::RECORDS_UNREACHABLE, format!("queries don't find what is on {}{range}", named(missing.iter().copied())))
}

/// Which partitions and times a node holds.
fn unreachable_range(kept: &Kept, node: &Node) -> Option<String> {
    let ownership = kept.ledger.mirrors().get(node.mirror)?;
    let tenures = || (0..ownership.len()).flat_map(|partition| ownership.owners(partition)).filter(|owner| owner.node == node.name);
    let partitions = (0..ownership.len()).filter(|partition| ownership.owners(*partition).any(|owner| owner.node == node.name)).count();
    let from = tenures().map(|owner| owner.from).min()?;
    let until = if tenures().any(|owner| owner.until.is_none()) { None } else { tenures().filter_map(|owner| owner.until).max() };
    let text = |at: UnixMs| time(at).0.to_string();
    let end = until.map_or_else(|| "now".to_owned(), text);
    Some(format!("{} holds records of {partitions} partitions from {} to {end}", node.name, text(from)))
}

fn balanced(balance: Option<f64>) -> Verdict {
    match balance {
        None => verdict(Status::Unknown, reason::NOT_MEASURED, "no node takes partitions"),
        Some(ratio) if ratio > BALANCED => verdict(Status::False, reason::SKEWED, format!("the fullest node carries {ratio:.2} times the mean")),
        Some(ratio) => verdict(Status::True, reason::AS_EXPECTED, format!("the fullest node carries {ratio:.2} times the mean")),
    }
}

fn accepted(seen: &Seen<'_>) -> Verdict {
    let Some(policy) = seen.valid.policy_object() else {
        return verdict(
            Status::False,
            reason::NO_POLICY,
            "spec.placement.policyRef is absent: only partitions without an owner, or of lost nodes, are given one",
        );
    };
    if let Some(why) = seen.unresolved {
        let status = if why.code == reason::STARTING { Status::Unknown } else { Status::False };
        return (status, why.code.clone(), why.sentence.clone());
    }
    let invocations = || seen.decision.iter().flat_map(|decision| &decision.mirrors).filter_map(|mirror| mirror.invocation.as_ref());
    for invocation in invocations() {
        match &invocation.outcome {
            PlacementOutcome::Failure(failure) => return verdict(Status::False, failure.kind.as_str(), format!("{}; owners are held", failure.message)),
            PlacementOutcome::Refusal(refusal) => {
                return verdict(Status::True, reason::POLICY_REFUSED, format!("{}: {}; owners are held", refusal.code, refusal.sentence));
            }
            PlacementOutcome::Proposal(_) => {}
        }
    }
    match seen.decision {
        Some(_) => verdict(Status::True, reason::AS_EXPECTED, format!("{policy} proposes the owners")),
        None => verdict(Status::Unknown, reason::STARTING, "no decision was made yet"),
    }
}

fn active(seen: &Seen<'_>) -> Verdict {
    let Some(decision) = seen.decision else { return verdict(Status::Unknown, reason::STARTING, "no decision was made yet") };
    match decision.verdict {
        PlacementVerdict::Hold => verdict(Status::False, &decision.reason, &decision.sentence),
        _ if seen.valid.mode == Mode::DryRun => verdict(Status::False, reason::DRY_RUN, "spec.mode is DryRun: decisions are recorded and change nothing"),
        _ => verdict(Status::True, reason::AS_EXPECTED, "decisions set the owners"),
    }
}

fn grown(seen: &Seen<'_>) -> Verdict {
    match seen.growth {
        None => verdict(Status::True, reason::AS_EXPECTED, format!("volumes have {} or more", seen.valid.volume.0)),
        Some((why, message)) => verdict(Status::False, why, message),
    }
}

fn mode(seen: &Seen<'_>) -> &'static str {
    match seen.decision.map(|decision| decision.verdict) {
        _ if seen.valid.paused => "Paused",
        _ if seen.valid.policy.is_none() => "Manual",
        Some(PlacementVerdict::Hold) => "Held",
        _ if seen.valid.mode == Mode::DryRun => "DryRun",
        _ => "Enforce",
    }
}
