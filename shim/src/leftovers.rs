//! What hangs below the shim: processes, and their cgroups.

use crate::sys::{self, Which};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    time::Timespec,
};
use sexton_common::{
    cgroup::{self, CgroupDir},
    identity::Stat,
};
use std::{
    fs, io,
    os::fd::OwnedFd,
    path::Path,
    time::{Duration, Instant},
};

/// How often is looked again for what gives no sign when it goes.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// More processes than this are not looked at: nothing here may grow without bound.
const MOST: usize = 4096;

/// The cgroups of every process below `pid`, without those that are the shim's own.
pub fn cgroups_below(pid: u32) -> Vec<CgroupDir> {
    let mut found: Vec<CgroupDir> = Vec::new();
    let mut processes = children(pid);
    let mut next = 0;
    while let Some(&process) = processes.get(next) {
        next += 1;
        if processes.len() < MOST {
            processes.extend(children(process));
        }
        for cgroup in cgroup::of_process(process).unwrap_or_default() {
            if !found.contains(&cgroup) {
                found.push(cgroup);
            }
        }
    }
    found
}

/// Kills all children of `pid`, who is us, and all in these cgroups, and reaps whoever is dead. Whether anybody is left.
pub fn kill_once(pid: u32, cgroups: &[CgroupDir]) -> bool {
    let mut members = 0;
    for cgroup in cgroups {
        let procs = cgroup.dir.join("cgroup.procs");
        // v2, Linux 5.14: all of them, however fast they fork.
        let _ = fs::write(cgroup.dir.join("cgroup.kill"), "1");
        let there = || pids(&fs::read_to_string(&procs).unwrap_or_default()).collect::<Vec<_>>();
        let mut found: Vec<_> = there().into_iter().take(MOST).filter_map(|pid| Some((pid, open(pid)?))).collect();
        // With the descriptor at hand: the number may have gone to another process before.
        let still = there();
        found.retain(|(pid, _)| still.contains(pid));
        for (_, fd) in &found {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
        members += still.len();
    }
    kill(&children(pid));
    reap_all() || members > 0
}

/// Reaps whoever is dead; whether anybody is left.
fn reap_all() -> bool {
    loop {
        match sys::reap(Which::Any) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(e) => return e.raw_os_error() != Some(nix::libc::ECHILD),
        }
    }
}

/// One of them, to wait for.
fn kill(children: &[u32]) -> Option<OwnedFd> {
    // Ours and not reaped: the numbers cannot have gone to other processes.
    children.iter().filter_map(|&child| open(child)).fold(None, |_, fd| {
        let _ = pidfd_send_signal(&fd, Signal::KILL);
        Some(fd)
    })
}

fn pids(text: &str) -> impl Iterator<Item = u32> {
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok())
}

fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(i32::try_from(pid).ok().and_then(Pid::from_raw)?, PidfdFlags::empty()).ok()
}

/// Kills and reaps every child, and theirs as they become ours; those that are left at the deadline.
pub fn kill_all(pid: u32, deadline: Instant) -> Vec<u32> {
    loop {
        let children = children(pid);
        let last = kill(&children);
        if !reap_all() {
            return Vec::new();
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return children;
        }
        let pause = Timespec::try_from(left.min(LOOK_AGAIN)).ok();
        let mut fds: Vec<_> = last.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let _ = poll(&mut fds, pause.as_ref());
    }
}

/// Removes the cgroup directories that have nothing in them any more; those that are left at the deadline.
pub fn remove_cgroups(cgroups: &[CgroupDir], deadline: Instant) -> Vec<&Path> {
    loop {
        let left: Vec<&Path> =
            cgroups.iter().map(|cgroup| cgroup.dir.as_path()).filter(|dir| !removed(dir, 16)).collect();
        let time = deadline.saturating_duration_since(Instant::now());
        if left.is_empty() || time.is_zero() {
            return left;
        }
        let pause = Timespec::try_from(time.min(LOOK_AGAIN)).ok();
        let _ = poll(&mut [], pause.as_ref());
    }
}

/// Leaf first. Only empty cgroups can be removed, so this harms nobody.
fn removed(dir: &Path, depth: u32) -> bool {
    if let (Ok(entries), 1..) = (fs::read_dir(dir), depth) {
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            removed(&entry.path(), depth - 1);
        }
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}

/// The children of all of its threads.
fn children(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => found.extend(pids(&list)),
            // A kernel without CONFIG_PROC_CHILDREN, or the thread is gone.
            Err(_) => return children_by_parent(pid),
        }
    }
    found
}

fn children_by_parent(parent: u32) -> Vec<u32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| matches!(Stat::of(pid), Ok(Some(stat)) if stat.ppid == parent)).collect()
}
