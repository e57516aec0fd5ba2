//! What kubectl makes of the kinds: columns, explain, scale, wait.

use crate::{cluster, create, get, log_processor, merged, namespace, wasm_policy};
use serde_json::{Value, json};

fn set_status(kubectl: &weir_cluster::Kubectl, object: &str, status: &Value) {
    let patch = json!({ "status": status }).to_string();
    kubectl.run(["patch", object, "--subresource=status", "--type=merge", "-p", &patch]).unwrap();
}

fn condition(kind: &str, status: &str, reason: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z" })
}

/// The cells of the one line below the header, without the age.
fn cells(table: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    let names: Vec<&str> = lines[0].split("  ").map(str::trim).filter(|name| !name.is_empty()).collect();
    let starts: Vec<usize> = names.iter().map(|name| lines[0].find(name).unwrap()).collect();
    let ends = starts.iter().skip(1).copied().chain([lines[1].len()]);
    let cell = |(start, end): (usize, usize)| lines[1][start..end].trim().to_owned();
    let values = starts.iter().copied().zip(ends).map(cell);
    names.into_iter().map(str::to_owned).zip(values).filter(|(name, _)| name != "AGE").collect()
}

fn expected(cells: &[(&str, &str)]) -> Vec<(String, String)> {
    cells.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn get_shows_the_state_of_a_log_processor() {
    let namespace = namespace("columns");
    let kubectl = namespace.kubectl();
    create(kubectl, &merged(log_processor(), json!({ "spec": { "scaling": { "policyRef": { "name": "rule" } } } })));
    set_status(
        kubectl,
        "lp/gateway",
        &json!({
            "desiredReplicas": 6, "readyReplicas": 4, "replicas": 6,
            "conditions": [condition("Healthy", "True", "AsExpected"), condition("Ready", "False", "Progressing")],
            "summary": { "rate": "12.4k/s", "mode": "Enforce", "digest": "0123456789ab", "lastDecision": "4->6 AboveCapacity" },
        }),
    );
    let narrow =
        [("NAME", "gateway"), ("DESIRED", "6"), ("READY", "4"), ("RATE", "12.4k/s"), ("POLICY", "rule"), ("MODE", "Enforce"), ("STATUS", "Progressing")];
    let wide = [("DIGEST", "0123456789ab"), ("LAST DECISION", "4->6 AboveCapacity"), ("MIN", "1"), ("MAX", "10")];
    assert_eq!(cells(&kubectl.run(["get", "lp"]).unwrap()), expected(&narrow));
    assert_eq!(cells(&kubectl.run(["get", "lp", "-o", "wide"]).unwrap()), expected(&[&narrow[..], &wide].concat()));
}

#[test]
fn get_shows_the_state_of_a_wasm_policy() {
    let namespace = namespace("wp-columns");
    let kubectl = namespace.kubectl();
    create(kubectl, &wasm_policy());
    set_status(
        kubectl,
        "wp/rule",
        &json!({
            "users": 3,
            "conditions": [condition("Ready", "True", "AsExpected"), condition("LatestAccepted", "False", "HasImports")],
            "summary": { "source": "builtin/threshold", "digest": "0123456789ab" },
            "running": { "digest": "sha256:0123456789ab", "name": "threshold", "version": "1.2.0", "loadedAt": "2026-01-02T03:04:05Z" },
        }),
    );
    let narrow = [
        ("NAME", "rule"),
        ("KIND", "Scaling"),
        ("SOURCE", "builtin/threshold"),
        ("DIGEST", "0123456789ab"),
        ("ACCEPTED", "False"),
        ("READY", "True"),
        ("USERS", "3"),
    ];
    let wide = [("VERSION", "1.2.0"), ("TRIAL", ""), ("REASON", "HasImports")];
    assert_eq!(cells(&kubectl.run(["get", "wp"]).unwrap()), expected(&narrow));
    assert_eq!(cells(&kubectl.run(["get", "wp", "-o", "wide"]).unwrap()), expected(&[&narrow[..], &wide].concat()));
}

#[test]
fn the_category_lists_both_kinds_and_wait_follows_a_condition() {
    let namespace = namespace("category");
    let kubectl = namespace.kubectl();
    create(kubectl, &log_processor());
    create(kubectl, &wasm_policy());
    let names = kubectl.run(["get", "weir", "-o", "name"]).unwrap();
    assert_eq!(names.lines().collect::<Vec<_>>(), ["logprocessor.weir.dev/gateway", "wasmpolicy.weir.dev/rule"]);
    set_status(kubectl, "lp/gateway", &json!({ "conditions": [condition("Ready", "True", "AsExpected")] }));
    kubectl.run(["wait", "--for=condition=Ready", "lp/gateway", "--timeout=5s"]).unwrap();
}

#[test]
fn explain_says_what_a_field_is_for() {
    let kubectl = cluster().kubectl();
    for (field, words) in [
        ("lp.spec.engine", "What runs: exactly one of otelCollector, template and targetRef."),
        ("lp.spec.engine.otelCollector.queueVolume", "sizeLimit"),
        ("lp.spec.replicas.pin", "Remove it to give control back"),
        ("lp.spec.metrics.series.scrape", "aggregate"),
        ("lp.status.lastDecision", "clamps"),
        ("wp.spec.source", "configMap"),
        ("wp.spec.limits.fuel", "Instructions, roughly"),
    ] {
        let text = kubectl.run(["explain", "--api-version=weir.dev/v1alpha1", field]).unwrap();
        assert!(text.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{field}: {text}");
    }
}

#[test]
fn scale_sets_a_pin_also_where_there_is_none() {
    let namespace = namespace("scale");
    let kubectl = namespace.kubectl();
    let object = create(kubectl, &log_processor());
    assert_eq!(object["spec"]["replicas"].get("pin"), None);

    kubectl.run(["scale", "lp/gateway", "--replicas=3"]).unwrap();
    assert_eq!(get(kubectl, &object)["spec"]["replicas"]["pin"], 3);
    kubectl.run(["scale", "lp/gateway", "--replicas=99"]).unwrap();
    assert_eq!(get(kubectl, &object)["spec"]["replicas"]["pin"], 99);

    set_status(kubectl, "lp/gateway", &json!({ "replicas": 10, "selector": "weir.dev/processor=gateway" }));
    let scale = kubectl.json(["get", "lp", "gateway", "--subresource=scale"]).unwrap();
    assert_eq!(scale["spec"]["replicas"], 99);
    assert_eq!(scale["status"], json!({ "replicas": 10, "selector": "weir.dev/processor=gateway" }));

    kubectl.run(["patch", "lp", "gateway", "--type=merge", "-p", r#"{"spec":{"replicas":{"pin":null}}}"#]).unwrap();
    assert_eq!(get(kubectl, &object)["spec"]["replicas"].get("pin"), None);
}

#[test]
fn status_is_written_only_through_its_subresource() {
    let namespace = namespace("status");
    let kubectl = namespace.kubectl();
    let object = create(kubectl, &log_processor());
    kubectl.run(["patch", "lp", "gateway", "--type=merge", "-p", r#"{"status":{"replicas":5}}"#]).unwrap();
    assert_eq!(get(kubectl, &object).get("status"), None);
}
