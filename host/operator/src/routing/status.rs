//! Status and Events of a RoutingTable. [`compute`] touches nothing; [`write`] writes what changed.

use super::{Entry, Usage, Verdict};
use crate::build::Routed;
use crate::conditions::{Conditions, Status, find};
use crate::context::Context;
use crate::shell::events::EventType;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource as _};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_core::ids::{ObjectRef, UnixMs};
use weir_core::routing::Outcome;
use weir_crds::conditions::{kind, reason};
use weir_crds::names::FIELD_MANAGER;
use weir_crds::routing_table::{AppliedTable, RoutingTableStatus, RoutingTableSummary};
use weir_crds::{GROUP, RoutingTable, VERSION};

/// Warnings that a status holds at most.
const WARNINGS: usize = 32;

/// The table that is used.
#[derive(Clone)]
pub(super) struct Known {
    /// The table.
    pub(super) routed: Arc<Routed>,
    /// What the status says of it.
    pub(super) applied: AppliedTable,
}

/// What a status is computed from.
#[derive(Default)]
pub(super) struct Report {
    /// The table that is used.
    pub(super) known: Option<Known>,
    /// Reason and sentence, when the newest spec or the newest maps are not the table that is used.
    pub(super) refusal: Option<(String, String)>,
    /// As the API server has it.
    pub(super) written: Option<RoutingTableStatus>,
    warnings: Vec<String>,
    part: Option<Part>,
    compiled: bool,
}

struct Part {
    parent: String,
    verdict: Option<Verdict>,
}

impl Report {
    /// Takes in what came of a compilation.
    pub(super) fn take(&mut self, outcome: &Outcome, table: &str) {
        self.refusal = outcome.table.as_ref().err().map(|refusal| (refusal.reason.as_str().to_owned(), refusal.message.clone()));
        let own = outcome.warnings.iter().filter(|warning| warning.table == table).map(|warning| warning.message.clone());
        let parts = outcome.refused.iter().map(|(part, refusal)| format!("RoutingTable {part} is not used as it is: {}", refusal.message));
        self.warnings = parts.chain(own).take(WARNINGS).collect();
        (self.part, self.compiled) = (None, true);
    }

    /// Takes in what the table that this one is part of made of it.
    pub(super) fn as_part(&mut self, parent: &str, misplaced: Option<String>, verdict: Option<Verdict>) {
        self.known = None;
        let refused = verdict.as_ref().and_then(|verdict| verdict.refusal.as_ref());
        let refused = refused.map(|refusal| (refusal.reason.as_str().to_owned(), refusal.message.clone()));
        self.compiled = misplaced.is_some() || verdict.is_some();
        self.refusal = misplaced.map(|why| (reason::PARENT_NOT_FOUND.to_owned(), why)).or(refused);
        self.warnings = verdict.as_ref().map(|verdict| verdict.warnings.iter().take(WARNINGS).cloned().collect()).unwrap_or_default();
        self.part = Some(Part { parent: parent.to_owned(), verdict });
    }
}

/// Computes the status.
fn compute(now: UnixMs, table: &RoutingTable, before: &RoutingTableStatus, report: &Report, usages: &BTreeMap<ObjectRef, Usage>) -> RoutingTableStatus {
    let mut conditions = Conditions::new(&before.conditions, now, table.metadata.generation);
    let compiled = compiled(report);
    let confirmed = confirmed(report, usages);
    let ready = match &confirmed {
        Some(found) if compiled.0 == Status::True && found.0 != Status::Unknown => found.clone(),
        _ => compiled.clone(),
    };
    conditions.set(kind::READY, ready.0, &ready.1, &ready.2);
    conditions.set(kind::COMPILED, compiled.0, &compiled.1, &compiled.2);
    if let Some((status, why, message)) = &confirmed {
        conditions.set(kind::CONFIRMED, *status, why, message);
    }
    let verdict = report.part.as_ref().and_then(|part| part.verdict.as_ref());
    let rules = report.known.as_ref().map(|known| u32::try_from(known.routed.table.rules.len()).unwrap_or(u32::MAX));
    let (desired, confirming) = (desired(usages), confirming(usages));
    let is_root = report.part.is_none();
    RoutingTableStatus {
        observed_generation: table.metadata.generation,
        conditions: conditions.finish(),
        applied: report.known.as_ref().map(|known| known.applied.clone()),
        rules: rules.or_else(|| verdict.map(|verdict| verdict.rules)),
        processors: is_root.then(|| u32::try_from(usages.len()).unwrap_or(u32::MAX)),
        desired_replicas: is_root.then_some(desired),
        confirmed_replicas: confirming.filter(|_| is_root),
        warnings: report.warnings.clone(),
        summary: confirming
            .filter(|_| is_root && !usages.is_empty())
            .map(|confirming| RoutingTableSummary { confirmed: Some(format!("{confirming}/{desired}")) }),
    }
}

type Condition = (Status, String, String);

