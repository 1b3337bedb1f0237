//! What the loop has done.

use sexton_common::{gc::Step, wire::GcFigures};
use std::sync::{Mutex, PoisonError};

/// Counters since the collector began.
#[derive(Debug, Default)]
pub struct Figures(Mutex<Counts>);

#[derive(Clone, Debug, Default)]
struct Counts {
    attempts: u64,
    cleaned: u64,
    done: [u64; Step::ALL.len()],
}

impl Figures {
    fn with<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An attempt begins.
    pub fn tried(&self) {
        self.with(|counts| counts.attempts += 1);
    }

    /// A run is clean.
    pub fn cleaned(&self) {
        self.with(|counts| counts.cleaned += 1);
    }

    /// A step had something to do, and was seen to be done.
    pub fn did(&self, step: Step) {
        self.with(|counts| counts.done[step as usize] += 1);
    }

    /// As clients see them; entries and ages are not known here.
    #[must_use]
    pub fn shown(&self) -> GcFigures {
        let counts = self.with(|counts| counts.clone());
        let done = Step::ALL.into_iter().zip(counts.done).filter(|(_, count)| *count > 0).collect();
        GcFigures { entries: 0, attempts: counts.attempts, oldest_ms: None, cleaned: counts.cleaned, done }
    }
}
