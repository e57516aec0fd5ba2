//! What the server refuses, with a sentence that says how to mend it.

use crate::{create, log_processor, log_storage, merged, namespace, refusal, wasm_policy};
use rstest::rstest;
use serde_json::{Value, json};

#[rstest]
#[case::no_engine(json!({ "engine": { "otelCollector": null } }), "set exactly one of otelCollector")]
#[case::two_engines(json!({ "engine": { "targetRef": { "kind": "Deployment", "name": "a" } } }), "set exactly one of otelCollector")]
#[case::a_target_of_another_api(json!({ "engine": { "otelCollector": null, "targetRef": { "apiVersion": "apps/v2", "kind": "Deployment", "name": "a" } } }), "apps/v1: leave it out")]
#[case::a_target_of_another_kind(json!({ "engine": { "otelCollector": null, "targetRef": { "kind": "DaemonSet", "name": "a" } } }), r#"supported values: "Deployment", "StatefulSet""#)]
#[case::two_queue_volumes(json!({ "engine": { "otelCollector": { "queueVolume": { "sizeLimit": "1Gi", "volume": {} } } } }), "exactly one of sizeLimit")]
#[case::no_queue_volume(json!({ "engine": { "otelCollector": { "queueVolume": {} } } }), "exactly one of sizeLimit")]
#[case::min_above_max(json!({ "replicas": { "min": 11 } }), "replicas.min is larger than replicas.max: lower min or raise max")]
#[case::negative_min(json!({ "replicas": { "min": -1 } }), "should be greater than or equal to 0")]
#[case::too_many(json!({ "replicas": { "max": 150_001 } }), "should be less than or equal to 150000")]
#[case::no_max(json!({ "replicas": { "max": null } }), "spec.replicas.max")]
#[case::asleep_with_nothing_to_wake_it(json!({ "replicas": { "min": 0 } }), "replicas.min can be 0 only with a series")]
#[case::asleep_with_scraped_series_only(json!({ "replicas": { "min": 0 }, "metrics": { "series": [{ "name": "a", "scrape": { "metric": "a", "kind": "Gauge" } }] } }), "replicas.min can be 0 only with a series")]
#[case::no_freshness_at_all(json!({ "objectives": { "freshness": "0s" } }), "objectives.freshness must be longer than 0s")]
#[case::a_share_above_one(json!({ "objectives": { "refusedShare": 1.1 } }), "should be less than or equal to 1")]
#[case::no_hours(json!({ "objectives": { "replicaHours": 0 } }), "objectives.replicaHours must be more than 0")]
#[case::no_capacity(json!({ "capacityPerReplica": { "recordsPerSecond": 0 } }), "recordsPerSecond must be more than 0")]
#[case::too_often(json!({ "metrics": { "interval": "249ms" } }), "metrics.interval must be at least 250ms")]
#[case::no_interval_at_all(json!({ "metrics": { "interval": "0s" } }), "metrics.interval must be at least 250ms")]
#[case::not_a_duration(json!({ "metrics": { "interval": "1.5s" } }), "spec.metrics.interval")]
#[case::a_short_window(json!({ "metrics": { "interval": "31s" } }), "metrics.window must be at least twice metrics.interval")]
#[case::a_long_window(json!({ "metrics": { "window": "3601s" } }), "metrics.window holds more than 3600 samples")]
#[case::stale_at_once(json!({ "metrics": { "interval": "2s", "staleness": "1s" } }), "metrics.staleness must be at least metrics.interval")]
#[case::missing_share(json!({ "metrics": { "maxMissingShare": 2 } }), "should be less than or equal to 1")]
#[case::tls_over_http(json!({ "metrics": { "scrape": { "tls": {} } } }), "scrape.tls has no effect with scheme http")]
#[case::tls_that_trusts_all_and_one(json!({ "metrics": { "scrape": { "scheme": "https", "tls": { "insecureSkipVerify": true, "caSecretRef": { "name": "a", "key": "b" } } } } }), "caSecretRef has no effect with insecureSkipVerify")]
#[case::no_time_to_answer(json!({ "metrics": { "scrape": { "timeout": "0s" } } }), "scrape.timeout must be longer than 0s")]
#[case::a_query_for_nobody(json!({ "metrics": { "series": [{ "name": "a", "prometheus": { "query": "a" } }] } }), "set metrics.prometheus.url")]
#[case::series_from_nowhere(json!({ "metrics": { "series": [{ "name": "a" }] } }), "set exactly one of scrape (read from the pods) and prometheus")]
#[case::series_from_pods_that_are_not_asked(json!({ "metrics": { "scrape": { "enabled": false }, "series": [{ "name": "a", "scrape": { "metric": "a", "kind": "Gauge" } }] } }), "metrics.scrape.enabled is false")]
#[case::series_from_an_unknown_port(json!({ "engine": { "otelCollector": null, "targetRef": { "kind": "Deployment", "name": "a" } }, "metrics": { "series": [{ "name": "a", "scrape": { "metric": "a", "kind": "Gauge" } }] } }), "set metrics.scrape.port")]
#[case::series_twice(json!({ "metrics": { "series": [{ "name": "a", "scrape": { "metric": "a", "kind": "Gauge" } }, { "name": "a", "scrape": { "metric": "b", "kind": "Gauge" } }] } }), "duplicate entries")]
#[case::two_ways_to_log_in(json!({ "metrics": { "prometheus": { "url": "http://p", "bearerTokenSecretRef": { "name": "a", "key": "b" }, "basicAuthSecretRef": { "name": "a" } } } }), "at most one of prometheus.bearerTokenSecretRef")]
#[case::tls_for_an_http_server(json!({ "metrics": { "prometheus": { "url": "http://p", "tls": {} } } }), "prometheus.tls has no effect with an http URL")]
#[case::not_a_url(json!({ "metrics": { "prometheus": { "url": "prometheus:9090" } } }), "spec.metrics.prometheus.url")]
#[case::asked_too_often(json!({ "metrics": { "prometheus": { "url": "http://p", "interval": "1ms" } } }), "prometheus.interval must be at least 250ms")]
#[case::no_time_for_the_server(json!({ "metrics": { "prometheus": { "url": "http://p", "timeout": "0s" } } }), "prometheus.timeout must be longer than 0s")]
#[case::stabilized_for_days(json!({ "scaling": { "policyRef": { "name": "a" }, "guardrails": { "scaleDown": { "stabilizationWindow": "25h" } } } }), "stabilizationWindow can be 24h at most")]
#[case::a_cooldown_of_days(json!({ "scaling": { "policyRef": { "name": "a" }, "guardrails": { "scaleUp": { "cooldown": "25h" } } } }), "cooldown can be 24h at most")]
#[case::scaling_by_nobody(json!({ "scaling": { "paused": true } }), "spec.scaling.policyRef")]
#[case::an_unknown_field(json!({ "replicas": { "maximum": 3 } }), "maximum")]
fn a_log_processor_is_refused(#[case] spec: Value, #[case] words: &str) {
    let said = refusal(&merged(log_processor(), json!({ "spec": spec })));
    assert!(said.contains(words), "{said}");
}

