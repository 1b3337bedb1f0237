//! The descriptors that sextond stored.

use super::say;
use crate::store::NAMES;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sexton_common::identity::Stat;
use std::{
    collections::{BTreeMap, HashSet},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

/// The longest name (`sd_pid_notify_with_fds(3)`).
const LONGEST: usize = 255;

/// By name. What is beyond the bounds is not held, which the sender is not told of, as with systemd.
#[derive(Debug)]
pub struct Held {
    kept: BTreeMap<String, Kept>,
    most: usize,
    /// Of all names, with a colon after each.
    length: usize,
    full: bool,
}

#[derive(Debug)]
struct Kept {
    fd: OwnedFd,
    /// Its process, as the kernel has it; `None` if it is no pidfd, or its process was gone before we saw it.
    process: Option<(u32, u64)>,
}

impl Held {
    /// As many as that, and no more than their names can be passed on.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { kept: BTreeMap::new(), most, length: 0, full: false }
    }

    /// Holds it, instead of what had that name.
    pub fn keep(&mut self, name: String, fd: OwnedFd) {
        let valid = |c: char| c.is_ascii() && !c.is_ascii_control() && c != ':';
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(valid) {
            return say(&format!("a descriptor is not held: {name:?} is no name"));
        }
        let more = if self.kept.contains_key(&name) { 0 } else { name.len() + 1 };
        if more > 0 && (self.kept.len() >= self.most || self.length + more > NAMES) {
            if !std::mem::replace(&mut self.full, true) {
                say(&format!("no more than {} descriptors can be held", self.kept.len()));
            }
            return;
        }
        self.length += more;
        let process = pid_of(fd.as_fd()).and_then(|pid| {
            let stat = Stat::of(pid).ok()??;
            // Looked at again, since the pid may have changed hands between the two looks.
            (pid_of(fd.as_fd()) == Some(pid)).then_some((pid, stat.start_time))
        });
        self.kept.insert(name, Kept { fd, process });
    }

    /// Lets go of it. If its process is our child by now, it is reaped: its status is on disk.
    pub fn release(&mut self, name: &str) {
        if let Some(kept) = self.kept.remove(name) {
            self.length -= name.len() + 1;
            self.full = false;
            let _ = waitid(WaitId::PidFd(kept.fd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }

    /// The processes that are held, by pid and start time.
    #[must_use]
    pub fn processes(&self) -> HashSet<(u32, u64)> {
        self.kept.values().filter_map(|kept| kept.process).collect()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.kept.iter().map(|(name, kept)| (name.as_str(), kept.fd.as_fd()))
    }
}

/// The pid that a pidfd holds (pidfd_open(2)); `None` if it was reaped, or it is no pidfd.
fn pid_of(fd: BorrowedFd<'_>) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    pid.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_common::ProcessIdentity;
    use std::process::Command;

    #[test]
    fn a_child_is_held_until_it_is_released_and_reaped_then() {
        #[expect(clippy::zombie_processes, reason = "the release reaps it")]
        let child = Command::new("true").spawn().unwrap();
        let (identity, fd) = ProcessIdentity::open_pid(child.id()).unwrap();
        let mut held = Held::new(9);
        held.keep("a".into(), fd);
        assert_eq!(held.processes(), HashSet::from([(identity.pid, identity.start_time)]));
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&identity.open().unwrap().unwrap(), rustix::event::PollFlags::IN)],
            None,
        )
        .unwrap();
        held.release("b");
        assert!(Stat::of(identity.pid).unwrap().is_some());
        held.release("a");
        assert_eq!((Stat::of(identity.pid).unwrap(), held.len()), (None, 0));
    }

    #[test]
    fn what_has_no_name_is_not_held() {
        let mut held = Held::new(9);
        for name in ["", "a:b", "a\n", "ä", &"x".repeat(256)] {
            held.keep(name.into(), std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        }
        assert_eq!(held.len(), 0);
        for name in ["x".repeat(255), "pidfd-1-a".into(), "pidfd-1-a".into()] {
            held.keep(name, std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        }
        assert_eq!(held.iter().map(|(name, _)| name.len()).collect::<Vec<_>>(), [9, 255]);
    }

    #[test]
    fn there_is_an_end_to_what_is_held() {
        let stdin = || std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        let mut few = Held::new(2);
        for name in ["a", "b", "c", "a"] {
            few.keep(name.into(), stdin());
        }
        assert_eq!(few.len(), 2);
        few.release("a");
        few.keep("c".into(), stdin());
        assert_eq!(few.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "c"]);
        let mut long = Held::new(usize::MAX);
        for n in 0..600 {
            long.keep(format!("{n:0250}"), stdin());
        }
        let names: Vec<_> = long.iter().map(|(name, _)| name.len()).collect();
        assert_eq!(names.len(), NAMES / 251);
    }
}
