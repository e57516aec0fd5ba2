//! One task per RoutingTable: compiles, keeps, publishes. Touches the network.
//!
//! In this order, so that it may stop anywhere: the compiled table is written down, its version is
//! written into the status, and only then do LogProcessors get it. A table that is part of another one
//! is compiled by that one's task, and its own only tells what came of it.

use super::status::{self, Known, Report};
use super::{Entry, Published, Verdict, keep, maps, source};
use crate::build::Routed;
use crate::context::Context;
use crate::shell::metrics::Step;
use crate::watch::chain;
use kube::{Api, ResourceExt as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::ids::Digest;
use weir_core::routing::{Compiled, Outcome, Source, compile};
use weir_crds::RoutingTable;
use weir_crds::routing_table::AppliedTable;

/// Wait before something is tried again that the API server did not do.
const RETRY: Duration = Duration::from_secs(2);
/// A process that has just begun to lead does not write over what was known for this long, unless it is
/// told otherwise: LogProcessors have to measure first.
const FRESH: Duration = Duration::from_secs(10);
/// Replicas confirm one by one: what they say is gathered for so long before it is told.
const GATHER: Duration = Duration::from_millis(300);

/// What the task knows.
#[derive(Default)]
struct State {
    /// What an earlier process wrote down was read.
    loaded: bool,
    /// The newest version that was ever given.
    version: u64,
    report: Report,
}

/// Runs until the RoutingTable is deleted or the operator stops.
pub async fn run(context: Arc<Context>, entry: Arc<Entry>) {
    let mut leadership = context.leadership.subscribe();
    let mut state = State::default();
    let mut due = true;
    let mut began = Instant::now();
    loop {
        let leads = *leadership.borrow_and_update();
        let mut retry = false;
        if leads {
            retry = match turn(&context, &entry, &mut state, due, began.elapsed() < FRESH).await {
                Ok(again) => {
                    due = false;
                    again
                }
                Err(error) => {
                    context.metrics.failed(Step::Apply);
                    tracing::warn!(table = %entry.object, error = %chain(&error), "the routing table could not be brought up to date and is tried again");
                    true
                }
            };
        } else {
            // Somebody else may give the next version.
            (state, due, began) = (State::default(), true, Instant::now());
        }
        tokio::select! {
            () = entry.stop.cancelled() => return,
            () = context.stop.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
            () = entry.recompile.notified() => due = true,
            () = entry.tell.notified() => tokio::time::sleep(GATHER).await,
            () = tokio::time::sleep(RETRY), if retry => {}
        }
    }
}

/// Brings everything up to date; true: the status has to be looked at again.
async fn turn(context: &Context, entry: &Entry, state: &mut State, due: bool, fresh: bool) -> Result<bool, kube::Error> {
    if !state.loaded {
        load(context, entry, state).await?;
    }
    let table = entry.table();
    if table.metadata.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let Some(parent) = entry.parent() else {
        if due {
            renew(context, entry, &table, state).await?;
        }
        let again = status::write(context, entry, &table, &mut state.report, fresh).await?;
        publish(context, entry, state);
        if let Some(known) = state.report.known.as_ref().filter(|_| due) {
            keep::clear(context, &table, &known.applied.config_map).await;
        }
        return Ok(again);
    };
    context.tables.publish(&entry.object, Published::PartOf(parent.name.clone()));
    state.report.as_part(&parent.name, misplaced(context, entry), entry.verdict.lock().clone());
    status::write(context, entry, &table, &mut state.report, fresh).await
}

/// Reads what was written down before: the watch may still be behind.
async fn load(context: &Context, entry: &Entry, state: &mut State) -> Result<(), kube::Error> {
    let api: Api<RoutingTable> = Api::namespaced(context.client.clone(), &entry.object.namespace);
    let found = api.get_opt(&entry.object.name).await?;
    let status = found.as_ref().and_then(|table| table.status.clone()).unwrap_or_default();
    if let Some((table, applied)) = found.as_ref().zip(status.applied.as_ref().filter(|_| entry.parent().is_none())) {
        state.version = applied.version;
        state.report.known = keep::read(context, table, applied).await?.map(|routed| Known { routed: Arc::new(routed), applied: applied.clone() });
    }
    state.report.written = Some(status);
    state.loaded = true;
    Ok(())
}

/// Compiles, and writes a new table down.
async fn renew(context: &Context, entry: &Entry, table: &RoutingTable, state: &mut State) -> Result<(), kube::Error> {
    let parts = context.tables.parts_of(&entry.object);
    let tables: Vec<Arc<RoutingTable>> = parts.iter().map(|part| part.table()).collect();
    let sources: Vec<Source> = tables.iter().map(|table| source::of(table)).collect();
    let root = source::of(table);
    let names: BTreeSet<String> = sources.iter().chain([&root]).flat_map(source::storages).cloned().collect();
    entry.storages.lock().clone_from(&names);
    let mut found = BTreeMap::new();
    for name in names {
        let map = maps::of_storage(context, &entry.object.namespace, &name).await?;
        found.insert(name, map);
    }
    let previous = state.report.known.as_ref().map(|known| known.routed.clone());
    let outcome = compile(&root, &sources, &found, previous.as_ref().map(|routed| &routed.table));
    state.report.take(&outcome, &table.name_any());
    if let Ok(compiled) = &outcome.table {
        let hash = Digest::of(compiled.json.as_bytes()).short();
        keep::write(context, table, &compiled.json).await?;
        if previous.is_none_or(|known| known.hash != hash) {
            state.version += 1;
            state.report.known = Some(known(table, compiled, state.version, hash));
        }
    }
    let generations = tables.iter().map(|table| table.metadata.generation);
    for (part, generation) in parts.iter().zip(generations) {
        judge(part, generation, &outcome, state.report.known.as_ref());
    }
    Ok(())
}

fn known(table: &RoutingTable, compiled: &Compiled, version: u64, hash: String) -> Known {
    let applied = AppliedTable { version, config_map: keep::name(table, &hash), hash: hash.clone() };
    Known { routed: Arc::new(Routed { table: compiled.table.clone(), version, hash }), applied }
}

/// Tells a part what came of it.
fn judge(part: &Entry, generation: Option<i64>, outcome: &Outcome, known: Option<&Known>) {
    let name = &part.object.name;
    let own = |rules: &[weir_core::routing::Rule]| u32::try_from(rules.iter().filter(|rule| rule.table == *name).count()).unwrap_or(u32::MAX);
    let verdict = Verdict {
        generation,
        // A part of a table that can't be used itself is not in use either, whatever is right with it.
        refusal: outcome.refused.get(name).or_else(|| outcome.table.as_ref().err()).cloned(),
        rules: known.map_or(0, |known| own(&known.routed.table.rules)),
        warnings: outcome.warnings.iter().filter(|warning| warning.table == *name).map(|warning| warning.message.clone()).collect(),
    };
    let mut held = part.verdict.lock();
    if held.as_ref() != Some(&verdict) {
        *held = Some(verdict);
        part.tell.notify_one();
    }
}

/// Why a table can't be part of the one that it names.
fn misplaced(context: &Context, entry: &Entry) -> Option<String> {
    let parent = entry.parent()?;
    match context.tables.get(&parent) {
        None => Some(format!("there is no RoutingTable {} in this namespace: create it, or correct spec.parentRef", parent.name)),
        Some(found) => {
            found.parent().map(|grandparent| format!("RoutingTable {} is itself a part, of {}: name that one in spec.parentRef", parent.name, grandparent.name))
        }
    }
}

fn publish(context: &Context, entry: &Entry, state: &State) {
    let news = match (&state.report.known, &state.report.refusal) {
        (Some(known), _) => Published::Ready(known.routed.clone()),
        (None, Some((_, message))) => Published::Refused(message.clone()),
        (None, None) => return,
    };
    context.tables.publish(&entry.object, news);
}
