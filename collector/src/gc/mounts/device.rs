//! File systems by device number, and whether one is still the one that it was: numbers are given out again.

use super::table::{Mount, ancestors, by_id, is_remote};
use crate::sys;
use rustix::fs::{AtFlags, CWD, StatxFlags, statvfs, statx};
use sexton_common::gc::Device;
use std::path::{Path, PathBuf};

/// What is mounted, told apart from what gets the same number later: a loop device with its file, an overlay by its upper
/// directory, a tmpfs by its random id; else what the kernel says. `root` is the root directory of a process that sees it
/// mounted, `table` that process' table.
pub fn source(mount: &Mount, table: &[Mount], root: &Path) -> String {
    if let Some(number) = loop_number(mount.device())
        && let Some(file) = loops::backing_file(number)
    {
        return loops::name(number, &file);
    }
    match mount.fs.as_str() {
        "overlay" => {
            let upper = mount.options.split(',').find_map(|option| option.strip_prefix("upperdir="));
            upper.unwrap_or(&mount.options).to_owned()
        }
        // Not through what may hang.
        "tmpfs" if !ancestors(&by_id(table), mount).any(Mount::is_remote) => {
            let path = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
            let id = if number(&path) == Some(mount.device()) { tmpfs_id(&path) } else { None };
            id.unwrap_or_else(|| mount.source.clone())
        }
        _ => mount.source.clone(),
    }
}

/// Linux 5.16 gives each one an id.
fn tmpfs_id(path: &Path) -> Option<String> {
    let id = statvfs(path).ok()?.f_fsid;
    (id != 0).then(|| format!("tmpfs {id:016x}"))
}

/// Major and minor number of the file system that this file lies on, without asking a server.
pub fn number(path: &Path) -> Option<(u32, u32)> {
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let stat = statx(CWD, path, flags, StatxFlags::TYPE).ok()?;
    Some((stat.stx_dev_major, stat.stx_dev_minor))
}

/// Whether a row of some table, read through `root`, shows this very file system.
pub fn is_shown(device: &Device, mount: &Mount, table: &[Mount], root: &Path) -> bool {
    // Of a loop device that was never seen mounted the kind is not known.
    if !device.fs.is_empty() && device.fs != mount.fs {
        return false;
    }
    if let Some(file) = loop_number(mount.device()).and_then(loops::backing_file) {
        return loops::may_be(&device.source, &file);
    }
    let now = source(mount, table, root);
    // Where its id cannot be had it is nobody else's until proven so.
    let unknown = device.fs == "tmpfs" && now == mount.source;
    unknown || now == device.source
}

/// Whether a file on this device's number lies on this very file system.
pub fn has_file(device: &Device, file: &Path) -> bool {
    let known = device.fs == "tmpfs" && device.source.starts_with("tmpfs ");
    !known || tmpfs_id(file).is_none_or(|id| id == device.source)
}

/// Whether a file system is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It is, whether or not anybody can be found who uses it.
    Alive,
    /// Only its users would tell.
    Unknown,
    /// It is not.
    Gone,
}

/// Of a file system that is mounted nowhere in our namespace.
pub fn life(device: &Device) -> Life {
    if let Some(number) = loop_number((device.major, device.minor)) {
        let Some(file) = loops::backing_file(number) else { return Life::Gone };
        // Attached to another file since.
        if !loops::may_be(&device.source, &file) {
            return Life::Gone;
        }
        // It goes with its last user, so it has one.
        if loops::goes_by_itself(number) {
            return Life::Alive;
        }
    }
    // A server that is gone does not answer.
    if is_remote(&device.fs) {
        return Life::Unknown;
    }
    match sys::filesystem_lives(device.major, device.minor) {
        Some(true) => Life::Alive,
        Some(false) => Life::Gone,
        None => Life::Unknown,
    }
}

