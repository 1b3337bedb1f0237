//! What an instance is told, and what it answers.

use sexton_common::wire::{ApiError, Launched};
use std::time::Duration;
use tokio::sync::oneshot;

/// What is to be done now by whoever gave the order; the instance has done its part, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Go {
    /// It has a run: do it there.
    Run,
    /// There is nothing else to do.
    Done,
}

/// Who waits for a run that is about to be created.
pub type Outcome = oneshot::Sender<Result<Launched, ApiError>>;

/// What an instance is told.
#[derive(Debug)]
pub enum Order {
    /// A user starts it: it begins anew. With [`Go::Run`] its run is not over, and says what that means; else the outcome
    /// follows.
    Start {
        /// Where the first answer goes.
        go: oneshot::Sender<Result<Go, ApiError>>,
        /// Where the outcome goes.
        outcome: Outcome,
    },
    /// A user restarts it. With [`Go::Run`] its run is to be stopped; the outcome follows in any case.
    Restart {
        /// Where the first answer goes.
        go: oneshot::Sender<Result<Go, ApiError>>,
        /// Where the outcome goes.
        outcome: Outcome,
    },
    /// A user stops it: nothing starts any more when this is answered.
    Stop {
        /// Where the answer goes.
        go: oneshot::Sender<Result<Go, ApiError>>,
    },
    /// It is being removed: nothing starts any more.
    Remove {
        /// Although it runs or is about to.
        force: bool,
        /// Where the answer goes.
        go: oneshot::Sender<Result<Go, ApiError>>,
    },
    /// Answered once it has been tried to write it.
    Saved {
        /// Whether it is on disk as it is here.
        done: oneshot::Sender<bool>,
    },
    /// Its run is not removed after all.
    Keep {
        /// Answered once that is as durable as the disk allows.
        done: oneshot::Sender<()>,
    },
    /// Its run was removed; answered once nothing is left of the instance, or at once if its disk fails.
    Removed {
        /// Where the answer goes.
        done: oneshot::Sender<Result<(), ApiError>>,
    },
}

/// What a run gets that has to be stopped once more, because the collector was killed while it was at it.
pub const STOP: (i32, Duration) = (nix::libc::SIGTERM, Duration::from_secs(10));
