//! Params of a policy against the JSON Schema that the policy exports. Touches nothing: no reference
//! is ever fetched from the network or from disk. Called by [`crate::load`], never at a decision.
//!
//! Both sides are untrusted, so what could make validation long is refused beforehand: the schema's
//! size and depth are bounded, references point into the schema itself and never around in a circle
//! (a circle can double the work at each level), their unfolded size is bounded, and patterns run on
//! an engine whose time is linear in the text.

use crate::call::shorten;
use crate::error::LoadError;
use jsonschema::{PatternOptions, Validator};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// Bytes of a schema's text.
pub(crate) const MAX_SCHEMA_BYTES: usize = 64 << 10;

/// Bytes of params in canonical form.
pub(crate) const MAX_PARAMS_BYTES: usize = 64 << 10;

/// Values in a schema once every reference is replaced by what it refers to.
const MAX_UNFOLDED: u64 = 20_000;

/// Values in the schema times values in params: what one validation may look at.
const MAX_WORK: u64 = 20_000_000;

/// Bytes that one pattern may take once compiled.
const MAX_PATTERN_BYTES: usize = 256 << 10;

/// Problems that are shown of one set of params.
const MAX_PROBLEMS: usize = 5;

/// Keywords that resolve by other means than a JSON pointer.
const FORBIDDEN: [&str; 5] = ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$id"];

/// A schema that is safe to validate with.
#[derive(Debug)]
pub(crate) struct ParamsSchema {
    validator: Option<Validator>,
    unfolded: u64,
    document: Option<Value>,
}

impl ParamsSchema {
    /// Reads a schema; empty text means that the policy takes no params.
    pub(crate) fn parse(text: &str) -> Result<Self, LoadError> {
        let invalid = |problem: String| LoadError::InvalidDescription(format!("params-schema {problem}"));
        if text.trim().is_empty() {
            return Ok(Self { validator: None, unfolded: 0, document: None });
        }
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(invalid(format!("has {} bytes, at most {MAX_SCHEMA_BYTES} are allowed", text.len())));
        }
        let document: Value = serde_json::from_str(text).map_err(|error| invalid(format!("is not JSON: {error}")))?;
        if !document.is_object() {
            return Err(invalid("is not a JSON object".to_owned()));
        }
        let unfolded = Unfold { root: &document, sizes: HashMap::new() }.measure(&document).map_err(invalid)?;
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES))
            .build(&document)
            .map_err(|error| invalid(format!("is not a JSON Schema (2020-12): {}", problem(&error))))?;
        Ok(Self { validator: Some(validator), unfolded, document: Some(document) })
    }

    /// The schema as JSON; none when the policy takes no params.
    pub(crate) const fn document(&self) -> Option<&Value> {
        self.document.as_ref()
    }

    /// Params in canonical form, when they fit.
    pub(crate) fn check(&self, params: &Value) -> Result<String, LoadError> {
        let one = |problem: String| LoadError::InvalidParams { problems: vec![problem] };
        let empty = Value::Object(Map::new());
        let params = if params.is_null() { &empty } else { params };
        let Value::Object(fields) = params else {
            return Err(one("it is not an object".to_owned()));
        };
        let text = canonical(params);
        if text.len() > MAX_PARAMS_BYTES {
            return Err(one(format!("it has {} bytes, at most {MAX_PARAMS_BYTES} are allowed", text.len())));
        }
        let Some(validator) = &self.validator else {
            return match fields.keys().next() {
                Some(name) => Err(one(format!("/{}: the policy takes no params", shorten(name, 80)))),
                None => Ok(text),
            };
        };
        if values(params).saturating_mul(self.unfolded) > MAX_WORK {
            return Err(one("it is too large for this schema: checking it would take too long".to_owned()));
        }
        let problems: Vec<String> = validator.iter_errors(params).take(MAX_PROBLEMS).map(|error| problem(&error)).collect();
        if problems.is_empty() { Ok(text) } else { Err(LoadError::InvalidParams { problems }) }
    }
}

