//! One container: its facts, its rules, its task.

mod act;
mod answer;
mod cleaning;
mod decide;
mod doorbell;
mod event;
mod facts;
mod gate;
mod happened;
mod held;
mod info;
mod job;
mod machine;
#[cfg(test)]
mod model;
mod pause;
mod rules;
mod task;
mod unstarted;
mod watches;
mod wish;

pub use facts::{Facts, is_anothers, is_of, quarantine, waits_for_start};
pub use held::Both;
pub use machine::Phase;
pub use task::Task;
pub use wish::{Answer, Wish, WishKind, busy, no_such, shutting_down};

use sexton_common::Init;
use std::os::fd::OwnedFd;
use tokio::sync::oneshot;

/// What a container's task is told.
#[derive(Debug)]
pub enum Message {
    /// Its init has a SIGKILL pending, or is exiting, and is still there.
    SeenKilled,
    /// Somebody else may have frozen it, or thawed it.
    LookAtFreezer,
    /// Somebody saw that it has been started.
    SeenStarted,
    /// Somebody asks for it while it is being created: is its init there, unannounced?
    LookForInit,
    /// Its shim announces its init; the answer is sent once it is watched.
    Announced {
        /// What the shim wrote down.
        init: Box<Init>,
        /// The init's pidfd, if it came along.
        pidfd: Option<OwnedFd>,
        /// Told once it is watched.
        watched: oneshot::Sender<()>,
    },
    /// A client wants something.
    Wish(Box<Wish>),
}
