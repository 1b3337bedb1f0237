//! Orphans that became our children, once they are dead.
//!
//! A subreaper (prctl(2), `PR_SET_CHILD_SUBREAPER`) inherits them from shims that were killed. Some are containers'
//! inits, whose exit status nobody has read yet, so none is reaped before whoever may want it had the time to look.

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use sexton_common::identity::Stat;
use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

/// What is to become of a dead child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Reaped at once: nobody will ask how it ended.
    Now,
    /// Reaped once it has lain there for long.
    Later,
    /// Left to somebody else.
    Never,
}

/// Dead children that wait.
#[derive(Debug, Default)]
pub struct Zombies {
    /// By pid and start time: since when they are known.
    seen: HashMap<(u32, u64), Instant>,
}

impl Zombies {
    /// Reaps the dead children whose time has come; when to come again, if some are left that wait.
    pub fn reap(&mut self, patience: Duration, fate: impl Fn(u32, &Stat) -> Fate) -> Option<Instant> {
        let (dead, now) = (dead_children(), Instant::now());
        self.seen.retain(|&(pid, start), _| dead.iter().any(|(p, stat)| (*p, stat.start_time) == (pid, start)));
        let mut next: Option<Instant> = None;
        for (pid, stat) in dead {
            let due = match fate(pid, &stat) {
                Fate::Never => continue,
                Fate::Now => now,
                Fate::Later => *self.seen.entry((pid, stat.start_time)).or_insert(now) + patience,
            };
            if due <= now {
                // It is our child and a zombie: nobody else can have its pid.
                let _ = waitid(pid_of(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }
}

fn pid_of(pid: u32) -> WaitId<'static> {
    WaitId::Pid(i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap_or(Pid::INIT))
}

/// A shim that has done its work: its status says nothing. Its exit code is looked at too, since a container's init may
/// call itself what it likes.
#[must_use]
pub fn is_done_shim(pid: u32, stat: &Stat) -> bool {
    stat.exit_code == 0 && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sexton-shim\n")
}

/// Whether we, or a sextond before us, started it ourselves: whatever a shim started is in the shim's own session.
#[must_use]
pub fn is_of_our_session(stat: &Stat) -> bool {
    u32::try_from(rustix::process::getsid(None).map_or(0, |sid| sid.as_raw_nonzero().get()))
        .is_ok_and(|s| s == stat.session)
}

fn dead_children() -> Vec<(u32, Stat)> {
    // Orphans are given to whichever thread the kernel likes.
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<u32> =
        lists.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    let stat = |pid| Stat::of(pid).ok().flatten().filter(Stat::is_dead).map(|stat| (pid, stat));
    pids.into_iter().filter_map(stat).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_dead_are_reaped_when_their_time_has_come() {
        #[expect(clippy::zombie_processes, reason = "reaped below")]
        let child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = child.id();
        let is_dead = || Stat::of(pid).unwrap().is_some_and(|stat| stat.is_dead());
        while !is_dead() {
            std::thread::yield_now();
        }
        let of = |fate| move |p: u32, _: &Stat| if p == pid { fate } else { Fate::Never };
        let mut zombies = Zombies::default();
        assert_eq!(zombies.reap(Duration::ZERO, of(Fate::Never)), None);
        assert!(zombies.reap(Duration::from_secs(600), of(Fate::Later)).is_some());
        assert!(is_dead(), "it waits");
        assert_eq!(zombies.reap(Duration::ZERO, of(Fate::Later)), None);
        assert!(Stat::of(pid).unwrap().is_none(), "it is reaped");
    }
}