/// JSON with sorted keys and no spaces: the same params give the same bytes, however they were written.
#[must_use]
pub fn canonical(value: &Value) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                fields.sort_by_key(|(name, _)| *name);
                Value::Object(fields.into_iter().map(|(name, value)| (name.clone(), sorted(value))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

fn problem(error: &jsonschema::ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { "/" } else { &place };
    format!("{}: {}", shorten(place, 120), shorten(&error.to_string(), 240))
}

/// How many values a JSON document holds.
fn values(value: &Value) -> u64 {
    match value {
        Value::Object(fields) => fields.values().map(values).fold(1, u64::saturating_add),
        Value::Array(items) => items.iter().map(values).fold(1, u64::saturating_add),
        _ => 1,
    }
}

/// Measures a schema with all references replaced by what they refer to.
struct Unfold<'a> {
    root: &'a Value,
    /// Size of each reference; none while it is being measured, so a circle is seen.
    sizes: HashMap<&'a str, Option<u64>>,
}

impl<'a> Unfold<'a> {
    fn measure(&mut self, value: &'a Value) -> Result<u64, String> {
        let mut size = 1_u64;
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if FORBIDDEN.contains(&name.as_str()) {
                        return Err(format!("uses `{name}`, which is not allowed: name definitions under `$defs` and refer to them with `$ref`"));
                    }
                    let inner = match value {
                        Value::String(target) if name == "$ref" => self.reference(target)?,
                        value => self.measure(value)?,
                    };
                    size = size.saturating_add(inner);
                }
            }
            Value::Array(items) => {
                for item in items {
                    size = size.saturating_add(self.measure(item)?);
                }
            }
            _ => {}
        }
        if size > MAX_UNFOLDED {
            return Err(format!("is too large: more than {MAX_UNFOLDED} values once its references are followed"));
        }
        Ok(size)
    }

    fn reference(&mut self, target: &'a str) -> Result<u64, String> {
        match self.sizes.get(target) {
            Some(Some(size)) => return Ok(*size),
            Some(None) => return Err(format!("refers to itself through `{}`, which is not allowed", shorten(target, 120))),
            None => {}
        }
        let pointer = target.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let pointer = pointer
            .ok_or_else(|| format!("refers to `{}`: only references into the schema itself are allowed, and nothing is ever fetched", shorten(target, 120)))?;
        let root = self.root;
        let referred = root.pointer(pointer).ok_or_else(|| format!("refers to `{}`, which is not there", shorten(target, 120)))?;
        self.sizes.insert(target, None);
        let size = self.measure(referred)?;
        self.sizes.insert(target, Some(size));
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(document: &Value) -> Result<ParamsSchema, LoadError> {
        ParamsSchema::parse(&document.to_string())
    }

    #[test]
    fn params_that_fit_come_back_sorted() {
        let schema =
            schema(&json!({"type": "object", "properties": {"b": {"type": "number"}, "a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}))
                .unwrap();
        assert_eq!(schema.check(&json!({"b": 1.5, "a": 2})).unwrap(), r#"{"a":2,"b":1.5}"#);
        assert_eq!(schema.check(&Value::Null).unwrap(), "{}");
    }

    #[test]
    fn each_problem_is_named_with_its_place_and_at_most_five_are() {
        let properties: Map<String, Value> = (0..9).map(|n| (format!("p{n}"), json!({"type": "number", "minimum": 0}))).collect();
        let schema = schema(&json!({"type": "object", "properties": properties})).unwrap();
        let LoadError::InvalidParams { problems } = schema.check(&json!({"p3": -1})).unwrap_err() else { panic!() };
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("/p3: -1"), "{problems:?}");
        let bad: Map<String, Value> = (0..9).map(|n| (format!("p{n}"), json!("x"))).collect();
        let LoadError::InvalidParams { problems } = schema.check(&Value::Object(bad)).unwrap_err() else { panic!() };
        assert_eq!(problems.len(), MAX_PROBLEMS);
    }

    #[test]
    fn a_policy_without_a_schema_takes_no_params() {
        let schema = ParamsSchema::parse("").unwrap();
        assert_eq!(schema.check(&json!({})).unwrap(), "{}");
        assert!(schema.check(&json!({"a": 1})).unwrap_err().to_string().contains("takes no params"));
    }

    #[test]
    fn hostile_schemas_are_refused_at_once() {
        let mut doubling = Map::new();
        for n in 0..60 {
            let next = format!("#/$defs/d{}", n + 1);
            doubling.insert(format!("d{n}"), json!({"allOf": [{"$ref": next}, {"$ref": next}]}));
        }
        doubling.insert("d60".to_owned(), json!({"type": "object"}));
        for (document, word) in [
            (json!({"$ref": "#"}), "itself"),
            (json!({"$ref": "https://example.com/schema.json"}), "nothing is ever fetched"),
            (json!({"$ref": "file:///etc/passwd"}), "nothing is ever fetched"),
            (json!({"$id": "https://example.com/", "$ref": "x"}), "$id"),
            (json!({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}), "itself"),
            (json!({"$defs": doubling, "$ref": "#/$defs/d0"}), "too large"),
            (json!({"type": "object", "properties": {"a": {"pattern": "(((\\w{100}){100}){100}){100}"}}}), "not a JSON Schema"),
            (json!({"type": 7}), "not a JSON Schema"),
            (json!({"$schema": "https://example.com/meta"}), "not a JSON Schema"),
            (json!([1]), "not a JSON object"),
            (json!({"description": "x".repeat(MAX_SCHEMA_BYTES)}), "bytes"),
        ] {
            let error = schema(&document).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let deep = format!("{}{}", "{\"not\":".repeat(5000), "{}".to_owned() + &"}".repeat(5000));
        assert!(ParamsSchema::parse(&deep).is_err());
    }

    #[test]
    fn a_pattern_that_backtracks_elsewhere_is_linear_here() {
        let schema = schema(&json!({"properties": {"a": {"pattern": "^(a+)+$"}}})).unwrap();
        assert!(schema.check(&json!({"a": format!("{}!", "a".repeat(50_000))})).is_err());
    }
}
