//! A cgroup and everything below it.
//!
//! A container that may make cgroups may nest them beyond any path's length: each is reached from the one above it, and
//! one descriptor is open at a time however deep it goes.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2, unlinkat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// More are not looked at in one go: whoever sees an error knows that there is more.
const CGROUPS: usize = 65_536;
/// Deeper is not gone.
const LEVELS: usize = 2048;
/// More of a file is not read.
const BYTES: u64 = 1 << 20;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A cgroup, by its name in the one above it.
#[derive(Debug)]
pub struct Place<'a> {
    above: BorrowedFd<'a>,
    name: &'a OsStr,
    /// For people.
    pub path: &'a Path,
}

impl Place<'_> {
    /// What one of its files says, as far as it is wanted; `None` if the cgroup or the file is gone.
    ///
    /// # Errors
    /// Any other than that.
    pub fn read(&self, file: &str) -> io::Result<Option<String>> {
        // Most are short: two reads, the end's included.
        let mut text = Vec::with_capacity(256);
        match self.open(file, OFlags::RDONLY).and_then(|file| file.take(BYTES).read_to_end(&mut text)) {
            Ok(_) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(e) if is_gone(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes to one of its files.
    ///
    /// # Errors
    /// As open(2) and write(2).
    pub fn write(&self, file: &str, word: &str) -> io::Result<()> {
        self.open(file, OFlags::WRONLY)?.write_all(word.as_bytes())
    }

    /// Removes it. Its files cannot be unlinked; its directory goes as soon as it has no task and no child.
    ///
    /// # Errors
    /// As rmdir(2), but not that it is gone.
    pub fn remove(&self) -> io::Result<()> {
        match unlinkat(self.above, self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn open(&self, file: &str, flags: OFlags) -> io::Result<File> {
        let path = Path::new(self.name).join(file);
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(openat2(self.above, &path, flags, Mode::empty(), STAY)?.into())
    }
}

/// Another file system that is mounted in there is not the container's cgroup.
const STAY: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// ENODEV: it was open, or about to be, when it went.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NODEV].map(|errno| Some(errno.raw_os_error()));
    gone.contains(&error.raw_os_error())
}

/// Shows every cgroup below `top` to `visit`, those below before the one above, `top` last. Nothing if there is none, or if
/// what bears the name is no cgroup.
///
/// # Errors
/// Why not everything could be looked at; the rest has been.
pub fn walk(top: &Path, mut visit: impl FnMut(&Place<'_>)) -> io::Result<()> {
    let (Some(parent), Some(name)) = (top.parent(), top.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut at = match rustix::fs::open(parent, DIRECTORY, Mode::empty()) {
        Ok(at) => at,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    if !is_cgroup(&at)? {
        let root = rustix::fs::open(top, DIRECTORY, Mode::empty()).is_ok_and(|fd| is_cgroup(&fd).unwrap_or(true));
        let error = || io::Error::other("a hierarchy is mounted there: it has everybody");
        return if root { Err(error()) } else { Ok(()) };
    }
    let (mut path, mut whole, mut seen) = (PathBuf::from(parent), Ok(()), 0);
    // What is still to be looked at, from `top` down to where we are.
    let mut levels = vec![vec![name.to_owned()]];
    loop {
        let Some(next) = levels.last_mut().and_then(Vec::pop) else {
            levels.pop();
            if levels.is_empty() {
                return whole;
            }
            let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
            path.pop();
            at = openat(&at, "..", DIRECTORY, Mode::empty())?;
            visit(&Place { above: at.as_fd(), name: &name, path: &path.join(&name) });
            continue;
        };
        seen += 1;
        let below = if seen > CGROUPS || levels.len() > LEVELS {
            Err(io::Error::other(format!("more than {CGROUPS} cgroups, or {LEVELS} below each other")))
        } else {
            enter(&at, &next)
        };
        match below {
            Ok(Some((below, children))) => {
                at = below;
                path.push(&next);
                levels.push(children);
            }
            Ok(None) => {}
            Err(e) => {
                visit(&Place { above: at.as_fd(), name: &next, path: &path.join(&next) });
                whole = whole.and(Err(e));
            }
        }
    }
}

fn enter(at: &OwnedFd, name: &OsStr) -> io::Result<Option<(OwnedFd, Vec<OsString>)>> {
    let below = match openat2(at, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty(), STAY) {
        Ok(below) => below,
        Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let mut children = Vec::new();
    // A link for each of them, `.`, and the name: kernfs counts them, and lists forty files besides.
    if fstat(&below).is_ok_and(|stat| stat.st_nlink == 2) {
        return Ok(Some((below, children)));
    }
    for entry in Dir::read_from(&below)? {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::NOENT | Errno::NODEV) => break,
            Err(e) => return Err(e.into()),
        };
        let name = entry.file_name().to_bytes();
        if entry.file_type() == FileType::Directory && !matches!(name, b"." | b"..") && children.len() <= CGROUPS {
            children.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(Some((below, children)))
}

fn is_cgroup(fd: &OwnedFd) -> io::Result<bool> {
    /// `CGROUP_SUPER_MAGIC`, `CGROUP2_SUPER_MAGIC` (linux/magic.h).
    const MAGIC: [i64; 2] = [0x0027_e0eb, 0x6367_7270];
    Ok(MAGIC.contains(&fstatfs(fd)?.f_type))
}
