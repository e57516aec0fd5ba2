//! `spec.engine`: what runs. Touches nothing.
//!
//! On the wire it is an object with three optional fields, one of which is set: a CEL rule says so
//! with a sentence, where `oneOf` in the schema could only say that nothing matched. In Rust,
//! [`Engine::choice`] turns it into an enum once, and later steps match on that.

use super::collector::OtelCollector;
use crate::Opaque;
use k8s_openapi::api::core::v1::PodSpec;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Exactly one of three.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Engine {
    /// Weir runs OpenTelemetry Collectors: Deployment, ConfigMap, Service and PodDisruptionBudget.
    /// It checks their configuration, confirms that each replica runs it, measures them without
    /// being asked, and lets no replica go before its queue is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otel_collector: Option<OtelCollector>,

    /// Weir runs pods of any kind as a Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PodTemplate>,

    /// Weir scales a workload that exists and that someone else owns. Deleting the LogProcessor
    /// leaves the workload as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
}

/// The engine that was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EngineChoice<'a> {
    /// OpenTelemetry Collectors.
    OtelCollector(&'a OtelCollector),
    /// Pods of any kind.
    Template(&'a PodTemplate),
    /// A workload that exists.
    Target(&'a TargetRef),
}

impl Engine {
    /// The one that is set; `None` when there is none or more than one, which the API server
    /// admits only where the CRD is older than this program.
    #[must_use]
    pub const fn choice(&self) -> Option<EngineChoice<'_>> {
        match (&self.otel_collector, &self.template, &self.target_ref) {
            (Some(collector), None, None) => Some(EngineChoice::OtelCollector(collector)),
            (None, Some(template), None) => Some(EngineChoice::Template(template)),
            (None, None, Some(target)) => Some(EngineChoice::Target(target)),
            _ => None,
        }
    }
}

impl From<OtelCollector> for Engine {
    fn from(collector: OtelCollector) -> Self {
        Self { otel_collector: Some(collector), ..Self::default() }
    }
}

impl From<PodTemplate> for Engine {
    fn from(template: PodTemplate) -> Self {
        Self { template: Some(template), ..Self::default() }
    }
}

impl From<TargetRef> for Engine {
    fn from(target: TargetRef) -> Self {
        Self { target_ref: Some(target), ..Self::default() }
    }
}

/// A pod template, as in a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<PodTemplateMetadata>,
    /// The pod, as `kubectl explain pod.spec` describes it. Checked by the API server when Weir
    /// writes the Deployment; what it refuses stands in the condition Ready.
    pub spec: Opaque<PodSpec>,
}

/// Labels and annotations of the pods of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplateMetadata {
    /// Labels, in addition to those that Weir sets; its own win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, in addition to those that Weir sets; its own win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A workload in the same namespace that exists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.apiVersion == 'apps/v1'")
        .message("apiVersion of a Deployment or StatefulSet is apps/v1: leave it out")
        .field_path(".apiVersion")
)]
pub struct TargetRef {
    /// API version of the workload.
    #[serde(default = "apps_v1")]
    #[schemars(length(max = 64))]
    pub api_version: String,
    /// Kind of the workload: Deployment or StatefulSet.
    pub kind: TargetKind,
    /// Name of the workload, in the namespace of the LogProcessor. No two LogProcessors scale the same one.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn apps_v1() -> String {
    "apps/v1".to_owned()
}

/// Kinds of workloads that can be adopted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// A Deployment.
    #[default]
    Deployment,
    /// A StatefulSet.
    StatefulSet,
}

impl TargetKind {
    /// The kind as it stands in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
        }
    }
}
