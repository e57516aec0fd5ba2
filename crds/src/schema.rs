//! Pieces of schema that the types can't say by themselves. Touches nothing; called by derives.

use schemars::{Schema, SchemaGenerator, json_schema};

/// A JSON object of any form, which a server-side apply replaces as a whole. Merged field by field,
/// an object that loses its last field in an apply would become `null` (structured-merge-diff), and
/// `grpc: {}` and `grpc: null` are not the same to a collector; and managedFields would hold a line
/// for each field of the document.
pub(crate) fn free_form(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-map-type": "atomic" })
}

/// `status.conditions` as Kubernetes defines it (apimachinery, `metav1.Condition`).
pub(crate) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": { "type": "string", "description": "What the condition is about, for example Ready.", "maxLength": 316 },
                "status": { "type": "string", "description": "True, False or Unknown.", "enum": ["True", "False", "Unknown"] },
                "observedGeneration": {
                    "type": "integer", "format": "int64", "minimum": 0,
                    "description": "metadata.generation that the condition was computed from.",
                },
                "lastTransitionTime": { "type": "string", "format": "date-time", "description": "When status last changed." },
                "reason": { "type": "string", "description": "Stable CamelCase word for why.", "minLength": 1, "maxLength": 1024 },
                "message": { "type": "string", "description": "Sentence for people: why, and what mends it.", "maxLength": 32768 },
            },
        },
    })
}

/// A label selector as Kubernetes defines it (apimachinery, `metav1.LabelSelector`).
pub(crate) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that must be there with these values.",
                "additionalProperties": { "type": "string" },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements that must all hold.",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": { "type": "string", "description": "Key of the label." },
                        "operator": {
                            "type": "string", "description": "How the key relates to the values.",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "type": "array", "description": "Values for In and NotIn; none for the others.",
                            "items": { "type": "string" }, "x-kubernetes-list-type": "atomic",
                        },
                    },
                },
            },
        },
    })
}
