//! The Kubernetes API of Weir: group `weir.dev`, version `v1alpha1`.
//!
//! One module per kind, one file per part of a spec. The doc comments on the fields are what
//! `kubectl explain` prints, so they are written for people who write manifests. `crds/yaml` is
//! generated from these types; `tests/generated.rs` compares and, with `WEIR_UPDATE=1`, writes.
//!
//! Touches nothing: no client, no clock. Every other crate that speaks Kubernetes stands on this one.
//!
//! Two rules keep one bad object from stopping the others:
//! - whatever the schema lets into etcd parses as the Rust type (`tests/schema.rs` tries it);
//! - pieces of other APIs that the schema does not describe are kept as they are ([`Opaque`]) and
//!   parsed where they are used, where a failure is a condition on one object.

#![allow(unreachable_pub, reason = "KubeSchema repeats each struct, with its `pub`, inside a function")]
#![allow(clippy::duplicated_attributes, reason = "each printer column has a type")]

mod bytes;
pub mod conditions;
mod crd;
mod duration;
pub mod log_processor;
pub mod log_storage;
pub mod names;
mod opaque;
mod pod;
mod refs;
pub mod routing_table;
mod schema;
pub mod wasm_policy;

pub use bytes::{Bytes, ParseBytesError};
pub use crd::{YamlError, crds, yaml, yaml_files};
pub use duration::{Duration, ParseDurationError};
pub use log_processor::{LogProcessor, LogProcessorSpec, LogProcessorStatus};
pub use log_storage::{LogStorage, LogStorageSpec, LogStorageStatus};
pub use opaque::Opaque;
pub use refs::{BasicAuthRef, PolicyRef, SecretKeyRef, Tls};
pub use routing_table::{RoutingTable, RoutingTableRef, RoutingTableSpec, RoutingTableStatus};
pub use wasm_policy::{WasmPolicy, WasmPolicySpec, WasmPolicyStatus};

/// The API group.
pub const GROUP: &str = "weir.dev";
/// The version that is served and stored.
pub const VERSION: &str = "v1alpha1";
/// Most replicas that a LogProcessor can ask for: the largest number of pods that Kubernetes
/// supports in one cluster (kubernetes.io, "Considerations for large clusters").
pub const MAX_REPLICAS: u32 = 150_000;
