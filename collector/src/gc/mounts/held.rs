//! File systems that were a container's alone, after they have been unmounted: gone, or still somebody's.

use super::{
    device::{self, Life, loops},
    holders, table,
};
use crate::gc::obstacle::Obstacle;
use rustix::event::{Timespec, poll};
use sexton_common::gc::{Device, Step};
use std::time::{Duration, Instant};

/// A file system's end, and a loop device's, may come a moment after the last unmount.
const PATIENCE: Duration = Duration::from_millis(100);

/// Whether one of these file systems, which were this container's alone, is still alive somewhere: mounted in another mount
/// namespace, used by a process though it has been detached, or on a loop device that is still attached. `None` once all are
/// gone. One that is mounted in our own namespace again is somebody else's. Blocks.
///
/// Files on an overlay or a btrfs may bear another device number than it: a process that has nothing of it but such a file open
/// is not named, but the obstacle stands.
pub fn held(devices: &[Device], end: Instant) -> Option<Obstacle> {
    let mut left = remaining(devices);
    let patience = end.min(Instant::now() + PATIENCE);
    while left.iter().any(|(_, life)| *life == Life::Alive) && Instant::now() < patience {
        pause();
        left = remaining(devices);
    }
    if left.is_empty() {
        return None;
    }
    let wanted: Vec<&Device> = left.iter().map(|(device, _)| *device).collect();
    let seen = holders::search(&wanted, end);
    let others = |device: &Device| seen.others.contains(&(device.major, device.minor));
    // It may have ended during the search.
    let left = remaining(devices);
    let unproven = |life: Life| life == Life::Unknown && seen.complete && seen.holders.is_empty();
    let left: Vec<&Device> =
        left.iter().filter(|(device, life)| !others(device) && !unproven(*life)).map(|(device, _)| *device).collect();
    let first = left.first()?;
    let mut what = words(first);
    if left.len() > 1 {
        what += &format!(" (and {} more)", left.len() - 1);
    }
    what += " is mounted here no more, but still in use: ";
    what += &match seen.holders.first() {
        Some(holder) => {
            let pid = holder.process.pid;
            let advice = match holder.how.starts_with("in ") {
                true => format!("end it, or unmount it there (nsenter -t {pid} -m umount ...)"),
                false => "end it".to_owned(),
            };
            format!("by process {pid}, {}; {advice}", holder.how)
        }
        None => nobody(&left, seen.complete),
    };
    Some(Obstacle { holders: seen.holders, ..Obstacle::new(Step::Mounts, what) })
}

/// A little while.
pub fn pause() {
    // Nothing to wait for but time: the kernel tells nobody that a file system has ended.
    let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 }));
}

/// Those that are not known to be gone.
fn remaining(devices: &[Device]) -> Vec<(&Device, Life)> {
    // Without a table they are looked at all the same.
    let here = table::read().unwrap_or_default();
    let is_here = |device: &Device| here.iter().any(|mount| mount.device() == (device.major, device.minor));
    let lives = devices.iter().filter(|device| !is_here(device)).map(|device| (device, device::life(device)));
    lives.filter(|(_, life)| *life != Life::Gone).collect()
}

/// Where no process was found that has it.
fn nobody(left: &[&Device], complete: bool) -> String {
    let on_it = |lo: &loops::Loop| left.iter().any(|device| lo.lies_on((device.major, device.minor)));
    if let Some(lo) = loops::all().into_iter().find(on_it) {
        let number = lo.number;
        return format!(
            "/dev/loop{number} is attached to a file on it, {}; losetup -d /dev/loop{number}",
            lo.file.display()
        );
    }
    if !complete {
        return "there was no time to look at every process; tried again".into();
    }
    "no process was seen that has it: it may be frozen (mount it again, then fsfreeze -u), be exported or swapped on, or be in a \
     mount namespace that only a descriptor keeps (lsns -t mnt)"
        .into()
}

/// For people.
fn words(device: &Device) -> String {
    match device.fs.as_str() {
        "" => device.source.clone(),
        fs => format!("{fs} {}", device.source),
    }
}
