//! The label sets of the metrics and the words that they may hold. Touches nothing; used by [`super`].

use prometheus_client::encoding::EncodeLabelSet;
use weir_core::guardrails::Guardrail;
use weir_core::ids::ObjectRef;
use weir_core::scaling::FailureKind;

/// A step of a reconcile, the label of `weir_reconcile_errors_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking up what an object refers to.
    Resolve,
    /// Reading pods and metrics.
    Observe,
    /// Freezing the inputs.
    Snapshot,
    /// Asking the policy and guarding its proposal.
    Decide,
    /// Turning the verdict into actions.
    Plan,
    /// Writing to the cluster.
    Apply,
    /// Writing the decision log.
    Record,
    /// Writing the status.
    Status,
}

impl Step {
    pub(super) const ALL: [Self; 8] = [Self::Resolve, Self::Observe, Self::Snapshot, Self::Decide, Self::Plan, Self::Apply, Self::Record, Self::Status];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Observe => "observe",
            Self::Snapshot => "snapshot",
            Self::Decide => "decide",
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Record => "record",
            Self::Status => "status",
        }
    }
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyResult {
    /// The object is new.
    Created,
    /// The object is another one than before.
    Changed,
    /// The object was already as wanted.
    Unchanged,
    /// The object is gone.
    Deleted,
}

impl ApplyResult {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// What became of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// It was written.
    Written,
    /// It was said before, only its count rises.
    Repeated,
    /// Its object had too many in a short time.
    Limited,
    /// The queue to the API server was full.
    Dropped,
    /// The API server did not take it.
    Failed,
}

impl EventOutcome {
    pub(super) const ALL: [Self; 5] = [Self::Written, Self::Repeated, Self::Limited, Self::Dropped, Self::Failed];

    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Repeated => "repeated",
            Self::Limited => "limited",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// Every word of [`FailureKind`].
pub(super) const FAILURES: [&str; 9] = [
    FailureKind::Trap.as_str(),
    FailureKind::FuelExhausted.as_str(),
    FailureKind::DeadlineExceeded.as_str(),
    FailureKind::MemoryLimit.as_str(),
    FailureKind::ResultTooLarge.as_str(),
    FailureKind::StateTooLarge.as_str(),
    FailureKind::InvalidProposal.as_str(),
    FailureKind::NotLoaded.as_str(),
    FailureKind::Host.as_str(),
];

/// Every word of [`Guardrail`].
pub(super) const GUARDRAILS: [&str; 9] = [
    Guardrail::Min.as_str(),
    Guardrail::Max.as_str(),
    Guardrail::StabilizationUp.as_str(),
    Guardrail::StabilizationDown.as_str(),
    Guardrail::Cooldown.as_str(),
    Guardrail::StepUp.as_str(),
    Guardrail::StepDown.as_str(),
    Guardrail::RateUp.as_str(),
    Guardrail::RateDown.as_str(),
];

/// The outcome of a compilation that went well; the others are [`weir_engine::LoadError::OF_COMPILER`].
pub(super) const COMPILED: &str = "Compiled";

/// The word for what the API server, or the way to it, said.
pub(super) fn api_reason(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => status_word(status.code),
        _ => "Transport",
    }
}

/// The reason that Kubernetes gives with an HTTP status, as in `metav1.StatusReason`.
pub(in crate::shell) const fn status_word(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        410 => "Expired",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "Other",
    }
}

macro_rules! label_sets {
    ($($(#[$doc:meta])* $name:ident { $($label:ident: $type:ty),+ })+) => {
        $($(#[$doc])* #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: $type),+ })+
    };
}

label_sets! {
    Decided { verdict: &'static str, mode: &'static str }
    Clamped { guardrail: &'static str }
    Caused { cause: &'static str }
    PolicyName { policy_namespace: String, policy: String }
    PolicyFailure { policy_namespace: String, policy: String, kind: &'static str }
    Swapped { result: &'static str }
    Compiled { outcome: &'static str }
    PolicyNamespace { policy_namespace: String }
    QuotaRefusal { policy_namespace: String, resource: &'static str }
    ObjectNamespace { object_namespace: String }
    Differs { kind: &'static str }
    Scraped { result: &'static str }
    ApiRequest { verb: &'static str, resource: &'static str, subresource: &'static str }
    ApiFailure { verb: &'static str, code: &'static str }
    Verb { verb: &'static str }
    Applied { kind: &'static str, result: &'static str }
    ApplyFailure { kind: &'static str, reason: &'static str }
    Stepped { step: &'static str }
    Told { outcome: &'static str }
    Readied { kind: &'static str, ready: &'static str }
    Kinded { kind: &'static str, state: &'static str }
    Unhealthy { kind: &'static str, problem: &'static str }
    ObjectReplicas { kind: &'static str, object_namespace: String, object: String, state: &'static str }
    ObjectName { kind: &'static str, object_namespace: String, object: String }
}

impl PolicyName {
    pub(super) fn of(object: &ObjectRef) -> Self {
        Self { policy_namespace: object.namespace.clone(), policy: object.name.clone() }
    }
}
