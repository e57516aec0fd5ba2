//! `spec.nodes` and `spec.volume` of a LogStorage. Touches nothing.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds of the nodes of each mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.min <= self.max")
        .message("nodes.min is larger than nodes.max: lower min or raise max")
)]
pub struct Nodes {
    /// Fewest nodes, whatever a policy proposes.
    #[schemars(range(min = 1, max = 1000))]
    pub min: u32,

    /// Most nodes, whatever a policy proposes.
    #[schemars(range(min = 1, max = 1000))]
    pub max: u32,

    /// Nodes by hand: this many, within min and max, while the policy goes on deciding which of them
    /// owns what. `kubectl scale` writes it. Remove it to give control back:
    /// `kubectl patch lst NAME --type=merge -p '{"spec":{"nodes":{"pin":null}}}'`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub pin: Option<u32>,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { min: 1, max: 1, pin: None }
    }
}

/// The volume of each node: a PersistentVolumeClaim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Size, for example 100Gi. A larger one makes the volumes grow where their StorageClass has
    /// allowVolumeExpansion; the condition VolumesGrown says where it does not.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[0-9]+(\\.[0-9]+)?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"))]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0")
        .message("volume.size can't shrink, because volumes can't: write the old size or a larger one"))]
    pub size: String,

    /// StorageClass of the volumes. Absent: the cluster's default. Can't be changed later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("volume.storageClassName can't be changed, because existing volumes keep theirs: create a second LogStorage"))]
    pub storage_class_name: Option<String>,
}
