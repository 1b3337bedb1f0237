//! sextond, as its keeper sees it.

use super::held::Held;
use crate::sys;
use nix::sys::signal::{SigSet, Signal};
use rustix::process::{PidfdFlags, Rlimit, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid};
use std::{
    env,
    ffi::{CString, OsString},
    fmt, io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
};

/// Where passed descriptors begin (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// A sextond that we started.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
    stopping: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Code(u8),
    /// By a signal.
    Signal(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal(number) => write!(f, "was killed by signal {number}"),
        }
    }
}

impl Child {
    /// Starts our own program once more, without `--keeper`, with what is held. It is looked up by its path, so that an
    /// upgrade is effective. `variables` are added to its environment, and `nofile` is its limit.
    ///
    /// # Errors
    /// As fork(2), exec's own failure is an exit with 127.
    pub fn start(variables: &[(&str, OsString)], held: &Held, nofile: Rlimit) -> io::Result<Self> {
        let program = env::current_exe()?;
        let program = program.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
        let args = env::args_os().skip(1).filter(|arg| arg != "--keeper");
        let argv: Result<Vec<CString>, _> =
            std::iter::once(OsString::from("sextond")).chain(args).map(|arg| CString::new(arg.into_vec())).collect();
        let (program, argv) = (CString::new(program)?, argv?);
        let names: Vec<&str> = held.iter().map(|(name, _)| name).collect();
        let Some(pid) = sys::fork()? else {
            // The child: one thread, and never back.
            for (name, value) in variables {
                sys::set_variable(name, value);
            }
            let passed = [
                ("LISTEN_PID", std::process::id().to_string()),
                ("LISTEN_FDS", names.len().to_string()),
                ("LISTEN_FDNAMES", names.join(":")),
            ];
            for (name, value) in passed.into_iter().filter(|_| !names.is_empty()) {
                sys::set_variable(name, value.as_ref());
            }
            let fds: Vec<_> = held.iter().map(|(_, fd)| fd).collect();
            let done = sys::place(&fds, FIRST)
                .and_then(|()| {
                    rustix::process::setrlimit(rustix::process::Resource::Nofile, nofile).map_err(Into::into)
                })
                .and_then(|()| SigSet::empty().thread_set_mask().map_err(Into::into))
                .and_then(|()| nix::unistd::execv(&program, &argv).map_err(io::Error::from));
            let why = done.map(|never| match never {}).unwrap_or_else(|e: io::Error| e);
            super::say(&format!("execute {program:?}: {why}"));
            sys::leave(127)
        };
        let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid, pidfd: pidfd_open(raw, PidfdFlags::empty())?, stopping: false })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// It was asked to stop.
    pub fn set_stopping(&mut self) {
        self.stopping = true;
    }

    /// Whether it was.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Signals it. If it is dead, that is seen soon.
    pub fn signal(&self, signal: Signal) {
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
            let _ = pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// How it ended, if it has. Reaps it.
    #[must_use]
    pub fn ended(&self) -> Option<End> {
        let status: WaitIdStatus =
            waitid(WaitId::PidFd(rustix::fd::AsFd::as_fd(&self.pidfd)), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
                .ok()??;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(End::Code(u8::try_from(code & 0xff).unwrap_or(1))),
            (None, signal) => Some(End::Signal(signal.unwrap_or(0))),
        }
    }
}
