//! What makes a process a shim, and what its children must not inherit of that.

use crate::{report::Failure, stdio::Streams, sys};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use sexton_common::runtime::NOT_INHERITED;
use std::{fs, io, os::fd::RawFd};

const OOM: &str = "/proc/self/oom_score_adj";
/// The kernel may kill everything else first, but may kill us.
const OOM_SHIELD: &str = "-999";

/// What the shim changed about itself and its children must not inherit, and what it waits with.
#[derive(Debug)]
pub struct Home {
    /// SIGCHLD.
    pub signals: SignalFd,
    /// Our pid.
    pub pid: u32,
    /// The caller's oom_score_adj, if we changed it.
    pub oom_score: Option<String>,
}

impl Home {
    /// In a child before exec: what we have changed, back to what it was.
    pub fn leave_to_child(&self) {
        if let Some(score) = &self.oom_score {
            let _ = fs::write(OOM, score);
        }
    }
}

/// Makes this process a shim. `channel` stays open, and the streams' descriptors do; nothing else does.
pub fn settle(streams: &Streams, channel: RawFd) -> Result<Home, Failure> {
    let failed = |what: &str, e: io::Error| Failure::ours(format!("start the shim: {what}: {e}"));
    // An ignored SIGCHLD would make the kernel throw every status away.
    sys::default_signals();
    sys::forget(&NOT_INHERITED);
    std::env::set_current_dir("/").map_err(|e| failed("change to /", e))?;
    let mut keep = streams.numbers();
    keep.push(channel);
    sys::close_all_but(&mut keep);
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = null.map_err(|e| failed("open /dev/null", e))?;
    // The caller's terminal and pipes must not stay open as long as the container runs.
    let silent = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    silent.map_err(|e| failed("use /dev/null", e.into()))?;
    prctl::set_child_subreaper(true).map_err(|e| failed("become subreaper", io::Error::from_raw_os_error(e)))?;
    // Not what a link to us may be called.
    let _ = prctl::set_name("sexton-shim");
    let mut chld = SigSet::empty();
    chld.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&chld, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    let signals = signals.map_err(|e| failed("signalfd", e.into()))?;
    let oom_score = fs::read_to_string(OOM).ok().filter(|_| fs::write(OOM, OOM_SHIELD).is_ok());
    Ok(Home { signals, pid: std::process::id(), oom_score })
}
