//! sextond, as its keeper sees it.

use super::held::Held;
use crate::{notify, sys};
use nix::sys::signal::{SigSet, Signal};
use rustix::{
    io::Errno,
    process::{Pid, Rlimit, WaitId, WaitIdOptions, kill_process, waitid},
};
use std::{
    env,
    ffi::{CString, OsString},
    fmt, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

/// A sextond that we started.
#[derive(Debug)]
pub struct Child {
    /// Our child, and not reaped but by us: the pid is nobody else's.
    pid: Pid,
    stopping: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Code(u8),
    /// By a signal.
    Signal(i32),
    /// Nobody knows.
    Unseen,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal(number) => write!(f, "was killed by signal {number}"),
            Self::Unseen => f.write_str("is gone"),
        }
    }
}

impl Child {
    /// Starts sextond's program, with our own arguments but `--keeper`, and with what is held. `variables` are added to its environment, and `nofile` is its limit.
    ///
    /// # Errors
    /// As fork(2), exec's own failure is an exit with 127.
    pub fn start(program: &Path, variables: &[(&str, OsString)], held: &Held, nofile: Rlimit) -> io::Result<Self> {
        let args = env::args_os().skip(1).filter(|arg| arg != "--keeper");
        let argv: Result<Vec<CString>, _> =
            std::iter::once(OsString::from("sextond")).chain(args).map(|arg| CString::new(arg.into_vec())).collect();
        let (program, argv) = (CString::new(program.as_os_str().as_bytes())?, argv?);
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
            let done = sys::place(&fds, notify::FIRST)
                .and_then(|()| {
                    rustix::process::setrlimit(rustix::process::Resource::Nofile, nofile).map_err(Into::into)
                })
                .and_then(|()| SigSet::empty().thread_set_mask().map_err(Into::into))
                .and_then(|()| nix::unistd::execv(&program, &argv).map_err(io::Error::from));
            let why = done.map(|never| match never {}).unwrap_or_else(|e: io::Error| e);
            super::say(&format!("execute {program:?}: {why}"));
            sys::leave(127)
        };
        Ok(Self { pid, stopping: false })
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
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
            let _ = kill_process(self.pid, signal);
        }
    }

    /// How it ended, if it has. Reaps it.
    #[must_use]
    pub fn ended(&self) -> Option<End> {
        let status = match waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(status) => status?,
            // The kernel has reaped it for us.
            Err(Errno::CHILD) => return Some(End::Unseen),
            Err(_) => return None,
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Some(End::Code(u8::try_from(code & 0xff).unwrap_or(1))),
            (None, signal) => Some(End::Signal(signal.unwrap_or(0))),
        }
    }
}
