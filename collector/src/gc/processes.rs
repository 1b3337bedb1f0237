//! Ending everything that runs in a container's cgroups, and seeing that nothing is left.

pub use super::census::Spared;
use super::{
    census::{Census, Member, Strangers, dirs},
    cgroup_tree::walk,
    freezer::{self, Frozen, thaw},
    holder::{Seen, awaited_by},
    obstacle::{Holder, Obstacle},
};
use crate::sys;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use sexton_common::{ProcessIdentity, cgroup::CgroupDir, gc::Step};
use std::{
    collections::HashSet,
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

/// So many pidfds are open at once.
const BATCH: usize = 256;
/// A look again after that, if nobody's end was seen; doubling. The processes that were killed fork no more, but more of
/// them may come from outside.
const PATIENCE: Duration = Duration::from_millis(10);
/// At most.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// Passes over a frozen cgroup: each sees those that were being born in the one before.
const PASSES: u32 = 32;
/// SIGKILL.
const KILL: i32 = 9;

/// Thaws the container's own freezers, kills everything in the cgroups and these processes, and waits until `end` for their
/// end. Looks again until nobody is seen: a fork bomb loses. Blocks.
///
/// # Errors
/// What is still there at the end, or as soon as nothing but somebody else's doing could change it.
pub fn end(
    cgroups: &[CgroupDir],
    processes: &[ProcessIdentity],
    spared: &Spared,
    end: Instant,
) -> Result<(), Obstacle> {
    let scene = Scene { cgroups, processes, spared };
    let (mut before, mut patience) = (HashSet::new(), PATIENCE);
    loop {
        let mut pass = scene.pass(true);
        if pass.is_clear() {
            return Ok(());
        }
        if !pass.shared {
            // Somebody was born while the others were killed: that may go on for ever.
            if !before.is_empty() && !pass.keys.is_subset(&before) {
                pass = scene.outrun(pass);
            }
            thaw(cgroups);
        }
        before = std::mem::take(&mut pass.keys);
        let left = end.saturating_duration_since(Instant::now());
        let done = wait(&pass.killed, patience.min(left));
        if done && !pass.killed.is_empty() && !left.is_zero() {
            continue;
        }
        let obstacle = scene.obstacle(&pass, true);
        let over = left.is_zero() || obstacle.as_ref().is_some_and(|obstacle| scene.is_hopeless(&pass, obstacle));
        if over {
            // Who was in that pass may have died since then: only a look finds that nobody is left.
            return scene.look(true).map_or(Ok(()), Err);
        }
        patience = (patience * 2).min(PATIENCE_MAX);
    }
}

/// What would be in the way now. Kills nobody. Blocks on the file system.
#[must_use]
pub fn look(cgroups: &[CgroupDir], processes: &[ProcessIdentity], spared: &Spared) -> Option<Obstacle> {
    let scene = Scene { cgroups, processes, spared };
    scene.look(false)
}

struct Scene<'a> {
    cgroups: &'a [CgroupDir],
    processes: &'a [ProcessIdentity],
    spared: &'a Spared,
}

/// What one pass over all of them found.
#[derive(Default)]
struct Pass {
    /// Not spared; at most [`BATCH`] of them.
    killed: Vec<Member>,
    /// Spared, at most as many.
    spared: Vec<Member>,
    /// How many of both.
    count: usize,
    /// Pid and start time of both.
    keys: HashSet<(u32, u64)>,
    /// Whether somebody else lives in the same cgroups.
    shared: bool,
    /// Why there may be more.
    unseen: Option<String>,
    /// The cgroup because of which nobody was touched.
    not_its: Option<PathBuf>,
}

