//! Load for log platforms, and proof of what became of it.
//!
//! * [`Sender`] offers numbered OTLP log records in the shape of a [`Profile`] and retries each
//!   batch until a collector acknowledges it. Its [`Report`] says which numbers were acknowledged.
//! * [`check`](fn@check) asks VictoriaLogs which numbers arrived and compares: an acknowledged number that
//!   is not found is lost data.
//! * [`model`] is the same traffic without bytes: a Prometheus endpoint that answers what a
//!   platform of *n* fake replicas would accept.
//!
//! Who calls it: the end-to-end and chaos tests in-process, the demo and a person through the
//! binary `weir-loadgen`. It stands on nothing else of Weir: a checker that shared code with what
//! it checks would share its mistakes.
//!
//! ```text
//! profile ──▶ pacer ──▶ batches ──▶ lanes ──▶ transport ──▶ collector ──▶ … ──▶ VictoriaLogs
//!  (pure)     (pure)       │       (retry)   (gRPC, HTTP)                            │
//!                          └──▶ ledger ──▶ report ─────────▶ check ◀─────────────────┘
//! ```
#![forbid(unsafe_code)]

mod backoff;
pub mod check;
mod config;
pub mod control;
mod day;
mod encode;
mod lane;
mod ledger;
mod meters;
pub mod model;
mod num;
mod pacer;
mod profile;
mod ranges;
mod report;
mod sender;
mod streams;
mod transport;

pub use check::{CheckError, Checker, Verdict, check};
pub use config::{ConfigError, Protocol, SenderConfig, Severities};
pub use profile::{Profile, ProfileError, duration};
pub use ranges::RangeSet;
pub use report::{Batches, Latency, Records, Report, State, StreamReport};
pub use sender::{Sender, SenderHandle};
pub use transport::endpoint::{Endpoint, EndpointError};
