//! Desired Kubernetes objects of a LogProcessor, and the rollout of its configuration. Touches
//! nothing: no client, no async, no clock. Called by the actor of a LogProcessor.
//!
//! ```text
//! LogProcessor ─ validate ─▶ Valid ─┬─ objects ─▶ Desired ── covers(live, desired)? ─▶ apply
//!                                   └─ Revision ─ check ─▶ Job ─ outcome ─▶ rollout ─▶ which Revision
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`valid`], [`measure`] | the border: the spec as a type that later steps trust |
//! | [`collector`], `shape`, `telemetry`, `ports`, `yaml` | what Weir adds to a collector's configuration and reads from it |
//! | [`routing`] | a compiled routing table as part of a configuration |
//! | [`revision`] | one state of `engine.otelCollector`, named by its hash |
//! | [`mod@objects`], `pod`, [`names`] | every object that should exist, ready for server-side apply |
//! | [`check`] | the collector's own check of a configuration, as a Job |
//! | [`rollout`] | which revision runs: tried first, confirmed, put back when it fails |
//! | [`mod@covers`] | whether a live object already has all that is desired |

pub mod check;
pub mod collector;
pub mod covers;
pub mod measure;
pub mod names;
pub mod objects;
pub(crate) mod pod;
mod ports;
pub mod revision;
pub mod rollout;
pub mod routing;
mod shape;
mod telemetry;
pub mod valid;
mod yaml;

pub use check::{CheckOutcome, check_outcome, validation_job};
pub use covers::covers;
pub use measure::{PromAuth, ValidMetrics, ValidPrometheus, ValidScrape};
pub use names::{
    ANNOTATION_GIVEN_AT, ANNOTATION_LAST_GOOD, ANNOTATION_LIVE, ANNOTATION_ROLLED_BACK, LABEL_CONFIG_CHECK, LABEL_TEMPLATE, check_job_name, config_map_name,
    service_name, workload_name,
};
pub use objects::{Deploy, Desired, Inputs, Object, ObjectKind, adoption_patch, objects};
pub use ports::Port;
pub use revision::{ConfigHash, INFO_LABEL, Revision};
pub use rollout::{Change, Confirmed, Progress, Rejected, State, Step, Verdict, step};
pub use routing::Routed;
pub use valid::{Bounds, Invalid, Notice, Owner, Routing, Template, Valid, ValidEngine, ValidScaling, validate};

#[cfg(test)]
mod fixtures;
