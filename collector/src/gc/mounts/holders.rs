//! Who uses a file system that is mounted nowhere in our namespace.

use super::{device, table};
use crate::gc::obstacle::{Holder, Obstacle};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
use sexton_common::{ProcessIdentity, gc::Device, identity::Stat};
use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::Instant,
};

/// What a search found.
#[derive(Debug, Default)]
pub struct Seen {
    /// At most [`Obstacle::HOLDERS`].
    pub holders: Vec<Holder>,
    /// Numbers that by now are another file system's.
    pub others: HashSet<(u32, u32)>,
    /// Whether every process was looked at.
    pub complete: bool,
}

/// Looks at every process of the machine; only if that finds nobody, also at their threads and at what they have mapped.
pub fn search(devices: &[&Device], end: Instant) -> Seen {
    let mut search = Search {
        devices,
        own: namespace(Path::new("/proc/thread-self")),
        known: HashSet::new(),
        seen: Seen::default(),
    };
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    for thorough in [false, true] {
        for &pid in &pids {
            if search.is_settled() {
                break;
            }
            if Instant::now() >= end {
                return search.seen;
            }
            if thorough { search.look_into(pid) } else { search.look_at(pid) }
        }
    }
    search.seen.complete = true;
    search.seen
}

struct Search<'a> {
    devices: &'a [&'a Device],
    /// Our mount namespace.
    own: Option<u64>,
    /// Mount namespaces that were looked at.
    known: HashSet<u64>,
    seen: Seen,
}

/// Why somebody is in the way, if he is.
type How = Option<String>;

impl Search<'_> {
    /// Whether more looking would tell nothing more that matters.
    fn is_settled(&self) -> bool {
        let all_others = self.devices.iter().all(|d| self.seen.others.contains(&(d.major, d.minor)));
        all_others || self.seen.holders.len() >= Obstacle::HOLDERS
    }

    fn look_at(&mut self, pid: u32) {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let how =
            self.by_namespace(&proc, true).or_else(|| self.by_links(&proc)).or_else(|| self.by_descriptors(&proc));
        self.add(pid, &proc, how);
    }

    /// Only where nobody was found otherwise.
    fn look_into(&mut self, pid: u32) {
        if !self.seen.holders.is_empty() {
            return;
        }
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let how = self.by_maps(pid, &proc);
        self.add(pid, &proc, how);
        for thread in fs::read_dir(proc.join("task")).into_iter().flatten().flatten() {
            // A process in the same namespace may see less of it, below a root directory of its own.
            let thread = thread.path();
            let how = self.by_namespace(&thread, false).or_else(|| self.by_links(&thread));
            self.add(pid, &thread, how);
        }
    }

    fn add(&mut self, pid: u32, proc: &Path, how: How) {
        let known = |holder: &Holder| holder.process.pid == pid;
        if let Some(how) = how
            && !self.seen.holders.iter().any(known)
            // It may have ended meanwhile.
            && let Ok(process) = ProcessIdentity::of(pid)
        {
            let mount_ns = namespace(proc).filter(|ns| Some(*ns) != self.own);
            self.seen.holders.push(Holder { process, how, frozen_by: None, mount_ns });
        }
    }

    /// The device with this number, unless the number is another's by now.
    fn wanted(&self, number: (u32, u32)) -> Option<&Device> {
        let wanted = self.devices.iter().find(|d| (d.major, d.minor) == number)?;
        (!self.seen.others.contains(&number)).then_some(wanted)
    }

    fn by_namespace(&mut self, proc: &Path, once: bool) -> How {
        let ns = namespace(proc).filter(|ns| Some(*ns) != self.own)?;
        if !self.known.insert(ns) && once {
            return None;
        }
        let table = table::read_of(proc).ok()?;
        let root = proc.join("root");
        for mount in &table {
            let Some(device) = self.wanted(mount.device()) else { continue };
            if device::is_shown(device, mount, &table, &root) {
                return Some(format!("in mount namespace {ns}"));
            }
            self.seen.others.insert(mount.device());
        }
        None
    }

    fn by_links(&mut self, proc: &Path) -> How {
        ["cwd", "root", "exe"].into_iter().find(|link| self.is_on(&proc.join(link))).map(str::to_owned)
    }

    fn by_descriptors(&mut self, proc: &Path) -> How {
        let fds = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        let mut fds = fds.filter(|fd| self.is_on(&fd.path()));
        fds.next().map(|fd| format!("fd {}", fd.file_name().display()))
    }

    /// Reading this waits for the process' memory to be let alone: not of one that may never do that.
    fn by_maps(&mut self, pid: u32, proc: &Path) -> How {
        if Stat::of(pid).ok()??.state == b'D' {
            return None;
        }
        let maps = fs::read(proc.join("maps")).ok()?;
        let (_, file) = maps.split(|&c| c == b'\n').filter_map(mapped).find(|(on, _)| self.wanted(*on).is_some())?;
        Some(format!("maps {}", file.display()))
    }

    /// Whether this link of a process leads to a file that lies on one of them, or to one of the devices itself.
    fn is_on(&mut self, link: &Path) -> bool {
        // Nobody's server is asked.
        let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        let Ok(stat) = statx(CWD, link, flags, StatxFlags::TYPE) else { return false };
        let on = (stat.stx_dev_major, stat.stx_dev_minor);
        let is = (stat.stx_rdev_major, stat.stx_rdev_minor);
        let is_block = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::BlockDevice;
        if is_block && self.wanted(is).is_some() {
            return true;
        }
        let Some(device) = self.wanted(on) else { return false };
        let same = device::has_file(device, link);
        if !same {
            self.seen.others.insert(on);
        }
        same
    }
}

/// The inode of its mount namespace.
fn namespace(proc: &Path) -> Option<u64> {
    fs::metadata(proc.join("ns/mnt")).ok().map(|ns| ns.ino())
}

/// A line of `/proc/PID/maps`: the file system's number, and the path.
fn mapped(line: &[u8]) -> Option<((u32, u32), PathBuf)> {
    let mut fields = line.splitn(6, |&c| c == b' ');
    let mut device = std::str::from_utf8(fields.nth(3)?).ok()?.split(':');
    let mut number = || u32::from_str_radix(device.next()?, 16).ok();
    let number = (number()?, number()?);
    let path = fields.nth(1)?.trim_ascii_start();
    path.starts_with(b"/").then(|| (number, OsString::from_vec(path.to_vec()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_told_by_its_device() {
        let line = b"7f12-7f13 r-xp 00026000 07:1f 1835 \t     /lib x/libm.so.6";
        assert_eq!(mapped(line), Some(((7, 31), PathBuf::from("/lib x/libm.so.6"))));
        assert_eq!(mapped(b"7ffd-7ffe rw-p 00000000 00:00 0 [stack]"), None);
        assert_eq!(mapped(b"7ffd-7ffe rw-p 00000000 00:00 0 "), None);
        assert_eq!(mapped(b""), None);
    }
}
