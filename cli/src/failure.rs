//! Why a command did not do what it was asked.

use crate::NOT_THE_CONTAINER;
use sexton_common::wire::{ApiError, ErrorCode};
use std::{io, path::PathBuf, time::Duration};

/// What `timeout(1)` ends with when the time is up.
const TIMED_OUT: u8 = 124;
/// What clap ends with.
const BAD_USAGE: u8 = 2;

/// Why a command did not do what it was asked; shown to a person.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody listens.
    #[error(
        "sextond is not running (no answer at {}): start it with `systemctl start sextond` or `sextond &`",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error(
        "sextond does not let this user in ({}): only root, or the user that sextond runs as, may ask it; try sudo",
        .0.display()
    )]
    Denied(PathBuf),
    /// Another trouble with the socket.
    #[error("connect to sextond at {}: {source}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to sextond broke ({source}): look at its log, then try again")]
    Lost {
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("sextond did not answer within {}: is it stuck? See its log, and `sexton doctor`", humantime::format_duration(*.0))]
    Late(Duration),
    /// The time that the user gave is up.
    #[error("{0}")]
    TimedOut(String),
    /// sextond said no.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// sextond said something that is no answer to what it was asked.
    #[error(
        "sextond gave an answer that this release does not expect ({0}): do `sexton version` and `sextond --version` agree?"
    )]
    Unexpected(String),
    /// The container's status is not known.
    #[error("{0}")]
    UnknownStatus(String),
    /// It would do harm, and was not confirmed.
    #[error("{0}")]
    Unconfirmed(String),
    /// Options that do not go together.
    #[error("{0}")]
    Usage(String),
    /// The operating system said no.
    #[error("{what}: {source}")]
    System {
        /// Operation and object.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// Standard output was closed: nobody reads on.
    #[error("standard output is closed")]
    Closed,
}

impl Failure {
    /// Whether there is nobody to tell.
    pub fn is_quiet(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the container is not, or not any more, known.
    pub fn is_no_such_container(&self) -> bool {
        matches!(self, Self::Api(ApiError { code: ErrorCode::NoSuchContainer, .. }))
    }

    /// What the process ends with. `launching`: for `run` and `create`, which keep 1 for the container.
    pub fn exit_code(&self, launching: bool) -> u8 {
        match self {
            Self::Closed => 0,
            Self::TimedOut(_) => TIMED_OUT,
            Self::UnknownStatus(_) => NOT_THE_CONTAINER,
            Self::Usage(_) if launching => NOT_THE_CONTAINER,
            Self::Unconfirmed(_) | Self::Usage(_) => BAD_USAGE,
            Self::Api(ApiError { exit_code: code @ 125..=127, .. }) => *code,
            _ if launching => NOT_THE_CONTAINER,
            Self::Api(error) => error.code.exit_code(),
            Self::Late(_) => ErrorCode::TimedOut.exit_code(),
            Self::Denied(_) => ErrorCode::Denied.exit_code(),
            _ => 1,
        }
    }
}

/// Turns an I/O error into a [`Failure::System`], saying what was tried.
pub fn system<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Failure {
    let what = what.into();
    move |source| Failure::System { what, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_dockers_for_run() {
        let runtime = Failure::Api(ApiError { code: ErrorCode::RuntimeFailed, message: String::new(), exit_code: 127 });
        assert_eq!((runtime.exit_code(true), runtime.exit_code(false)), (127, 127));
        let taken = Failure::Api(ApiError::new(ErrorCode::AlreadyExists, "taken"));
        assert_eq!((taken.exit_code(true), taken.exit_code(false)), (125, 4));
        let down = Failure::NotRunning("/run/sexton/sextond.sock".into());
        assert_eq!((down.exit_code(true), down.exit_code(false)), (125, 1));
        assert_eq!(
            down.to_string(),
            "sextond is not running (no answer at /run/sexton/sextond.sock): \
             start it with `systemctl start sextond` or `sextond &`"
        );
        let full = Failure::Api(ApiError::new(ErrorCode::Full, "full"));
        assert_eq!((full.exit_code(true), full.exit_code(false)), (125, 10));
        let late = Failure::Late(Duration::ZERO);
        assert_eq!((late.exit_code(true), late.exit_code(false)), (125, 13));
        assert_eq!(Failure::Denied("/s".into()).exit_code(false), 18);
        assert_eq!(Failure::TimedOut(String::new()).exit_code(false), 124);
        assert_eq!(Failure::Unconfirmed(String::new()).exit_code(false), 2);
    }
}
