//! A compiled routing table as part of a collector's configuration. Touches nothing; called by
//! [`super::revision`].
//!
//! ```text
//! logs pipelines of the user ─▶ routing/weir ─┬─▶ logs/weir.to.<destination> ─ filter ─▶ dropped and counted
//!                                             ├─▶ logs/weir.to.<destination> ─ filter? ─▶ otlphttp or otlp
//!                                             └─▶ logs/weir.to.<destination> ─ filter?, transform ─▶ routing/weir.<storage>.<mirror>
//! routing/weir.<storage>.<mirror> ─▶ logs/weir.<storage>.<node> ─▶ otlphttp/weir.<storage>.<node>
//! ```
//!
//! A slot's exporter is named after the node whose position it is, never after where it points now: the
//! name is that of its queue on disk, and a slot that is pointed elsewhere takes its queue along. A slot
//! that owns nothing any more stays for as long as the map has it, so that its queue empties.
//!
//! | module | what it is |
//! |---|---|
//! | `ottl` | conditions and statements in the collector's language |
//! | `exporters` | exporters with their queues, and the environment for their Secrets |

mod exporters;
mod ottl;

pub(crate) use ottl::PARTITION;

use super::collector::{self, kind_of};
use super::valid::{Invalid, Notice};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use weir_core::placement;
use weir_core::routing::{Destination, Table, Target};
use weir_crds::log_processor::OtelCollector;

/// The connector that the user's pipelines lead into.
pub const ENTRY: &str = "routing/weir";
/// Resource attribute of a collector's own metrics: version of the routing table that it runs.
pub const TABLE_VERSION_LABEL: &str = "weir.table.version";
/// Resource attribute of a collector's own metrics: hash of the routing table that it runs.
pub const TABLE_HASH_LABEL: &str = "weir.table.hash";
/// Extension in which the queues of Weir's exporters live.
const QUEUES: &str = "file_storage/weir";
/// Exporter of pipelines that let nothing through: each pipeline needs one.
const NOWHERE: &str = "debug/weir";
const CONFIG: &str = "spec.engine.otelCollector.config";

/// A table with the version that was given to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The table.
    pub table: Table,
    /// Its version.
    pub version: u64,
    /// First 12 hex digits of the digest of its canonical bytes.
    pub hash: String,
}

/// True for names of components and pipelines that are Weir's own to give.
pub(super) fn is_own(id: &str) -> bool {
    id.split_once('/').is_some_and(|(_, name)| name == "weir" || name.starts_with("weir."))
}

/// The block with the table in its configuration and the Secrets of its destinations in its environment.
pub(super) fn add(spec: &OtelCollector, routed: &Routed) -> Result<(OtelCollector, Vec<Notice>), Invalid> {
    let mut spec = spec.clone();
    let stored = spec.queue_volume.as_ref().map(|volume| format!("{}/weir", volume.mount_path.trim_end_matches('/')));
    let mut parts = Parts { stored: stored.is_some(), ..Parts::default() };
    parts.entry(&routed.table);
    for (name, destination) in &routed.table.destinations {
        parts.destination(&routed.table, name, destination);
    }
    for (name, map) in &routed.table.storages {
        parts.storage(&routed.table, name, map);
    }
    spec.env.extend(exporters::environment(&routed.table));
    let config = &mut spec.config;
    reserved(config)?;
    lead_in(config)?;
    if let Some(directory) = stored {
        insert(config, &["extensions"], [(QUEUES.to_owned(), json!({ "directory": directory, "create_directory": true }))])?;
        enable(config)?;
    }
    insert(config, &["connectors"], parts.connectors)?;
    insert(config, &["processors"], parts.processors)?;
    insert(config, &["exporters"], parts.exporters)?;
    insert(config, &["service", "pipelines"], parts.pipelines)?;
    collector::stamp(config, TABLE_VERSION_LABEL, &routed.version.to_string());
    collector::stamp(config, TABLE_HASH_LABEL, &routed.hash);
    let notice = (!parts.stored).then(|| {
        Notice::new(
            "QueueInMemory",
            "the queues of the routing table are in memory, so what waits in them is lost when a replica crashes: set engine.otelCollector.queueVolume",
        )
    });
    Ok((spec, notice.into_iter().collect()))
}

