//! Opening directories so that nobody can lead us elsewhere.

use super::failures::shown;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags, fsync, open, openat, openat2, statat, statx},
    io::Errno,
};
use std::{
    ffi::CStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NO_LINKS: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_MAGICLINKS);

/// The directory at this absolute path, only good for what is in it; `None` if it is gone. Mounts are crossed.
pub fn parent(path: &Path) -> Result<Option<OwnedFd>, (String, Errno)> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = PathBuf::from("/");
    let failed = |at: &Path, e| (shown(at.as_os_str().as_bytes()), e);
    let mut dir = open(&at, way, Mode::empty()).map_err(|e| failed(&at, e))?;
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(failed(path, Errno::INVAL));
    }
    // One by one: the path may be longer than the kernel takes at once, and who is a link is to be told.
    for component in components {
        at.push(component);
        dir = match openat2(&dir, component.as_os_str(), way, Mode::empty(), NO_LINKS | ResolveFlags::BENEATH) {
            Ok(dir) => dir,
            // What lies in a file or in nothing is not there.
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(e) => return Err(failed(&at, e)),
        };
    }
    Ok(Some(dir))
}

/// The directory `name` in `dir`, if it is one and of the same mount.
pub fn down(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let stay = NO_LINKS | ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    openat2(dir, name, DIRECTORY, Mode::empty(), stay)
}

/// The directory that `dir` is in right now, if that is `known`.
pub fn up(dir: impl AsFd, known: Id) -> Result<OwnedFd, Errno> {
    let above = openat2(dir, c"..", DIRECTORY, Mode::empty(), NO_LINKS | ResolveFlags::NO_XDEV)?;
    if Id::of(&above)? == known { Ok(above) } else { Err(Errno::STALE) }
}

/// Whether there is anything of that name.
pub fn exists(dir: impl AsFd, name: &CStr) -> Result<bool, Errno> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes it durable which names are in `dir`.
pub fn sync(dir: impl AsFd) -> Result<(), Errno> {
    fsync(openat(dir, c".", DIRECTORY, Mode::empty())?)
}

/// Which directory. An inode number is soon given to another, but that one is born later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    dev: (u32, u32),
    ino: u64,
    born: Option<(i64, u32)>,
}

impl Id {
    pub fn of(dir: impl AsFd) -> Result<Self, Errno> {
        let it = statx(dir, c"", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
        let told = it.stx_mask & StatxFlags::BTIME.bits() != 0;
        Ok(Self {
            dev: (it.stx_dev_major, it.stx_dev_minor),
            ino: it.stx_ino,
            born: told.then_some((it.stx_btime.tv_sec, it.stx_btime.tv_nsec)),
        })
    }
}
