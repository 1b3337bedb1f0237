//! One pass over everybody who is to be ended.

use super::{
    census::{Census, Member, Spared, Strangers, dirs},
    cgroup_tree::walk,
    freezer::Frozen,
};
use crate::sys;
use sexton_common::{ProcessIdentity, cgroup::CgroupDir};
use std::{collections::HashSet, os::fd::AsFd, path::PathBuf};

/// So many pidfds are open at once.
const BATCH: usize = 256;
/// Passes over a frozen cgroup: each sees those that were being born in the one before.
const PASSES: u32 = 32;
/// SIGKILL.
const KILL: i32 = 9;

/// Whom it is about.
#[derive(Debug)]
pub struct Scene<'a> {
    /// Everybody in these, and below them.
    pub cgroups: &'a [CgroupDir],
    /// These too.
    pub processes: &'a [ProcessIdentity],
    /// But for these.
    pub spared: &'a Spared,
}

/// What one pass over all of them found.
#[derive(Debug, Default)]
pub struct Pass {
    /// Not spared; at most [`BATCH`] of them.
    pub killed: Vec<Member>,
    /// Spared, at most as many.
    pub spared: Vec<Member>,
    /// How many of both.
    pub count: usize,
    /// Pid and start time of both.
    pub keys: HashSet<(u32, u64)>,
    /// Whether some were gone before they could be held: others may have come from them.
    fled: bool,
    /// Whether somebody else lives in the same cgroups.
    pub shared: bool,
    /// Why there may be more.
    pub unseen: Option<String>,
    /// The cgroup because of which nobody was touched.
    pub not_its: Option<PathBuf>,
}

impl Pass {
    /// Whether there is nobody.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.count == 0 && !self.fled && self.unseen.is_none() && self.not_its.is_none()
    }

    /// Whether there was somebody who had not been met before.
    #[must_use]
    pub fn has_more_than(&self, before: &HashSet<(u32, u64)>) -> bool {
        self.fled || !self.keys.is_subset(before)
    }

    fn add(&mut self, member: Member, is_spared: bool) {
        self.count += 1;
        self.keys.insert((member.process.pid, member.process.start_time));
        let list = if is_spared { &mut self.spared } else { &mut self.killed };
        if list.len() < BATCH {
            list.push(member);
        }
    }
}

impl Scene<'_> {
    /// Meets everybody once, and kills those that are not spared, if so wanted.
    #[must_use]
    pub fn pass(&self, kill: bool) -> Pass {
        let census = Census::of(dirs(self.cgroups));
        // A cgroup that has us, or everybody's init, in it or below it was never a container's.
        if let Some(&own) = [1, std::process::id()].iter().find(|pid| census.pids.contains_key(pid)) {
            return Pass { not_its: census.pids.get(&own).map(|dir| dir.to_path_buf()), ..Pass::default() };
        }
        let strangers = Strangers::of(self.spared, &census);
        let mut pass = Pass { shared: strangers.are_in(&census), unseen: census.unseen.clone(), ..Pass::default() };
        if kill && !pass.shared && !census.pids.is_empty() {
            self.kill_at_once();
        }
        let pids: Vec<u32> = census.pids.keys().copied().collect();
        for batch in pids.chunks(BATCH) {
            match census.hold(batch, dirs(self.cgroups)) {
                Ok(members) => {
                    pass.fled |= members.len() < batch.len();
                    members.into_iter().for_each(|member| self.meet(&mut pass, &strangers, member, kill));
                }
                Err(e) => pass.unseen = Some(format!("not all of its processes can be held: {e}")),
            }
        }
        for process in self.processes {
            match Member::named(*process) {
                Ok(Some(member)) => self.meet(&mut pass, &strangers, member, kill),
                Ok(None) => {}
                Err(e) => pass.unseen = Some(format!("process {} cannot be held: {e}", process.pid)),
            }
        }
        pass
    }

    fn meet(&self, pass: &mut Pass, strangers: &Strangers<'_>, member: Member, kill: bool) {
        let key = (member.process.pid, member.process.start_time);
        if pass.keys.contains(&key) {
            return;
        }
        let spared = strangers.has(member.process.pid) || member.kernels;
        if kill && !spared {
            // One that cannot be signalled is dead, or is in the way, which is seen.
            let _ = sys::pidfd_send_signal(member.fd.as_fd(), KILL);
        }
        pass.add(member, spared);
    }

    /// v2, since Linux 5.14: those that are being born included. It spares nobody.
    fn kill_at_once(&self) {
        for cgroup in self.cgroups.iter().filter(|cgroup| cgroup.hierarchy.is_empty()) {
            let _ = walk(&cgroup.dir, |place| {
                if place.path == cgroup.dir {
                    let _ = place.write("cgroup.kill", "1");
                }
            });
        }
    }

    /// Kills faster than they fork: while they are frozen.
    #[must_use]
    pub fn outrun(&self, mut pass: Pass) -> Pass {
        let _frozen = Frozen::new(self.cgroups);
        for _ in 0..PASSES {
            let before = std::mem::take(&mut pass.keys);
            pass = self.pass(true);
            if pass.shared || !pass.has_more_than(&before) {
                break;
            }
        }
        pass
    }
}
