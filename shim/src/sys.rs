//! Every system call that needs `unsafe`.
#![allow(unsafe_code)]

pub mod heap;

use nix::libc::{self, c_int, c_long};
use sexton_common::{ExitStatus, exit::Usage};
use std::{
    io,
    os::fd::{FromRawFd, OwnedFd, RawFd},
    ptr,
};

/// The kernel's highest signal, and the size of its signal sets in bytes.
const SIGNALS: c_int = 64;
const SIGSET_BYTES: usize = 8;

/// Forks; the child's pid in the parent, `None` in the child. The process has one thread, so the child may do anything.
pub fn fork() -> io::Result<Option<u32>> {
    // SAFETY: no other thread exists whose locks could be held in the child.
    match unsafe { libc::fork() } {
        0 => Ok(None),
        pid => u32::try_from(pid).map(Some).map_err(|_| io::Error::last_os_error()),
    }
}

/// Ends this process at once: no destructors, no exit handlers, which may belong to the other side of a fork.
pub fn leave(code: u8) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(code.into()) }
}

/// Which signals are blocked from now on, one bit each. Every one can be named, those of the C library too.
pub fn mask(blocked: u64) {
    // SAFETY: the kernel reads eight bytes from a valid address and writes nothing.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const blocked, ptr::null::<u64>(), SIGSET_BYTES)
    };
}

/// Every signal's default action. Not through the C library, which hides its own signals and would leave
/// them ignored in the container if the caller had ignored them.
pub fn default_signals() {
    // `struct sigaction` of every architecture: all zero is SIG_DFL, no flags, no mask.
    let default = [0_u64; 8];
    for signal in 1..=SIGNALS {
        // SAFETY: the kernel reads a struct that is shorter than the buffer; SIG_DFL has no code to point to.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), ptr::null::<u64>(), SIGSET_BYTES);
        }
    }
}

/// Takes variables out of the environment that children will get.
pub fn forget(variables: &[&str]) {
    for variable in variables {
        // SAFETY: no other thread exists that could read the environment meanwhile.
        unsafe { std::env::remove_var(variable) };
    }
}

/// Which children to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Which {
    /// Whichever is dead.
    Any,
    /// This one.
    Pid(u32),
}

/// A dead child.
#[derive(Clone, Copy, Debug)]
pub struct Dead {
    /// Its pid.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
    /// What it and the children that it waited for used.
    pub usage: Usage,
}

/// A dead child and its usage, `None` if there is none yet. Reaps it.
pub fn reap(which: Which) -> io::Result<Option<Dead>> {
    waitid(which, libc::WEXITED | libc::WNOHANG)
}

