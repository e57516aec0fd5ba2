//! From sources to a table, with what is refused and what is warned about. Touches nothing.
//!
//! A part that can't be used does not stop the others: its rules in the table before stay, so a slip
//! in one team's object sends nobody's records elsewhere. A table that can't be used itself gives no
//! new table at all, and whoever asks keeps the one before.

use super::partition::RoutingKey;
use super::rule::Match;
use super::table::{Destination, Otlp, Rule, SCHEMA, Table, Target};
use crate::ids::UnixMs;
use crate::placement::Map;
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of a compiled table: what a ConfigMap holds (1 MiB), less some room for its metadata.
pub const MOST_BYTES: usize = 1_000_000;

/// One RoutingTable, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// When it was created; of two parts the older one comes first.
    pub created: UnixMs,
    /// Its destinations by name.
    pub destinations: BTreeMap<String, Wish>,
    /// Its rules in order.
    pub rules: Vec<Way>,
    /// Destination of what no rule matches; none in a part.
    pub default: Option<String>,
    /// What decides on the partition; of a part it does not count.
    pub routing_key: RoutingKey,
}

/// A rule, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its name.
    pub name: String,
    /// What a record must fulfil.
    pub when: Match,
    /// Name of a destination of the same source.
    pub destination: String,
}

/// A destination, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Where; `None`: it says nothing, or more than one thing.
    pub target: Option<Target>,
    /// Percent of the records that go on.
    pub sample: Option<u8>,
}

/// The map of a storage, or a sentence on why there is none.
pub type Found = Result<Map, String>;

/// Why a source is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asks for something that can't be done.
    InvalidSpec,
    /// A destination leads nowhere.
    DestinationUnreachable,
    /// A map is older than the one that is followed.
    MapOutOfDate,
    /// The table does not fit into a ConfigMap.
    TableTooLarge,
}

impl Reason {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidSpec => "InvalidSpec",
            Self::DestinationUnreachable => "DestinationUnreachable",
            Self::MapOutOfDate => "MapOutOfDate",
            Self::TableTooLarge => "TableTooLarge",
        }
    }
}

/// A source is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Sentence for people: what, and what to do.
    pub message: String,
}

/// Something that works and is likely a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The RoutingTable in which it is.
    pub table: String,
    /// Sentence for people.
    pub message: String,
}

/// A new table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The table.
    pub table: Table,
    /// Its canonical bytes.
    pub json: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The new table, or why there is none.
    pub table: Result<Compiled, Refusal>,
    /// Parts that are not used, by name.
    pub refused: BTreeMap<String, Refusal>,
    /// What is likely a mistake, in all sources.
    pub warnings: Vec<Warning>,
}

/// Compiles a table from its own source, those of its parts in any order, and the maps of its
/// storages. `previous` is the table that is used now.
#[must_use]
pub fn compile(root: &Source, parts: &[Source], maps: &BTreeMap<String, Found>, previous: Option<&Table>) -> Outcome {
    let mut refused = BTreeMap::new();
    let mut pieces = Vec::new();
    let mut ordered: Vec<&Source> = parts.iter().collect();
    ordered.sort_by_key(|part| (part.created, &part.name));
    for part in ordered {
        match piece(part, maps, previous) {
            Ok(piece) => pieces.push(piece),
            Err(refusal) => {
                pieces.extend(previous.map(|table| earlier(&part.name, table)));
                refused.insert(part.name.clone(), refusal);
            }
        }
    }
    match piece(root, maps, previous) {
        Ok(piece) => pieces.push(piece),
        Err(refusal) => return Outcome { table: Err(refusal), refused, warnings: Vec::new() },
    }
    let warnings = pieces.iter().flat_map(|piece| unused(piece, root)).collect();
    assemble(root, pieces, refused, warnings)
}

/// One source whose destinations all lead somewhere.
#[derive(Default)]
struct Piece {
    table: String,
    rules: Vec<Rule>,
    destinations: BTreeMap<String, Destination>,
    storages: BTreeMap<String, Map>,
}

fn invalid(message: String) -> Refusal {
    Refusal { reason: Reason::InvalidSpec, message }
}

