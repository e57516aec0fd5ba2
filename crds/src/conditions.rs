//! Types and reasons of the conditions in `status.conditions`: stable words that people alert on.
//!
//! Each reason says in its doc which condition it stands on and with which status.

/// Types of conditions.
pub mod kind {
    /// Every kind: the object does what its spec asks for.
    pub const READY: &str = "Ready";
    /// LogProcessor: metrics are fresh and complete enough to decide on.
    pub const METRICS_READY: &str = "MetricsReady";
    /// LogProcessor: the policy that it names is loaded and may be used here.
    pub const POLICY_READY: &str = "PolicyReady";
    /// LogProcessor: decisions change the replicas. False with the reason when something holds them.
    pub const SCALING_ACTIVE: &str = "ScalingActive";
    /// LogProcessor: the replicas that should run do run, and none is stuck.
    pub const HEALTHY: &str = "Healthy";
    /// LogProcessor: the collector's own check accepted the desired configuration.
    pub const CONFIG_ACCEPTED: &str = "ConfigAccepted";
    /// LogProcessor: every replica runs the desired configuration.
    pub const CONFIG_CONFIRMED: &str = "ConfigConfirmed";
    /// LogProcessor: `objectives` are kept.
    pub const OBJECTIVES_MET: &str = "ObjectivesMet";
    /// LogStorage: every node answers.
    pub const NODES_READY: &str = "NodesReady";
    /// LogStorage: every record that is to be kept can be queried.
    pub const REACHABLE: &str = "Reachable";
    /// LogStorage: no node has much more to do than the mean.
    pub const BALANCED: &str = "Balanced";
    /// LogStorage: the policy that it names is loaded and its proposals make sense.
    pub const PLACEMENT_ACCEPTED: &str = "PlacementAccepted";
    /// LogStorage: decisions change owners. False with the reason when something holds them.
    pub const PLACEMENT_ACTIVE: &str = "PlacementActive";
    /// LogStorage: volumes have the size that is asked for.
    pub const VOLUMES_GROWN: &str = "VolumesGrown";
    /// LogProcessor: the RoutingTable that it names can be used.
    pub const ROUTING_TABLE_READY: &str = "RoutingTableReady";
    /// RoutingTable: the newest spec and the newest maps are the table that is used.
    pub const COMPILED: &str = "Compiled";
    /// RoutingTable: every replica of every LogProcessor that names it runs it.
    pub const CONFIRMED: &str = "Confirmed";
    /// WasmPolicy: the newest module of the source is the one that runs.
    pub const LATEST_ACCEPTED: &str = "LatestAccepted";
    /// WasmPolicy: the policy of `spec.fallback` can be asked.
    pub const FALLBACK_READY: &str = "FallbackReady";
    /// WasmPolicy: the module keeps failing and is not asked for decisions.
    pub const BREAKER_OPEN: &str = "BreakerOpen";
}

/// Reasons of conditions.
pub mod reason {
    /// Any condition, True: all is as it should be.
    pub const AS_EXPECTED: &str = "AsExpected";
    /// Any condition, Unknown: first pass not finished.
    pub const STARTING: &str = "Starting";
    /// Ready, False: the spec asks for something that can't be done; the message says what to change.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// Ready, False: the API server refused a write; the message carries its answer.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// Ready, False: the workload of `targetRef` does not exist.
    pub const TARGET_NOT_FOUND: &str = "TargetNotFound";
    /// Ready, False: another LogProcessor scales the same workload.
    pub const TARGET_TAKEN: &str = "TargetTaken";
    /// Ready, False: an object with the name that Weir would use exists and belongs to someone else.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// Ready and Healthy, False: fewer replicas are ready than desired, and it is moving.
    pub const PROGRESSING: &str = "Progressing";
    /// Ready and Healthy, False: replicas crash, can't be scheduled, or never become ready.
    pub const DEGRADED: &str = "Degraded";

    /// MetricsReady, False: nothing measured for longer than `metrics.staleness`.
    pub const METRICS_STALE: &str = "MetricsStale";
    /// MetricsReady, False: more replicas than `metrics.maxMissingShare` did not answer.
    pub const METRICS_PARTIAL: &str = "MetricsPartial";
    /// MetricsReady, False: a series that the policy requires has no samples.
    pub const SERIES_MISSING: &str = "SeriesMissing";
    /// MetricsReady, False: the Prometheus server did not answer or refused the query.
    pub const PROMETHEUS_FAILED: &str = "PrometheusFailed";
    /// MetricsReady, True: there are no replicas to measure.
    pub const NO_REPLICAS: &str = "NoReplicas";