#[rstest]
#[case::a_dot("a.b")]
#[case::a_digit_first("1a")]
#[case::too_long("a23456789-123456789-123456789-123456789-123456789-123")]
fn a_log_processor_needs_a_name_that_its_workload_can_carry(#[case] name: &str) {
    let said = refusal(&merged(log_processor(), json!({ "metadata": { "name": name } })));
    assert!(said.contains("use at most 52 characters of a-z, 0-9 and -"), "{said}");
}

#[test]
fn a_workload_of_its_own_does_not_become_one_that_is_adopted() {
    let namespace = namespace("engine");
    create(namespace.kubectl(), &log_processor());
    let adopted = json!({ "spec": { "engine": { "otelCollector": null, "targetRef": { "kind": "Deployment", "name": "a" } } } });
    let patched = namespace.kubectl().run(["patch", "lp", "gateway", "--type=merge", "-p", &adopted.to_string()]);
    let said = format!("{:#}", patched.unwrap_err());
    assert!(said.contains("create a second LogProcessor and delete this one"), "{said}");
    let template = json!({ "spec": { "engine": { "otelCollector": null, "template": { "spec": { "containers": [] } } } } });
    namespace.kubectl().run(["patch", "lp", "gateway", "--type=merge", "-p", &template.to_string()]).unwrap();
}

