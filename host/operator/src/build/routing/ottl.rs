//! Conditions and statements in OTTL, the collector's language for them. Touches nothing.
//!
//! Text of a user gets in only by [`literal`], which leaves no way out of the quotes, and in which
//! `$` does not begin a reference to the environment.

use serde_json::json;
use weir_core::routing::{Match, Requirement, RoutingKey, Scope, Test};

/// The condition that always holds.
pub(super) const ALWAYS: &str = "true";
/// Attribute with the partition of a record; kept, so that a store can tell it too.
pub(crate) const PARTITION: &str = "weir.partition";

/// A string of OTTL within a value of the configuration: quoted as in JSON, which Go reads the same
/// way, and with `$` doubled, as the collector's own expansion wants it.
pub(super) fn literal(text: &str) -> String {
    escaped(&json!(text).to_string())
}

/// Text in a value of the configuration that the collector must take as it is.
pub(super) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// The context in which a match is looked at: once for all records of a resource where that is enough.
pub(super) fn context(when: &Match) -> &'static str {
    if when.of_resource_only() { "resource" } else { "log" }
}

/// A match as a condition in its [`context`].
pub(super) fn condition(when: &Match) -> String {
    let of_resource = when.of_resource_only();
    let needs = when.requirements.iter().map(|need| requirement(need, of_resource));
    let severity = when.severity.map(|range| format!("(severity_number >= {} and severity_number <= {})", range.min.max(1), range.max));
    let all: Vec<String> = needs.chain(severity).collect();
    if all.is_empty() { ALWAYS.to_owned() } else { all.join(" and ") }
}

fn requirement(need: &Requirement, in_resource: bool) -> String {
    let path = path(need.scope, &need.key, in_resource);
    let one_of = |values: &std::collections::BTreeSet<String>| {
        let each: Vec<String> = values.iter().map(|value| format!("String({path}) == {}", literal(value))).collect();
        each.join(" or ")
    };
    match &need.test {
        Test::In(values) => format!("({})", one_of(values)),
        Test::NotIn(values) => format!("not ({})", one_of(values)),
        Test::Exists => format!("{path} != nil"),
        Test::DoesNotExist => format!("{path} == nil"),
        Test::Prefix(values) => {
            let each: Vec<String> = values.iter().map(|value| format!("HasPrefix(String({path}), {})", literal(value))).collect();
            format!("({path} != nil and ({}))", each.join(" or "))
        }
    }
}

fn path(scope: Scope, key: &str, in_resource: bool) -> String {
    let key = literal(key);
    match scope {
        Scope::Resource if !in_resource => format!("resource.attributes[{key}]"),
        Scope::Resource | Scope::Record => format!("attributes[{key}]"),
    }
}

/// The context in which the partition is computed.
pub(super) fn partition_context(key: &RoutingKey) -> &'static str {
    if key.record.is_empty() { "resource" } else { "log" }
}

/// Statements that compute the partition, as [`RoutingKey::partition`] does: OTTL has no remainder, but
/// its division of whole numbers is cut towards zero.
pub(super) fn partition(key: &RoutingKey, partitions: usize) -> Vec<String> {
    let in_resource = key.record.is_empty();
    let values = key.resource.iter().map(|name| path(Scope::Resource, name, in_resource));
    let values: Vec<String> = values.chain(key.record.iter().map(|name| path(Scope::Record, name, in_resource))).collect();
    let here = format!("attributes[\"{PARTITION}\"]");
    vec![
        format!("set({here}, FNV(Concat([{}], \"/\")))", values.join(", ")),
        format!("set({here}, {here} - ({here} / {partitions}) * {partitions})"),
        format!("set({here}, {here} + {partitions}) where {here} < 0"),
    ]
}

/// The condition that the partition is one of these, which are in order.
pub(super) fn partition_in(partitions: &[usize]) -> String {
    let here = format!("attributes[\"{PARTITION}\"]");
    let runs = partitions.chunk_by(|one, next| one + 1 == *next).filter_map(|run| Some((run.first()?, run.last()?)));
    let runs: Vec<String> =
        runs.map(|(first, last)| if first == last { format!("{here} == {first}") } else { format!("({here} >= {first} and {here} <= {last})") }).collect();
    runs.join(" or ")
}

/// The condition that a record is not in a sample of so many percent. The hash of its content is a
/// number with a sign, whose remainders lie between -99 and 99 evenly, so those nearer to zero than
/// `percent` are that many percent.
pub(super) fn not_sampled(percent: u8) -> String {
    let hash = "FNV(Concat([body, time_unix_nano], \"/\"))";
    let remainder = format!("{hash} - ({hash} / 100) * 100");
    format!("{remainder} >= {percent} or {remainder} <= -{percent}")
}
