//! What this kernel can do, found by trying it, never by its version.

use crate::sys;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Resource, getrlimit},
};
use serde::Serialize;
use sexton_common::{ProcessIdentity, cgroup};
use std::{
    fs, io,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    process::{Command, Stdio},
};

/// What `sextond --probe` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    kernel: String,
    pidfd: bool,
    pidfs_inode: bool,
    /// Whether the kernel tells how a process ended that somebody else reaped.
    pub pidfd_info_exit: bool,
    cgroup: &'static str,
    nofile_soft: Option<u64>,
    nofile_hard: Option<u64>,
    pid_max: Option<u64>,
    threads_max: Option<u64>,
}

impl Probe {
    /// Tries everything. Starts a child and waits for it.
    #[must_use]
    pub fn run() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let child = try_child().unwrap_or_default();
        let limit = getrlimit(Resource::Nofile);
        Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            pidfd: child.pidfd,
            pidfs_inode: child.inode,
            pidfd_info_exit: child.info_exit,
            cgroup: match cgroup::layout().unwrap_or_default() {
                (true, true) => "hybrid",
                (true, false) => "v1",
                (false, true) => "v2",
                (false, false) => "none",
            },
            nofile_soft: limit.current,
            nofile_hard: limit.maximum,
            pid_max: number("/proc/sys/kernel/pid_max"),
            threads_max: number("/proc/sys/kernel/threads-max"),
        }
    }
}

#[derive(Default)]
struct Child {
    pidfd: bool,
    inode: bool,
    info_exit: bool,
}

fn try_child() -> io::Result<Child> {
    let mut child =
        Command::new("/proc/self/exe").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let opened = ProcessIdentity::open_pid(child.id());
    // Reaped whatever came of it.
    let status = child.wait()?.into_raw();
    let Ok((identity, fd)) = opened else { return Ok(Child::default()) };
    // Reaping has been waited for, so the hang-up is there at once where the kernel gives one.
    let mut ready = [PollFd::new(&fd, PollFlags::IN)];
    let _ = poll(&mut ready, Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
    let hung_up = ready[0].revents().contains(PollFlags::HUP);
    let info_exit = hung_up && sys::pidfd_exit_status(fd.as_fd()) == Some(status);
    Ok(Child { pidfd: true, inode: identity.pidfs_inode.is_some(), info_exit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_pidfds() {
        // Every kernel that Sexton supports does (Linux 5.3); the child is the test program itself.
        assert!(Probe::run().pidfd);
    }
}