#[rstest]
#[case::no_source(json!({ "source": { "builtin": null } }), "set exactly one of configMap")]
#[case::two_sources(json!({ "source": { "file": { "path": "a.wasm" } } }), "set exactly one of configMap")]
#[case::a_kind_that_is_none(json!({ "kind": "Guessing" }), r#"supported values: "Scaling", "Placement""#)]
#[case::a_short_digest(json!({ "digest": "sha256:abc" }), "digest must be sha256: followed by 64 lower-case hex digits")]
#[case::an_upper_case_digest(json!({ "digest": format!("sha256:{}", "A".repeat(64)) }), "digest must be sha256: followed by 64 lower-case hex digits")]
#[case::a_reference_without_a_registry(json!({ "source": { "builtin": null, "oci": { "ref": "team/drain:1" } } }), "oci.ref must name registry, repository and a tag or digest")]
#[case::a_reference_without_a_tag(json!({ "source": { "builtin": null, "oci": { "ref": "ghcr.io/team/drain" } } }), "oci.ref must name registry, repository and a tag or digest")]
#[case::a_reference_with_a_scheme(json!({ "source": { "builtin": null, "oci": { "ref": "https://ghcr.io/team/drain:1" } } }), "oci.ref must name registry, repository and a tag or digest")]
#[case::a_tag_looked_up_too_often(json!({ "source": { "builtin": null, "oci": { "ref": "ghcr.io/team/drain:1", "interval": "9s" } } }), "oci.interval must be from 10s to 24h")]
#[case::a_ca_for_plain_http(json!({ "source": { "builtin": null, "oci": { "ref": "ghcr.io/team/drain:1", "insecure": true, "caSecretRef": { "name": "a", "key": "b" } } } }), "oci.caSecretRef has no effect with insecure: true")]
#[case::a_mirror_with_a_scheme(json!({ "source": { "builtin": null, "oci": { "ref": "ghcr.io/team/drain:1", "mirrors": ["https://m"] } } }), "each of oci.mirrors is a host")]
#[case::a_verification_without_keys(json!({ "verification": {} }), "verification needs a key")]
#[case::a_key_from_nowhere(json!({ "verification": { "cosign": [{}] } }), "set exactly one of key (the public key itself)")]
#[case::a_key_from_two_places(json!({ "verification": { "ed25519": [{ "key": "a", "keySecretRef": { "name": "a", "key": "b" } }] } }), "set exactly one of key (the public key itself)")]
#[case::out_of_the_folder(json!({ "source": { "builtin": null, "file": { "path": "../secrets" } } }), "file.path is a path inside the operator's policy folder")]
#[case::out_of_the_folder_by_a_detour(json!({ "source": { "builtin": null, "file": { "path": "a/../../b" } } }), "file.path is a path inside the operator's policy folder")]
#[case::from_the_root(json!({ "source": { "builtin": null, "file": { "path": "/etc/passwd" } } }), "file.path is a path inside the operator's policy folder")]
#[case::no_time(json!({ "limits": { "deadline": "0s" } }), "limits.deadline must be from 1ms to 10s")]
#[case::too_much_time(json!({ "limits": { "deadline": "11s" } }), "limits.deadline must be from 1ms to 10s")]
#[case::too_little_memory(json!({ "limits": { "memory": "63Ki" } }), "limits.memory must be from 64Ki to 1Gi")]
#[case::too_much_memory(json!({ "limits": { "memory": "2Gi" } }), "limits.memory must be from 64Ki to 1Gi")]
#[case::too_little_memory_as_a_number(json!({ "limits": { "memory": 1 } }), "limits.memory must be from 64Ki to 1Gi")]
#[case::memory_in_words(json!({ "limits": { "memory": "much" } }), "spec.limits.memory")]
#[case::no_fuel(json!({ "limits": { "fuel": 0 } }), "should be greater than or equal to 1000")]
#[case::a_selector_that_is_none(json!({ "allowedNamespaces": { "matchExpressions": [{ "key": "a", "operator": "Like" }] } }), "supported values")]
#[case::params_that_are_no_object(json!({ "params": [1] }), "spec.params")]
#[case::a_fallback_of_a_placement(json!({ "kind": "Placement", "fallback": { "builtin": "balanced" } }), "fallback is for kind Scaling")]
#[case::a_trial_of_a_placement(json!({ "kind": "Placement", "rollout": { "strategy": "Shadow" } }), "a trial compares proposals of replicas")]
fn a_wasm_policy_is_refused(#[case] spec: Value, #[case] words: &str) {
    let said = refusal(&merged(wasm_policy(), json!({ "spec": spec })));
    assert!(said.contains(words), "{said}");
}

