//! Ending everything that runs in a container's cgroups, and seeing that nothing is left.

pub use super::census::Spared;
use super::{
    census::{Member, dirs},
    freezer::{self, thaw},
    holder::{Seen, awaited_by},
    obstacle::{Holder, Obstacle},
    scene::{Pass, Scene},
    turn::Turn,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use sexton_common::{ProcessIdentity, cgroup::CgroupDir, gc::Step};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

/// A look again after that, unless all have ended before; doubling. The processes that were killed fork no more, but more of
/// them may come from outside. Many that do not die are looked at together, and healthy neighbours need the processor too.
const PATIENCE: Duration = Duration::from_millis(20);
/// At most.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// In which nobody stays long enough to be looked at.
const LOOKS: u32 = 16;
/// Of those who did not die at once.
static TURN: Turn = Turn::new();

/// Thaws the container's own freezers, kills everything in the cgroups and these processes, and waits until `end` for their
/// end. Looks again until nobody is seen: a fork bomb loses. Whether there was anybody. Blocks.
///
/// # Errors
/// What is still there at the end, or as soon as nothing but somebody else's doing could change it.
pub fn end(
    cgroups: &[CgroupDir],
    processes: &[ProcessIdentity],
    spared: &Spared,
    end: Instant,
) -> Result<bool, Obstacle> {
    let scene = Scene { cgroups, processes, spared };
    let (mut before, mut patience) = (None, PATIENCE);
    let mut turn = None;
    loop {
        let mut pass = scene.pass(true);
        if pass.is_clear() {
            return Ok(before.is_some());
        }
        if !pass.shared {
            // Somebody was born while the others were killed: that may go on for ever.
            if before.as_ref().is_some_and(|before| pass.has_more_than(before)) {
                pass = scene.outrun(pass);
            }
            thaw(cgroups);
        }
        before = Some(pass.keys.clone());
        drop(turn.take());
        let left = end.saturating_duration_since(Instant::now());
        let done = wait(&pass.killed, patience.min(left));
        let over = Instant::now() >= end;
        if done && !pass.killed.is_empty() && !over {
            continue;
        }
        turn = Some(TURN.take());
        if over || scene.obstacle(&pass, true).is_some_and(|obstacle| scene.is_hopeless(&pass, &obstacle)) {
            // Who was in that pass may have died since then: only a look finds that nobody is left.
            return scene.look(true).map_or(Ok(true), Err);
        }
        patience = (patience * 2).min(PATIENCE_MAX);
    }
}

impl Scene<'_> {
    fn look(&self, killed: bool) -> Option<Obstacle> {
        // Processes that die between being counted and being looked at are no obstacle, but the next look may find others.
        for _ in 0..LOOKS {
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
