//! What surrounds the steps of a decision: the connection to the API server, who may act, what is
//! counted, logged, traced and told. Nothing here knows a rule of the domain.
//!
//! | module | what it is |
//! |---|---|
//! | [`client`] | one client for the API server, counted and bounded |
//! | [`leader`] | which of several operators may act |
//! | [`events`] | Kubernetes Events, said once and at a bounded rate |
//! | [`metrics`] | what Prometheus sees |
//! | [`http`] | `/metrics`, `/healthz`, `/readyz` |
//! | [`telemetry`] | logs and spans |

pub mod client;
pub mod events;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod telemetry;