#[rstest]
#[case::no_engine(json!({ "engine": { "victoriaLogs": null } }), "set exactly one engine")]
#[case::min_above_max(json!({ "nodes": { "min": 9 } }), "nodes.min is larger than nodes.max")]
#[case::no_node(json!({ "nodes": { "min": 0 } }), "should be greater than or equal to 1")]
#[case::mirrors_in_one_zone(json!({ "mirrors": 2, "zones": ["a"] }), "list at least two zones")]
#[case::mirrors_without_zones(json!({ "mirrors": 2 }), "list at least two zones")]
#[case::three_mirrors(json!({ "mirrors": 3 }), "should be less than or equal to 2")]
#[case::a_zone_twice(json!({ "zones": ["a", "a"] }), "a zone is listed twice")]
#[case::a_zone_without_a_node(json!({ "zones": ["a", "b", "c"] }), "nodes.min leaves a zone without a node")]
#[case::no_partitions(json!({ "partitions": 0 }), "should be greater than or equal to 1")]
#[case::no_size(json!({ "volume": { "size": null } }), "spec.volume.size")]
#[case::retention_in_months(json!({ "retention": "3" }), "spec.retention")]
#[case::a_flag_that_weir_sets(json!({ "engine": { "victoriaLogs": { "args": ["--retentionPeriod=1d"] } } }), "are set by Weir: take them out of args")]
#[case::hasty(json!({ "failover": { "nodeTimeout": "999ms" } }), "failover.nodeTimeout must be from 1s to 24h")]
#[case::slow_guardrails(json!({ "placement": { "guardrails": { "minInterval": "25h" } } }), "minInterval can be 24h at most")]
fn a_log_storage_is_refused(#[case] spec: Value, #[case] words: &str) {
    let said = refusal(&merged(log_storage(), json!({ "spec": spec })));
    assert!(said.contains(words), "{said}");
}

#[rstest]
#[case::partitions(json!({ "partitions": 128 }), "partitions can't be changed")]
#[case::mirrors(json!({ "mirrors": 2 }), "mirrors can't be changed")]
#[case::a_smaller_volume(json!({ "volume": { "size": "9999Mi" } }), "volume.size can't shrink")]
#[case::zones_in_another_order(json!({ "zones": ["b", "a"] }), "zones can only be added at the end")]
#[case::no_zones(json!({ "zones": null }), "zones can't be introduced or taken away later")]
fn a_change_of_a_log_storage_is_refused(#[case] spec: Value, #[case] words: &str) {
    let namespace = namespace("lst-change");
    create(namespace.kubectl(), &merged(log_storage(), json!({ "spec": { "zones": ["a", "b"] } })));
    let patch = json!({ "spec": spec }).to_string();
    let said = format!("{:#}", namespace.kubectl().run(["patch", "lst", "logs", "--type=merge", "-p", &patch]).unwrap_err());
    assert!(said.contains(words), "{said}");
}

#[test]
fn volumes_grow_and_zones_are_added() {
    let namespace = namespace("lst-grow");
    create(namespace.kubectl(), &merged(log_storage(), json!({ "spec": { "zones": ["a", "b"] } })));
    let patch = json!({ "spec": { "volume": { "size": "11Gi" }, "zones": ["a", "b", "c"], "nodes": { "min": 3 } } }).to_string();
    namespace.kubectl().run(["patch", "lst", "logs", "--type=merge", "-p", &patch]).unwrap();
}
