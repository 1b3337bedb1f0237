//! One way through a tree, depth first, in which everything is removed.
//!
//! It takes two descriptors however deep the tree is, and remembers the way back of so many directories only. Deeper than
//! that it forgets where it came in, and the next round begins at the top again.

use super::{
    descriptors::{self, Id},
    failures::Failures,
};
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{AtFlags, FileType, RawDir, SeekFrom, seek, unlinkat},
    io::Errno,
};
use std::{
    collections::VecDeque,
    ffi::{CStr, CString},
    mem::MaybeUninit,
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Instant,
};

/// How many bytes of a directory are read at once; read again from there each time that it comes back from below.
const BATCH: usize = 8192;

/// Why a round ended before all had been visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Time is up.
    Late,
    /// The way back is forgotten, or leads elsewhere now: a directory has been moved.
    Lost,
}

/// A directory that it will come back to.
struct Above {
    id: Id,
    /// Which name in it leads down.
    child: CString,
    /// Where its reading goes on.
    next: u64,
}

/// One round.
pub struct Walk<'a> {
    parent: &'a OwnedFd,
    name: &'a CStr,
    path: &'a Path,
    end: Instant,
    failures: &'a mut Failures,
    way: VecDeque<Above>,
    remembered: usize,
    forgotten: bool,
    /// How many things are gone.
    pub removed: u64,
}

impl<'a> Walk<'a> {
    /// Of `name` in `parent`, which is at `path`; the way back of `remembered` directories is.
    pub fn new(
        parent: &'a OwnedFd,
        name: &'a CStr,
        path: &'a Path,
        end: Instant,
        remembered: usize,
        failures: &'a mut Failures,
    ) -> Self {
        Self { parent, name, path, end, failures, way: VecDeque::new(), remembered, forgotten: false, removed: 0 }
    }

    /// Visits everything once. What appears or changes meanwhile may be left.
    pub fn run(&mut self) -> Result<(), Stop> {
        let Some(mut dir) = self.entry(self.parent, self.name, FileType::Unknown)? else { return Ok(()) };
        loop {
            if let Some(child) = self.empty(&dir)? {
                dir = child;
                continue;
            }
            let Some(above) = self.way.pop_back() else { break };
            let back = descriptors::up(&dir, above.id);
            dir = back.and_then(|dir| seek(&dir, SeekFrom::Start(above.next)).map(|_| dir)).map_err(|_| Stop::Lost)?;
            self.leave(&dir, &above.child)?;
        }
        if self.forgotten {
            return Err(Stop::Lost);
        }
        self.leave(self.parent, self.name)
    }

    /// Removes what is left in `dir`, up to a directory that has something in it.
    fn empty(&mut self, dir: &OwnedFd) -> Result<Option<OwnedFd>, Stop> {
        let mut buffer = [MaybeUninit::uninit(); BATCH];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // It has been removed.
                Err(Errno::NOENT) => break,
                Err(e) => {
                    self.failed(dir, c"", e);
                    break;
                }
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Some(child) = self.entry(dir, name, entry.file_type())? else { continue };
            // Not as it was when it was opened: what it lies on may give it another number once it is written to.
            let Ok(id) = Id::of(dir) else { return Err(Stop::Lost) };
            self.way.push_back(Above { id, child: name.to_owned(), next: entry.next_entry_cookie() });
            if self.way.len() > self.remembered {
                self.way.pop_front();
                self.forgotten = true;
            }
            return Ok(Some(child));
        }
        Ok(None)
    }

    /// Removes what bears this name, or opens it if it is a directory that has something in it.
    fn entry(&mut self, dir: &OwnedFd, name: &CStr, kind: FileType) -> Result<Option<OwnedFd>, Stop> {
        self.in_time()?;
        match unlink(dir, name, kind) {
            Ok(()) => self.removed += 1,
            // One that must stay need not keep what is deeper in it.
            Err((FileType::Directory, Errno::NOTEMPTY | Errno::EXIST | Errno::PERM | Errno::ACCESS)) => {
                match descriptors::down(dir, name) {
                    Ok(child) => return Ok(Some(child)),
                    // It has just become something else, or was mounted on or moved away: seen in the next round.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::AGAIN) => {}
                    Err(e) => self.failed(dir, name, e),
                }
            }
            Err((_, e)) => self.failed(dir, name, e),
        }
        Ok(None)
    }

    /// Removes the directory that it comes from.
    fn leave(&mut self, dir: &OwnedFd, name: &CStr) -> Result<(), Stop> {
        self.in_time()?;
        match unlink(dir, name, FileType::Directory) {
            Ok(()) => self.removed += 1,
            // Something in it could not be removed, which has been noted, or is new, which the next round sees.
            Err((_, Errno::NOTEMPTY | Errno::EXIST)) => {}
            Err((_, e)) => self.failed(dir, name, e),
        }
        Ok(())
    }

    fn in_time(&self) -> Result<(), Stop> {
        if Instant::now() < self.end { Ok(()) } else { Err(Stop::Late) }
    }

    /// `name` in `dir`, or `dir` itself if that is empty.
    fn failed(&mut self, dir: &OwnedFd, name: &CStr, errno: Errno) {
        let (path, way, forgotten) = (self.path, &self.way, self.forgotten);
        let top = dir.as_raw_fd() == self.parent.as_raw_fd();
        let whole = || {
            let mut whole = path.as_os_str().as_bytes().to_vec();
            let gap = forgotten.then_some(c"…");
            let below = gap.into_iter().chain(way.iter().map(|above| above.child.as_c_str())).chain([name]);
            for name in below.filter(|name| !top && !name.is_empty()) {
                whole.push(b'/');
                whole.extend_from_slice(name.to_bytes());
            }
            whole
        };
        self.failures.add(dir, name, whole, errno);
    }
}

/// Removes one name, whatever it has become since its kind was read. What fails says whether it is a directory.
fn unlink(dir: &OwnedFd, name: &CStr, kind: FileType) -> Result<(), (FileType, Errno)> {
    let mut kind = kind;
    // Whoever turns it from the one to the other faster than that has one in the next round.
    for _ in 0..4 {
        let flags = if kind == FileType::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        match unlinkat(dir, name, flags) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => kind = FileType::Directory,
            Err(Errno::NOTDIR) => kind = FileType::Unknown,
            Err(e) => return Err((kind, e)),
        }
    }
    Err((FileType::Directory, Errno::NOTEMPTY))
}
