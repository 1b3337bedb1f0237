//! One call of the runtime, with a deadline.

use crate::{home::Home, leftovers, stdio::Streams, sys};
use nix::unistd::execv;
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, Signal, getppid, kill_process_group, pidfd_open, setpgid},
    time::Timespec,
};
use sexton_common::{ExitStatus, cgroup::CgroupDir};
use std::{
    convert::Infallible,
    ffi::{CString, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt},
    path::Path,
    time::{Duration, Instant},
};

/// How much of the runtime's words is kept.
const MAX_WORDS: usize = 8192;
/// How long a killed runtime may take to die; in D state it does not.
const KILL_TIME: Duration = Duration::from_secs(5);

/// What to call, and how.
#[derive(Debug)]
pub struct Call<'a> {
    /// The program.
    pub program: &'a Path,
    /// Everything after it.
    pub args: Vec<OsString>,
    /// Its streams.
    pub streams: &'a Streams,
    /// Whether stderr is heard by us instead.
    pub hear: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub end: End,
    /// What it said on stderr, if that was heard.
    pub words: Vec<u8>,
}

/// How a call ended.
#[derive(Debug)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// Killed at the deadline, when these cgroups were its and its children's.
    TimedOut(Vec<CgroupDir>),
    /// It was never executed.
    NotRun(io::Error),
}

impl Call<'_> {
    /// Calls and waits. Only this child is reaped.
    pub fn run(self, home: &Home) -> Answer {
        let mut words = Vec::new();
        let end = self.attempt(home, &mut words).unwrap_or_else(End::NotRun);
        Answer { end, words }
    }

    fn attempt(self, home: &Home, words: &mut Vec<u8>) -> io::Result<End> {
        let text = |s: OsString| CString::new(s.into_vec()).map_err(io::Error::from);
        let program = text(self.program.into())?;
        let argv = std::iter::once(Ok(program.clone())).chain(self.args.into_iter().map(text));
        let argv: Vec<CString> = argv.collect::<io::Result<_>>()?;
        let (verdict, sentence) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut ear = None;
        let mut mouth = None;
        if self.hear {
            let (ours, its) = pipe_with(PipeFlags::CLOEXEC)?;
            // Not by pipe2: it is one description per end, but the child's must block.
            fcntl_setfl(&ours, OFlags::NONBLOCK)?;
            (ear, mouth) = (Some(ours), Some(its));
        }
        let Some(child) = sys::fork()? else {
            let Err(e) = become_runtime(home, self.streams, mouth.as_ref(), &program, &argv);
            let _ = rustix::io::write(&sentence, &e.raw_os_error().unwrap_or(0).to_ne_bytes());
            sys::leave(125)
        };
        drop((sentence, mouth));
        let group = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
        // The child does so too; whoever is first, the group is there when we may have to kill it.
        let _ = setpgid(Some(group), Some(group));
        let watched = pidfd_open(group, PidfdFlags::empty()).map_err(io::Error::from);
        let over = watched.and_then(|pidfd| wait(&pidfd, &mut ear, words, self.timeout).map(|over| (pidfd, over)));
        let mut cgroups = None;
        if !matches!(over, Ok((_, true))) {
            // Stopped before it is looked at, so that it makes no cgroup after the look.
            let _ = kill_process_group(group, Signal::STOP);
            cgroups = Some(leftovers::cgroups_below(home.pid));
            let _ = kill_process_group(group, Signal::KILL);
            if let Ok((pidfd, _)) = &over {
                let _ = wait(pidfd, &mut ear, words, KILL_TIME);
            }
        }
        let dead = sys::reap(sys::Which::Pid(child))?;
        over?;
        let mut errno = [0; 4];
        if fcntl_setfl(&verdict, OFlags::NONBLOCK).is_ok() && rustix::io::read(&verdict, &mut errno) == Ok(4) {
            return Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)));
        }
        match (cgroups, dead) {
            (Some(cgroups), _) => Ok(End::TimedOut(cgroups)),
            (None, Some(dead)) => Ok(End::Exited(dead.status)),
            (None, None) => Err(io::Error::other("it ended but cannot be waited for")),
        }
    }
}

/// In the child. Everything that the shim has made special about itself ends here.
fn become_runtime(
    home: &Home,
    streams: &Streams,
    mouth: Option<&OwnedFd>,
    program: &CString,
    argv: &[CString],
) -> io::Result<Infallible> {
    setpgid(None, None)?;
    // If the shim is killed nobody would wait for the runtime, and nobody would know what it made.
    prctl::set_death_signal(Signal::KILL.as_raw() as isize).map_err(io::Error::from_raw_os_error)?;
    if getppid().and_then(|pid| u32::try_from(pid.as_raw_pid()).ok()) != Some(home.pid) {
        sys::leave(125);
    }
    home.leave_to_child();
    streams.take_place()?;
    if let Some(mouth) = mouth {
        rustix::stdio::dup2_stderr(mouth)?;
    }
    // Whatever the caller had ignored or blocked: a container sees none of it.
    sys::default_signals();
    sys::mask(0);
    Ok(execv(program, argv)?)
}

/// Whether a process is dead within that time.
pub fn ends(pidfd: &OwnedFd, timeout: Duration) -> io::Result<bool> {
    wait(pidfd, &mut None, &mut Vec::new(), timeout)
}

/// Waits until the process is dead; false if that takes too long. Meanwhile keeps what it says.
fn wait(pidfd: &OwnedFd, ear: &mut Option<OwnedFd>, words: &mut Vec<u8>, timeout: Duration) -> io::Result<bool> {
    // None: so far ahead that the clock cannot tell it.
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timespec = left.and_then(|left| Timespec::try_from(left).ok());
        let (dead, said) = {
            let mut fds = vec![PollFd::new(pidfd, PollFlags::IN)];
            fds.extend(ear.as_ref().map(|ear| PollFd::new(ear, PollFlags::IN)));
            poll(&mut fds, timespec.as_ref())?;
            let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
            (ready.next() == Some(true), ready.next() == Some(true))
        };
        if said && hear(ear.as_ref(), words) {
            *ear = None;
        }
        if dead {
            // What it said last. A container's process may hold the pipe: there is no end to wait for.
            hear(ear.as_ref(), words);
            return Ok(true);
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(false);
        }
    }
}

/// Reads what there is; true once there will be no more.
fn hear(ear: Option<&OwnedFd>, words: &mut Vec<u8>) -> bool {
    let Some(ear) = ear else { return true };
    let mut part = [0; 1024];
    // Bounded: somebody who never stops talking must not keep us.
    for _ in 0..64 {
        match rustix::io::read(ear, &mut part) {
            Ok(0) => return true,
            Ok(count) => {
                let room = MAX_WORDS.saturating_sub(words.len());
                words.extend(part.iter().take(count.min(room)));
            }
            Err(Errno::AGAIN) => return false,
            Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
    false
}
