//! Exits are told before the dead are cleaned up: what cleans takes the processors from shims that are about to tell.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// Without an exit for this long, it is calm.
const QUIET: Duration = Duration::from_millis(5);
/// The longest that cleaning is put off, where exits never cease.
const MOST: Duration = Duration::from_millis(500);

/// When exits were told.
#[derive(Debug, Default)]
pub struct Calm(Mutex<Option<Instant>>);

impl Calm {
    /// An exit has been told. Whether another was a moment ago: then [`Calm::wait`] before cleaning.
    pub fn disturb(&self) -> bool {
        let now = Instant::now();
        let before = self.last().replace(now);
        before.is_some_and(|before| now < before + QUIET)
    }

    /// Until it is calm, but never for long.
    pub async fn wait(&self) {
        let most = Instant::now() + MOST;
        loop {
            let calm = self.last().map_or(most, |last| last + QUIET);
            if calm.min(most) <= Instant::now() {
                return;
            }
            sleep_until(calm.min(most)).await;
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    /// Timers go by whole milliseconds.
    const SOON: Duration = Duration::from_millis(2);

    #[tokio::test(start_paused = true)]
    async fn who_ends_alone_is_cleaned_at_once() {
        let calm = Calm::default();
        assert!(!calm.disturb());
        advance(QUIET).await;
        assert!(!calm.disturb());
        advance(SOON).await;
        assert!(calm.disturb(), "not alone");
    }

    #[tokio::test(start_paused = true)]
    async fn who_ends_among_many_is_cleaned_after_the_last_of_them() {
        let (calm, begun) = (Calm::default(), Instant::now());
        calm.disturb();
        let many = async {
            for _ in 0..20 {
                sleep_until(Instant::now() + SOON).await;
                assert!(calm.disturb());
            }
        };
        tokio::join!(many, calm.wait());
        assert_eq!(begun.elapsed(), SOON * 20 + QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn exits_that_never_cease_put_it_off_for_a_while() {
        let (calm, begun) = (Calm::default(), Instant::now());
        calm.disturb();
        let ever = async {
            loop {
                sleep_until(Instant::now() + SOON).await;
                calm.disturb();
            }
        };
        tokio::select! {
            () = ever => {}
            () = calm.wait() => {}
        }
        assert_eq!(begun.elapsed(), MOST);
    }
}
