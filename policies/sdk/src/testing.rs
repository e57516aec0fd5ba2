//! Inputs for the tests of a policy, made in one line. Touches nothing.

use crate::input::{Capacity, Input, Objectives, Replicas};
use crate::window::{Series, Window};

/// An input to build on: one replica of at least 1 and at most 100, capacity unknown, start-up 10 s,
/// one sample a second, the newest at 2024-01-01T00:00:00Z, which is also now.
#[must_use]
pub fn input() -> InputBuilder {
    InputBuilder {
        input: Input {
            now: 1_704_067_200_000,
            namespace: "logs".into(),
            name: "edge".into(),
            replicas: Replicas { desired: 1, ready: 1, starting: 0, min: 1, max: 100 },
            capacity: Capacity { per_replica: None, learnt: false, start_up: 10.0 },
            objectives: Objectives::default(),
            window: Window::default(),
        },
        step_ms: 1000,
    }
}

/// Builds an [`Input`].
#[derive(Clone, Debug)]
pub struct InputBuilder {
    input: Input,
    step_ms: i64,
}

impl InputBuilder {
    /// That many replicas are asked for and ready.
    #[must_use]
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.input.replicas = Replicas { desired: replicas, ready: replicas, starting: 0, ..self.input.replicas };
        self
    }

    /// That many are ready and that many more are starting.
    #[must_use]
    pub fn starting(mut self, ready: u32, starting: u32) -> Self {
        self.input.replicas = Replicas { desired: ready.saturating_add(starting), ready, starting, ..self.input.replicas };
        self
    }

    /// Declares what one replica can process, in records a second.
    #[must_use]
    pub fn capacity(mut self, per_replica: f64) -> Self {
        self.input.capacity.per_replica = Some(per_replica);
        self
    }

    /// Seconds from a changed replica count to a ready replica.
    #[must_use]
    pub fn start_up(mut self, seconds: f64) -> Self {
        self.input.capacity.start_up = seconds;
        self
    }

    /// How old the oldest waiting record may get, in seconds.
    #[must_use]
    pub fn freshness(mut self, seconds: f64) -> Self {
        self.input.objectives.freshness = Some(seconds);
        self
    }

    /// Unix milliseconds of the decision and of the newest sample.
    #[must_use]
    pub fn now(mut self, unix_ms: i64) -> Self {
        self.input.now = unix_ms;
        self
    }

    /// Milliseconds between two samples.
    #[must_use]
    pub fn step_ms(mut self, step_ms: i64) -> Self {
        self.step_ms = step_ms;
        self
    }

    /// Adds a series; the newest value last. Shorter series get NaN in front, so all columns end now.
    #[must_use]
    pub fn series(mut self, name: &str, values: &[f64]) -> Self {
        self.input.window.series.push(Series { name: name.into(), unit: "1".into(), values: values.to_vec() });
        self
    }

    /// The input.
    #[must_use]
    pub fn build(mut self) -> Input {
        let length = self.input.window.series.iter().map(|series| series.values.len()).max().unwrap_or(0);
        for series in &mut self.input.window.series {
            let missing = length.saturating_sub(series.values.len());
            series.values.splice(0..0, std::iter::repeat_n(f64::NAN, missing));
        }
        let mut time = self.input.now;
        self.input.window.times = (0..length)
            .map(|_| {
                let this = time;
                time = time.saturating_sub(self.step_ms);
                this
            })
            .collect();
        self.input.window.times.reverse();
        self.input
    }
}
