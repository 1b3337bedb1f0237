//! One after the other: those that do not die are not looked at all at once.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Nobody is waited for longer, whatever it does.
const AT_MOST: Duration = Duration::from_millis(100);

/// Twenty that look into `/proc` and a dozen hierarchies at the same moment take the processors from who has just ended,
/// and is to be clean at once (I7).
#[derive(Debug)]
pub struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

/// The next one's when it is dropped.
#[derive(Debug)]
pub struct Taken<'a>(Option<&'a Turn>);

impl Turn {
    /// Nobody's.
    #[must_use]
    pub const fn new() -> Self {
        Self { taken: Mutex::new(false), free: Condvar::new() }
    }

    /// Waits for it, but not long: who hangs in the kernel holds nobody up. Blocks.
    pub fn take(&self) -> Taken<'_> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.free.wait_timeout_while(taken, AT_MOST, |taken| *taken);
        let (mut taken, late) = waited.unwrap_or_else(PoisonError::into_inner);
        *taken = true;
        Taken((!late.timed_out()).then_some(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(turn) = self.0 {
            *turn.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
            turn.free.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_after_the_other() {
        let (turn, inside) = (Turn::new(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let taken = turn.take();
                        // Who has waited too long goes on without it.
                        if taken.0.is_some() {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            std::thread::yield_now();
                            inside.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn who_keeps_it_keeps_nobody() {
        let turn = Turn::new();
        let kept = turn.take();
        assert!(turn.take().0.is_none() && turn.take().0.is_none(), "they do not wait for it, nor give it back");
        drop(kept);
        assert!(turn.take().0.is_some(), "it is free again");
    }
}