/// Which loop device has this number, if one has.
pub fn loop_number((major, minor): (u32, u32)) -> Option<u32> {
    (major == 7).then(|| loops::of_minor(minor)).flatten()
}

/// Loop devices.
pub mod loops {
    use super::{Device, Path, PathBuf, sys};
    use rustix::fs::{Mode, OFlags, makedev, open};
    use std::{
        fs, io,
        os::{fd::AsFd, unix::ffi::OsStringExt},
    };

    /// One that is attached to a file.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Loop {
        /// `/dev/loopN`'s N.
        pub number: u32,
        /// Its device's minor number.
        pub minor: u32,
        /// The file.
        pub file: PathBuf,
    }

    impl Loop {
        /// As a device whose file system is not known.
        pub fn device(&self) -> Device {
            Device { major: 7, minor: self.minor, fs: String::new(), source: name(self.number, &self.file) }
        }

        /// Lets go of the file, unless it does so by itself.
        pub fn detach(&self) -> io::Result<()> {
            if goes_by_itself(self.number) {
                return Ok(());
            }
            match node(self.number).and_then(|device| sys::detach_loop(device.as_fd())) {
                Err(e) if e.raw_os_error() == Some(nix::libc::ENXIO) => Ok(()),
                done => done,
            }
        }

        /// Whether its file lies on the file system with this number.
        pub fn lies_on(&self, (major, minor): (u32, u32)) -> bool {
            node(self.number)
                .and_then(|device| sys::loop_lies_on(device.as_fd()))
                .is_ok_and(|on| on == makedev(major, minor))
        }
    }

    /// All that are attached.
    pub fn all() -> Vec<Loop> {
        let blocks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        blocks
            .filter_map(|entry| {
                let number = entry.file_name().to_str()?.strip_prefix("loop")?.parse().ok()?;
                let (file, minor) = (backing_file(number)?, minor_of(number)?);
                Some(Loop { number, minor, file })
            })
            .collect()
    }

    /// What it is called, for people, and for telling whether it has another file by now.
    pub fn name(number: u32, file: &Path) -> String {
        format!("/dev/loop{number} ({})", file.display())
    }

    /// Whether the loop device with this name may still have the same file: once that is on a detached mount, only the end of
    /// its path is seen.
    pub fn may_be(name: &str, file: &Path) -> bool {
        let known = name.split_once('(').and_then(|(_, file)| file.strip_suffix(')'));
        known.is_none_or(|known| Path::new(known).ends_with(file.strip_prefix("/").unwrap_or(file)))
    }

    /// `None` if it is not attached.
    pub fn backing_file(number: u32) -> Option<PathBuf> {
        let mut text = fs::read(format!("/sys/block/loop{number}/loop/backing_file")).ok()?;
        text.pop_if(|last| *last == b'\n');
        if let Some(path) = text.strip_suffix(b" (deleted)") {
            text = path.to_vec();
        }
        Some(std::ffi::OsString::from_vec(text).into())
    }

    /// Whether it is detached when its last user closes it.
    pub fn goes_by_itself(number: u32) -> bool {
        fs::read(format!("/sys/block/loop{number}/loop/autoclear")).is_ok_and(|text| text.starts_with(b"1"))
    }

    /// The minor number is not the number where loop devices can have partitions.
    fn minor_of(number: u32) -> Option<u32> {
        let text = fs::read_to_string(format!("/sys/block/loop{number}/dev")).ok()?;
        text.trim().strip_prefix("7:")?.parse().ok()
    }

    /// `None` for a partition, too.
    pub fn of_minor(minor: u32) -> Option<u32> {
        let link = fs::read_link(format!("/sys/dev/block/7:{minor}")).ok()?;
        link.file_name()?.to_str()?.strip_prefix("loop")?.parse().ok()
    }

    fn node(number: u32) -> io::Result<rustix::fd::OwnedFd> {
        Ok(open(format!("/dev/loop{number}"), OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?)
    }
}
