//! Schemas of the small parts of a pod that appear in our specs: each field is typed so that what
//! the API server admits parses as the type of k8s-openapi. Touches nothing; called by derives.

use crate::opaque::quantities_to_text;
use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};

/// A quantity as apimachinery's own CRD generator describes it.
fn quantity() -> Value {
    json!({
        "x-kubernetes-int-or-string": true,
        "pattern": "^(\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\\+|-)?(([0-9]+(\\.[0-9]*)?)|(\\.[0-9]+))))?$",
    })
}

fn key_of(object: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("A key of a {object} in the same namespace."),
        "required": ["key"],
        "properties": {
            "name": { "type": "string", "description": format!("Name of the {object}."), "default": "" },
            "key": { "type": "string", "description": "The key to take." },
            "optional": { "type": "boolean", "description": format!("True: the pod starts also when the {object} or its key is missing.") },
        },
    })
}

/// `[]EnvVar`.
pub(crate) fn env(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 256,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {
                "name": { "type": "string", "description": "Name of the variable.", "minLength": 1 },
                "value": { "type": "string", "description": "Its value; $(OTHER) refers to a variable before it." },
                "valueFrom": {
                    "type": "object",
                    "description": "Where the value comes from, instead of value. Exactly one source.",
                    "properties": {
                        "configMapKeyRef": key_of("ConfigMap"),
                        "secretKeyRef": key_of("Secret"),
                        "fieldRef": {
                            "type": "object",
                            "description": "A field of the pod, for example metadata.name or status.podIP.",
                            "required": ["fieldPath"],
                            "properties": {
                                "fieldPath": { "type": "string", "description": "Path of the field." },
                                "apiVersion": { "type": "string", "description": "Version of the schema that fieldPath is written in; v1 when absent." },
                            },
                        },
                        "resourceFieldRef": {
                            "type": "object",
                            "description": "A resource of the container, for example limits.memory.",
                            "required": ["resource"],
                            "properties": {
                                "resource": { "type": "string", "description": "The resource." },
                                "containerName": { "type": "string", "description": "The container; this one when absent." },
                                "divisor": { "type": "string", "description": "Unit of the value, for example 1Mi." },
                            },
                        },
                    },
                },
            },
        },
    })
}

/// `ResourceRequirements`.
pub(crate) fn resources(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "limits": {
                "type": "object", "description": "What the container can use at most, for example cpu: 1, memory: 1Gi.",
                "additionalProperties": quantity(),
            },
            "requests": {
                "type": "object", "description": "What is set aside for the container.",
                "additionalProperties": quantity(),
            },
            "claims": {
                "type": "array", "description": "Names of entries of the pod's resourceClaims.",
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object", "required": ["name"],
                    "properties": {
                        "name": { "type": "string", "description": "Name of the claim." },
                        "request": { "type": "string", "description": "Name of a request in the claim; all when absent." },
                    },
                },
            },
        },
    })
}

/// Reads resources also where a quantity was written as a number (`cpu: 1`): the API server turns
/// those into text in its own types, and keeps them as they are in ours.
pub(crate) fn read_resources<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ResourceRequirements>, D::Error> {
    let Some(mut json) = Option::<Value>::deserialize(deserializer)? else {
        return Ok(None);
    };
    quantities_to_text(&mut json);
    serde_json::from_value(json).map(Some).map_err(de::Error::custom)
}

/// `[]Toleration`.
pub(crate) fn tolerations(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "atomic",
        "items": {
            "type": "object",
            "properties": {
                "key": { "type": "string", "description": "Key of the taint; absent with operator Exists: all taints." },
                "operator": { "type": "string", "description": "Exists, or Equal (with value), or what else the cluster knows." },
                "value": { "type": "string", "description": "Value of the taint, for Equal." },
                "effect": { "type": "string", "description": "NoSchedule, PreferNoSchedule or NoExecute; absent: all." },
                "tolerationSeconds": {
                    "type": "integer", "format": "int64",
                    "description": "For NoExecute: how long the pod stays after the taint appears; absent: for good.",
                },
            },
        },
    })
}

/// `[]LocalObjectReference`.
pub(crate) fn image_pull_secrets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": { "name": { "type": "string", "description": "Name of the Secret.", "maxLength": 253 } },
        },
    })
}
