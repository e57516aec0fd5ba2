//! A RoutingTable as the core compiles it. Touches nothing.

use crate::views::unix_ms;
use std::collections::BTreeMap;
use weir_core::ids::UnixMs;
use weir_core::routing::{Match, Otlp, Protocol, Requirement, RoutingKey, Scope, SecretKey, SeverityRange, Source, Target, Test, Way, Wish};
use weir_crds::routing_table::{self, DestinationChoice, Operator, OtlpProtocol, Severity};
use weir_crds::{RoutingTable, SecretKeyRef};

/// Turns what was written into what is compiled.
pub(super) fn of(table: &RoutingTable) -> Source {
    let spec = &table.spec;
    Source {
        name: table.metadata.name.clone().unwrap_or_default(),
        created: table.metadata.creation_timestamp.as_ref().map_or(UnixMs(0), unix_ms),
        destinations: spec.destinations.iter().map(|destination| (destination.name.clone(), wish(destination))).collect(),
        rules: spec.rules.iter().map(way).collect(),
        default: spec.default.clone(),
        routing_key: spec
            .routing_key
            .as_ref()
            .map_or_else(RoutingKey::default, |key| RoutingKey { resource: key.resource_attributes.clone(), record: key.record_attributes.clone() }),
    }
}

/// Storages that a source leads to.
pub(super) fn storages(source: &Source) -> impl Iterator<Item = &String> {
    source.destinations.values().filter_map(|wish| match &wish.target {
        Some(Target::Storage(name)) => Some(name),
        _ => None,
    })
}

fn wish(destination: &routing_table::Destination) -> Wish {
    let target = destination.choice().map(|choice| match choice {
        DestinationChoice::Storage(storage) => Target::Storage(storage.name.clone()),
        DestinationChoice::Otlp(wanted) => Target::Otlp(otlp(wanted)),
        DestinationChoice::Drop => Target::Drop,
    });
    Wish { target, sample: destination.sample.map(|sample| sample.percent) }
}

fn otlp(wanted: &routing_table::Otlp) -> Otlp {
    let tls = wanted.tls.clone().unwrap_or_default();
    Otlp {
        endpoint: wanted.endpoint.clone(),
        protocol: match wanted.protocol {
            OtlpProtocol::Http => Protocol::Http,
            OtlpProtocol::Grpc => Protocol::Grpc,
        },
        ca: tls.ca_secret_ref.as_ref().map(secret),
        server_name: tls.server_name,
        insecure_skip_verify: tls.insecure_skip_verify,
        headers: wanted.headers.iter().map(|header| (header.name.clone(), secret(&header.secret_key_ref))).collect::<BTreeMap<_, _>>(),
    }
}

fn secret(reference: &SecretKeyRef) -> SecretKey {
    SecretKey { name: reference.name.clone(), key: reference.key.clone() }
}

fn way(rule: &routing_table::Rule) -> Way {
    let of_resource = rule.r#match.resource_attributes.iter().map(|need| requirement(Scope::Resource, need));
    let of_record = rule.r#match.record_attributes.iter().map(|need| requirement(Scope::Record, need));
    let severity = rule
        .r#match
        .severity
        .map(|range| SeverityRange { min: range.at_least.unwrap_or(Severity::Trace).lowest(), max: range.at_most.unwrap_or(Severity::Fatal).highest() });
    Way { name: rule.name.clone(), when: Match { requirements: of_resource.chain(of_record).collect(), severity }, destination: rule.destination.clone() }
}

fn requirement(scope: Scope, need: &routing_table::Requirement) -> Requirement {
    let values = || need.values.iter().cloned().collect();
    let test = match need.operator {
        Operator::In => Test::In(values()),
        Operator::NotIn => Test::NotIn(values()),
        Operator::Exists => Test::Exists,
        Operator::DoesNotExist => Test::DoesNotExist,
        Operator::Prefix => Test::Prefix(values()),
    };
    Requirement { scope, key: need.key.clone(), test }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_written_is_what_is_compiled() {
        let table: RoutingTable = serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "RoutingTable",
            "metadata": { "name": "base", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": {
                "default": "main",
                "routingKey": { "recordAttributes": ["tenant"] },
                "destinations": [
                    { "name": "main", "storageRef": { "name": "logs" }, "sample": { "percent": 10 } },
                    { "name": "none", "drop": {} },
                    { "name": "both", "drop": {}, "storageRef": { "name": "other" } },
                    { "name": "siem", "otlp": { "endpoint": "https://siem", "tls": { "caSecretRef": { "name": "a", "key": "b" } } } },
                ],
                "rules": [{ "name": "debug", "destination": "none", "match": {
                    "severity": { "atMost": "Debug" },
                    "resourceAttributes": [{ "key": "team", "operator": "Prefix", "values": ["a"] }],
                    "recordAttributes": [{ "key": "x", "operator": "DoesNotExist" }],
                } }],
            },
        }))
        .unwrap();
        let source = of(&table);
        assert_eq!((source.name.as_str(), source.created, source.default.as_deref()), ("base", UnixMs(1_767_225_600_000), Some("main")));
        assert_eq!(source.routing_key, RoutingKey { resource: vec![], record: vec!["tenant".into()] });
        assert_eq!(source.destinations["main"], Wish { target: Some(Target::Storage("logs".into())), sample: Some(10) });
        assert_eq!(source.destinations["both"].target, None);
        assert_eq!(storages(&source).collect::<Vec<_>>(), ["logs"]);
        let rule = &source.rules[0];
        assert_eq!(rule.when.severity, Some(SeverityRange { min: 1, max: 8 }));
        assert_eq!(rule.when.requirements.len(), 2);
        assert!(matches!(&source.destinations["siem"].target, Some(Target::Otlp(otlp)) if otlp.ca == Some(SecretKey { name: "a".into(), key: "b".into() })));
    }
}
