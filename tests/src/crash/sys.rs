//! What ptrace says about a stop, of which the C library has a union.
#![allow(unsafe_code)]

use nix::{libc, sys::ptrace, unistd::Pid};

/// A tracee that is at a system call.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// Before this one.
    Entry(Call),
    /// After the one that it was in.
    Exit,
}

/// A system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Which one.
    pub number: i64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// Where a tracee that is in a system-call stop is; `None` if it is dead by now.
pub fn at(pid: Pid) -> Option<At> {
    let info = ptrace::syscall_info(pid).ok()?;
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: `op` says that the kernel filled `entry`.
            let entry = unsafe { info.u.entry };
            Some(At::Entry(Call { number: entry.nr.cast_signed(), args: entry.args }))
        }
        _ => Some(At::Exit),
    }
}
