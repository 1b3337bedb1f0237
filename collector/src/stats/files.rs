//! What lies in registered paths.
//!
//! Whoever shares them may be at work there, so it is as with their removal (I10): no link is followed, no mount is
//! crossed, and nothing is opened but directories. Two descriptors at a time.

use crate::gc::beneath;
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, RawDir, Statx, StatxAttributes, StatxFlags, statx},
    io::Errno,
};
use std::{
    collections::HashSet,
    ffi::{CStr, CString},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// So many directories wait for their turn, and so many files with several names are remembered; past that not all is
/// counted, instead of taking memory without bound.
const MOST: usize = 1 << 16;
/// What the kernel tells of one directory at a time.
const ENTRIES: usize = 16 * 1024;

/// Counts what these paths have allocated, and adds it to `bytes` meanwhile. Whether that is all: not if `stop` says to
/// stop, or if something cannot be looked at. Blocks, for as long as the file system does.
pub fn count(paths: &[PathBuf], stop: &dyn Fn() -> bool, bytes: &AtomicU64) -> bool {
    let mut walk = Walk { stop, bytes, seen: HashSet::new(), complete: true };
    for (n, path) in paths.iter().enumerate() {
        // What lies in another one is counted there.
        let within = |(m, other): (usize, &PathBuf)| m != n && path.starts_with(other) && (path != other || m < n);
        if !paths.iter().enumerate().any(within) && walk.top(path).is_err() {
            walk.complete = false;
        }
    }
    walk.complete
}

struct Walk<'a> {
    stop: &'a dyn Fn() -> bool,
    bytes: &'a AtomicU64,
    /// Files with several names.
    seen: HashSet<(u32, u32, u64)>,
    complete: bool,
}

impl Walk<'_> {
    fn top(&mut self, path: &Path) -> Result<(), Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        let Some(parent) = beneath::parent(parent).map_err(|(_, e)| e)? else { return Ok(()) };
        if self.add(&parent, &name)? {
            let top = beneath::down(&parent, &name)?;
            drop(parent);
            self.below(&top);
        }
        Ok(())
    }

    fn below(&mut self, top: &OwnedFd) {
        let mut waiting = vec![c".".to_owned()];
        let mut buffer = vec![MaybeUninit::uninit(); ENTRIES];
        while let Some(way) = waiting.pop() {
            match beneath::down(top, &way) {
                Ok(dir) => self.directory(&dir, &way, &mut waiting, &mut buffer),
                // It is gone, or was moved, or something is mounted there by now.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP) => {}
                Err(_) => self.complete = false,
            }
            if (self.stop)() {
                self.complete = false;
                return;
            }
        }
    }

    fn directory(&mut self, dir: &OwnedFd, way: &CStr, waiting: &mut Vec<CString>, buffer: &mut [MaybeUninit<u8>]) {
        let mut entries = RawDir::new(dir, buffer);
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                self.complete = false;
                return;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match self.add(dir, name) {
                Ok(true) if waiting.len() < MOST => {
                    let way = [way.to_bytes(), b"/", name.to_bytes()].concat();
                    CString::new(way).into_iter().for_each(|way| waiting.push(way));
                }
                Ok(false) => {}
                Ok(true) | Err(_) => self.complete = false,
            }
            if (self.stop)() {
                self.complete = false;
                return;
            }
        }
    }

    /// Counts one; whether it is a directory to look into.
    fn add(&mut self, dir: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
        // No server is asked: one that is gone does not answer.
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
        let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::NLINK | StatxFlags::BLOCKS;
        let it = match statx(dir, name, flags, wanted) {
            Ok(it) if it.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => return Ok(false),
            Ok(it) => it,
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(e),
        };
        let is_dir = FileType::from_raw_mode(it.stx_mode.into()) == FileType::Directory;
        if is_dir || it.stx_nlink < 2 || self.is_new(&it) {
            self.bytes.fetch_add(it.stx_blocks.saturating_mul(512), Ordering::Relaxed);
        }
        Ok(is_dir)
    }

    /// Of a file with several names: whether this is the first.
    fn is_new(&mut self, it: &Statx) -> bool {
        let id = (it.stx_dev_major, it.stx_dev_minor, it.stx_ino);
        if self.seen.len() < MOST {
            return self.seen.insert(id);
        }
        if !self.seen.contains(&id) {
            self.complete = false;
        }
        false
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
