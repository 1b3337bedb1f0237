//! Orphans are reaped at once: the sweep runs below a process that is their reaper. A machine's own may be seconds late.

use crate::{proc, wait::observe};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    },
    unistd::Pid,
};
use std::{process::Command, time::Duration};

const INNER: &str = "SEXTON_CRASH_INNER";

/// The wish to stop, heard between two points: a sweep that is cut short leaves nothing behind either.
#[derive(Debug)]
pub struct Interrupt(SignalFd);

impl Interrupt {
    /// From now on SIGINT and SIGTERM are wishes. Children that are executed do not inherit that.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn hear() -> Self {
        let signals = wishes();
        signals.thread_block().unwrap();
        Self(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).unwrap())
    }

    /// Whether there was one since the last time.
    #[must_use]
    pub fn wanted(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

fn wishes() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// Goes on in a child, and reaps, every so often; does not return but in the child.
///
/// # Panics
/// If the child cannot be started.
pub fn stay_above(reap_after: Duration) {
    if std::env::var_os(INNER).is_some() {
        return;
    }
    // The child ends at its own time.
    wishes().thread_block().unwrap();
    let own = std::process::id();
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(own.cast_signed())).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let child = command.args(std::env::args_os().skip(1)).env(INNER, "1").spawn().unwrap();
    let child = Pid::from_raw(child.id().cast_signed());
    let (mut code, mut over) = (1, false);
    while let Ok(_) | Err(Errno::EINTR) = waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
        observe(reap_after);
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match (status.pid(), status) {
                (None, _) => break,
                (Some(pid), _) if pid != child => continue,
                (_, WaitStatus::Exited(_, status)) => code = status,
                _ => {}
            }
            over = true;
        }
        // Whatever it has left is ours, and nobody needs it any more.
        for orphan in proc::children(own).into_iter().filter(|_| over) {
            let _ = kill(Pid::from_raw(orphan.cast_signed()), Signal::SIGKILL);
        }
    }
    std::process::exit(code)
}
