//! Why something was not done.

use serde::{Deserialize, Serialize};

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: the operation, the object, the way out.
    pub message: String,
    /// The exit code that a command line should end with: [`ErrorCode::exit_code`], or a launch's 125 to 127.
    pub exit_code: u8,
}

impl ApiError {
    /// An error that a command line answers with 1.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        // A frame is bounded, and so is every message in it.
        let end = (0..=message.len().min(4096)).rev().find(|&end| message.is_char_boundary(end));
        message.truncate(end.unwrap_or(0));
        Self { code, message, exit_code: code.exit_code() }
    }
}

/// Kinds of errors that a program may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense.
    Invalid,
    /// There is no such container.
    NoSuchContainer,
    /// The id is taken.
    AlreadyExists,
    /// It runs already, or ran already.
    AlreadyStarted,
    /// It does not run.
    NotRunning,
    /// It runs, and that is in the way.
    Running,
    /// It is being cleaned, or something is in the way of that.
    InGc,
    /// A queue is full, or the container is busy: try again.
    Busy,
    /// The runtime or the shim failed.
    RuntimeFailed,
    /// It took too long.
    TimedOut,
    /// The collector is shutting down.
    ShuttingDown,
    /// Not for this user.
    Denied,
    /// The collector itself failed.
    Internal,
    /// It has stopped already.
    AlreadyStopped,
    /// It is paused, and that is in the way.
    Paused,
    /// It is not paused.
    NotPaused,
    /// The node is full.
    Full,
    /// The node is in maintenance.
    Maintenance,
}

impl ErrorCode {
    /// What a command line ends with; 2 is bad usage, 124 to 127 are `timeout(1)`'s and `docker run`'s.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NoSuchContainer => 3,
            Self::AlreadyExists => 4,
            Self::AlreadyStarted => 5,
            Self::AlreadyStopped => 6,
            Self::NotRunning => 7,
            Self::Running => 8,
            Self::InGc => 9,
            Self::Full => 10,
            Self::Maintenance => 11,
            Self::RuntimeFailed => 12,
            Self::TimedOut => 13,
            Self::Busy => 14,
            Self::Paused => 15,
            Self::NotPaused => 16,
            Self::ShuttingDown => 17,
            Self::Denied => 18,
        }
    }
}
