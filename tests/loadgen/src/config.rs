//! What a run is: every setting with its default. Pure. Filled in by the binary's arguments or by
//! a test, read by `sender` when it starts.
use crate::profile::Profile;
use crate::transport::endpoint::Endpoint;
use std::str::FromStr;
use std::time::Duration;

/// How records travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC: one HTTP/2 channel a connection, requests multiplexed on it.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf bodies: HTTP/1.1 with keep-alive, one request a socket at a time.
    Http,
}

impl FromStr for Protocol {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "grpc" => Ok(Self::Grpc),
            "http" => Ok(Self::Http),
            other => Err(format!("{other:?}: grpc or http")),
        }
    }
}

/// Shares of the severities DEBUG, INFO, WARN and ERROR, in any unit.
///
/// As text: `debug=10,info=80,warn=7,error=3`; what is left out is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Severities {
    shares: [f64; 4],
}

/// Names and OTLP severity numbers.
const SEVERITIES: [(&str, i32); 4] = [("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17)];

impl Default for Severities {
    fn default() -> Self {
        Self { shares: [10.0, 80.0, 7.0, 3.0] }
    }
}

impl Severities {
    /// Number and name at `place` (0..1) of the shares.
    pub(crate) fn pick(&self, place: f64) -> (i32, &'static str) {
        let mut left = place * self.shares.iter().sum::<f64>();
        for (share, (name, number)) in self.shares.iter().zip(SEVERITIES) {
            if left < *share {
                return (number, name);
            }
            left -= share;
        }
        (9, "INFO")
    }
}

impl FromStr for Severities {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = [0.0; 4];
        for part in text.split(',') {
            let (name, share) = part.split_once('=').ok_or_else(|| format!("{part:?}: expected severity=share"))?;
            let place =
                SEVERITIES.iter().position(|(n, _)| n.eq_ignore_ascii_case(name.trim())).ok_or_else(|| format!("{name:?}: one of debug, info, warn, error"))?;
            let share: f64 = share.trim().parse().map_err(|e| format!("{part:?}: {e}"))?;
            if !share.is_finite() || share < 0.0 {
                return Err(format!("{part:?}: a share is at least 0"));
            }
            if let Some(slot) = shares.get_mut(place) {
                *slot = share;
            }
        }
        if shares.iter().sum::<f64>() <= 0.0 {
            return Err("at least one share must be above 0".to_owned());
        }
        Ok(Self { shares })
    }
}

/// Everything that a run is told. [`SenderConfig::new`] fills in what SDKs do by default.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// Id of the run: the resource attribute `run`. Choose a new one for each run: the checker
    /// finds records by it.
    pub run: String,
    /// Where to send. Each new connection takes the next one, and of the addresses behind a name
    /// a random one.
    pub endpoints: Vec<Endpoint>,
    /// gRPC or HTTP.
    pub protocol: Protocol,
    /// How many clients, each with its own long-lived connection. Default 16.
    pub connections: usize,
    /// Requests under way at once per connection. Default 4.
    pub in_flight: usize,
    /// How many streams (`service.name`s). Default 8.
    pub streams: usize,
    /// Skew of the streams: stream `i` weighs `1/(i+1)^skew`. Default 1, 0 is equal.
    pub skew: f64,
    /// Most records in a request. Default 512, as in the SDKs' batch processors.
    pub batch_size: u64,
    /// Longest wait for a batch to fill. Default 200 ms.
    pub linger: Duration,
    /// Bound on batches that wait or are under way; beyond it load is shed and counted. Default 4096.
    pub max_pending: u64,
    /// Smallest and largest body, bytes; sizes are log-uniform between. Default 80 and 400.
    pub body_bytes: (u32, u32),
    /// How many records of each severity.
    pub severities: Severities,
    /// More resource attributes; of several values each stream takes one in turn.
    pub resource: Vec<(String, Vec<String>)>,
    /// Headers (gRPC metadata) of each request.
    pub headers: Vec<(String, String)>,
    /// Load over time.
    pub profile: Profile,
    /// How long load is offered; without it, until stopped.
    pub duration: Option<Duration>,
    /// How long pending batches are still sent after that. Default 60 s.
    pub drain: Duration,
    /// How long one attempt may take, connecting included. Default 10 s, as in the SDKs.
    pub timeout: Duration,
    /// First wait before a retry. Default 100 ms.
    pub retry_initial: Duration,
    /// Longest wait before a retry. Default 5 s.
    pub retry_longest: Duration,
}