/// What a table adds to a configuration.
#[derive(Default)]
struct Parts {
    stored: bool,
    connectors: Map<String, Value>,
    processors: Map<String, Value>,
    exporters: Map<String, Value>,
    pipelines: Map<String, Value>,
}

impl Parts {
    fn entry(&mut self, table: &Table) {
        let mut rules: Vec<Value> =
            table.rules.iter().map(|rule| route(ottl::context(&rule.when), &ottl::condition(&rule.when), &destination_pipeline(&rule.destination))).collect();
        let default = destination_pipeline(&table.default);
        if rules.is_empty() {
            // The connector takes no empty table.
            rules.push(route("resource", ottl::ALWAYS, &default));
        }
        self.connectors.insert(ENTRY.to_owned(), connector(rules, &default));
    }

    fn destination(&mut self, table: &Table, name: &str, destination: &Destination) {
        let filter = match (&destination.target, destination.sample) {
            (Target::Drop, _) => Some(ottl::ALWAYS.to_owned()),
            (_, Some(percent)) => Some(ottl::not_sampled(percent)),
            (_, None) => None,
        };
        let mut processors = Vec::new();
        if let Some(condition) = filter {
            let id = format!("filter/weir.to.{name}");
            self.processors.insert(id.clone(), json!({ "error_mode": "ignore", "logs": { "log_record": [condition] } }));
            processors.push(id);
        }
        let exporters = match &destination.target {
            Target::Drop => {
                self.exporters.insert(NOWHERE.to_owned(), json!({}));
                vec![NOWHERE.to_owned()]
            }
            Target::Otlp(otlp) => {
                let (id, exporter) = exporters::otlp(name, otlp, self.queues());
                self.exporters.insert(id.clone(), exporter);
                vec![id]
            }
            Target::Storage(storage) => {
                processors.push(format!("transform/weir.{storage}"));
                let mirrors = table.storages.get(storage).map_or(0, |map| map.mirrors.len());
                (0..mirrors).map(|mirror| mirror_connector(storage, mirror)).collect()
            }
        };
        let pipeline = json!({ "receivers": [ENTRY], "processors": processors, "exporters": exporters });
        self.pipelines.insert(destination_pipeline(name), pipeline);
    }

    fn storage(&mut self, table: &Table, name: &str, map: &placement::Map) {
        let statements = ottl::partition(&table.routing_key, map.partitions());
        let context = ottl::partition_context(&table.routing_key);
        let transform = json!({ "error_mode": "ignore", "log_statements": [{ "context": context, "statements": statements }] });
        self.processors.insert(format!("transform/weir.{name}"), transform);
        let mut receivers = vec![BTreeSet::new(); map.slots.len()];
        for (mirror, owners) in map.mirrors.iter().enumerate() {
            let id = mirror_connector(name, mirror);
            let mut routes = Vec::new();
            for (at, (slot, receivers)) in map.slots.iter().zip(&mut receivers).enumerate() {
                let owned: Vec<usize> = (0..).zip(owners).filter(|(_, owner)| usize::try_from(**owner) == Ok(at)).map(|(partition, _)| partition).collect();
                if !owned.is_empty() {
                    routes.push(route(context, &ottl::partition_in(&owned), &slot_pipeline(name, &slot.node)));
                    receivers.insert(id.clone());
                }
            }
            // A record without a partition is kept by the owner of the first one: queries ask all nodes.
            let fallback = map.slot(mirror, 0).map(|slot| slot_pipeline(name, &slot.node)).unwrap_or_default();
            self.connectors.insert(id, connector(routes, &fallback));
        }
        for (slot, receivers) in map.slots.iter().zip(receivers) {
            let receivers = if receivers.is_empty() { BTreeSet::from([mirror_connector(name, 0)]) } else { receivers };
            let (id, exporter) = exporters::slot(name, slot, &table.routing_key, self.queues());
            self.exporters.insert(id.clone(), exporter);
            self.pipelines.insert(slot_pipeline(name, &slot.node), json!({ "receivers": receivers, "exporters": [id] }));
        }
    }

