//! WasmPolicy: a rule as a WebAssembly component, where it comes from, and who may use it.

pub mod fallback;
pub mod limits;
pub mod oci;
pub mod rollout;
pub mod source;
pub mod status;
pub mod verification;

pub use fallback::Fallback;
pub use limits::Limits;
pub use oci::{OciSource, PullSecretRef};
pub use rollout::{Gates, Promotion, Rollout, Strategy};
pub use source::{BuiltinSource, ConfigMapSource, FileSource, Source, SourceChoice};
pub use status::{
    Candidate, Description, Difference, Differences, OnTrial, Revision, Running, SeriesNeeded, StateVersions, TrialOutcome, WasmPolicyStatus, WasmPolicySummary,
};
pub use verification::{ConfigMapKeyRef, Verification, VerificationKey};

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
    printcolumn(name = "Trial", type_ = "string", json_path = ".status.summary.trial", priority = 1, description = "How far the trial of a new module is"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="LatestAccepted")].reason"#,
        priority = 1,
        description = "Why the newest module was or was not accepted"
    )
)]
#[x_kube(
    validation = Rule::new("self.kind == 'Scaling' || !has(self.fallback)")
        .message("fallback is for kind Scaling, where somebody has to decide each second: a storage keeps its owners while its policy fails, so take fallback out")
        .field_path(".fallback"),
    validation = Rule::new("self.kind == 'Scaling' || !has(self.rollout) || self.rollout.strategy == 'Immediate'")
        .message("a trial compares proposals of replicas: with another kind than Scaling set rollout.strategy to Immediate, or take rollout out")
        .field_path(".rollout")
)]
pub struct WasmPolicySpec {
    /// What the policy decides on; the component must export the world of that kind: Scaling (world
    /// scaling-policy) or Placement (world placement-policy).
    pub kind: PolicyKind,

    /// Where the module comes from: exactly one of configMap, file, oci and builtin. Each is watched
    /// (a tag in a registry is looked up every interval): a changed module takes over without a restart.
    #[x_kube(validation = Rule::new("(has(self.configMap) ? 1 : 0) + (has(self.file) ? 1 : 0) + (has(self.oci) ? 1 : 0) + (has(self.builtin) ? 1 : 0) == 1")
        .message("set exactly one of configMap (a key of a ConfigMap in this namespace), file (a path in the operator's policy folder), oci (an artifact in a registry) and builtin (the name of a policy that Weir brings)"))]
    pub source: Source,

    /// sha256 that the module must have (uncompressed), as sha256: and 64 hex digits. Other bytes are
    /// refused, and the last good module goes on running. Absent: any bytes are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')")
        .message("digest must be sha256: followed by 64 lower-case hex digits: take it from `sha256sum policy.wasm`"))]
    #[schemars(length(max = 128))]
    pub digest: Option<String>,

    /// Who must have signed the module. A module that none of these keys has signed is refused, and
    /// the last good one goes on running. Absent: only where the operator demands signatures
    /// (--require-signatures) is one needed. A policy that Weir brings needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,

    /// Params of the policy, an object that must fit the JSON Schema that the module exports. What
    /// a policy takes is in its documentation, and in status.description.paramsSchema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::free_form")]
    pub params: Option<Map<String, Value>>,

    /// What one call may use. A call that wants more is stopped, and replicas are held.
    #[serde(default)]
    pub limits: Limits,

    /// What becomes of WASI imports, which components of many toolchains have (Rust for
    /// wasm32-wasip2, Go, JavaScript, Python). Deny: a module that imports anything is refused.
    /// Deterministic: WASI 0.2 is a virtual world with no outside, so that the same inputs still give
    /// the same answer: the clocks show the time of the decision, a sleep returns at once, random
    /// numbers follow from the inputs, and there is no environment, argument, file or socket. What
    /// the module writes to standard output and error, at most 4 KiB, stands in the record of the
    /// decision.
    #[serde(default)]
    pub wasi: Wasi,

    /// How a new module gets into use. Absent: it takes over as soon as it is verified and has been
    /// tried on recent snapshots. Trials are for kind Scaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,

    /// Who decides while the module keeps failing: its breaker opens when at least 5 calls failed
    /// within a minute and they are at least half of them. The module that ran before comes first,
    /// if there is one that fits params; then this policy that Weir brings. Without either, replicas
    /// are held until the module answers again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,

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
    /// Which node of a LogStorage owns which partition.
    Placement,
}

/// What becomes of a module's WASI imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Wasi {
    /// A module that imports anything is refused.
    #[default]
    Deny,
    /// They lead to a virtual world with no outside.
    Deterministic,
}

impl PolicyKind {
    /// The word as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scaling => "Scaling",
            Self::Placement => "Placement",
        }
    }

    /// The world of `weir:policy` that a component of this kind exports.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::Scaling => "scaling-policy",
            Self::Placement => "placement-policy",
        }
    }
}
