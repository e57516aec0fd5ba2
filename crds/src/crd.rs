//! The CustomResourceDefinitions as the API server gets them. Touches nothing.
//!
//! What the derives generate is tidied once more: see [`tidy`]. So take the definitions from
//! [`crds`], not from `CustomResourceExt::crd`.

use crate::{LogProcessor, LogStorage, RoutingTable, WasmPolicy};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_yaml_ng::Value;

/// A definition could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("the definition of {name} can't be written as YAML: this is a fault of weir-crds")]
pub struct YamlError {
    name: String,
    source: serde_yaml_ng::Error,
}

/// The definitions of all kinds, in the order in which they should be applied.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    [LogProcessor::crd(), LogStorage::crd(), RoutingTable::crd(), WasmPolicy::crd()].into_iter().map(tidied).collect()
}

/// All definitions as one stream of YAML documents, for `kubectl apply --server-side -f -`.
///
/// # Errors
/// None that a user can cause.
pub fn yaml() -> Result<String, YamlError> {
    let files = yaml_files()?;
    Ok(files.into_iter().map(|(_, text)| format!("---\n{text}")).collect())
}

/// Name of the file and its text, for each kind.
///
/// # Errors
/// None that a user can cause.
pub fn yaml_files() -> Result<Vec<(String, String)>, YamlError> {
    crds()
        .iter()
        .map(|crd| {
            let name = format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
            let text = to_yaml(crd).map_err(|source| YamlError { name: name.clone(), source })?;
            Ok((name, format!("# Generated from the Rust types in crds/src; WEIR_UPDATE=1 cargo test -p weir-crds writes it.\n{text}")))
        })
        .collect()
}

fn to_yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml_ng::Error> {
    let mut value = serde_yaml_ng::to_value(crd)?;
    integers(&mut value);
    serde_yaml_ng::to_string(&value)
}

/// Bounds are floating-point numbers in the Rust type; `65535` reads better than `65535.0`.
fn integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|float| float.fract() == 0.0).and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *value = Value::Number(whole.into());
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(integers),
        Value::Mapping(fields) => fields.values_mut().for_each(integers),
        _ => {}
    }
}

fn tidied(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut()) {
            tidy(schema);
        }
    }
    crd
}

/// Brings a schema to the form that hand-written APIs of Kubernetes have.
///
/// - An optional field is one that may be absent. `null` in it is an error (and removed by the
///   server where there is a default), as with the built-in kinds; CEL's `has()` then means what it says.
/// - The formats of Rust's unsigned integers are unknown to Kubernetes, which warns about them.
///   Their range becomes the range of the schema, so that what is admitted fits the Rust type.
/// - A doc comment is wrapped to the width of the source, a description by whoever prints it.
/// - Titles repeat the names of Rust types and say nothing.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.title = None;
    schema.description = schema.description.as_deref().map(unwrapped);
    if let Some((low, high)) = schema.format.as_deref().and_then(range_of) {
        schema.minimum = Some(schema.minimum.map_or(low, |minimum| minimum.max(low)));
        schema.maximum = Some(schema.maximum.map_or(high, |maximum| maximum.min(high)));
        schema.format = Some(if high <= f64::from(i32::MAX) { "int32" } else { "int64" }.to_owned());
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        tidy(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Joins the lines of each paragraph.
fn unwrapped(text: &str) -> String {
    text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n\n")
}

/// Smallest and largest value of a Rust integer; of 64 bits, what a JSON number holds exactly.
fn range_of(format: &str) -> Option<(f64, f64)> {
    /// 2^53 - 1.
    const EXACT: f64 = 9_007_199_254_740_991.0;
    Some(match format {
        "uint8" => (0.0, f64::from(u8::MAX)),
        "uint16" => (0.0, f64::from(u16::MAX)),
        "uint32" => (0.0, f64::from(u32::MAX)),
        "uint64" | "uint" => (0.0, EXACT),
        "int32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    })
}
