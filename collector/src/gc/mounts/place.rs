//! The way to a mount point that nobody can lead elsewhere.

use super::table::{Mount, ancestors};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx},
    io::Errno,
    mount::{
        FsPickFlags, MountPropagationFlags, UnmountFlags, fsconfig_reconfigure, fsconfig_set_flag, fspick,
        mount_change, unmount,
    },
};
use std::{
    collections::HashMap,
    ffi::OsString,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A name in a directory that is held open.
///
/// A descriptor of the mount itself would be exact too, but it makes the mount busy, and `UMOUNT_NOFOLLOW` does not go with
/// the magic link that leads to it. So the directory is opened, without following any link, and the mount is addressed as
/// `/proc/thread-self/fd/N/NAME`: no rename can turn that elsewhere, `UMOUNT_NOFOLLOW` looks after the name, and the file system
/// that is mounted there, which may be a dead server's, is not asked.
pub struct Place {
    dir: OwnedFd,
    name: OsString,
}

impl Place {
    /// Where the last component of `path` is, or would be. No component before it may be a symbolic link.
    pub fn of(path: &Path) -> Result<Self, Errno> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(CWD, parent, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        Ok(Self { dir, name: name.into() })
    }

    /// Where this row of the table is mounted, if its path leads there.
    pub fn of_mount(mount: &Mount, rows: &HashMap<u32, &Mount>) -> Result<Self, String> {
        if mount.deleted {
            return Err(
                "its mount point has been deleted: it goes with the namespace, or with the mount it is on".into()
            );
        }
        let hidden = || "another mount hides it: unmount that first".to_owned();
        let place = Self::of(&mount.point).map_err(|e| match e {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => hidden(),
            e => format!("open its directory: {}", std::io::Error::from(e)),
        })?;
        // A stack hangs from what its lowest mount is on.
        let below = ancestors(rows, mount).find(|row| row.point != mount.point).map(|row| row.id);
        match (place.mount_id(), below) {
            (Some(is), Some(should)) if is != u64::from(should) => Err(hidden()),
            _ => Ok(place),
        }
    }

    /// Of the directory; `None` before Linux 5.8.
    fn mount_id(&self) -> Option<u64> {
        let wanted = StatxFlags::MNT_ID;
        let stat = statx(&self.dir, "", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, wanted).ok()?;
        (stat.stx_mask & wanted.bits() != 0).then_some(stat.stx_mnt_id)
    }

    /// The directory.
    pub fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// The name in it.
    pub fn name(&self) -> &OsString {
        &self.name
    }

    /// A path to it, for as long as this is there.
    fn path(&self) -> PathBuf {
        Path::new("/proc/thread-self/fd").join(self.dir.as_raw_fd().to_string()).join(&self.name)
    }

    /// Unmounts the topmost mount there; if it is in use, out of sight now, and for good with its last user.
    pub fn unmount(&self, at_once: bool) -> Result<(), Errno> {
        let detach = UnmountFlags::NOFOLLOW | UnmountFlags::DETACH;
        if at_once {
            return unmount(self.path(), detach);
        }
        match unmount(self.path(), UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => unmount(self.path(), detach),
            done => done,
        }
    }

    /// Takes the mount there, and all that is mounted on it, out of its peer groups.
    pub fn sever(&self, mount: &Mount) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat2(&self.dir, &self.name, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        let root = Self { dir, name: OsString::new() };
        if root.mount_id().is_some_and(|is| is != u64::from(mount.id)) {
            return Err(Errno::STALE);
        }
        let path = Path::new("/proc/thread-self/fd").join(root.dir.as_raw_fd().to_string());
        mount_change(path, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
    }

    /// Whether the file system mounted there is frozen. Nothing tells but that the kernel refuses to reconfigure a frozen one
    /// before it looks at anything else: asked to change nothing, one that is not frozen stays as it is (and some say so in
    /// the kernel's log). It waits for nothing that unmounting would not wait for. Where that cannot be asked (before
    /// Linux 5.2) it is taken for not frozen.
    ///
    /// Unmounting a frozen one may block, or it succeeds and leaves it frozen where nobody can thaw it any more.
    pub fn is_frozen(&self, mount: &Mount) -> bool {
        let flags =
            FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_SYMLINK_NOFOLLOW | FsPickFlags::FSPICK_NO_AUTOMOUNT;
        let Ok(fs) = fspick(&self.dir, &self.name, flags) else { return false };
        // Without a word it would be asked to become writable.
        if mount.options.split(',').any(|option| option == "ro") && fsconfig_set_flag(&fs, "ro").is_err() {
            return false;
        }
        fsconfig_reconfigure(&fs) == Err(Errno::BUSY)
    }
}
