//! LogProcessor: a workload that processes logs, and how many replicas of it there should be.
//!
//! The spec is split as it reads: [`engine`] what runs, [`replicas`] how many and to what end,
//! [`metrics`] what is measured, [`scaling`] who decides; [`status`] is what the operator reports.

pub mod collector;
pub mod engine;
pub mod metrics;
pub mod replicas;
pub mod scaling;
pub mod status;

pub use collector::{ConfigCheck, ImagePullPolicy, OtelCollector, Protocol, QueueVolume, ServicePort};
pub use engine::{Engine, EngineChoice, PodTemplate, PodTemplateMetadata, TargetKind, TargetRef};
pub use metrics::{Aggregate, Metrics, Prometheus, PrometheusQuery, SampleKind, Scrape, ScrapeScheme, ScrapeSelector, Series, SeriesSource};
pub use replicas::{CapacityPerReplica, Objectives, Replicas};
pub use scaling::{DirectionGuardrails, Guardrails, Mode, ScaleDown, ScaleUp, Scaling};
pub use status::{CapacityStatus, ClampStatus, ConfigStatus, DroppedState, LastDecision, LogProcessorStatus, PolicyStamp, Rates, RejectedConfig, Summary};

use crate::RoutingTableRef;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// What the user declares.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "weir.dev",
    version = "v1alpha1",
    kind = "LogProcessor",
    plural = "logprocessors",
    shortname = "lp",
    category = "weir",
    namespaced,
    status = "LogProcessorStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A LogProcessor is a workload that processes logs, such as OpenTelemetry Collectors, whose replicas Weir sets by a policy and within guardrails.",
    label("app.kubernetes.io/name", "weir"),
    scale(
        spec_replicas_path = ".spec.replicas.pin",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Desired", type_ = "integer", json_path = ".status.desiredReplicas",
        description = "Replicas that should run"
    ),
    printcolumn(
        name = "Ready", type_ = "integer", json_path = ".status.readyReplicas",
        description = "Replicas that are ready"
    ),
    printcolumn(
        name = "Rate", type_ = "string", json_path = ".status.summary.rate",
        description = "Records offered a second"
    ),
    printcolumn(
        name = "Policy", type_ = "string", json_path = ".spec.scaling.policyRef.name",
        description = "WasmPolicy that proposes the replicas"
    ),
    printcolumn(
        name = "Mode", type_ = "string", json_path = ".status.summary.mode",
        description = "Who decides on the replicas now: Enforce, DryRun, Paused, Pinned, Held or Manual"
    ),
    printcolumn(
        name = "Status", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Reason of the condition Ready"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Digest", type_ = "string", json_path = ".status.summary.digest", priority = 1,
        description = "Digest of the policy that runs, first 12 digits"
    ),
    printcolumn(
        name = "Last decision", type_ = "string", json_path = ".status.summary.lastDecision", priority = 1,
        description = "Last decision that changed the replicas or would have"
    ),
    printcolumn(
        name = "Min", type_ = "integer", json_path = ".spec.replicas.min", priority = 1,
        description = "Fewest replicas"
    ),
    printcolumn(
        name = "Max", type_ = "integer", json_path = ".spec.replicas.max", priority = 1,
        description = "Most replicas"
    ),
    validation = Rule::new("size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes part of the names of a Deployment, a Service and their pods: use at most 52 characters of a-z, 0-9 and -, starting with a letter and ending with a letter or digit")
)]
#[x_kube(
    validation = Rule::new("self.replicas.min > 0 || (has(self.metrics.series) && self.metrics.series.exists(s, has(s.prometheus)))")
        .message("replicas.min can be 0 only with a series in metrics.series that Prometheus answers: with no replica there is none to scrape, so nothing would tell that records are waiting. Set replicas.min to 1 or more, or add such a series")
        .field_path(".replicas.min"),
    validation = Rule::new("has(self.engine.otelCollector) || has(self.metrics.scrape.port) || !has(self.metrics.series) || !self.metrics.series.exists(s, has(s.scrape))")
        .message("a series of metrics.series is read from pods whose metrics port is not known: set metrics.scrape.port to the port on which the pods serve metrics")
        .field_path(".metrics.scrape"),
    validation = Rule::new("!has(self.routingTableRef) || has(self.engine.otelCollector)")
        .message("routingTableRef needs engine.otelCollector: a table becomes part of the collector's configuration")
        .field_path(".routingTableRef")
)]
pub struct LogProcessorSpec {
    /// What runs: exactly one of otelCollector, template and targetRef.
    #[x_kube(
        validation = Rule::new("(has(self.otelCollector) ? 1 : 0) + (has(self.template) ? 1 : 0) + (has(self.targetRef) ? 1 : 0) == 1")
            .message("set exactly one of otelCollector (Weir runs OpenTelemetry Collectors), template (Weir runs pods of any kind) and targetRef (Weir scales a workload that exists)"),
        validation = Rule::new("has(self.targetRef) == has(oldSelf.targetRef)")
            .message("a LogProcessor can't change between a workload of its own and one that it adopts by targetRef: create a second LogProcessor and delete this one")
    )]
    pub engine: Engine,

    /// How many replicas there may be.
    pub replicas: Replicas,

    /// What the user wants to achieve. Policies receive it; status and reports measure it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<Objectives>,

    /// What one replica can process, declared or learnt.
    #[serde(default)]
    pub capacity_per_replica: CapacityPerReplica,

    /// What is measured, how often, and how much of it policies see.
    #[serde(default)]
    pub metrics: Metrics,

    /// Who decides on the replicas, and within which limits. Absent: nobody; the replicas are
    /// replicas.pin, or what they are, within min and max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// The RoutingTable that says where records go. Pipelines of logs lead into it by the exporter
    /// routing/weir, which Weir also sets where such a pipeline names no exporter. Absent: what
    /// engine.otelCollector.config says is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing_table_ref: Option<RoutingTableRef>,
}
