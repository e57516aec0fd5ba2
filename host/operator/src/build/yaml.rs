//! Writes JSON as YAML that every parser reads the same way, and as canonical JSON for hashing.
//! Touches nothing.
//!
//! YAML 1.1 and 1.2 differ on what an unquoted word is: `1_000`, `2001-01-01`, `0o14`, `on`. The
//! collector's parser reads some of these as numbers or times where the writer meant text. So text
//! is written without quotes only when it begins like a word and is none that any parser knows.

use serde_json::Value;
use std::fmt::Write as _;

/// JSON with its keys sorted and without spaces.
pub(super) fn canonical(json: &Value) -> String {
    let mut out = String::new();
    write_canonical(json, &mut out);
    out
}

fn write_canonical(json: &Value, out: &mut String) {
    match json {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                quote(key, out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::String(text) => quote(text, out),
        other => out.push_str(&other.to_string()),
    }
}

/// YAML in block style, keys sorted.
pub(super) fn write(json: &Value) -> String {
    let mut out = String::new();
    block(json, 0, &mut out);
    out
}

fn block(json: &Value, depth: usize, out: &mut String) {
    match json {
        Value::Object(fields) if !fields.is_empty() => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            for (key, value) in sorted {
                indent(depth, out);
                text(key, out);
                out.push(':');
                under(value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(depth, out);
                out.push('-');
                under(item, depth, out);
            }
        }
        _ => {
            scalar(json, out);
            out.push('\n');
        }
    }
}

/// A value after its key or dash: on the same line when it has no parts.
fn under(value: &Value, depth: usize, out: &mut String) {
    let parts = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if parts {
        out.push('\n');
        block(value, depth + 1, out);
    } else {
        out.push(' ');
        scalar(value, out);
        out.push('\n');
    }
}

fn indent(depth: usize, out: &mut String) {
    (0..depth).for_each(|_| out.push_str("  "));
}

fn scalar(json: &Value, out: &mut String) {
    match json {
        Value::String(string) => text(string, out),
        // Numbers, true, false, null, {} and [] are the same in JSON and YAML.
        other => out.push_str(&other.to_string()),
    }
}

fn text(string: &str, out: &mut String) {
    if plain(string) { out.push_str(string) } else { quote(string, out) }
}

/// Words that some version of YAML takes for a boolean or for nothing.
const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// True for text that needs no quotes in any version of YAML.
fn plain(string: &str) -> bool {
    let word = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/');
    let rest = string.bytes().all(|b| b.is_ascii_alphanumeric() || b"_/.-".contains(&b));
    word && rest && !WORDS.iter().any(|known| string.eq_ignore_ascii_case(known))
}

/// Double quotes with the escapes of JSON, which YAML knows too; control characters that JSON lets
/// through and YAML does not are escaped as well.
fn quote(string: &str, out: &mut String) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || c == '\u{feff}' || c == '\u{2028}' || c == '\u{2029}' || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_configuration_reads_like_one_that_a_person_wrote() {
        let yaml = write(&json!({ "receivers": { "otlp": { "protocols": { "grpc": null } } }, "list": [1, { "a": [] }] }));
        assert_eq!(yaml, "list:\n  - 1\n  -\n    a: []\nreceivers:\n  otlp:\n    protocols:\n      grpc: null\n");
    }

    #[test]
    fn text_that_looks_like_something_else_is_quoted() {
        for text in ["1_000", "2001-01-01", "0o14", "012", "on", "Y", "null", "~", "1e3", ".inf", "", "a: b", "a #b", "-", "${env:X}", "123456789012"] {
            assert_eq!(write(&json!(text)), format!("{}\n", json!(text)));
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z0-9:_./ -]{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-zA-Z0-9_/:.]{1,8}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(json in any_json()) {
            let yaml = write(&json);
            let back: Value = serde_yaml_ng::from_str(&yaml).unwrap();
            prop_assert_eq!(&back, &json, "{}", yaml);
            let canonical: Value = serde_json::from_str(&canonical(&json)).unwrap();
            prop_assert_eq!(canonical, json);
        }
    }
}