impl SenderConfig {
    /// A run of 1,000 records a second with everything else at its default.
    #[must_use]
    pub fn new(run: impl Into<String>, endpoints: Vec<Endpoint>) -> Self {
        Self {
            run: run.into(),
            endpoints,
            protocol: Protocol::default(),
            connections: 16,
            in_flight: 4,
            streams: 8,
            skew: 1.0,
            batch_size: 512,
            linger: Duration::from_millis(200),
            max_pending: 4096,
            body_bytes: (80, 400),
            severities: Severities::default(),
            resource: Vec::new(),
            headers: Vec::new(),
            profile: Profile::constant(1_000.0),
            duration: None,
            drain: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
            retry_initial: Duration::from_millis(100),
            retry_longest: Duration::from_secs(5),
        }
    }

    /// Refuses what cannot run.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("connections", self.connections),
            ("in_flight", self.in_flight),
            ("streams", self.streams),
            ("batch_size", crate::num::index(self.batch_size)),
            ("max_pending", crate::num::index(self.max_pending)),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, n)| *n == 0) {
            return Err(ConfigError::Zero(name));
        }
        if self.endpoints.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.run.is_empty() || !self.run.chars().all(plain) {
            return Err(ConfigError::Run(self.run.clone()));
        }
        let (low, high) = self.body_bytes;
        if low > high || high > 1 << 20 {
            return Err(ConfigError::BodyBytes(low, high));
        }
        if !self.skew.is_finite() || self.skew < 0.0 {
            return Err(ConfigError::Skew(self.skew));
        }
        Ok(())
    }
}

/// A run that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A count that must be at least 1.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// Nowhere to send.
    #[error("at least one endpoint is needed")]
    NoEndpoint,
    /// The id goes into queries, so it must be plain.
    #[error("run {0:?}: letters, digits, '-', '_' and '.' only, and not empty")]
    Run(String),
    /// The sizes of bodies.
    #[error("bodies of {0} to {1} bytes: the first must not be larger, and 1 MiB is the most")]
    BodyBytes(u32, u32),
    /// The exponent of the streams' weights.
    #[error("skew {0} must be at least 0")]
    Skew(f64),
    /// A header that HTTP does not allow.
    #[error("header {0:?}: {1}")]
    Header(String, String),
    /// An endpoint that the client library refuses.
    #[error("endpoint {0}: {1}")]
    Endpoint(Endpoint, String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_picked_by_their_shares() {
        let s: Severities = "info=75,error=25".parse().unwrap();
        assert_eq!([s.pick(0.0).1, s.pick(0.74).1, s.pick(0.76).1], ["INFO", "INFO", "ERROR"]);
        assert!("loud=3".parse::<Severities>().is_err());
        assert!("info=0".parse::<Severities>().is_err());
    }

    #[test]
    fn a_run_that_cannot_be_queried_or_sent_is_refused() {
        let here = || vec!["127.0.0.1:4317".parse().unwrap()];
        assert!(SenderConfig::new("ok-1.2_x", here()).validate().is_ok());
        assert!(SenderConfig::new("a\"b", here()).validate().is_err());
        assert!(SenderConfig::new("a", vec![]).validate().is_err());
        let mut none = SenderConfig::new("a", here());
        none.connections = 0;
        assert!(none.validate().is_err());
    }
}
