//! How long to wait before the next attempt. Pure: randomness is an argument. Called by `lane`.
use std::time::Duration;

/// Exponential backoff with equal jitter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// Wait after the first failure.
    pub(crate) initial: Duration,
    /// Longest wait.
    pub(crate) longest: Duration,
}

impl Backoff {
    /// Wait after the `failures`-th failure in a row (1 is the first): between half of and the
    /// whole of `initial · 2^(failures-1)`, capped. `random` in 0..1 chooses where; it keeps a
    /// thousand clients that failed together from returning together.
    pub(crate) fn wait(self, failures: u32, random: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(30));
        let whole = self.initial.saturating_mul(doubled).min(self.longest);
        whole.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_takes_off_half_at_most() {
        let b = Backoff { initial: Duration::from_millis(100), longest: Duration::from_secs(5) };
        let ms = |n, r| b.wait(n, r).as_millis();
        assert_eq!([ms(1, 1.0), ms(2, 1.0), ms(3, 1.0)], [100, 200, 400]);
        assert_eq!([ms(1, 0.0), ms(60, 1.0), ms(u32::MAX, 0.0)], [50, 5000, 2500]);
    }
}
