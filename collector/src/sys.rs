//! Everything `unsafe` of the collector.
#![allow(unsafe_code)]

use rustix::process::{Pid, Resource, Rlimit, setrlimit};
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

/// SIGKILL to the process group that the process of `pidfd` is in (`PIDFD_SIGNAL_PROCESS_GROUP`, Linux 6.9).
///
/// # Errors
/// `ESRCH` if it has been reaped, `EINVAL` on older kernels.
pub fn pidfd_kill_group(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    const PROCESS_GROUP: u32 = 1 << 2;
    let info = std::ptr::null::<nix::libc::siginfo_t>();
    let (call, signal) = (nix::libc::SYS_pidfd_send_signal, nix::libc::SIGKILL);
    // SAFETY: a plain system call; a null siginfo is allowed and means the same as kill(2)'s.
    let done = unsafe { nix::libc::syscall(call, pidfd.as_raw_fd(), signal, info, PROCESS_GROUP) };
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

/// More descriptors than any process has (`fs.nr_open` is at most this).
pub const DESCRIPTORS: RawFd = 0x4000_0000;

/// A descriptor that was open when this program was executed, from now on closed on exec; `None` if it was not. Only
/// before anything else is opened.
#[must_use]
pub fn own_passed(raw: RawFd) -> Option<OwnedFd> {
    // SAFETY: a plain system call, which fails if the descriptor is not open.
    let open = unsafe { nix::libc::fcntl(raw, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC) } == 0;
    // SAFETY: it is open, and this program has opened nothing yet: nobody else owns it.
    open.then(|| unsafe { OwnedFd::from_raw_fd(raw) })
}

/// SIGCHLD's default action: whoever started us may have ignored it, and the kernel would throw every status away.
pub fn default_sigchld() {
    // SAFETY: SIG_DFL runs no code.
    let _ =
        unsafe { nix::sys::signal::signal(nix::sys::signal::Signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) };
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

/// A descriptor that the event loop watches for what is out of the ordinary (`EPOLLPRI`).
///
/// # Errors
/// If there is no event loop, or it cannot take more.
pub fn watch_priority(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: as in `watch_reading`.
    unsafe { AsyncFd::register_with_interest(fd, Interest::PRIORITY) }.map_err(io::Error::from)
}

/// Forks; the child in the parent, `None` in the child. Only for the keeper, which has one thread.
///
/// # Errors
/// As fork(2).
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the keeper has no other thread whose locks could be held in the child.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(None),
        nix::unistd::ForkResult::Parent { child } => Ok(Pid::from_raw(child.as_raw())),
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

/// Puts these descriptors at `first` and after it, not close-on-exec, over whatever is there. Only in a child that execs at
/// once. Needs one descriptor more, however many there are.
///
/// # Errors
/// As dup(2).
pub fn place(fds: &[BorrowedFd<'_>], first: RawFd) -> io::Result<()> {
    let mut at: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let last = |done: i32| if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done) };
    for (index, target) in (0..at.len()).zip(first..) {
        let Some(&from) = at.get(index) else { break };
        if from == target {
            // SAFETY: a plain system call.
            last(unsafe { nix::libc::fcntl(from, nix::libc::F_SETFD, 0) })?;
            continue;
        }
        // One that is still to be placed may lie there: it goes out of the way.
        if let Some(other) = at.iter_mut().skip(index + 1).find(|other| **other == target) {
            // SAFETY: a plain system call.
            *other = last(unsafe { nix::libc::fcntl(target, nix::libc::F_DUPFD_CLOEXEC, first) })?;
        }
        // SAFETY: a plain system call; what was open at `target` is not used again in this process.
        last(unsafe { nix::libc::dup2(from, target) })?;
        // SAFETY: it has been placed, and this process execs: the owner of the number is never heard of again.
        unsafe { nix::libc::close(from) };
    }
    Ok(())
}

/// Whether a file system on this device is alive, mounted or not; `None` where the kernel cannot be asked, or where what has
/// an anonymous number has no room at all: then it may be one of the kernel's own that got the number later and is in nobody's
/// mount table, as every IPC namespace has one for its message queues. Waits for a server that answers for the file system.
#[must_use]
pub fn filesystem_lives(major: u32, minor: u32) -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    {
        // As the kernel takes it from programs that have 32 bits for a device.
        let device = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
        // More than `struct ustat` has.
        let mut room = [0_u64; 8];
        // SAFETY: the kernel writes a `struct ustat`, 32 bytes, to `room`, which has 64.
        let done = unsafe { nix::libc::syscall(nix::libc::SYS_ustat, device, room.as_mut_ptr()) };
        match (done, io::Error::last_os_error().raw_os_error()) {
            // Free blocks are its first 4 bytes, free inodes the second 8.
            (0, _) if major == 0 && room[0] & 0xffff_ffff == 0 && room[1] == 0 => None,
            (0, _) => Some(true),
            (_, Some(nix::libc::EINVAL)) => Some(false),
            (_, Some(nix::libc::ENOSYS | nix::libc::EPERM)) => None,
            _ => Some(true),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (major, minor);
        None
    }
}

/// `LOOP_CLR_FD` (linux/loop.h).
const LOOP_CLR_FD: nix::libc::Ioctl = 0x4C01;
/// `LOOP_GET_STATUS64`.
const LOOP_GET_STATUS64: nix::libc::Ioctl = 0x4C05;

/// Detaches a loop device from its file, at once or when its last user has closed it.
///
/// # Errors
/// `ENXIO` if it is attached to none.
pub fn detach_loop(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: this request takes no argument.
    let done = unsafe { nix::libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The device number of the file system that a loop device's file lies on, as `st_dev` has it.
///
/// # Errors
/// `ENXIO` if it is attached to none.
pub fn loop_lies_on(device: BorrowedFd<'_>) -> io::Result<u64> {
    // `struct loop_info64` has 232 bytes and begins with that number.
    let mut info = [0_u64; 29];
    // SAFETY: the kernel writes a `struct loop_info64` to `info`, which is as long.
    let done = unsafe { nix::libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, info.as_mut_ptr()) };
    if done == 0 { Ok(info.first().copied().unwrap_or_default()) } else { Err(io::Error::last_os_error()) }
}
