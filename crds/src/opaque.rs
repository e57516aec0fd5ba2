//! A piece of another Kubernetes API inside one of ours, kept as it was written. Touches nothing.
//!
//! A CRD that copied the schema of a pod would be a megabyte and would forbid every field that a
//! later Kubernetes adds. So the schema admits any object here, and the piece is parsed by whoever
//! uses it. A mistake in it is then a condition on that one object; parsed with the object it would
//! fail the watch of all objects of the kind.

use crate::schema;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// A JSON object that should parse as a `T`. Its clones share it.
pub struct Opaque<T> {
    json: Arc<Map<String, Value>>,
    parsed: PhantomData<fn() -> T>,
}

impl<T> Opaque<T> {
    /// Wraps an object without looking into it.
    #[must_use]
    pub fn new(json: Map<String, Value>) -> Self {
        Self { json: Arc::new(json), parsed: PhantomData }
    }

    /// The object as it was written. Pass this on where the API server checks it anyway: it may
    /// hold fields that `T` does not know yet.
    #[must_use]
    pub fn as_json(&self) -> &Map<String, Value> {
        &self.json
    }
}

impl<T: DeserializeOwned> Opaque<T> {
    /// Parses it, after turning quantities that were written as numbers (`cpu: 1`) into text, as
    /// the API server does for its own types. Fields that `T` does not know are dropped.
    ///
    /// # Errors
    /// When it does not have the form of a `T`; the message names the field's expected type.
    pub fn parse(&self) -> Result<T, serde_json::Error> {
        let mut json = Value::Object(self.as_json().clone());
        quantities_to_text(&mut json);
        serde_json::from_value(json)
    }
}

/// Numbers become text where a pod's API has a quantity: in the maps `limits` and `requests`, and
/// in the fields `sizeLimit` and `divisor`.
pub(crate) fn quantities_to_text(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), &mut *value) {
                    ("limits" | "requests", Value::Object(quantities)) => quantities.values_mut().for_each(number_to_text),
                    ("sizeLimit" | "divisor", _) => number_to_text(value),
                    _ => quantities_to_text(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities_to_text),
        _ => {}
    }
}

fn number_to_text(json: &mut Value) {
    if let Value::Number(number) = json {
        *json = Value::String(number.to_string());
    }
}

impl<T> Clone for Opaque<T> {
    fn clone(&self) -> Self {
        Self { json: self.json.clone(), parsed: PhantomData }
    }
}

impl<T> Default for Opaque<T> {
    fn default() -> Self {
        Self::new(Map::new())
    }
}

impl<T> PartialEq for Opaque<T> {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl<T> fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.json.fmt(f)
    }
}

impl<T> Serialize for Opaque<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Opaque<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::new)
    }
}

impl<T> JsonSchema for Opaque<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Opaque".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::free_form(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;
    use serde_json::json;

    #[test]
    fn a_pod_spec_with_numbers_for_quantities_parses() {
        let pod: Opaque<PodSpec> = serde_json::from_value(json!({
            "containers": [{ "name": "a", "resources": { "limits": { "cpu": 1, "memory": "1Gi" } } }],
            "volumes": [{ "name": "v", "emptyDir": { "sizeLimit": 1000 } }],
        }))
        .unwrap();
        let parsed = pod.parse().unwrap();
        let limits = parsed.containers[0].resources.as_ref().unwrap().limits.as_ref().unwrap();
        assert_eq!(limits["cpu"].0, "1");
        assert_eq!(pod.as_json()["containers"][0]["resources"]["limits"]["cpu"], 1);
    }

    #[test]
    fn a_mistake_inside_fails_where_it_is_used_and_not_before() {
        let pod: Opaque<PodSpec> = serde_json::from_value(json!({ "containers": "none" })).unwrap();
        let error = pod.parse().unwrap_err().to_string();
        assert!(error.contains("invalid type: string"), "{error}");
    }
}
