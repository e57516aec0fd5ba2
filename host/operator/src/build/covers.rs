//! Whether a live object already has all that is desired, so that an apply is made only when
//! something differs. Touches nothing; called by the actor of a LogProcessor before each apply.
//!
//! The server fills in defaults and other controllers add fields, so the question is not equality:
//! - of a map, the desired fields must be there;
//! - of a list of things with a name (containers, ports, variables, volumes) or another known key,
//!   each desired one must be there; of any other list, the same items in the same order;
//! - quantities count by their value (`1000m` is `1`);
//! - a desired value that says nothing (`""`, `[]`, `{}`, `0`, `false`) may be absent: servers leave
//!   such fields out.
//!
//! What was desired once and no longer is can't be seen this way; that is what
//! [`super::names::ANNOTATION_APPLIED`] is for, which is part of what is desired.

use super::names::ANNOTATION_OPERATOR_VERSION;
use serde_json::{Map, Value};

/// True when all that is desired stands in the live object.
#[must_use]
pub fn covers(live: &Value, desired: &Value) -> bool {
    covered(live, desired, "")
}

fn covered(live: &Value, desired: &Value, key: &str) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            let quantities = matches!(key, "limits" | "requests" | "capacity" | "hard");
            desired.iter().filter(|(name, _)| *name != ANNOTATION_OPERATOR_VERSION).all(|(name, wanted)| match live.get(name) {
                Some(found) if quantities => same_quantity(found, wanted),
                Some(found) => covered(found, wanted, name),
                None => says_nothing(wanted),
            })
        }
        (Value::Array(live), Value::Array(desired)) => list_covered(live, desired),
        (live, desired) if matches!(key, "sizeLimit" | "divisor" | "storage") => same_quantity(live, desired),
        (Value::Number(live), Value::Number(desired)) => live == desired || live.as_f64() == desired.as_f64(),
        (live, desired) => live == desired,
    }
}

/// Keys by which Kubernetes merges lists, the most telling first.
const KEYS: [&str; 6] = ["name", "uid", "mountPath", "containerPort", "topologyKey", "key"];

fn list_covered(live: &[Value], desired: &[Value]) -> bool {
    let objects: Option<Vec<&Map<String, Value>>> = desired.iter().map(Value::as_object).collect();
    let by_key = objects.and_then(|objects| {
        KEYS.into_iter().find(|key| {
            let mut values: Vec<&Value> = objects.iter().filter_map(|item| item.get(*key)).collect();
            let complete = values.len() == objects.len() && !objects.is_empty();
            values.sort_by_key(|value| value.to_string());
            values.dedup();
            complete && values.len() == objects.len()
        })
    });
    match by_key {
        // The key of a toleration or topology constraint is not its identity, but one that is there
        // with all desired fields is there.
        Some(key) => desired.iter().all(|wanted| live.iter().any(|found| found.get(key) == wanted.get(key) && covered(found, wanted, ""))),
        None => live.len() == desired.len() && live.iter().zip(desired).all(|(live, desired)| covered(live, desired, "")),
    }
}

fn says_nothing(wanted: &Value) -> bool {
    match wanted {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(says_nothing),
        Value::Bool(true) => false,
    }
}

fn same_quantity(live: &Value, desired: &Value) -> bool {
    if live == desired {
        return true;
    }
    match (quantity(live), quantity(desired)) {
        // Rounding of decimal fractions, not a difference that a server would keep.
        (Some(live), Some(desired)) => (live - desired).abs() <= live.abs().max(desired.abs()) * 1e-12,
        _ => false,
    }
}

/// Suffixes of quantities (apimachinery, `resource.Quantity`).
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

/// A quantity as a number.
pub(crate) fn quantity(json: &Value) -> Option<f64> {
    match json {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().or_else(|| {
            SUFFIXES.into_iter().find_map(|(suffix, factor)| {
                let digits = text.strip_suffix(suffix)?;
                digits.parse::<f64>().ok().map(|number| number * factor)
            })
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case::more_fields(json!({ "a": 1, "b": 2 }), json!({ "a": 1 }))]
    #[case::defaults_in_a_container(json!({ "containers": [{ "name": "a", "image": "i", "imagePullPolicy": "Always" }] }), json!({ "containers": [{ "name": "a", "image": "i" }] }))]
    #[case::another_container(json!([{ "name": "b" }, { "name": "a", "x": 1 }]), json!([{ "name": "a" }]))]
    #[case::quantities(json!({ "limits": { "cpu": "1", "memory": "1Gi" } }), json!({ "limits": { "cpu": 1, "memory": "1024Mi" } }))]
    #[case::milli(json!({ "requests": { "cpu": "500m" } }), json!({ "requests": { "cpu": 0.5 } }))]
    #[case::size(json!({ "emptyDir": { "sizeLimit": "2Gi" } }), json!({ "emptyDir": { "sizeLimit": "2048Mi" } }))]
    #[case::nothing_said(json!({}), json!({ "hostNetwork": false, "command": [], "x": { "y": "" } }))]
    #[case::two_ports_of_one_number(json!([{ "port": 53, "protocol": "TCP", "name": "a" }, { "port": 53, "protocol": "UDP", "name": "b" }]), json!([{ "port": 53, "protocol": "UDP", "name": "b" }]))]
    #[case::operator_version(json!({ "annotations": { "weir.dev/operator-version": "1" } }), json!({ "annotations": { "weir.dev/operator-version": "2" } }))]
    fn what_is_desired_is_there(#[case] live: Value, #[case] desired: Value) {
        assert!(covers(&live, &desired));
    }

    #[rstest]
    #[case::another_value(json!({ "replicas": 2 }), json!({ "replicas": 3 }))]
    #[case::a_missing_field(json!({}), json!({ "image": "i" }))]
    #[case::a_missing_item(json!([{ "name": "a" }]), json!([{ "name": "b" }]))]
    #[case::an_argument_more(json!({ "args": ["a", "b"] }), json!({ "args": ["a"] }))]
    #[case::another_order(json!({ "args": ["a", "b"] }), json!({ "args": ["b", "a"] }))]
    #[case::a_quantity(json!({ "limits": { "cpu": "1" } }), json!({ "limits": { "cpu": "2" } }))]
    #[case::text_that_looks_like_a_quantity(json!({ "value": "1" }), json!({ "value": "1000m" }))]
    #[case::set_to_the_opposite(json!({ "enableServiceLinks": true }), json!({ "enableServiceLinks": false }))]
    fn what_is_desired_is_not_there(#[case] live: Value, #[case] desired: Value) {
        assert!(!covers(&live, &desired));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from), "[a-z]{0,4}".prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("name|limits|[a-c]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn an_object_covers_itself(json in any_json()) {
            prop_assert!(covers(&json, &json));
        }

        #[test]
        fn a_field_more_does_not_matter(json in prop::collection::btree_map("[a-c]", any_json(), 0..4)) {
            let desired = Value::Object(json.into_iter().collect());
            let mut live = desired.clone();
            live.as_object_mut().unwrap().insert("uid".into(), json!("x"));
            prop_assert!(covers(&live, &desired));
        }
    }
}
