//! Mount tables (proc_pid_mountinfo(5)), and which of their rows are a container's. Pure but for reading them.

use sexton_common::{gc::Device, mountinfo::unescape};
use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Component, Path, PathBuf},
};

/// A row of a mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number, unique while it is there.
    pub id: u32,
    /// The mount that it is mounted on.
    pub parent: u32,
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// What of the file system is mounted: a path in it, or `net:[4026532177]`.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Whether the mount point has been removed: it has no path any more.
    pub deleted: bool,
    /// The kind of file system.
    pub fs: String,
    /// What is mounted, as the kernel says it.
    pub source: String,
    /// The file system's options.
    pub options: String,
    /// Its peer group: what is mounted on one of them, or unmounted, is so on all.
    pub peers: Option<u32>,
    /// The peer group that it follows.
    pub follows: Option<u32>,
}

/// Where a container's mounts may be. Real paths, without symbolic links.
#[derive(Clone, Debug, Default)]
pub struct Points<'a> {
    /// Strictly below it; the mount at it, if there is one, is whoever's who made it.
    pub rootfs: Option<&'a Path>,
    /// Registered mounts and registered paths: at it and below.
    pub at: Vec<&'a Path>,
}

/// What is mounted there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Innermost first, and the topmost of a stack.
    pub mounts: Vec<Mount>,
    /// File systems that are mounted nowhere else in our namespace: the container's alone.
    pub devices: Vec<Device>,
}

/// The calling thread's mount table.
///
/// # Errors
/// As reading from `/proc`.
pub fn read() -> io::Result<Vec<Mount>> {
    read_of(Path::new("/proc/thread-self"))
}

/// The mount table of a process or thread, by its directory in `/proc`.
///
/// # Errors
/// As reading from `/proc`.
pub fn read_of(proc: &Path) -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read(proc.join("mountinfo"))?))
}

/// A row that cannot be understood is left out.
pub fn parse(text: &[u8]) -> Vec<Mount> {
    text.split(|&c| c == b'\n').filter_map(row).collect()
}

fn row(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&c| c == b' ').collect();
    let path = |at: usize| fields.get(at).map(|field| unescape(field));
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
    // Any number of optional fields comes before the dash.
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let words = |at: usize| fields.get(dash + at).map(|field| unescape(field).to_string_lossy().into_owned());
    let tag = |name: &str| {
        let optional = fields.get(6..dash).unwrap_or_default().iter();
        optional.filter_map(|field| std::str::from_utf8(field).ok()?.strip_prefix(name)?.parse().ok()).next()
    };
    let mut device = fields.get(2)?.split(|&c| c == b':');
    let (point, deleted) = match fields.get(4)?.strip_suffix(b"//deleted") {
        Some(point) => (unescape(point), true),
        None => (path(4)?, false),
    };
    Some(Mount {
        id: number(fields.first()?)?,
        parent: number(fields.get(1)?)?,
        major: number(device.next()?)?,
        minor: number(device.next()?)?,
        root: path(3)?,
        point,
        deleted,
        fs: words(1)?,
        source: words(2)?,
        options: words(3).unwrap_or_default(),
        peers: tag("shared:"),
        follows: tag("master:"),
    })
}

impl Mount {
    /// Major and minor number.
    pub fn device(&self) -> (u32, u32) {
        (self.major, self.minor)
    }

    /// Whether somebody else answers for this file system, so that merely walking into it may hang.
    pub fn is_remote(&self) -> bool {
        is_remote(&self.fs)
    }

    /// Whether it can be frozen (`fsfreeze`).
    pub fn is_freezable(&self) -> bool {
        let kinds = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "nilfs2", "gfs2", "reiserfs", "bcachefs"];
        kinds.contains(&self.fs.as_str())
    }

    /// Whether the file system ends with its last mount. Those that the kernel keeps for itself (`proc`, `nsfs`, cgroups,
    /// ...) do not, and what is not known is taken for one of them.
    fn ends_when_unmounted(&self) -> bool {
        let kinds = ["tmpfs", "ramfs", "overlay", "aufs", "btrfs", "zfs"];
        self.major != 0 || kinds.contains(&self.fs.as_str()) || self.is_remote()
    }
}

/// See [`Mount::is_remote`].
pub fn is_remote(fs: &str) -> bool {
    let kinds = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs", "afs", "lustre", "ocfs2"];
    fs.starts_with("fuse") || kinds.contains(&fs)
}

/// Rows by number.
pub fn by_id(table: &[Mount]) -> HashMap<u32, &Mount> {
    table.iter().map(|mount| (mount.id, mount)).collect()
}

/// The mounts that this one hangs from, nearest first.
pub fn ancestors<'a>(rows: &HashMap<u32, &'a Mount>, mount: &Mount) -> impl Iterator<Item = &'a Mount> {
    let mut next = rows.get(&mount.parent).copied();
    // More rows than there are would be a ring.
    std::iter::from_fn(move || {
        let this = next?;
        next = rows.get(&this.parent).copied().filter(|parent| parent.id != this.id);
        Some(this)
    })
    .take(rows.len())
}

/// What is mounted at the points, and what of it is the container's alone. Points that are the system's are ignored.
pub fn plan(table: &[Mount], points: &Points<'_>) -> Found {
    let rows = by_id(table);
    // Later rows hide earlier ones; what that gets wrong is set right by trying again.
    let mut mounts: Vec<(usize, usize, &Mount)> = table
        .iter()
        .enumerate()
        .filter(|(_, mount)| points.cover(&mount.point))
        .map(|(at, mount)| (ancestors(&rows, mount).count(), at, mount))
        .collect();
    mounts.sort_by_key(|(depth, at, _)| std::cmp::Reverse((*depth, *at)));
    let mounts: Vec<&Mount> = mounts.into_iter().map(|(_, _, mount)| mount).collect();

    let ids: HashSet<u32> = mounts.iter().map(|mount| mount.id).collect();
    let elsewhere: HashSet<(u32, u32)> =
        table.iter().filter(|mount| !ids.contains(&mount.id)).map(Mount::device).collect();
    let mut seen = HashSet::new();
    let alone = |mount: &&&Mount| mount.ends_when_unmounted() && !elsewhere.contains(&mount.device());
    let device = |mount: &&Mount| Device {
        major: mount.major,
        minor: mount.minor,
        fs: mount.fs.clone(),
        source: mount.source.clone(),
    };
    let devices = mounts.iter().filter(alone).filter(|mount| seen.insert(mount.device())).map(device).collect();
    Found { mounts: mounts.into_iter().cloned().collect(), devices }
}

impl Points<'_> {
    /// Whether what is there is the container's.
    pub fn cover(&self, path: &Path) -> bool {
        let below_rootfs = |rootfs: &Path| !is_systems(rootfs) && path.starts_with(rootfs) && path != rootfs;
        let mut at = self.at.iter().filter(|at| !is_systems(at));
        !is_systems(path) && (self.rootfs.is_some_and(below_rootfs) || at.any(|at| path.starts_with(at)))
    }
}

/// Never a container's, whatever was registered.
fn is_systems(path: &Path) -> bool {
    let whole = ["/proc", "/sys"];
    let exact = ["/", "/dev", "/dev/pts", "/dev/shm", "/run"];
    !path.is_absolute()
        || path.components().any(|part| part == Component::ParentDir)
        || exact.iter().any(|system| path == Path::new(system))
        || whole.iter().any(|system| path.starts_with(system))
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