    /// PolicyReady, False: no WasmPolicy of that name.
    pub const POLICY_NOT_FOUND: &str = "PolicyNotFound";
    /// PolicyReady, False: the WasmPolicy has no module that runs.
    pub const POLICY_NOT_READY: &str = "PolicyNotReady";
    /// PolicyReady, False: the WasmPolicy does not serve this namespace (`allowedNamespaces`).
    pub const POLICY_NOT_ALLOWED: &str = "PolicyNotAllowed";
    /// PolicyReady, False: the policy trapped, hit a limit, or answered what makes no sense.
    pub const POLICY_FAILED: &str = "PolicyFailed";
    /// PolicyReady, WasmPolicy Ready, False: the module keeps failing and there is no fallback.
    pub const BREAKER_OPEN: &str = "BreakerOpen";
    /// PolicyReady, WasmPolicy Ready and BreakerOpen, True: the module keeps failing, and a fallback decides.
    pub const FALLBACK_DECIDES: &str = "FallbackDecides";
    /// BreakerOpen, True: the module keeps failing, and replicas are held.
    pub const HELD: &str = "Held";
    /// BreakerOpen, False: the module answers again, or is another one than the one that failed.
    pub const CLOSED: &str = "Closed";
    /// WasmPolicy Ready or LatestAccepted, False: the namespace's quota has no room for the module.
    /// LogProcessor PolicyReady and ScalingActive, False: decisions of the namespace used up their time.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// PolicyReady, True: the policy declined to propose; replicas are held.
    pub const POLICY_REFUSED: &str = "PolicyRefused";
    /// PolicyReady and ScalingActive, False: `spec.scaling` is absent.
    pub const NO_POLICY: &str = "NoPolicy";

    /// ScalingActive, False: `scaling.paused`.
    pub const PAUSED: &str = "Paused";
    /// ScalingActive, False: `replicas.pin` is set.
    pub const PINNED: &str = "Pinned";
    /// ScalingActive, False: `scaling.mode` is DryRun.
    pub const DRY_RUN: &str = "DryRun";
    /// ScalingActive, False: another autoscaler changes the same workload.
    pub const OTHER_AUTOSCALER: &str = "OtherAutoscaler";
    /// ScalingActive, False: metrics can't be decided on, so replicas are held.
    pub const METRICS_NOT_READY: &str = "MetricsNotReady";

    /// ConfigAccepted, False: the collector's own check refused it; the message is the collector's.
    pub const CONFIG_REJECTED: &str = "ConfigRejected";
    /// ConfigAccepted, True: not checked, because `configCheck` is Skip.
    pub const CONFIG_CHECK_SKIPPED: &str = "ConfigCheckSkipped";
    /// ConfigConfirmed, False: being rolled out.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// ConfigConfirmed, False: not confirmed in time; the last good configuration was put back.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// A new module runs beside the last good one, or decides for a share of the objects.
    pub const ON_TRIAL: &str = "OnTrial";

    /// NodesReady, False: nodes have not answered yet.
    pub const NODES_STARTING: &str = "NodesStarting";
    /// NodesReady, False: nodes do not answer; those that are silent for `failover.nodeTimeout` are lost.
    pub const NODES_LOST: &str = "NodesLost";
    /// NodesReady, False: the disks of nodes take no more records.
    pub const NODES_FULL: &str = "NodesFull";
    /// Reachable, False: a node that holds records to be kept can't be asked; the message says which
    /// partitions and times.
    pub const RECORDS_UNREACHABLE: &str = "RecordsUnreachable";
    /// Balanced, False: the fullest node has more than 1.05 times the mean.
    pub const SKEWED: &str = "Skewed";
    /// Balanced, Unknown: no node answers.
    pub const NOT_MEASURED: &str = "NotMeasured";
    /// PlacementActive, False: more nodes are silent at once than die at once; nothing is moved.
    pub const MASS_LOSS: &str = "MassLoss";
    /// PolicyReady and PlacementAccepted, False: the WasmPolicy decides on something else.
    pub const WRONG_KIND: &str = "WrongKind";
    /// VolumesGrown, False: a volume can't grow; the message says why.
    pub const NOT_EXPANDABLE: &str = "NotExpandable";
    /// VolumesGrown, False: volumes are growing.
    pub const GROWING: &str = "Growing";
    /// Ready, False: the ConfigMap with the owners was changed or is lost; nothing is moved.
    pub const MAP_LOST: &str = "MapLost";

    /// ObjectivesMet, False: an objective is missed; the message says which and by how much.
    pub const OBJECTIVE_MISSED: &str = "ObjectiveMissed";

    /// RoutingTableReady, False: no RoutingTable of that name.
    pub const ROUTING_TABLE_NOT_FOUND: &str = "RoutingTableNotFound";
    /// RoutingTableReady, False: none of its versions could be compiled yet, or it is part of another.
    pub const ROUTING_TABLE_NOT_READY: &str = "RoutingTableNotReady";
    /// Compiled, False: a destination leads nowhere, for example to a LogStorage without a map.
    pub const DESTINATION_UNREACHABLE: &str = "DestinationUnreachable";
    /// Compiled, False: the table does not fit into a ConfigMap.
    pub const TABLE_TOO_LARGE: &str = "TableTooLarge";
    /// Compiled, False: the map of a LogStorage is older than the one that is followed.
    pub const MAP_OUT_OF_DATE: &str = "MapOutOfDate";
    /// Compiled, False: `parentRef` names a table that does not exist or is a part itself.
    pub const PARENT_NOT_FOUND: &str = "ParentNotFound";
    /// Confirmed, Unknown: no LogProcessor names the table.
    pub const NOT_USED: &str = "NotUsed";

    /// LatestAccepted, False: `spec.source` names no source that this operator can read. For a module
    /// that was read and refused the reason is the one that weir-engine gives
    /// (`LoadError::reason()`, for example DigestMismatch, HasImports, InvalidParams).
    pub const SOURCE_UNREADABLE: &str = "SourceUnreadable";
    /// LatestAccepted, Unknown: a newer module is being verified and tried.
    pub const VERIFYING: &str = "Verifying";
    /// WasmPolicy, Ready, False: no module has been accepted yet.
    pub const NO_MODULE: &str = "NoModule";
}
