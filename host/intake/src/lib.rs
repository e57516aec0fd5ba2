//! Metrics in: what the pods of an object expose and what Prometheus knows, as one window of series
//! with a verdict on whether it may be decided on.
//!
//! The first of the seven steps (observe). Two modules touch the network, all others are pure and take
//! time as an argument, so the simulator and the tests run them as the operator does.
//!
//! ```text
//! scrape (network) ─ body ─▶ exposition ─ samples ─▶ reading ─▶ Readings ┐
//!                            profile says which are wanted               ├▶ Intake: pod → rates, backlog
//! promql (network) ─ one number ────────────────────────────────────────┘          sum → columns → ring → Window
//!                                                                                  health → MetricsHealth
//! ```
//!
//! | module | what it is | touches |
//! |---|---|---|
//! | [`exposition`] | parser of the text formats | nothing |
//! | [`profile`] | which metrics are wanted and which series they make; the collector's names by version | nothing |
//! | [`reading`] | one scrape as plain numbers | nothing |
//! | `pod` | counters to rates, resets, restarts | nothing |
//! | `backlog` | records in queues that are sized in requests | nothing |
//! | `sum` | pods to the object, estimates for missing ones | nothing |
//! | `ring` | slots on the grid of the interval | nothing |
//! | [`health`] | ready or held, and why | nothing |
//! | [`intake`] | all of the above, per object | nothing |
//! | [`observation`] | what a tick takes and gives, as plain data | nothing |
//! | [`time`] | monotonic time as a value | reads the clock in one constructor |
//! | [`http`] | shared clients, TLS, authentication | network |
//! | [`scrape`] | one pod's metrics | network, clock |
//! | [`promql`] | one query's number | network |

mod backlog;
pub mod exposition;
pub mod health;
pub mod http;
pub mod intake;
pub mod observation;
mod pod;
pub mod profile;
pub mod promql;
pub mod reading;
mod ring;
pub mod scrape;
mod sum;
pub mod time;

pub use health::{MetricsHealth, NotReadyReason};
pub use http::{Auth, HttpClients, Scheme, TlsOptions};
pub use intake::Intake;
pub use observation::{Counts, IntakeError, IntakeOptions, Observation, PodOutcome, PodReport, PodSample, PodState, QueryReport};
pub use profile::{Aggregate, Kind, OtelOptions, Profile, ProfileError, QueueUnit, SeriesName, SeriesSpec, Source};
pub use promql::{PromAnswer, PromClient, PromError, PromOptions};
pub use reading::Readings;
pub use scrape::{ScrapeError, ScrapeOptions, ScrapeTarget, Scraper};
pub use time::Mono;
