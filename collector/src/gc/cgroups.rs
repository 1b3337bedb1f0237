//! Removing a container's cgroups, in whatever hierarchies they are.

use super::{
    census::{Census, paths},
    cgroup_tree::walk,
    holder::Seen,
    obstacle::{Holder, Obstacle},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use sexton_common::gc::Step;
use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The kernel takes the last task out of a cgroup a little after its end was seen.
const SETTLES: Duration = Duration::from_millis(500);
/// Between two tries, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Whether `cgroup.events` of a cgroup (v2) has this line (cgroups(7)); not, if it cannot be read. Blocks.
pub fn events_say(dir: &Path, line: &str) -> bool {
    fs::read_to_string(dir.join("cgroup.events")).is_ok_and(|events| events.lines().any(|said| said == line))
}

/// A cgroup that stays.
struct Busy {
    top: PathBuf,
    dir: PathBuf,
    error: io::Error,
}

/// Removes the cgroups and all below them, deepest first, in every hierarchy. Blocks, but not for long, and never past `end`.
///
/// # Errors
/// What keeps one of them.
pub fn remove(cgroups: &[PathBuf], end: Instant) -> Result<(), Obstacle> {
    let end = end.min(Instant::now() + SETTLES);
    let mut pause = PAUSE.0;
    loop {
        let busy: Vec<Busy> = cgroups.iter().filter_map(|top| sweep(top)).collect();
        let left = end.saturating_duration_since(Instant::now());
        if busy.is_empty() {
            return Ok(());
        }
        if left.is_zero() {
            return Err(obstacle(cgroups, &busy));
        }
        wait(&busy, pause.min(left));
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// The first that does not go, if `top` does not.
fn sweep(top: &Path) -> Option<Busy> {
    let mut first = None;
    let walked = walk(top, |place| match place.remove() {
        Err(error) if first.is_none() => first = Some((place.path.to_owned(), error)),
        _ => {}
    });
    // What counts is what is there now: the walk shows each cgroup that is.
    let mut there = false;
    let seen = walk(top, |_| there = true);
    let error = walked.and(seen).err();
    if !there && error.is_none() {
        return None;
    }
    let (dir, failed) = first.map_or_else(|| (top.to_owned(), None), |(dir, error)| (dir, Some(error)));
    let error = failed.or(error).unwrap_or_else(|| Errno::BUSY.into());
    Some(Busy { top: top.to_owned(), dir, error })
}

/// For a change in one of them where v2 tells of it, else for that long.
fn wait(busy: &[Busy], at_most: Duration) {
    // It tells of what changes once it was read.
    let read = |busy: &Busy| {
        let mut file = File::open(busy.top.join("cgroup.events")).ok()?;
        file.read_to_end(&mut Vec::new()).ok()?;
        Some(file)
    };
    let events: Vec<File> = busy.iter().filter_map(read).collect();
    let mut fds: Vec<PollFd<'_>> = events.iter().map(|file| PollFd::new(file, PollFlags::PRI)).collect();
    let _ = poll(&mut fds, Timespec::try_from(at_most).ok().as_ref());
}

fn obstacle(cgroups: &[PathBuf], busy: &[Busy]) -> Obstacle {
    let census = Census::of(paths(cgroups));
    let pids: Vec<u32> = census.pids.keys().copied().take(Obstacle::HOLDERS).collect();
    let members = census.hold(&pids, paths(cgroups)).unwrap_or_default();
    let seen = |process| Seen::of(process).map(|seen| (seen.frozen_by(), seen));
    let mut what = None;
    let mut holders = Vec::new();
    for (member, (frozen_by, seen)) in members.iter().filter_map(|member| Some((member, seen(&member.process)?))) {
        let how = member.cgroup.as_ref().map(|dir| format!("in cgroup {}", dir.display())).unwrap_or_default();
        what.get_or_insert_with(|| seen.words(&how, frozen_by.as_deref(), false));
        holders.push(Holder { process: member.process, how, frozen_by, mount_ns: None });
    }
    let unseen = || {
        let Some(Busy { dir, error, .. }) = busy.first() else { return String::new() };
        let dir = dir.display();
        match (census.unseen.clone(), error.raw_os_error() == Some(Errno::BUSY.raw_os_error())) {
            (Some(unseen), _) => unseen,
            (None, true) => format!(
                "cgroup {dir} is busy, though no process is seen in it: one that dies, or one of a pid namespace that cannot be seen from here"
            ),
            (None, false) => format!("cgroup {dir} cannot be removed: {error}"),
        }
    };
    let what = what.unwrap_or_else(unseen);
    let v2 = busy.iter().map(|busy| busy.top.clone()).filter(|dir| dir.join("cgroup.events").exists()).collect();
    Obstacle { holders, cgroups: v2, ..Obstacle::new(Step::Cgroups, what) }
}

#[cfg(test)]
#[path = "cgroups_tests.rs"]
mod tests;
