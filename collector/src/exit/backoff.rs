//! When a failed attempt is tried again.
//!
//! The numbers are containerd's CRI event monitor's: 1 s, doubling, at most 5 min.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

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

    /// The same, or up to a quarter more: what has failed together is not tried again together.
    #[must_use]
    pub fn delay_of(&self, whose: impl Hash, failures: u32) -> Duration {
        let mut hasher = DefaultHasher::new();
        whose.hash(&mut hasher);
        let part = u32::try_from(hasher.finish() % 256).unwrap_or_default();
        let delay = self.delay(failures);
        (delay + (delay / 1024).saturating_mul(part)).min(self.max)
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

    #[test]
    fn those_that_fail_together_are_tried_apart() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        for failures in [1, 4, 9] {
            let (least, span) = (backoff.delay(failures), backoff.delay(failures) / 4);
            let mut tenths = [0; 10];
            for whose in 0..1000 {
                let more = backoff.delay_of(format!("c{whose}"), failures) - least;
                assert!(more < span, "{more:?}");
                tenths[usize::try_from(more.as_nanos() * 10 / span.as_nanos()).unwrap()] += 1;
            }
            assert!(failures == 9 || tenths.iter().all(|count| *count > 50), "{tenths:?}");
        }
        assert_eq!(backoff.delay_of("c", 7), backoff.delay_of("c", 7));
        assert!((0..1000).all(|whose| backoff.delay_of(whose, 40) == Duration::from_secs(300)), "at most that");
    }
}
