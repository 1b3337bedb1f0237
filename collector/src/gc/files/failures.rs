//! What could not be removed, in words.

use crate::gc::Obstacle;
use rustix::{
    fd::AsFd,
    fs::{AtFlags, StatxAttributes, StatxFlags, statx},
    io::Errno,
};
use sexton_common::gc::Step;
use std::{
    ffi::{CStr, OsStr},
    os::unix::ffi::OsStrExt,
};

/// What could not be removed.
#[derive(Debug, Default)]
pub struct Failures {
    first: Vec<String>,
    count: u64,
    mounts: bool,
}

impl Failures {
    /// More are only counted.
    const NAMED: usize = 4;

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `name` in `dir`, which is `path`.
    pub fn add(&mut self, dir: impl AsFd, name: &CStr, path: impl FnOnce() -> Vec<u8>, errno: Errno) {
        self.count += 1;
        self.mounts |= errno == Errno::BUSY;
        if self.first.len() < Self::NAMED {
            self.first.push(words(dir, name, &shown(&path()), errno));
        }
    }

    pub fn obstacle(self, so_far: &str) -> Obstacle {
        let more = match self.count - self.first.len() as u64 {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let what = format!("cannot remove {}{more} ({so_far})", self.first.join("; "));
        Obstacle { mounts: self.mounts, ..Obstacle::new(Step::Files, what) }
    }
}

/// Which, why, and what to do about it.
fn words(dir: impl AsFd, name: &CStr, path: &str, errno: Errno) -> String {
    let attributes = |name: &CStr| {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let found = statx(&dir, name, flags, StatxFlags::empty());
        found.map_or(StatxAttributes::empty(), |found| found.stx_attributes)
    };
    let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    let why = match errno {
        Errno::BUSY if attributes(name).contains(StatxAttributes::MOUNT_ROOT) => {
            "something is mounted there: umount it".into()
        }
        Errno::BUSY => format!("{errno}: the kernel uses it; see findmnt and dmesg"),
        Errno::PERM if attributes(name).intersects(fixed) => "it is immutable: chattr -i -a on it".into(),
        Errno::PERM if attributes(c"").intersects(fixed) => "its directory is immutable: chattr -i -a on that".into(),
        Errno::PERM | Errno::ACCESS => {
            format!(
                "{errno}, even for us: it is used as swap (swapon), or a security module forbids it (its audit log)"
            )
        }
        Errno::ROFS => "its file system is read-only: mount -o remount,rw, or see dmesg why it became so".into(),
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => format!("{errno}: it is tried again"),
        _ => format!("{errno}: see dmesg"),
    };
    format!("{path}: {why}")
}

/// A path for people: whatever a container calls its files, it is one line, not too long, and does nothing to a terminal.
pub fn shown(path: &[u8]) -> String {
    const ENDS: usize = 160;
    match (path.get(..ENDS), path.len().checked_sub(2 * ENDS).and_then(|_| path.get(path.len() - ENDS..))) {
        (Some(head), Some(tail)) => format!("{:?}…{:?}", OsStr::from_bytes(head), OsStr::from_bytes(tail)),
        _ => format!("{:?}", OsStr::from_bytes(path)),
    }
}
