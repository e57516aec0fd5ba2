//! Why a decision is what it is: a verdict, a stable word, and a sentence. Touches nothing; called by
//! [`super::decision`].

use super::decision::{PlacementDecision, PlacementSnapshot, PlacementVerdict, reason};
use super::guard::PlacementGuardrail;
use super::policy::{PlacementInput, PlacementOutcome};
use crate::snapshot::Mode;

/// Names at most this many nodes.
const NAMED: usize = 3;

pub(super) fn explain(snapshot: &PlacementSnapshot, decision: &PlacementDecision) -> (PlacementVerdict, String, String) {
    let (verdict, word, mut sentence) = main(snapshot, decision);
    let (moves, held_back) = (decision.moves(), decision.held_back());
    if verdict == PlacementVerdict::Failover && moves > 0 {
        sentence.push_str(&format!("; besides, {moves} move"));
    }
    if held_back > 0 {
        let mut by: Vec<&str> = decision.clamps.iter().filter(|clamp| is_about_moves(clamp.guardrail)).map(|clamp| clamp.guardrail.as_str()).collect();
        by.dedup();
        sentence.push_str(&format!("; {held_back} stay for now ({})", by.join(", ")));
    }
    if decision.nodes_to != decision.nodes_from {
        sentence.push_str(&format!("; nodes: {} to {}", decision.nodes_from, decision.nodes_to));
    }
    (verdict, word, sentence)
}

const fn is_about_moves(guardrail: PlacementGuardrail) -> bool {
    !matches!(guardrail, PlacementGuardrail::MinNodes | PlacementGuardrail::MaxNodes | PlacementGuardrail::NodePin)
}

fn main(snapshot: &PlacementSnapshot, decision: &PlacementDecision) -> (PlacementVerdict, String, String) {
    let all = || decision.mirrors.iter().flat_map(|mirror| &mirror.failovers);
    let lost = all().filter(|change| change.from.is_some()).count();
    let first = all().count().saturating_sub(lost);
    let homeless: u32 = decision.mirrors.iter().map(|mirror| mirror.homeless).fold(0, u32::saturating_add);
    if lost > 0 {
        let word = reason::NODES_LOST.to_owned();
        return (PlacementVerdict::Failover, word, format!("{lost} partitions of {} get new owners", nodes_that_forfeit(&snapshot.mirrors)));
    }
    if snapshot.paused {
        return hold(reason::PAUSED, "spec.paused is set: owners and nodes stay as they are");
    }
    if homeless > 0 {
        let mass = decision.clamps.iter().any(|clamp| clamp.guardrail == PlacementGuardrail::MassLoss);
        let (word, why) = if mass {
            (
                reason::MASS_LOSS,
                "more than three of four nodes are lost at once: they keep their partitions until some return, since it may be the operator that does not see them",
            )
        } else {
            (reason::NO_READY_NODE, "no node takes partitions")
        };
        return hold(word, &format!("{homeless} partitions have no node that answers, and {why}"));
    }
    if first > 0 {
        return (PlacementVerdict::Move, reason::FIRST_OWNERS.to_owned(), format!("{first} partitions get their first owner"));
    }
    with_policy(snapshot, decision)
}

fn hold(word: &str, sentence: &str) -> (PlacementVerdict, String, String) {
    (PlacementVerdict::Hold, word.to_owned(), sentence.to_owned())
}

fn with_policy(snapshot: &PlacementSnapshot, decision: &PlacementDecision) -> (PlacementVerdict, String, String) {
    let scales = decision.nodes_to != decision.nodes_from;
    for outcome in decision.mirrors.iter().filter_map(|mirror| mirror.invocation.as_ref()).map(|invocation| &invocation.outcome) {
        match outcome {
            PlacementOutcome::Refusal(refusal) => return hold(&refusal.code, &format!("the policy refuses: {}", refusal.sentence)),
            PlacementOutcome::Failure(failure) => return hold(failure.kind.as_str(), &format!("the policy failed: {}", failure.message)),
            PlacementOutcome::Proposal(_) => {}
        }
    }
    let rationale = decision.mirrors.iter().find_map(|mirror| match &mirror.invocation.as_ref()?.outcome {
        PlacementOutcome::Proposal(proposal) => Some(&proposal.rationale),
        _ => None,
    });
    match rationale {
        Some(rationale) => {
            let dry = if snapshot.mode == Mode::DryRun { " (dry run: nothing changes)" } else { "" };
            let verdict = match decision.moves() {
                0 if scales => PlacementVerdict::Scale,
                0 => PlacementVerdict::Steady,
                _ => PlacementVerdict::Move,
            };
            (verdict, rationale.code.clone(), format!("{}{dry}", rationale.sentence.trim_end_matches('.')))
        }
        None if scales => (PlacementVerdict::Scale, reason::PINNED.to_owned(), "the number of nodes follows spec.nodes".to_owned()),
        None => match &snapshot.unresolved {
            Some(block) => hold(&block.code, &block.sentence),
            None if snapshot.policy.is_some() => hold(reason::POLICY_NOT_LOADED, "the policy is not loaded"),
            None => hold(reason::NO_POLICY, "spec.placement.policyRef is absent: only partitions of lost nodes get new owners"),
        },
    }
}

fn nodes_that_forfeit(mirrors: &[PlacementInput]) -> String {
    let forfeits = |input: &PlacementInput| -> Vec<String> {
        let columns = input.nodes.names.iter().zip(&input.nodes.states);
        columns.filter(|(_, state)| state.forfeits()).map(|(name, state)| format!("{name} ({})", state.as_str())).collect()
    };
    let mut names: Vec<String> = mirrors.iter().flat_map(forfeits).collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let shown = if names.is_empty() { "nodes that are gone".to_owned() } else { names.join(", ") };
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
