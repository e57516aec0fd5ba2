//! Waiting for a condition with a deadline: the only way in which tests here wait.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// First pause between two probes; it grows up to [`LONGEST_PAUSE`], so that a condition which holds
/// soon is seen soon and one that takes long costs little.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Calls `probe` until it yields a value and returns that; blocks the thread.
///
/// `Ok(None)` and `Err` both mean "not yet", so a probe may use `?` on requests that fail while
/// something starts. `what` completes the sentence "timed out waiting for …".
///
/// # Errors
/// After `within`, with the last error of the probe if there was one.
pub fn wait_until<T>(what: impl Display, within: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let mut pace = Pace::new(within);
    loop {
        let last_error = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        thread::sleep(pace.next(&what, last_error)?);
    }
}

/// Like [`wait_until`] for an async probe; must run on a tokio runtime.
///
/// # Errors
/// After `within`, with the last error of the probe if there was one.
pub async fn eventually<T>(what: impl Display, within: Duration, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let mut pace = Pace::new(within);
    loop {
        let last_error = match probe().await {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        tokio::time::sleep(pace.next(&what, last_error)?).await;
    }
}

struct Pace {
    started: Instant,
    within: Duration,
    pause: Duration,
}

impl Pace {
    fn new(within: Duration) -> Self {
        Self { started: Instant::now(), within, pause: SHORTEST_PAUSE }
    }

    fn next(&mut self, what: &dyn Display, last_error: Option<anyhow::Error>) -> Result<Duration> {
        if self.started.elapsed() >= self.within {
            let seconds = self.within.as_secs_f64();
            match last_error {
                Some(error) => {
                    return Err(error.context(format!("timed out after {seconds} s waiting for {what}")));
                }
                None => bail!("timed out after {seconds} s waiting for {what}"),
            }
        }
        let pause = self.pause;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_comes_late_is_returned() {
        let mut calls = 0;
        let value = wait_until("three calls", Duration::from_secs(5), || {
            calls += 1;
            Ok((calls == 3).then_some(calls))
        });
        assert_eq!(value.unwrap(), 3);
    }

    #[test]
    fn a_timeout_says_what_was_awaited_and_why_it_failed() {
        let result: Result<()> = wait_until("the moon", Duration::from_millis(20), || bail!("clouds"));
        let message = format!("{:#}", result.unwrap_err());
        assert!(message.contains("waiting for the moon"), "{message}");
        assert!(message.contains("clouds"), "{message}");
    }
}
