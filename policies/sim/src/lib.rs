//! A small queue model of a log processor, for tests of policies as native functions. Touches nothing.
//!
//! One tick is one second. Records arrive at a given rate, wait in one queue without bound, and each
//! ready replica takes up to its capacity from it. A replica that is asked for is ready after the
//! start-up time; one that is no longer wanted is gone at once. There are no guardrails: what the
//! policy says is done, so a policy that flaps is seen to flap.
//!
//! The simulator of the whole platform, with guardrails and the Wasm engine, is the host's
//! (`host/sim`); this one is for what a rule does by itself.

use std::collections::VecDeque;
use weir_policy::input::{Capacity, Input, Objectives, Replicas};
use weir_policy::policy::{ScalingPolicy, call};
use weir_policy::window::{Series, Window};

/// Seconds that the policy's window spans.
pub const WINDOW_SECONDS: usize = 120;

/// What does not change during a run.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Records a second that one replica really processes.
    pub capacity: f64,
    /// What the policy is told that it processes.
    pub declared: Option<f64>,
    /// Seconds from a changed count to a ready replica.
    pub start_up: u32,
    /// Freshness objective in seconds.
    pub freshness: Option<f64>,
    /// Replicas at the beginning, all ready.
    pub replicas: u32,
}

/// What was seen in one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    /// Records a second that arrived.
    pub offered: f64,
    /// Records that wait at the end of the second.
    pub backlog: f64,
    /// Replicas that were ready.
    pub ready: u32,
    /// Replicas that were asked for after the decision of this second.
    pub desired: u32,
}

struct Plant {
    model: Model,
    desired: u32,
    ready: u32,
    /// Seconds until each of the starting replicas is ready, the next one first.
    starting: VecDeque<u32>,
    backlog: f64,
    window: Window,
    now: i64,
}

/// Runs policy `P` with these params (JSON) over `arrivals`, one rate a second.
pub fn run<P: ScalingPolicy>(model: Model, params: &str, arrivals: &[f64]) -> Vec<Tick> {
    let series = |name: &str, unit: &str| Series { name: name.into(), unit: unit.into(), values: Vec::new() };
    let columns = vec![series("offered", "records/s"), series("sent", "records/s"), series("backlog", "records"), series("cpu", "1")];
    let mut plant = Plant {
        model,
        desired: model.replicas,
        ready: model.replicas,
        starting: VecDeque::new(),
        backlog: 0.0,
        window: Window { times: Vec::new(), series: columns },
        now: 1_704_067_200_000,
    };
    let mut state = Vec::new();
    arrivals
        .iter()
        .map(|offered| {
            plant.second(*offered);
            // a refusal holds what is, and keeps the state
            if let Ok(proposal) = call::<P>(&plant.input(), params, &state) {
                state = proposal.state;
                plant.scale(proposal.replicas);
            }
            Tick { offered: *offered, backlog: plant.backlog, ready: plant.ready, desired: plant.desired }
        })
        .collect()
}

impl Plant {
    /// One second passes.
    fn second(&mut self, offered: f64) {
        self.now += 1000;
        for left in &mut self.starting {
            *left = left.saturating_sub(1);
        }
        while self.starting.front() == Some(&0) {
            self.starting.pop_front();
            self.ready += 1;
        }
        let able = f64::from(self.ready) * self.model.capacity;
        let sent = able.min(self.backlog + offered);
        self.backlog += offered - sent;
        self.window.times.push(self.now);
        for (column, value) in self.window.series.iter_mut().zip([offered, sent, self.backlog, sent / self.model.capacity]) {
            column.values.push(value);
            if column.values.len() > WINDOW_SECONDS {
                column.values.remove(0);
            }
        }
        if self.window.times.len() > WINDOW_SECONDS {
            self.window.times.remove(0);
        }
    }

    fn input(&self) -> Input {
        let starting = u32::try_from(self.starting.len()).unwrap_or(u32::MAX);
        Input {
            now: self.now,
            namespace: "sim".into(),
            name: "sim".into(),
            replicas: Replicas { desired: self.desired, ready: self.ready, starting, min: 1, max: 1000 },
            capacity: Capacity { per_replica: self.model.declared, learnt: false, start_up: f64::from(self.model.start_up) },
            objectives: Objectives { freshness: self.model.freshness, ..Objectives::default() },
            window: self.window.clone(),
        }
    }

    /// The count becomes `wanted`: new ones start, and of those too many the starting ones go first.
    fn scale(&mut self, wanted: u32) {
        while self.desired < wanted {
            self.starting.push_back(self.model.start_up.max(1));
            self.desired += 1;
        }
        while self.desired > wanted {
            if self.starting.pop_back().is_none() {
                self.ready = self.ready.saturating_sub(1);
            }
            self.desired -= 1;
        }
    }
}

/// The counts that were asked for, each run of equal ones as one.
#[must_use]
pub fn counts(ticks: &[Tick]) -> Vec<u32> {
    let mut counts: Vec<u32> = ticks.iter().map(|tick| tick.desired).collect();
    counts.dedup();
    counts
}

/// How often the count turned: an up after a down or a down after an up.
#[must_use]
pub fn turns(ticks: &[Tick]) -> usize {
    let counts = counts(ticks);
    let ups: Vec<bool> = counts.iter().zip(counts.iter().skip(1)).map(|(before, after)| after > before).collect();
    ups.iter().zip(ups.iter().skip(1)).filter(|(before, after)| before != after).count()
}

/// A day in `seconds` ticks: lowest at its ends, highest in the middle, with noise of that share
/// (reproducible: a linear congruential generator).
#[must_use]
pub fn day(seconds: u32, low: f64, high: f64, noise: f64) -> Vec<f64> {
    let mut seed = 42_u64;
    (0..seconds)
        .map(|second| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (seed >> 40) as f64 / f64::from(1_u32 << 24) * 2.0 - 1.0;
            let phase = f64::from(second) / f64::from(seconds) * core::f64::consts::TAU;
            let level = low + (high - low) * (1.0 - phase.cos()) / 2.0;
            level * (1.0 + noise * random)
        })
        .collect()
}
