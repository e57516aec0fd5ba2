//! Measured series as columns over one time axis. Touches nothing; filled by the intake.

use serde::{Deserialize, Serialize};

/// Names of the series that an object with the collector engine has by itself (`wit/scaling.wit`).
pub mod names {
    /// Demand in records/s: accepted plus refused.
    pub const OFFERED: &str = "offered";
    /// Records/s that the receivers took.
    pub const ACCEPTED: &str = "accepted";
    /// Records/s that the receivers refused.
    pub const REFUSED: &str = "refused";
    /// Records/s that the exporters delivered.
    pub const SENT: &str = "sent";
    /// Records/s that the exporters gave up or could not enqueue.
    pub const FAILED: &str = "failed";
    /// Records accepted and not yet sent.
    pub const BACKLOG: &str = "backlog";
    /// Fill of the exporters' queues in the unit they are sized in.
    pub const QUEUE: &str = "queue";
    /// What those queues can hold, in the same unit.
    pub const QUEUE_CAPACITY: &str = "queue-capacity";
    /// Resident memory in bytes.
    pub const MEMORY: &str = "memory";
    /// Processor seconds per second.
    pub const CPU: &str = "cpu";
    /// Busiest replica's offered load over the mean of all replicas.
    pub const SKEW: &str = "skew";
}

/// One column: a value for each time of the window, NaN where the sample is missing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Series {
    /// Name, one of [`names`] or a name from `spec.metrics.series`.
    pub name: String,
    /// Unit of the values, for example `records/s`.
    pub unit: String,
    /// As long as the window's `times`.
    pub values: Vec<f64>,
}

/// What was measured of late: columns over one ascending, equally spaced time axis.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Unix milliseconds, ascending, the newest last.
    pub times: Vec<i64>,
    /// The columns, each as long as `times`.
    pub series: Vec<Series>,
}

impl Window {
    /// The column of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// The newest value of a series, `None` when the series or the sample is missing.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<f64> {
        self.get(name)?.values.last().copied().filter(|value| value.is_finite())
    }
}
