//! Which process a number means (I6).

pub use crate::stat::Stat;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    fmt, fs, io,
    os::{fd::AsFd, unix::fs::MetadataExt},
    sync::OnceLock,
};

/// `PIDFS_MAGIC` (linux/magic.h): since Linux 6.9 pidfds have an inode of their own, unique for the boot.
const PIDFS_MAGIC: u64 = 0x5049_4446;

/// One process, told apart from every other one that ever had its pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The pid in the host's namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since boot.
    pub start_time: u64,
    /// The boot that the process belongs to.
    pub boot_id: BootId,
    /// The pidfd's inode where the kernel has one (Linux 6.9).
    pub pidfs_inode: Option<u64>,
}

/// The file that a process executes: another one after `execve(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executable {
    /// The device that it lies on.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

impl Executable {
    /// Of the process that has `pid` now; `None` if that cannot be seen. Blocks on the file system.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let file = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some(Self { device: file.dev(), inode: file.ino() })
    }
}

/// What a look at a [`ProcessIdentity`] found.
#[derive(Debug)]
pub enum Presence {
    /// Alive.
    Alive(OwnedFd),
    /// Dead, not yet reaped; with its raw wait status (field 52 of `/proc/PID/stat`).
    Zombie(OwnedFd, i32),
    /// Reaped, or of an earlier boot.
    Gone,
}

impl ProcessIdentity {
    /// The identity of the process that has `pid` now.
    ///
    /// # Errors
    /// `NotFound` if there is none; otherwise what opening a pidfd or reading `/proc` failed with.
    pub fn of(pid: u32) -> io::Result<Self> {
        Self::open_pid(pid).map(|(identity, _)| identity)
    }

    /// The identity of the process that has `pid` now, and a pidfd that holds it.
    ///
    /// # Errors
    /// As [`ProcessIdentity::of`].
    pub fn open_pid(pid: u32) -> io::Result<(Self, OwnedFd)> {
        let fd = raw_pidfd(pid)?.ok_or(io::ErrorKind::NotFound)?;
        let pidfs_inode = pidfs_inode(&fd)?;
        let stat = Stat::of(pid)?.ok_or(io::ErrorKind::NotFound)?;
        // The pid may have changed hands between the two calls: the stat counts only if the pidfd's
        // process is still the one that has the pid.
        let again = raw_pidfd(pid)?.ok_or(io::ErrorKind::NotFound)?;
        if pidfs_inode.is_some() && self::pidfs_inode(&again)? != pidfs_inode {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((Self { pid, start_time: stat.start_time, boot_id: BootId::current()?, pidfs_inode }, fd))
    }

    /// The identity of a process that is gone already: it matches nothing.
    ///
    /// # Errors
    /// If the boot id cannot be read.
    pub fn gone(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_time: u64::MAX, boot_id: BootId::current()?, pidfs_inode: None })
    }

    /// A pidfd, only if the pid still belongs to this very process (alive or zombie). The caller owns it;
    /// it is close-on-exec. Does not block.
    ///
    /// # Errors
    /// Anything but the process being gone, e.g. no free descriptor.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        Ok(self.open_with_stat()?.map(|(fd, _)| fd))
    }

    /// Whether the process is alive, a zombie (with its status) or gone.
    ///
    /// # Errors
    /// As [`ProcessIdentity::open`].
    pub fn look(&self) -> io::Result<Presence> {
        Ok(match self.open_with_stat()? {
            None => Presence::Gone,
            Some((fd, stat)) if stat.is_dead() => Presence::Zombie(fd, stat.exit_code),
            Some((fd, _)) => Presence::Alive(fd),
        })
    }

    fn open_with_stat(&self) -> io::Result<Option<(OwnedFd, Stat)>> {
        if self.boot_id != BootId::current()? {
            return Ok(None);
        }
        let Some(fd) = raw_pidfd(self.pid)? else { return Ok(None) };
        if let (Some(mine), Some(now)) = (self.pidfs_inode, pidfs_inode(&fd)?)
            && mine != now
        {
            return Ok(None);
        }
        // Opened before the stat is read: if the stat shows our start time now, the pid was ours at the
        // moment of opening too, since we are older than this call.
        let Some(stat) = Stat::of(self.pid)?.filter(|stat| stat.start_time == self.start_time) else { return Ok(None) };
        // A start time is a tick, in which a pid may change hands: nobody else's end is taken for ours.
        if stat.is_dead() && self.pidfs_inode.is_some() && !raw_pidfd(self.pid)?.is_some_and(|now| self.is(now)) {
            return Ok(None);
        }
        Ok(Some((fd, stat)))
    }

    /// Whether this is a pidfd of this very process, which may have been reaped. Never, where pidfds have no inode.
    pub fn is(&self, fd: impl AsFd) -> bool {
        self.pidfs_inode.is_some() && pidfs_inode(fd).is_ok_and(|inode| inode == self.pidfs_inode)
    }
}

fn raw_pidfd(pid: u32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        // EINVAL: a thread, not a process, has that number.
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn pidfs_inode(fd: impl AsFd) -> io::Result<Option<u64>> {
    if u64::try_from(rustix::fs::fstatfs(&fd)?.f_type).unwrap_or(0) != PIDFS_MAGIC {
        return Ok(None);
    }
    Ok(Some(rustix::fs::fstat(&fd)?.st_ino))
}

/// `/proc/sys/kernel/random/boot_id`. A UUID in JSON, 16 bytes in postcard.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

static CURRENT: OnceLock<BootId> = OnceLock::new();

impl BootId {
    /// Takes `id` for this boot's in this process, so that tests can have a reboot. Only before anybody has asked.
    pub fn pretend(id: Self) {
        let _ = CURRENT.set(id);
    }

    /// This boot's. Read once per process.
    ///
    /// # Errors
    /// If the kernel's file cannot be read or understood.
    pub fn current() -> io::Result<Self> {
        if let Some(id) = CURRENT.get() {
            return Ok(*id);
        }
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let id = Self::parse(text.trim()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(*CURRENT.get_or_init(|| id))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let mut digits = text.chars().filter(|&c| c != '-').map(|c| c.to_digit(16));
        for byte in &mut bytes {
            *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
        }
        digits.next().is_none().then_some(Self(bytes))
    }
}

impl std::str::FromStr for BootId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::parse(text.trim()).ok_or(())
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for BootId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::parse(&text).ok_or_else(|| D::Error::custom("not a boot id"))
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
