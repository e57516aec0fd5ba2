//! Names that Weir writes on objects, so that every crate and every dashboard uses the same ones.

/// Field manager of every server-side apply that Weir makes.
pub const FIELD_MANAGER: &str = "weir";

/// Label on each object that Weir creates for a LogProcessor, and on its pods; the value is the
/// name of the LogProcessor. Selector of the workload, so it never changes.
pub const LABEL_PROCESSOR: &str = "weir.dev/processor";
/// Label on each object that Weir creates for a LogStorage, and on its pods; the value is the name of
/// the LogStorage. Selector of its workloads, so it never changes.
pub const LABEL_STORAGE: &str = "weir.dev/storage";
/// Label on each ConfigMap with a compiled table; the value is the name of the RoutingTable.
pub const LABEL_ROUTING_TABLE: &str = "weir.dev/routing-table";
/// Label on a pod that is leaving: it has been taken out of the Service and drains its queue.
pub const LABEL_DRAINING: &str = "weir.dev/draining";
/// Label on a ConfigMap that says what it holds, for example [`COMPONENT_COLLECTOR`].
pub const LABEL_COMPONENT: &str = "app.kubernetes.io/component";
/// Label on a Namespace: with the value "true", modules of its policies need a signature
/// (`weir operator --require-signatures=labelled`).
pub const LABEL_REQUIRE_SIGNATURES: &str = "weir.dev/require-signatures";
/// Standard label: the name of the application.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Standard label: which instance of the application.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Standard label: the larger thing that the object belongs to.
pub const LABEL_PART_OF: &str = "app.kubernetes.io/part-of";
/// Standard label: who manages the object. Always [`MANAGED_BY`] on what Weir creates.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`LABEL_MANAGED_BY`].
pub const MANAGED_BY: &str = "weir";
/// Value of [`LABEL_PART_OF`].
pub const PART_OF: &str = "weir";
/// Value of [`LABEL_COMPONENT`] for collectors.
pub const COMPONENT_COLLECTOR: &str = "collector";
/// Value of [`LABEL_COMPONENT`] for storage nodes.
pub const COMPONENT_STORAGE_NODE: &str = "storage-node";
/// Value of [`LABEL_COMPONENT`] for the query endpoint over storage nodes.
pub const COMPONENT_QUERY: &str = "query";
/// Value of [`LABEL_COMPONENT`] for the map of partitions.
pub const COMPONENT_PARTITIONS: &str = "partitions";

/// Annotation with the sha256 of the configuration that a pod template or ConfigMap carries.
pub const ANNOTATION_CONFIG_HASH: &str = "weir.dev/config-hash";
/// Annotation with the id of the decision that last changed an object.
pub const ANNOTATION_DECISION: &str = "weir.dev/decision";
/// Annotation that a user sets on any object of Weir to ask for a reconciliation now; any new value does.
pub const ANNOTATION_RECONCILE: &str = "weir.dev/reconcile-at";
/// Annotation on an adopted workload: namespace and name of the LogProcessor that scales it.
pub const ANNOTATION_SCALED_BY: &str = "weir.dev/scaled-by";
/// Annotation that Kubernetes reads when it chooses which pod of a ReplicaSet goes first.
pub const ANNOTATION_POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Finalizer on a LogProcessor that has adopted a workload through `targetRef`: it removes
/// [`ANNOTATION_SCALED_BY`] from it.
pub const FINALIZER: &str = "weir.dev/release";