    fn queues(&self) -> Option<&'static str> {
        self.stored.then_some(QUEUES)
    }
}

fn destination_pipeline(destination: &str) -> String {
    format!("logs/weir.to.{destination}")
}

fn mirror_connector(storage: &str, mirror: usize) -> String {
    format!("routing/weir.{storage}.{mirror}")
}

fn slot_pipeline(storage: &str, node: &str) -> String {
    format!("logs/weir.{storage}.{node}")
}

fn route(context: &str, condition: &str, pipeline: &str) -> Value {
    json!({ "context": context, "condition": condition, "pipelines": [pipeline] })
}

fn connector(table: Vec<Value>, default: &str) -> Value {
    json!({ "error_mode": "ignore", "default_pipelines": [default], "table": table })
}

/// Refuses the user's components and pipelines that have Weir's names.
fn reserved(config: &Map<String, Value>) -> Result<(), Invalid> {
    let service = config.get("service").and_then(Value::as_object);
    let sections = ["receivers", "processors", "exporters", "connectors", "extensions"].map(|name| (name, config.get(name)));
    for (name, section) in sections.into_iter().chain([("service.pipelines", service.and_then(|service| service.get("pipelines")))]) {
        let taken = section.and_then(Value::as_object).and_then(|section| section.keys().find(|id| is_own(id)));
        if let Some(id) = taken {
            return Err(Invalid::new(
                format!("{CONFIG}.{name}.{id}"),
                "with routingTableRef, names of `weir` and those that begin with `weir.` are Weir's to give: choose another one",
            ));
        }
    }
    Ok(())
}

/// Lets pipelines of logs without an exporter lead into the table; at least one has to.
fn lead_in(config: &mut Map<String, Value>) -> Result<(), Invalid> {
    let pipelines = config.get_mut("service").and_then(|service| service.get_mut("pipelines")).and_then(Value::as_object_mut);
    let mut leads = false;
    for (_, pipeline) in pipelines.into_iter().flatten().filter(|(id, _)| kind_of(id) == "logs") {
        let Some(pipeline) = pipeline.as_object_mut() else { continue };
        let exporters = pipeline.entry("exporters").or_insert(Value::Null);
        if exporters.is_null() || exporters.as_array().is_some_and(Vec::is_empty) {
            *exporters = json!([ENTRY]);
        }
        leads |= exporters.as_array().is_some_and(|exporters| exporters.iter().any(|id| id == ENTRY));
    }
    if leads {
        return Ok(());
    }
    Err(Invalid::new(
        format!("{CONFIG}.service.pipelines"),
        format!("no pipeline of logs leads into the routing table: write exporters: [{ENTRY}] in one, or leave its exporters out"),
    ))
}

/// Switches the extension for queues on.
fn enable(config: &mut Map<String, Value>) -> Result<(), Invalid> {
    let service = collector::nested(config, &["service"]).ok_or_else(|| not_written_out("service"))?;
    let extensions = service.entry("extensions").or_insert(Value::Null);
    if extensions.is_null() {
        *extensions = json!([]);
    }
    extensions.as_array_mut().ok_or_else(|| not_written_out("service.extensions"))?.push(json!(QUEUES));
    Ok(())
}

fn insert(config: &mut Map<String, Value>, path: &[&str], parts: impl IntoIterator<Item = (String, Value)>) -> Result<(), Invalid> {
    let mut parts = parts.into_iter().peekable();
    if parts.peek().is_some() {
        collector::nested(config, path).ok_or_else(|| not_written_out(&path.join(".")))?.extend(parts);
    }
    Ok(())
}

fn not_written_out(section: &str) -> Invalid {
    Invalid::new(format!("{CONFIG}.{section}"), "with routingTableRef it has to be written out, because Weir adds to it")
}

#[cfg(test)]
mod tests;
