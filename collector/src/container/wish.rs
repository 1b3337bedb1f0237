//! What a client wants of a container, and what it hears.

use super::event::Refusal;
use sexton_common::{
    ContainerId,
    wire::{ApiError, ContainerInfo, ErrorCode, Reply, State},
};
use std::time::Duration;
use tokio::sync::oneshot;

/// What a client hears.
pub type Answer = Result<Reply, ApiError>;

/// A wish and where its answer goes.
#[derive(Debug)]
pub struct Wish {
    /// What is wanted.
    pub kind: WishKind,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Answer>,
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub enum WishKind {
    /// Start it.
    Start,
    /// Signal its init.
    Signal(i32),
    /// Signal its init, and SIGKILL it after the time-out.
    Stop {
        /// The first signal.
        signal: i32,
        /// How long it has.
        timeout: Duration,
    },
    /// Freeze it.
    Pause,
    /// Thaw it.
    Resume,
    /// Forget it.
    Remove {
        /// Whatever its state.
        force: bool,
    },
    /// Make room for its next run: its record goes, and nobody is told.
    MakeRoom,
    /// Say how it ended once that is known.
    Wait,
}

/// A refusal in words: what was refused, why, and the way out.
#[must_use]
pub fn refuse(refusal: Refusal, info: &ContainerInfo) -> ApiError {
    let id = &info.id;
    let why = info.in_the_way.as_deref().unwrap_or("it is being cleaned up");
    let (code, text) = match refusal {
        Refusal::Busy => (ErrorCode::Busy, format!("container {id} is busy: the runtime is at work on it; try again")),
        Refusal::AlreadyStarted if info.status.is_some() => (
            ErrorCode::AlreadyStarted,
            format!("container {id} has run already: remove it with `sexton rm {id}` and run it again"),
        ),
        Refusal::AlreadyStarted if info.state == State::Orphaned && info.started_at.is_none() => (
            ErrorCode::AlreadyStarted,
            format!(
                "container {id} lost its shim before it was started: remove it with `sexton rm -f {id}` and create it again"
            ),
        ),
        Refusal::AlreadyStarted => (ErrorCode::AlreadyStarted, format!("container {id} is running already")),
        Refusal::NotRunning if info.state == State::Created => (
            ErrorCode::NotRunning,
            format!("container {id} is not running: it was not started yet, see `sexton start {id}`"),
        ),
        Refusal::AlreadyStopped => (ErrorCode::AlreadyStopped, format!("container {id} has stopped already")),
        Refusal::Paused => {
            (ErrorCode::Paused, format!("container {id} is paused already: `sexton resume {id}` lets it go on"))
        }
        Refusal::NotPaused => (ErrorCode::NotPaused, format!("container {id} is not paused")),
        Refusal::NotRunning => (ErrorCode::NotRunning, format!("container {id} is not running: it has exited")),
        Refusal::Running => (
            ErrorCode::Running,
            format!("container {id} is {}: stop it first, or use `sexton rm -f {id}`", info.state.name()),
        ),
        Refusal::InGc => (ErrorCode::InGc, format!("container {id} is in GC: {why}")),
        Refusal::NoSuchContainer => return no_such(id.as_str()),
    };
    ApiError::new(code, text)
}

/// Nobody has that name.
#[must_use]
pub fn no_such(id: &str) -> ApiError {
    ApiError::new(ErrorCode::NoSuchContainer, format!("no such container: {id}; `sexton ps -a` lists them"))
}

/// Nothing that was asked now is begun any more.
#[must_use]
pub fn shutting_down() -> ApiError {
    ApiError::new(ErrorCode::ShuttingDown, "sextond is shutting down: ask again when it is back")
}

/// Its mailbox is full.
#[must_use]
pub fn busy(id: &ContainerId) -> ApiError {
    ApiError::new(ErrorCode::Busy, format!("container {id} is busy: too many requests wait for it; try again"))
}
