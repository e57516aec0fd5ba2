//! WasmPolicy: a rule as a WebAssembly component, where it comes from, and who may use it.

pub mod limits;
pub mod source;
pub mod status;

pub use limits::Limits;
pub use source::{BuiltinSource, ConfigMapSource, FileSource, Source, SourceChoice};
pub use status::{Candidate, Description, Running, SeriesNeeded, WasmPolicyStatus, WasmPolicySummary};

use crate::schema;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the user declares.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "WasmPolicy",
    plural = "wasmpolicies",
    shortname = "wp",
    category = "weir",
    namespaced,
    status = "WasmPolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A WasmPolicy is a rule in the form of a WebAssembly component that imports nothing: it proposes, Weir disposes. A changed module is verified and tried before it takes over; one that fails leaves the last good one running.",
    label("app.kubernetes.io/name", "weir"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.kind", description = "What the policy decides on"),
    printcolumn(name = "Source", type_ = "string", json_path = ".status.summary.source", description = "Where the module comes from"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.summary.digest", description = "Digest of the module that runs, first 12 digits"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="LatestAccepted")].status"#,
        description = "True when the newest module is the one that runs"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#, description = "True when a module runs"),
    printcolumn(name = "Users", type_ = "integer", json_path = ".status.users", description = "Objects that refer to the policy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.running.version", priority = 1, description = "Version that the module gives itself"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="LatestAccepted")].reason"#,
        priority = 1,
        description = "Why the newest module was or was not accepted"
    )
)]
pub struct WasmPolicySpec {
    /// What the policy decides on; the component must export the world of that kind. Scaling
    /// (world scaling-policy) is the one kind so far.
    pub kind: PolicyKind,

    /// Where the module comes from: exactly one of configMap, file and builtin. Each is watched: a
    /// changed module takes over without a restart.
    #[x_kube(validation = Rule::new("(has(self.configMap) ? 1 : 0) + (has(self.file) ? 1 : 0) + (has(self.builtin) ? 1 : 0) == 1")
        .message("set exactly one of configMap (a key of a ConfigMap in this namespace), file (a path in the operator's policy folder) and builtin (the name of a policy that Weir brings)"))]
    pub source: Source,

    /// sha256 that the module must have (uncompressed), as sha256: and 64 hex digits. Other bytes are
    /// refused, and the last good module goes on running. Absent: any bytes are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')")
        .message("digest must be sha256: followed by 64 lower-case hex digits: take it from `sha256sum policy.wasm`"))]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,

    /// Params of the policy, an object that must fit the JSON Schema that the module exports. What
    /// a policy takes is in its documentation, and in status.description.paramsSchema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
    pub params: Option<Map<String, Value>>,

    /// What one call may use. A call that wants more is stopped, and replicas are held.
    #[serde(default)]
    pub limits: Limits,

    /// Namespaces besides its own whose objects may refer to this policy, by labels of the
    /// Namespace. Absent: none. An empty selector ({}): all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub allowed_namespaces: Option<LabelSelector>,
}

/// What a policy decides on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// How many replicas a LogProcessor should have.
    #[default]
    Scaling,
}

impl PolicyKind {
    /// The word as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scaling => "Scaling",
        }
    }

    /// The world of `weir:policy` that a component of this kind exports.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::Scaling => "scaling-policy",
        }
    }
}
