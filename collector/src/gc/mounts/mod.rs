//! Mounts that a container leaves, and what became of its file systems afterwards.
//!
//! What is unmounted here is unmounted, as umount(2) does it, in every namespace to which the mount below it propagates: where
//! it is shared, that is how it got there. Nothing else is done to other namespaces; copies in those that are private stay, and
//! [`held`] names who keeps them.
//!
//! All of this blocks, and a server that does not answer may hold it up for good; such file systems are therefore detached
//! without walking into them.

mod device;
mod held;
mod holders;
mod netns;
mod place;
mod table;

pub use held::held;
pub use netns::remove_netns;
pub use table::{Found, Mount, Points, read as read_table};

use super::obstacle::Obstacle;
use device::loops::{self, Loop};
use place::Place;
use rustix::io::Errno;
use sexton_common::gc::{Device, Step};
use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
    time::Instant,
};

/// What is mounted there now in our namespace.
///
/// # Errors
/// If the mount table cannot be read.
pub fn look(points: &Points<'_>) -> io::Result<Found> {
    let table = table::read()?;
    let mut found = table::plan(&table, points);
    for device in &mut found.devices {
        let at = found.mounts.iter().find(|mount| mount.device() == (device.major, device.minor));
        if let Some(mount) = at {
            device.source = device::source(mount, &table, Path::new("/"));
        }
    }
    Ok(found)
}

/// Unmounts all of it, and detaches the loop devices whose files are there. One that is in use is detached: then it goes with
/// its last user, and [`held`] tells whom it waits for. Blocks.
///
/// # Errors
/// What is left, and why.
pub fn clear(points: &Points<'_>, end: Instant) -> Result<(), Obstacle> {
    // Now: once the mount that it is on has been detached, a loop device's file has no path here any more.
    let mut owned = Vec::new();
    let mut before: Option<Vec<u32>> = None;
    let mut why: Option<String> = None;
    loop {
        let table = table::read().map_err(|e| obstacle(format!("read the mount table: {e}")))?;
        for new in loops::all().into_iter().filter(|lo| points.cover(&lo.file)) {
            if !owned.contains(&new) {
                owned.push(new);
            }
        }
        let found = table::plan(&table, points);
        if found.mounts.is_empty() {
            return release(&owned, &table, end);
        }
        let late = Instant::now() >= end;
        let ids: Vec<u32> = found.mounts.iter().map(|mount| mount.id).collect();
        // The table is believed, not what the calls returned.
        if late || before.as_ref() == Some(&ids) {
            let why = why.filter(|_| !late).unwrap_or_else(|| "there was no time for more; tried again".into());
            return Err(left(&found, &why));
        }
        before = Some(ids);
        why = Round::new(&table, &found, points).run(end);
    }
}

/// One attempt at everything that one look at the table showed.
struct Round<'a> {
    table: &'a [Mount],
    found: &'a Found,
    points: &'a Points<'a>,
    rows: HashMap<u32, &'a Mount>,
    /// Not to be touched: something on them is still there.
    blocked: HashSet<u32>,
    /// Remote ones.
    remote: HashSet<u32>,
}

impl<'a> Round<'a> {
    fn new(table: &'a [Mount], found: &'a Found, points: &'a Points<'a>) -> Self {
        let remote = found.mounts.iter().filter(|mount| mount.is_remote()).map(|mount| mount.id).collect();
        Self { table, found, points, rows: table::by_id(table), blocked: HashSet::new(), remote }
    }

    /// The first reason why something was left.
    fn run(mut self, end: Instant) -> Option<String> {
        let mut why = None;
        for mount in &self.found.mounts {
            if Instant::now() >= end {
                break;
            }
            let done = if self.blocked.contains(&mount.id) { Err(None) } else { self.unmount(mount).map_err(Some) };
            if let Err(words) = done {
                self.blocked.insert(mount.parent);
                why = why.or(words.map(|words| format!("{}: {words}", mount.point.display())));
            }
        }
        why
    }

