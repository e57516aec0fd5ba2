//! A platform without bytes: what *n* replicas of a given capacity would do with the load of a
//! [`Profile`]. For clusters whose pods are fake (kwok), where nothing can send or receive.
//!
//! This file is pure: time is an argument. [`server`] puts it behind a Prometheus query endpoint.
//!
//! **The model**, per platform (a platform is a `name`; each follows the same profile):
//! `capacity = ready replicas × capacity per replica`. In a span of time the profile brings
//! `offered` records; the backlog and they are served up to `capacity`; what is left waits in the
//! backlog up to `max_backlog`; what finds no room is refused, and the model's clients do not send
//! it again. So `accepted` saturates at capacity and hides demand, as a real collector does, while
//! the backlog, its age and `refused` show it.
pub mod server;

use crate::profile::Profile;
use std::time::Duration;

/// Longest step of the integration.
const STEP: Duration = Duration::from_millis(100);

/// What a model is told.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Load over time.
    pub profile: Profile,
    /// Records a second that one replica serves.
    pub capacity_per_replica: f64,
    /// Replicas ready at the start.
    pub replicas: u32,
    /// Most records that wait, in total; beyond it records are refused.
    pub max_backlog: f64,
}

/// One platform's state.
#[derive(Clone, Debug)]
pub struct Model {
    capacity_per_replica: f64,
    max_backlog: f64,
    profile: Profile,
    /// Model time at which the profile began.
    profile_since: Duration,
    /// Model time reached.
    now: Duration,
    ready: u32,
    readings: Readings,
}

/// What can be read from a platform. Rates are records a second over the last step, totals are
/// records since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Readings {
    /// Load that the profile brings.
    pub offered: f64,
    /// Load that is served: at most the capacity.
    pub accepted: f64,
    /// Load that finds no room.
    pub refused: f64,
    /// Records that wait.
    pub backlog: f64,
    /// How long the newest of them will have waited when it is served; infinite without replicas.
    pub backlog_seconds: f64,
    /// Replicas that are ready.
    pub replicas: f64,
    /// Records a second that they serve together.
    pub capacity: f64,
    /// All that was offered.
    pub offered_total: f64,
    /// All that was served.
    pub accepted_total: f64,
    /// All that was refused.
    pub refused_total: f64,
}

impl Model {
    /// A platform at time 0.
    #[must_use]
    pub fn new(config: &ModelConfig) -> Self {
        let mut model = Self {
            capacity_per_replica: config.capacity_per_replica,
            max_backlog: config.max_backlog,
            profile: config.profile.clone(),
            profile_since: Duration::ZERO,
            now: Duration::ZERO,
            ready: config.replicas,
            readings: Readings::default(),
        };
        model.readings.offered = model.profile.rate_at(Duration::ZERO);
        model.settle();
        model
    }

    /// This many replicas are ready from now on.
    pub fn set_ready(&mut self, replicas: u32) {
        self.ready = replicas;
        self.settle();
    }

    /// Another load from now on.
    pub fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
        self.profile_since = self.now;
    }

    /// Lets time pass until `now` since the start, and reads. Earlier times change nothing.
    pub fn advance(&mut self, now: Duration) -> Readings {
        while self.now < now {
            let span = (now - self.now).min(STEP);
            self.step(span);
        }
        self.readings
    }

    fn step(&mut self, span: Duration) {
        let seconds = span.as_secs_f64();
        let at = (self.now + span / 2).saturating_sub(self.profile_since);
        let r = &mut self.readings;
        r.offered = self.profile.rate_at(at);
        let brought = r.offered * seconds;
        let served = (r.backlog + brought).min(r.capacity * seconds);
        let waiting = r.backlog + brought - served;
        let refused = (waiting - self.max_backlog).max(0.0);
        r.backlog = waiting - refused;
        r.accepted = served / seconds;
        r.refused = refused / seconds;
        r.offered_total += brought;
        r.accepted_total += served;
        r.refused_total += refused;
        self.now += span;
        self.settle();
    }

    /// Brings what follows from replicas and backlog up to date.
    fn settle(&mut self) {
        let r = &mut self.readings;
        r.replicas = f64::from(self.ready);
        r.capacity = r.replicas * self.capacity_per_replica;
        r.backlog_seconds = if r.backlog > 0.0 { r.backlog / r.capacity } else { 0.0 };
    }
}

impl Readings {
    /// Name, help and value of each metric, without the prefix `weir_model_`.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &'static str, f64); 10] {
        [
            ("offered", "Load brought, records a second", self.offered),
            ("accepted", "Load served, records a second", self.accepted),
            ("refused", "Load without room, records a second", self.refused),
            ("backlog", "Records waiting", self.backlog),
            ("backlog_seconds", "Time to serve the backlog", self.backlog_seconds),
            ("replicas", "Replicas ready", self.replicas),
            ("capacity", "Load that can be served, records a second", self.capacity),
            ("offered_total", "Records brought", self.offered_total),
            ("accepted_total", "Records served", self.accepted_total),
            ("refused_total", "Records refused", self.refused_total),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(rate: f64, replicas: u32) -> Model {
        Model::new(&ModelConfig { profile: Profile::constant(rate), capacity_per_replica: 100.0, replicas, max_backlog: 1_000.0 })
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn accepted_saturates_at_capacity_and_the_backlog_grows_until_records_are_refused() {
        let mut m = model(500.0, 2);
        let r = m.advance(Duration::from_secs(2));
        assert!(near(r.accepted, 200.0) && near(r.backlog, 600.0) && near(r.refused, 0.0));
        assert!(near(r.backlog_seconds, 3.0));
        let r = m.advance(Duration::from_secs(10));
        assert!(near(r.backlog, 1_000.0) && near(r.refused, 300.0));
        assert!(near(r.offered_total, r.accepted_total + r.refused_total + r.backlog));
    }

    #[test]
    fn more_replicas_drain_the_backlog_and_then_serve_what_is_offered() {
        let mut m = model(500.0, 2);
        m.advance(Duration::from_secs(2));
        m.set_ready(10);
        let r = m.advance(Duration::from_secs(3));
        assert!(near(r.accepted, 1_000.0) && near(r.backlog, 100.0));
        let r = m.advance(Duration::from_secs(9));
        assert!(near(r.accepted, 500.0) && near(r.backlog, 0.0));
    }

    #[test]
    fn without_replicas_nothing_is_served_and_the_wait_is_infinite() {
        let r = model(10.0, 0).advance(Duration::from_secs(1));
        assert!(near(r.accepted, 0.0) && near(r.backlog, 10.0) && r.backlog_seconds.is_infinite());
    }
}