impl Pass {
    fn is_clear(&self) -> bool {
        self.count == 0 && self.unseen.is_none() && self.not_its.is_none()
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
    fn pass(&self, kill: bool) -> Pass {
        let census = Census::of(dirs(self.cgroups));
        // A cgroup that has us, or everybody's init, in it or below it was never a container's.
        if let Some(&own) = [1, std::process::id()].iter().find(|pid| census.pids.contains_key(pid)) {
            return Pass { not_its: census.pids.get(&own).map(|dir| dir.to_path_buf()), ..Pass::default() };
        }
        let strangers = Strangers::of(self.spared, &census);
        let mut pass = Pass { shared: strangers.are_in(&census), unseen: census.unseen, ..Pass::default() };
        if kill && !pass.shared && !census.pids.is_empty() {
            self.kill_at_once();
        }
        let pids: Vec<u32> = census.pids.into_keys().collect();
        for batch in pids.chunks(BATCH) {
            match Census::hold(batch, dirs(self.cgroups)) {
                Ok(members) => members.into_iter().for_each(|member| self.meet(&mut pass, &strangers, member, kill)),
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
    fn outrun(&self, mut pass: Pass) -> Pass {
        let _frozen = Frozen::new(self.cgroups);
        for _ in 0..PASSES {
            let before = std::mem::take(&mut pass.keys);
            pass = self.pass(true);
            if pass.shared || pass.keys.is_subset(&before) {
                break;
            }
        }
        pass
    }

    fn look(&self, killed: bool) -> Option<Obstacle> {
        // Processes that die between being counted and being looked at are no obstacle, but the next look may find others.
        for _ in 0..PASSES {
            let pass = self.pass(false);
            if pass.is_clear() {
                return None;
            }
            if let Some(obstacle) = self.obstacle(&pass, killed) {
                return Some(obstacle);
            }
        }
        Some(Obstacle::new(Step::Processes, "its processes come and go"))
    }

    /// Whether nothing of ours will make them go: others' processes, and those that a freezer above holds.
    fn is_hopeless(&self, pass: &Pass, obstacle: &Obstacle) -> bool {
        let above = |frozen: &PathBuf| pass.shared || !dirs(self.cgroups).any(|dir| frozen.starts_with(dir));
        let is_spared = |holder: &Holder| pass.spared.iter().any(|member| member.process == holder.process);
        let mut holders = obstacle.holders.iter();
        pass.not_its.is_some()
            || pass.unseen.is_none()
                && pass.count <= Obstacle::HOLDERS
                && holders.all(|holder| is_spared(holder) || holder.frozen_by.as_ref().is_some_and(above))
    }

    /// `None` if all who were in that pass have died since.
    fn obstacle(&self, pass: &Pass, killed: bool) -> Option<Obstacle> {
        if let Some(dir) = &pass.not_its {
            let what = format!("sextond's own cgroup {} is not a container's: nobody in it is killed", dir.display());
            return Some(Obstacle::new(Step::Processes, what + "; take it off the list: sexton gc forget"));
        }
        let mut found = Vec::new();
        for (member, spared) in
            pass.killed.iter().map(|m| (m, false)).chain(pass.spared.iter().map(|member| (member, true)))
        {
            let Some(seen) = Seen::of(&member.process) else { continue };
            let how = match &member.cgroup {
                Some(dir) => format!("in cgroup {}", dir.display()),
                None => "one of its processes".to_owned(),
            };
            if !spared && seen.is_waiting_init() {
                let how = format!("in the pid namespace of {}, which waits for it", seen.name());
                for process in awaited_by(&member.process) {
                    if let Some(seen) =
                        Seen::of(&process).filter(|_| !pass.keys.contains(&(process.pid, process.start_time)))
                    {
                        found.push((seen.rank(), process, how.clone(), seen, false));
                    }
                }
            }
            found.push((if spared { 3 } else { seen.rank() }, member.process, how, seen, spared));
        }
        found.sort_by_key(|(rank, ..)| *rank);
        let more = (pass.count.max(found.len())).saturating_sub(1);
        found.truncate(Obstacle::HOLDERS);
        let mut obstacle = Obstacle::new(Step::Processes, String::new());
        for (_, process, how, seen, spared) in found {
            // v2 lets the killed die.
            let frozen_by = seen.frozen_by().filter(|dir| !killed || freezer::holds_the_killed(dir));
            if obstacle.what.is_empty() {
                obstacle.what =
                    if spared { shared(&seen, &how) } else { seen.words(&how, frozen_by.as_deref(), killed) };
            }
            obstacle.holders.push(Holder { process, how, frozen_by, mount_ns: None });
        }
        if obstacle.holders.is_empty() {
            obstacle.what = pass.unseen.clone()?;
        } else if more > 0 {
            obstacle.what.push_str(&format!("; and {more} more"));
        }
        let v2 = self.cgroups.iter().filter(|cgroup| cgroup.hierarchy.is_empty()).map(|cgroup| cgroup.dir.clone());
        obstacle.cgroups = v2.filter(|dir| dir.exists()).collect();
        Some(obstacle)
    }
}

fn shared(seen: &Seen, how: &str) -> String {
    format!(
        "{} is {how}, shared with it, but is not its: it is left alone, and has to end or to leave that cgroup",
        seen.name()
    )
}

/// Until all of them have ended: true. False once that has taken too long.
fn wait(members: &[Member], at_most: Duration) -> bool {
    let end = Instant::now() + at_most;
    let mut fds: Vec<PollFd<'_>> = members.iter().map(|member| PollFd::new(&member.fd, PollFlags::IN)).collect();
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return false,
            Ok(_) => fds.retain(|fd| fd.revents().is_empty()),
            Err(Errno::INTR) => {}
            // Out of memory: the next look finds who has ended.
            Err(_) => return false,
        }
        if fds.is_empty() {
            return true;
        }
    }
}

#[cfg(test)]
#[path = "processes_tests.rs"]
mod tests;