    fn unmount(&self, mount: &Mount) -> Result<(), String> {
        let can_be_frozen = mount.is_freezable() && self.is_alone(mount);
        let is_remote = |above: &Mount| self.remote.contains(&above.id);
        // What it is on is not walked through, and takes it along.
        if !can_be_frozen && table::ancestors(&self.rows, mount).any(is_remote) {
            return Ok(());
        }
        let place = match Place::of_mount(mount, &self.rows) {
            // The one below takes it along; where that is not ours the next look shows it.
            Err(_) if mount.deleted && self.found.mounts.iter().any(|other| other.id == mount.parent) => return Ok(()),
            place => place?,
        };
        if can_be_frozen && place.is_frozen(mount) {
            return Err(format!("{} is frozen: fsfreeze -u {}", mount.source, mount.point.display()));
        }
        self.sever(mount)?;
        place.unmount(mount.is_remote()).map_err(|e| match e {
            Errno::INVAL => "it cannot be unmounted alone".into(),
            e => format!("unmount: {}", io::Error::from(e)),
        })
    }

    /// Where the mount that it is on is the container's, but has peers or followers here that are not, e.g. `/` of which it is
    /// a recursive bind: what they have stays theirs.
    fn sever(&self, mount: &Mount) -> Result<(), String> {
        let is_its = |row: &Mount| self.points.cover(&row.point) || self.points.rootfs == Some(&row.point);
        let Some(on) = self.rows.get(&mount.parent).filter(|on| is_its(on)) else { return Ok(()) };
        let Some(group) = on.peers else { return Ok(()) };
        let linked = |row: &&Mount| row.peers == Some(group) || row.follows == Some(group);
        let Some(other) = self.table.iter().find(|row| linked(row) && !is_its(row)) else { return Ok(()) };
        // One below a stack has no path; what all of it is on has.
        let top = table::ancestors(&self.rows, mount).find(|row| row.point != mount.point).filter(|row| is_its(row));
        let failed = |words: String| {
            let (this, other) = (mount.point.display(), other.point.display());
            format!(
                "unmounting it would unmount what is below {other} too: {words}; mount --make-rprivate what {this} is on"
            )
        };
        let top = top.ok_or_else(|| failed("they share it".into()))?;
        Place::of_mount(top, &self.rows).map_err(failed)?.sever(top).map_err(|e| failed(io::Error::from(e).to_string()))
    }

    /// Another mount of it would be a way to thaw it.
    fn is_alone(&self, mount: &Mount) -> bool {
        self.found.devices.iter().any(|device| (device.major, device.minor) == mount.device())
    }
}

/// Detaches the loop devices whose files are at the points, unless they are mounted somewhere else by somebody.
fn release(owned: &[Loop], table: &[Mount], end: Instant) -> Result<(), Obstacle> {
    let mounted = |lo: &Loop| table.iter().any(|mount| mount.device() == (7, lo.minor));
    let still =
        |lo: &Loop| loops::backing_file(lo.number).is_some_and(|file| loops::may_be(&lo.device().source, &file));
    let mut devices: Vec<Device> = Vec::new();
    for lo in owned.iter().filter(|lo| !mounted(lo) && still(lo)) {
        lo.detach().map_err(|e| {
            obstacle(format!("detach /dev/loop{} from {}: {e}; losetup -d it", lo.number, lo.file.display()))
        })?;
        devices.push(lo.device());
    }
    held(&devices, end).map_or(Ok(()), Err)
}

fn obstacle(what: String) -> Obstacle {
    Obstacle { mounts: true, ..Obstacle::new(Step::Mounts, what) }
}

fn left(found: &Found, why: &str) -> Obstacle {
    match found.mounts.len() {
        1 => obstacle(format!("a mount is left: {why}")),
        n => obstacle(format!("{n} mounts are left: {why}")),
    }
}

#[cfg(test)]
mod loop_tests;
#[cfg(test)]
mod propagation_tests;
#[cfg(test)]
pub(super) mod sandbox;
#[cfg(test)]
mod tests;
