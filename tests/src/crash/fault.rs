//! System calls on a disk that fail instead of being executed. The programs are static, so there is nothing to preload:
//! the tracer takes the call away on its way in, and puts an error into its way out.

use super::calls;
use nix::{
    errno::Errno,
    libc::{self, c_long},
    sys::ptrace,
    unistd::Pid,
};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

/// How a disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What each call says.
    pub errno: Errno,
    /// How many calls in a row; until it is healed if `None`.
    pub times: Option<u64>,
}

impl Fault {
    /// By its name on the command line.
    #[must_use]
    pub fn named(name: &str) -> Option<Errno> {
        [("eio", Errno::EIO), ("enospc", Errno::ENOSPC), ("erofs", Errno::EROFS)]
            .into_iter()
            .find_map(|(known, errno)| (known == name).then_some(errno))
    }
}

/// Where a call names what it works on.
#[derive(Clone, Copy)]
enum Place {
    /// A path.
    At(usize),
    /// A directory and a path that starts there.
    Below(usize, usize),
    /// A descriptor.
    Fd(usize),
}

/// A path and the flags that say whether it is opened for writing.
const OPENS: &[(c_long, Place, usize)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, Place::At(0), 1),
    (libc::SYS_openat, Place::Below(0, 1), 2),
];

#[rustfmt::skip]
const WRITES: &[(c_long, Place)] = &[
    (libc::SYS_write, Place::Fd(0)), (libc::SYS_pwrite64, Place::Fd(0)), (libc::SYS_writev, Place::Fd(0)),
    (libc::SYS_fsync, Place::Fd(0)), (libc::SYS_fdatasync, Place::Fd(0)), (libc::SYS_ftruncate, Place::Fd(0)),
    (libc::SYS_fchmod, Place::Fd(0)), (libc::SYS_mkdirat, Place::Below(0, 1)), (libc::SYS_mknodat, Place::Below(0, 1)),
    (libc::SYS_unlinkat, Place::Below(0, 1)), (libc::SYS_fchmodat, Place::Below(0, 1)),
    (libc::SYS_renameat, Place::Below(0, 1)), (libc::SYS_renameat2, Place::Below(0, 1)),
    (libc::SYS_linkat, Place::Below(2, 3)), (libc::SYS_symlinkat, Place::Below(1, 2)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_mkdir, Place::At(0)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_mknod, Place::At(0)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_rmdir, Place::At(0)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_unlink, Place::At(0)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_rename, Place::At(0)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_chmod, Place::At(0)),
    #[cfg(target_arch = "x86_64")] (libc::SYS_creat, Place::At(0)),
];

/// A disk, and the calls that change something on it.
#[derive(Debug)]
pub(super) struct Disk {
    fault: Fault,
    below: PathBuf,
    /// Inside a call that was taken away.
    taken: HashMap<Pid, Errno>,
    left: Option<u64>,
    /// How many have failed.
    pub(super) failed: u64,
}

impl Disk {
    pub(super) fn new(fault: Fault, below: PathBuf) -> Self {
        Self { fault, below, taken: HashMap::new(), left: fault.times, failed: 0 }
    }

    /// What a call that is about to be made changes on this disk; `None` if nothing.
    pub(super) fn changed(&self, pid: Pid, number: i64, args: [u64; 6]) -> Option<String> {
        let writes = |flags: u64| {
            let wanted = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
            flags & u64::from(wanted.cast_unsigned()) != 0
        };
        let open = OPENS.iter().find(|(known, ..)| *known == number);
        let place = match open {
            Some((_, place, flags)) => writes(args[*flags]).then_some(*place)?,
            None => WRITES.iter().find(|(known, _)| *known == number)?.1,
        };
        let path = resolve(pid, place, args)?;
        let inner = path.strip_prefix(&self.below).ok()?;
        Some(format!("{} {}", calls::name(number), inner.display()))
    }

    /// Whether another one is to fail.
    pub(super) fn fails(&self) -> bool {
        self.left != Some(0)
    }

    /// From now on none fails.
    pub(super) fn heal(&mut self) {
        self.left = Some(0);
    }

    /// Takes away the call that is about to be made.
    pub(super) fn take(&mut self, pid: Pid) {
        if registers::skip(pid) {
            self.taken.insert(pid, self.fault.errno);
            self.left = self.left.map(|left| left.saturating_sub(1));
            self.failed += 1;
        }
    }

    /// The call is over: if it was taken away, this is what it says.
    pub(super) fn answer(&mut self, pid: Pid) {
        if let Some(errno) = self.taken.remove(&pid) {
            registers::answer(pid, errno);
        }
    }
}

fn resolve(pid: Pid, place: Place, args: [u64; 6]) -> Option<PathBuf> {
    let link = |name: String| fs::read_link(format!("/proc/{pid}/{name}")).ok();
    let here = || link("cwd".into());
    let fd = |n: usize| match args[n].cast_signed() as i32 {
        libc::AT_FDCWD => here(),
        fd => link(format!("fd/{fd}")),
    };
    let path = match place {
        Place::Fd(n) => return fd(n),
        Place::At(n) => here()?.join(text(pid, args[n])?),
        Place::Below(dir, n) => fd(dir).unwrap_or_default().join(text(pid, args[n])?),
    };
    // The shim reaches its directory through a descriptor.
    let Ok(rest) = path.strip_prefix("/proc/self/fd") else { return Some(path) };
    let mut parts = rest.iter();
    let number = parts.next()?.to_str()?;
    Some(fs::read_link(format!("/proc/{pid}/fd/{number}")).ok()?.join(parts.as_path()))
}

/// A string of the tracee's.
fn text(pid: Pid, address: u64) -> Option<PathBuf> {
    let mut bytes = vec![0; 4096];
    let length = File::open(format!("/proc/{pid}/mem")).ok()?.read_at(&mut bytes, address).ok()?;
    let end = bytes[..length].iter().position(|byte| *byte == 0)?;
    Some(Path::new(OsStr::from_bytes(&bytes[..end])).into())
}

/// Registers have names of their own on every architecture.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::{Errno, Pid, ptrace};

    /// No system call has this number.
    pub(super) fn skip(pid: Pid) -> bool {
        let set = |mut registers: nix::libc::user_regs_struct| {
            registers.orig_rax = u64::MAX;
            ptrace::setregs(pid, registers)
        };
        ptrace::getregs(pid).and_then(set).is_ok()
    }

    pub(super) fn answer(pid: Pid, errno: Errno) {
        let set = |mut registers: nix::libc::user_regs_struct| {
            registers.rax = i64::from(-(errno as i32)).cast_unsigned();
            ptrace::setregs(pid, registers)
        };
        // An error means that it is dead, which is told soon.
        let _ = ptrace::getregs(pid).and_then(set);
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod registers {
    use super::{Errno, Pid};

    pub(super) fn skip(_: Pid) -> bool {
        panic!("system calls can be made to fail on x86_64 only")
    }

    pub(super) fn answer(_: Pid, _: Errno) {}
}
