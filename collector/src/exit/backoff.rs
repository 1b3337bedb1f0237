//! When a failed attempt is tried again.
//!
//! The numbers are containerd's CRI event monitor's: 1 s, doubling, at most 5 min.

use std::time::Duration;

/// A doubling delay with a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// From `first` to `max`; `max` is at least `first`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max: if max.as_nanos() < first.as_nanos() { first } else { max } }
    }

    /// The delay after the `failures`th failure in a row, counted from one.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_cap() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let seconds: Vec<u64> = (1..=11).map(|n| backoff.delay(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.delay(u32::MAX), Duration::from_secs(300));
        assert_eq!(Backoff::new(Duration::from_secs(9), Duration::ZERO).delay(5), Duration::from_secs(9));
    }
}