fn compiled(report: &Report) -> Condition {
    let stays = match &report.known {
        Some(known) => format!("version {} ({}) stays", known.routed.version, known.routed.hash),
        None if report.part.is_some() => "its rules stay as they were".to_owned(),
        None => "no table is used".to_owned(),
    };
    if let Some((why, message)) = &report.refusal {
        return (Status::False, why.clone(), format!("{message}; {stays}"));
    }
    if !report.compiled {
        return (Status::Unknown, reason::STARTING.to_owned(), "the table is being compiled".to_owned());
    }
    let message = match (&report.part, &report.known) {
        (Some(part), _) => format!("its rules are part of RoutingTable {}", part.parent),
        (None, Some(known)) => format!("version {} ({}) has {} rules", known.routed.version, known.routed.hash, known.routed.table.rules.len()),
        (None, None) => "the table is compiled".to_owned(),
    };
    (Status::True, reason::AS_EXPECTED.to_owned(), message)
}

fn confirmed(report: &Report, usages: &BTreeMap<ObjectRef, Usage>) -> Option<Condition> {
    let known = report.known.as_ref().filter(|_| report.part.is_none())?;
    let version = known.routed.version;
    if usages.is_empty() {
        return Some((Status::Unknown, reason::NOT_USED.to_owned(), "no LogProcessor names this table".to_owned()));
    }
    if let Some((processor, (why, message))) = usages.iter().find_map(|(processor, usage)| Some((processor, usage.trouble.as_ref()?))) {
        return Some((Status::False, why.clone(), format!("LogProcessor {}: {message}", processor.name)));
    }
    let Some(confirming) = confirming(usages) else {
        let silent = usages.iter().find(|(_, usage)| usage.confirmed.is_none()).map_or("", |(processor, _)| processor.name.as_str());
        let message = format!("replicas of LogProcessor {silent} are not measured, so none can confirm: enable spec.metrics.scrape");
        return Some((Status::Unknown, reason::METRICS_NOT_READY.to_owned(), message));
    };
    let desired = desired(usages);
    if confirming < desired {
        return Some((Status::False, reason::ROLLING_OUT.to_owned(), format!("{confirming} of {desired} replicas confirm version {version}")));
    }
    if desired == 0 {
        return Some((Status::Unknown, reason::NO_REPLICAS.to_owned(), "no replica runs, so none can confirm".to_owned()));
    }
    Some((Status::True, reason::AS_EXPECTED.to_owned(), format!("all {desired} replicas confirm version {version} ({})", known.routed.hash)))
}

fn desired(usages: &BTreeMap<ObjectRef, Usage>) -> u32 {
    usages.values().fold(0, |sum, usage| sum.saturating_add(usage.desired))
}

/// Replicas that confirm; `None`: some are not measured.
fn confirming(usages: &BTreeMap<ObjectRef, Usage>) -> Option<u32> {
    usages.values().try_fold(0_u32, |sum, usage| Some(sum.saturating_add(usage.confirmed?)))
}

/// Writes the status when it differs and this process leads. What only tells that nobody has reported
/// yet is not written while a process is `fresh`; true: it has to be looked at again.
pub(super) async fn write(context: &Context, entry: &Entry, table: &RoutingTable, report: &mut Report, fresh: bool) -> Result<bool, kube::Error> {
    let before = report.written.clone().or_else(|| table.status.clone()).unwrap_or_default();
    let status = compute(context.now(), table, &before, report, &context.tables.usages_of(&entry.object));
    if status == before || !context.leadership.is_leader() {
        return Ok(false);
    }
    let known = |status: &RoutingTableStatus| {
        let compiled = find(&status.conditions, kind::COMPILED).map(|condition| (condition.status.clone(), condition.reason.clone()));
        (compiled, status.applied.clone(), status.observed_generation, status.warnings.clone())
    };
    if !before.conditions.is_empty() && (!report.compiled || (fresh && known(&before) == known(&status))) {
        return Ok(true);
    }
    let api: Api<RoutingTable> = Api::namespaced(context.client.clone(), &entry.object.namespace);
    let patch = serde_json::json!({
        "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "RoutingTable",
        "metadata": { "name": entry.object.name, "uid": table.metadata.uid }, "status": status,
    });
    match api.patch_status(&entry.object.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
        Ok(_) => announce(context, table, &before, &status),
        // It is being deleted, or is another one of the same name: the watch will tell.
        Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => return Ok(false),
        Err(error) => {
            context.metrics.apply_failed("RoutingTable", &error);
            return Err(error);
        }
    }
    report.written = Some(status);
    Ok(false)
}

/// Says once what changed.
fn announce(context: &Context, table: &RoutingTable, before: &RoutingTableStatus, after: &RoutingTableStatus) {
    let publish = |type_, reason: &str, note: String| context.events.publish(table.object_ref(&()), type_, reason, "Compile", note);
    if let Some(applied) = after.applied.as_ref().filter(|applied| before.applied.as_ref() != Some(*applied)) {
        publish(EventType::Normal, "TableCompiled", format!("version {} ({}) is used from now on", applied.version, applied.hash));
    }
    for kind in [kind::COMPILED, kind::CONFIRMED] {
        let said = |status: &RoutingTableStatus| find(&status.conditions, kind).map(|condition| (condition.status.clone(), condition.reason.clone()));
        let refused = find(&after.conditions, kind).filter(|condition| condition.status == "False" && condition.reason != reason::ROLLING_OUT);
        if let Some(condition) = refused.filter(|_| said(before) != said(after)) {
            publish(EventType::Warning, &condition.reason, condition.message.clone());
        }
    }
    for warning in after.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
        publish(EventType::Warning, "RoutingWarning", warning.clone());
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
