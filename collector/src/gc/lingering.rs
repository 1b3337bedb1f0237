//! Runtimes and clean-up commands that were killed, by us or with our predecessor, and may be there still: no other one
//! is begun for the same container while they are.

use super::{Obstacle, obstacle::Holder};
use crate::sys;
use nix::unistd::{getpgid, getsid};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process_group},
};
use sexton_common::{
    ContainerId, ProcessIdentity,
    gc::Step,
    identity::{Presence, Stat},
};
use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// In the environment of whatever cleans up: the state directory of the sextond that began it.
pub const MARK: &str = "SEXTON_GC";
/// And which container that is for.
pub const FOR: &str = "SEXTON_ID";

/// How long is waited for those that were killed.
const DIE_WITHIN: Duration = Duration::from_secs(1);

/// Those that do not die.
#[derive(Debug, Default)]
pub struct Lingering(Mutex<HashMap<ContainerId, Vec<ProcessIdentity>>>);

impl Lingering {
    /// One that was killed for this container.
    pub fn add(&self, id: &ContainerId, process: ProcessIdentity) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.clone()).or_default().push(process);
    }

    /// That all of its are dead.
    ///
    /// # Errors
    /// Those that are not.
    pub fn are_gone(&self, id: &ContainerId, step: Step) -> Result<(), Obstacle> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of_it) = all.get_mut(id) else { return Ok(()) };
        of_it.retain(is_alive);
        let Some(first) = of_it.first() else {
            all.remove(id);
            return Ok(());
        };
        let what = format!(
            "process {}, of an earlier attempt, was killed and does not die: no other is begun beside it",
            first.pid
        );
        let how = "cleaned up for it, and was killed".to_owned();
        let holder =
            |process: &ProcessIdentity| Holder { process: *process, how: how.clone(), frozen_by: None, mount_ns: None };
        let holders = of_it.iter().take(Obstacle::HOLDERS).map(holder).collect();
        Err(Obstacle { holders, ..Obstacle::new(step, what) })
    }

    /// Ends what a killed sextond with this state directory has left, each with its process group. Only who leads a
    /// group that it was given: what a command has left running, or made a daemon of, is not ours to end. Blocks.
    pub fn end_all(&self, state: &Path) {
        self.end_all_but_of(state, std::process::id());
    }

    fn end_all_but_of(&self, state: &Path, own: u32) {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let mut killed = Vec::new();
        let is_ours = |pid| Stat::of(pid).is_ok_and(|stat| stat.is_none_or(|stat| stat.ppid == own));
        for pid in pids.filter(|pid| *pid != own && leads_its_group(*pid) && !is_ours(*pid)) {
            // What is read of whoever has the pid is ours to believe as long as the pidfd's process is that.
            let Ok((process, pidfd)) = ProcessIdentity::open_pid(pid) else { continue };
            let Some(id) = works_for(pid, state).filter(|_| leads_its_group(pid) && is_alive(&process)) else {
                continue;
            };
            tracing::warn!(%id, pid, "cleans up for a sextond that was killed: killed with its process group");
            if let Err(e) = kill_group(pidfd.as_fd(), pid) {
                tracing::warn!(%id, pid, error = %e, "its process group cannot be killed");
            }
            killed.push((id, process, pidfd));
        }
        let end = Instant::now() + DIE_WITHIN;
        for (id, process, pidfd) in killed {
            let left = end.saturating_duration_since(Instant::now());
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Timespec::try_from(left).ok().as_ref());
            if is_alive(&process) {
                self.add(&id, process);
            }
        }
    }
}

fn is_alive(process: &ProcessIdentity) -> bool {
    matches!(process.look(), Ok(Presence::Alive(_)))
}

/// In a session that is older than it: it was put there by who began it, and did not leave it as daemons do.
fn leads_its_group(pid: u32) -> bool {
    // rustix' would not do: a kernel thread's are 0.
    let Ok(raw) = i32::try_from(pid) else { return false };
    let pid = nix::unistd::Pid::from_raw(raw);
    getpgid(Some(pid)) == Ok(pid) && getsid(Some(pid)).is_ok_and(|session| session != pid)
}

/// For whom it was begun, if it was by a sextond of this state directory.
fn works_for(pid: u32, state: &Path) -> Option<ContainerId> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |name: &str| {
        let mut all = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok());
        all.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    (Path::new(value(MARK)?) == state).then(|| value(FOR)?.parse().ok())?
}

/// By the pidfd of its leader; before Linux 6.9 by its number, which is not another's as long as one of the group is there.
fn kill_group(leader: BorrowedFd<'_>, pid: u32) -> io::Result<()> {
    match sys::pidfd_kill_group(leader) {
        Err(e) if e.raw_os_error() == Some(nix::libc::EINVAL) => {
            let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
            Ok(kill_process_group(pid, Signal::KILL)?)
        }
        Err(e) if e.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{BufRead, BufReader},
        os::unix::process::CommandExt,
        process::{Child, Command, Stdio},
    };

    /// A shell that leads a group, with a child in it; the child's pid.
    fn leader(state: &str, text: &str) -> (Child, u32) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]).env(MARK, state).env(FOR, "c").stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    fn lives(pid: u32) -> bool {
        sexton_common::identity::Stat::of(pid).unwrap().is_some_and(|stat| !stat.is_dead())
    }

    #[test]
    fn what_was_begun_is_ended_with_its_group_and_what_was_left_running_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().to_str().unwrap();
        let waits = "trap '' TERM; sleep 1000 & echo $!; wait";
        let (mut ours, child) = leader(state, waits);
        let (mut others, others_child) = leader("/another/state", waits);
        let (mut done, left) = leader(state, "sleep 1000 > /dev/null & echo $!");
        let (mut forked, daemon) = leader(state, "setsid sleep 1000 > /dev/null & echo $!");
        done.wait().unwrap();
        forked.wait().unwrap();
        while getsid(Some(nix::unistd::Pid::from_raw(daemon as i32))).unwrap().as_raw() != daemon as i32 {
            std::thread::yield_now();
        }
        let lingering = Lingering::default();
        lingering.end_all_but_of(dir.path(), 0);
        assert_eq!(lingering.are_gone(&"c".parse().unwrap(), Step::Runtime), Ok(()));
        assert!(ours.try_wait().unwrap().is_some());
        let end = Instant::now() + Duration::from_secs(30);
        while lives(child) && Instant::now() < end {
            std::thread::yield_now();
        }
        let alive = [child, others_child, left, daemon].map(lives);
        for pid in [others_child, left, daemon] {
            rustix::process::kill_process(Pid::from_raw(pid as i32).unwrap(), Signal::KILL).unwrap();
        }
        others.kill().unwrap();
        others.wait().unwrap();
        assert_eq!(alive, [false, true, true, true]);
    }

    #[test]
    fn one_that_does_not_die_is_named_until_it_does() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let (lingering, id) = (Lingering::default(), "c".parse().unwrap());
        let process = ProcessIdentity::of(child.id()).unwrap();
        lingering.add(&id, process);
        assert_eq!(lingering.are_gone(&"other".parse().unwrap(), Step::Runtime), Ok(()));
        let obstacle = lingering.are_gone(&id, Step::Runtime).unwrap_err();
        assert_eq!(obstacle.holders[0].process, process);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(lingering.are_gone(&id, Step::Runtime), Ok(()));
        assert!(lingering.0.lock().unwrap().is_empty());
    }
}