fn key(table: &str, destination: &str) -> String {
    format!("{table}.{destination}")
}

fn piece(source: &Source, maps: &BTreeMap<String, Found>, previous: Option<&Table>) -> Result<Piece, Refusal> {
    let mut piece = Piece { table: source.name.clone(), ..Piece::default() };
    for (name, wish) in &source.destinations {
        let Some(target) = &wish.target else {
            return Err(invalid(format!("destination {name}: set exactly one of storageRef, otlp and drop")));
        };
        match target {
            Target::Storage(storage) => {
                piece.storages.insert(storage.clone(), map_of(name, storage, maps, previous)?);
            }
            Target::Otlp(otlp) => check_otlp(name, otlp)?,
            Target::Drop => {}
        }
        piece.destinations.insert(key(&source.name, name), Destination { target: target.clone(), sample: wish.sample });
    }
    let mut names = BTreeSet::new();
    for way in &source.rules {
        if !names.insert(&way.name) {
            return Err(invalid(format!("two rules are called {}: give each a name of its own", way.name)));
        }
        if way.when.severity.is_some_and(|range| range.min > range.max) {
            return Err(invalid(format!("rule {}: severity.atLeast is more severe than atMost: swap them", way.name)));
        }
        defined(source, &way.destination, &format!("rule {}", way.name))?;
        piece.rules.push(Rule { table: source.name.clone(), name: way.name.clone(), when: way.when.clone(), destination: key(&source.name, &way.destination) });
    }
    if let Some(default) = &source.default {
        defined(source, default, "default")?;
    }
    Ok(piece)
}

fn defined(source: &Source, destination: &str, from: &str) -> Result<(), Refusal> {
    if source.destinations.contains_key(destination) {
        return Ok(());
    }
    Err(invalid(format!("{from} leads to destination {destination}, which is not defined: add it to destinations, or correct its name")))
}

fn map_of(destination: &str, storage: &str, maps: &BTreeMap<String, Found>, previous: Option<&Table>) -> Result<Map, Refusal> {
    let unreachable = |why: &str| Refusal { reason: Reason::DestinationUnreachable, message: format!("destination {destination} can't be reached: {why}") };
    let map = match maps.get(storage) {
        Some(Ok(map)) => map,
        Some(Err(why)) => return Err(unreachable(why)),
        None => return Err(unreachable(&format!("LogStorage {storage} has no map yet"))),
    };
    let nodes: BTreeSet<&str> = map.slots.iter().map(|slot| slot.node.as_str()).collect();
    if nodes.len() != map.slots.len() {
        return Err(unreachable(&format!("the map of LogStorage {storage} gives two slots to one node")));
    }
    let known = previous.and_then(|table| table.storages.get(storage));
    if let Some(known) = known.filter(|known| (known.epoch, known.version) > (map.epoch, map.version)) {
        return Err(Refusal {
            reason: Reason::MapOutOfDate,
            message: format!(
                "the map of LogStorage {storage} is of epoch {} and version {}, and one of epoch {} and version {} is followed already: ownership never goes back. If the LogStorage was made anew, take its destinations out of the table once and put them back",
                map.epoch, map.version, known.epoch, known.version
            ),
        });
    }
    Ok(map.clone())
}

fn check_otlp(name: &str, otlp: &Otlp) -> Result<(), Refusal> {
    let host = otlp.endpoint.strip_prefix("https://").or_else(|| otlp.endpoint.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && !host.contains(char::is_whitespace) => Ok(()),
        _ => Err(invalid(format!("destination {name}: endpoint {} is no URL with http:// or https:// and a host", otlp.endpoint))),
    }
}

/// What the table before has of a part.
fn earlier(part: &str, table: &Table) -> Piece {
    let rules: Vec<Rule> = table.rules.iter().filter(|rule| rule.table == part).cloned().collect();
    let destinations = table.destinations.iter().filter(|(key, _)| rules.iter().any(|rule| rule.destination == **key));
    let destinations: BTreeMap<String, Destination> = destinations.map(|(key, destination)| (key.clone(), destination.clone())).collect();
    let storages = table.storages.iter().filter(|(name, _)| destinations.values().any(|destination| leads_to(destination, name)));
    let storages = storages.map(|(name, map)| (name.clone(), map.clone())).collect();
    Piece { table: part.to_owned(), rules, destinations, storages }
}

