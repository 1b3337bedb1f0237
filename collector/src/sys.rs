//! Everything `unsafe` of the collector.
#![allow(unsafe_code)]

use rustix::process::{Resource, Rlimit, setrlimit};
use sexton_common::runtime::NOT_INHERITED;
use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Sends any signal, real-time ones included, to the process that `pidfd` holds.
///
/// # Errors
/// `ESRCH` if it has been reaped, `EINVAL` if there is no such signal.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = std::ptr::null::<nix::libc::siginfo_t>();
    // SAFETY: a plain system call; a null siginfo is allowed and means the same as kill(2)'s.
    let done = unsafe { nix::libc::syscall(nix::libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct pidfd_info` (linux/pidfd.h), as long as it was in Linux 6.15; newer kernels accept that length.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_INFO_EXIT`.
const INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(0xFF, 11, struct pidfd_info)` with the 64 bytes above.
const GET_INFO: nix::libc::Ioctl = 0xC040_FF0B_u32 as nix::libc::Ioctl;

/// The raw wait status of the process that `pidfd` holds, once it has been reaped by whomever
/// (`PIDFD_INFO_EXIT`, Linux 6.15). `None` while it has not been, and on kernels that do not tell.
#[must_use]
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the 64 bytes that are encoded in the request, and `info` has them.
    let done = unsafe { nix::libc::ioctl(pidfd.as_fd().as_raw_fd(), GET_INFO, &raw mut info) };
    (done == 0 && info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

/// The child gets this limit of open files instead of ours, and nothing that the service manager told us:
/// neither is the containers'.
pub fn prepare_child(command: &mut tokio::process::Command, limit: Rlimit) {
    for variable in NOT_INHERITED {
        command.env_remove(variable);
    }
    let set = move || setrlimit(Resource::Nofile, limit).map_err(io::Error::from);
    // SAFETY: between fork and exec only one system call is made, and nothing is allocated.
    unsafe { command.pre_exec(set) };
}

/// A descriptor that was passed to us: by the kernel with a message (`SCM_RIGHTS`), or by whoever started us
/// (sd_listen_fds(3)).
#[must_use]
pub fn own_fd(raw: RawFd) -> OwnedFd {
    // SAFETY: it is open, and nobody else in this process knows of it.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

/// A descriptor that the event loop watches for reading.
///
/// # Errors
/// If there is no event loop, or it cannot take more.
pub fn watch_reading(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open and stays the same descriptor until it is dropped, which AsyncFd does only
    // after it has deregistered it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}

/// Forks; the child's pid in the parent, `None` in the child. Only for the keeper, which has one thread.
///
/// # Errors
/// As fork(2).
pub fn fork() -> io::Result<Option<u32>> {
    // SAFETY: the keeper has no other thread whose locks could be held in the child.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(None),
        nix::unistd::ForkResult::Parent { child } => Ok(u32::try_from(child.as_raw()).ok()),
    }
}

/// Ends this process at once: no destructors, which belong to the other side of a fork.
pub fn leave(code: i32) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { nix::libc::_exit(code) }
}

/// In the environment, of the keeper's child before it execs.
pub fn set_variable(name: &str, value: &std::ffi::OsStr) {
    // SAFETY: the keeper has one thread, and so has its child: nobody reads the environment meanwhile.
    unsafe { std::env::set_var(name, value) };
}

/// Puts these descriptors, none of them close-on-exec, at `first` and after it, over whatever is there. Only in a child
/// that execs at once.
///
/// # Errors
/// As dup(2): all are out of the way before the first is put in place.
pub fn place(fds: &[BorrowedFd<'_>], first: RawFd) -> io::Result<()> {
    let beyond = first + RawFd::try_from(fds.len()).map_err(io::Error::other)?;
    let moved: Result<Vec<OwnedFd>, _> = fds.iter().map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, beyond)).collect();
    for (target, fd) in (first..).zip(moved?) {
        // SAFETY: a plain system call; what was open at `target` is not used again in this process.
        if unsafe { nix::libc::dup2(fd.as_raw_fd(), target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}
