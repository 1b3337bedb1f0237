//! What a plain program leaves, where it has no cgroup that tells: the children of its shim, which is their subreaper.

use super::{
    holder::Seen,
    obstacle::{Holder, Obstacle},
};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sexton_common::{ProcessIdentity, gc::Step, identity::Stat};
use std::{
    fs,
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// Between two looks: the children of whom we killed have become the shim's.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The shim kills what its program has left and leaves; if somebody keeps it from that, its children are killed here. Whether
/// it was there. Blocks, at most until `end`.
///
/// # Errors
/// Who is still there then.
pub fn end(shim: &ProcessIdentity, end: Instant) -> Result<bool, Obstacle> {
    let unseen =
        |e| Obstacle::new(Step::Processes, format!("its shim, process {}, cannot be looked at: {e}", shim.pid));
    let Some(fd) = shim.open().map_err(unseen)? else { return Ok(false) };
    let mut pause = Duration::from_millis(1);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let time = Timespec::try_from(pause.min(left)).ok();
        // A signal only makes the next look come earlier.
        if poll(&mut [PollFd::new(&fd, PollFlags::IN)], time.as_ref()).is_ok_and(|ready| ready > 0) {
            return Ok(true);
        }
        let children = children(shim);
        for child in &children {
            if let Ok(Some(fd)) = child.open() {
                let _ = sys::pidfd_send_signal(fd.as_fd(), nix::libc::SIGKILL);
            }
        }
        if left.is_zero() {
            return obstacle(shim, &children).map_or(Ok(true), Err);
        }
        pause = (pause * 2).min(LOOK_EVERY);
    }
}

/// Those that live.
fn children(shim: &ProcessIdentity) -> Vec<ProcessIdentity> {
    let pid = shim.pid;
    // It has one thread.
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let found = list.split_ascii_whitespace().filter_map(|child| {
        let child = ProcessIdentity::of(child.parse().ok()?).ok()?;
        let stat = Stat::of(child.pid).ok()??;
        (stat.ppid == pid && stat.start_time == child.start_time && !stat.is_dead()).then_some(child)
    });
    let found: Vec<_> = found.collect();
    // Of the shim, and not of another process that has its pid by now.
    if shim.open().is_ok_and(|fd| fd.is_some()) { found } else { Vec::new() }
}

/// `None` if all of them have ended since.
fn obstacle(shim: &ProcessIdentity, children: &[ProcessIdentity]) -> Option<Obstacle> {
    let seen = |process: &ProcessIdentity| Some((*process, Seen::of(process)?));
    let mut found: Vec<_> = children.iter().take(Obstacle::HOLDERS).filter_map(seen).collect();
    let killed = !found.is_empty();
    if !killed {
        found.extend(seen(shim));
    }
    let how = if killed { "a child of its shim" } else { "its shim, which ends what it has left" };
    let mut obstacle = Obstacle::new(Step::Processes, String::new());
    for (process, seen) in found {
        let frozen_by = seen.frozen_by();
        if obstacle.what.is_empty() {
            obstacle.what = seen.words(how, frozen_by.as_deref(), killed);
        }
        obstacle.holders.push(Holder { process, how: how.into(), frozen_by, mount_ns: None });
    }
    (!obstacle.holders.is_empty()).then_some(obstacle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_common::identity::Presence;
    use std::process::{Child, Command};

    struct Parent(Child);

    impl Drop for Parent {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn children_are_killed_and_who_stays_is_named() {
        // It does not reap.
        let shim = Parent(Command::new("sh").args(["-c", "sleep 1000 & exec sleep 1001"]).spawn().unwrap());
        let identity = ProcessIdentity::of(shim.0.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while children(&identity).is_empty() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        let child = children(&identity)[0];
        // What was killed may still be dying.
        let obstacle = loop {
            let obstacle = super::end(&identity, Instant::now() + Duration::from_millis(300)).unwrap_err();
            let dead = !matches!(child.look(), Ok(Presence::Alive(_)));
            if dead && obstacle.holders.iter().all(|holder| holder.process != child) || Instant::now() >= deadline {
                break obstacle;
            }
        };
        assert!(!matches!(child.look(), Ok(Presence::Alive(_))), "{obstacle:?}");
        assert_eq!(obstacle.holders.iter().map(|holder| holder.process).collect::<Vec<_>>(), [identity]);
        drop(shim);
        assert_eq!(super::end(&identity, Instant::now()), Ok(false), "it is gone");
    }
}