/// As [`reap`], but leaves it a zombie.
pub fn look(which: Which) -> io::Result<Option<Dead>> {
    waitid(which, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// Sleeps until any child is dead; leaves it a zombie.
pub fn sleep_until_any_is_dead() -> io::Result<()> {
    waitid(Which::Any, libc::WEXITED | libc::WNOWAIT).map(drop)
}

/// The raw system call, whose fifth argument, the usage, the C library's function hides.
fn waitid(which: Which, options: c_int) -> io::Result<Option<Dead>> {
    let (kind, pid) = match which {
        Which::Any => (libc::P_ALL, 0),
        Which::Pid(pid) => (libc::P_PID, pid),
    };
    // SAFETY: both are plain numbers, for which zero is valid.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one siginfo and one rusage to two valid, exclusive places of these types.
    let done = unsafe { libc::syscall(libc::SYS_waitid, kind, pid, &raw mut info, options, &raw mut usage) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: after waitid the siginfo is a SIGCHLD's, or still zero, whose numbers may be read too.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let number = u8::try_from(status & 0x7f).unwrap_or(0);
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(u8::try_from(status & 0xff).unwrap_or(0)),
        libc::CLD_DUMPED => ExitStatus::Signal { number, core_dumped: true },
        libc::CLD_KILLED => ExitStatus::Signal { number, core_dumped: false },
        _ => return Ok(None),
    };
    let Some(pid) = u32::try_from(pid).ok().filter(|&pid| pid != 0) else { return Ok(None) };
    Ok(Some(Dead { pid, status, usage: convert(&usage) }))
}

fn convert(usage: &libc::rusage) -> Usage {
    let number = |n: c_long| u64::try_from(n).unwrap_or(0);
    let us = |t: libc::timeval| {
        u64::try_from(t.tv_sec).unwrap_or(0).saturating_mul(1_000_000) + u64::try_from(t.tv_usec).unwrap_or(0)
    };
    Usage {
        user_us: us(usage.ru_utime),
        system_us: us(usage.ru_stime),
        max_rss_kib: number(usage.ru_maxrss),
        minor_faults: number(usage.ru_minflt),
        major_faults: number(usage.ru_majflt),
        blocks_in: number(usage.ru_inblock),
        blocks_out: number(usage.ru_oublock),
        voluntary_switches: number(usage.ru_nvcsw),
        involuntary_switches: number(usage.ru_nivcsw),
    }
}

/// A close-on-exec copy, above the standard streams, of a descriptor that was given by its number.
pub fn copy_of(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: duplicating touches no memory; a number that is no descriptor is an error.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it, so it is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Closes every descriptor but the standard streams and these.
pub fn close_all_but(keep: &mut [RawFd]) {
    keep.sort_unstable();
    let mut from = 3;
    for &kept in keep.iter() {
        close_from_to(from, kept - 1);
        from = from.max(kept + 1);
    }
    close_from_to(from, RawFd::MAX);
}

fn close_from_to(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the descriptors in the range are inherited ones, which nothing in this process owns.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if done == 0 {
        return;
    }
    // Before Linux 5.9.
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in numbers {
        // SAFETY: as above; the directory's own descriptor is closed already and gives EBADF.
        unsafe { libc::close(fd) };
    }
}

/// How far below the present frame the stack may still be in use.
const RED_ZONE: usize = 512;
const PAGE: usize = 4096;
/// How much stack a launch may have used.
const STACK: usize = 256 * 1024;

/// Gives memory back that a sleeping shim does not need: the stack that the launch has used, and the
/// program's code, which comes back from the page cache when it is needed. There is one shim per container.
#[inline(never)]
pub fn shed_pages() {
    let here = std::hint::black_box(0_u8);
    let end = ((&raw const here).addr() - RED_ZONE) / PAGE * PAGE;
    // SAFETY: nothing below the frames of this function and of madvise, which are far smaller than the red
    // zone, is in use; what is dropped reads as zero when the stack grows into it again.
    unsafe { libc::madvise(ptr::without_provenance_mut(end.saturating_sub(STACK)), STACK, libc::MADV_DONTNEED) };
    // SAFETY: the callback has the type that is asked for and needs no data.
    unsafe { libc::dl_iterate_phdr(Some(shed_code), ptr::null_mut()) };
}

/// Drops the segments of the program that are never written to.
unsafe extern "C" fn shed_code(info: *mut libc::dl_phdr_info, _: usize, _: *mut libc::c_void) -> c_int {
    // SAFETY: the C library passes a valid struct, whose headers and their number belong together.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0) {
        let start = usize::try_from(base + header.p_vaddr).unwrap_or(0).next_multiple_of(PAGE);
        let end = usize::try_from(base + header.p_vaddr + header.p_memsz).unwrap_or(0) / PAGE * PAGE;
        // SAFETY: private, read-only pages of a file: dropped ones come back from it with the same content.
        unsafe { libc::madvise(ptr::without_provenance_mut(start), end.saturating_sub(start), libc::MADV_DONTNEED) };
    }
    // The first object is the program.
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn dead(script: &str) -> ExitStatus {
        let pid = Command::new("sh").args(["-c", script]).spawn().unwrap().id();
        // A look leaves it, a reap takes it, then there is nothing.
        let seen = loop {
            match look(Which::Pid(pid)).unwrap() {
                Some(dead) => break dead,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(seen.pid, pid);
        assert_eq!(reap(Which::Pid(pid)).unwrap().unwrap().status, seen.status);
        assert_eq!(look(Which::Pid(pid)).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        seen.status
    }

    #[test]
    fn statuses_are_what_the_kernel_says() {
        for code in [0, 1, 127, 128, 255] {
            assert_eq!(dead(&format!("exit {code}")), ExitStatus::Code(code));
        }
        for number in [1, 9, 15, 64] {
            assert_eq!(dead(&format!("kill -{number} $$")), ExitStatus::Signal { number, core_dumped: false });
        }
    }

    #[test]
    fn copies_are_above_the_standard_streams_and_of_open_descriptors_only() {
        use std::os::fd::AsRawFd;
        assert!(copy_of(0).unwrap().as_raw_fd() > 2);
        assert!(copy_of(-1).is_err());
    }
}