fn leads_to(destination: &Destination, storage: &str) -> bool {
    matches!(&destination.target, Target::Storage(name) if name == storage)
}

fn unused(piece: &Piece, root: &Source) -> Vec<Warning> {
    let default = root.default.as_ref().map(|default| key(&root.name, default));
    let used = |destination: &String| Some(destination) == default.as_ref() || piece.rules.iter().any(|rule| rule.destination == *destination);
    let unused = piece.destinations.keys().filter(|destination| !used(destination));
    let prefix = format!("{}.", piece.table);
    unused
        .map(|destination| {
            let name = destination.strip_prefix(prefix.as_str()).unwrap_or(destination);
            Warning { table: piece.table.clone(), message: format!("destination {name}: no rule leads to it") }
        })
        .collect()
}

fn assemble(root: &Source, pieces: Vec<Piece>, refused: BTreeMap<String, Refusal>, mut warnings: Vec<Warning>) -> Outcome {
    let mut table = Table {
        schema: SCHEMA,
        name: root.name.clone(),
        routing_key: root.routing_key.clone(),
        rules: Vec::new(),
        default: root.default.as_ref().map(|default| key(&root.name, default)).unwrap_or_default(),
        destinations: BTreeMap::new(),
        storages: BTreeMap::new(),
    };
    for piece in pieces {
        for rule in piece.rules {
            match fruitless(&rule, &table.rules) {
                Some(message) => warnings.push(Warning { table: rule.table, message }),
                None => table.rules.push(rule),
            }
        }
        table.destinations.extend(piece.destinations);
        for (name, map) in piece.storages {
            // A part that is refused brings the map of before; the newest one counts for all.
            let newest = table.storages.get(&name).is_none_or(|known| (known.epoch, known.version) < (map.epoch, map.version));
            if newest {
                table.storages.insert(name, map);
            }
        }
    }
    if let Some(rule) = table.rules.iter().find(|rule| rule.when == Match::default()) {
        let message = format!("default is never used: {} matches every record", title(rule, &root.name));
        warnings.push(Warning { table: root.name.clone(), message });
    }
    let led_to: BTreeSet<&String> = table.rules.iter().map(|rule| &rule.destination).chain([&table.default]).collect();
    let kept = |name: &String| led_to.contains(name);
    let destinations: BTreeMap<String, Destination> = table.destinations.iter().filter(|(name, _)| kept(name)).map(|(k, v)| (k.clone(), v.clone())).collect();
    table.storages.retain(|name, _| destinations.values().any(|destination| leads_to(destination, name)));
    table.destinations = destinations;
    Outcome { table: sized(table), refused, warnings }
}

fn sized(table: Table) -> Result<Compiled, Refusal> {
    let json = table.to_json().map_err(|error| invalid(error.to_string()))?;
    if json.len() > MOST_BYTES {
        let message = format!("the compiled table has {} bytes and a ConfigMap holds 1 MiB: write fewer rules or values", json.len());
        return Err(Refusal { reason: Reason::TableTooLarge, message });
    }
    Ok(Compiled { table, json })
}

/// Why a rule can never match, after those before it.
fn fruitless(rule: &Rule, before: &[Rule]) -> Option<String> {
    if rule.when.is_impossible() {
        return Some(format!("rule {} never matches: two of its requirements exclude each other", rule.name));
    }
    let taker = before.iter().find(|taker| taker.when.covers(&rule.when))?;
    Some(format!("rule {} never matches: {} comes first and takes all that it would", rule.name, title(taker, &rule.table)))
}

/// How a rule is spoken of in the status of a table.
fn title(rule: &Rule, table: &str) -> String {
    if rule.table == table { format!("rule {}", rule.name) } else { format!("rule {} of RoutingTable {}", rule.name, rule.table) }
}
