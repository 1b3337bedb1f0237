//! What `/proc/PID/stat` says.

use rustix::io::Errno;
use std::{fs, io};

/// The fields of `/proc/PID/stat` that tell processes apart and tell how they ended (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// One letter, `Z` for a zombie.
    pub state: u8,
    /// The parent's pid.
    pub ppid: u32,
    /// The session's leader's pid; zero while the process is being reaped, when the kernel says -1.
    pub session: u32,
    /// What the kernel notes down of it: [`Stat::is_kernels`], [`Stat::is_exiting`].
    pub flags: u32,
    /// Threads still there, a dead leader included.
    pub threads: u32,
    /// Clock ticks since boot.
    pub start_time: u64,
    /// The raw wait status once the process is a zombie; zero without the right to see it.
    pub exit_code: i32,
}

impl Stat {
    /// Reads it; `None` if there is no such process.
    ///
    /// # Errors
    /// What reading failed with, and `InvalidData` if the kernel's line cannot be understood.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        Self::read(&format!("/proc/{pid}/stat"))
    }

    /// The same of one of its threads.
    ///
    /// # Errors
    /// As [`Stat::of`].
    pub fn of_thread(pid: u32, tid: u32) -> io::Result<Option<Self>> {
        Self::read(&format!("/proc/{pid}/task/{tid}/stat"))
    }

    fn read(path: &str) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) if e.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A leader that ended before its other threads is a `Z` too, but the process lives on.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X') && self.threads <= 1
    }

    /// A thread of the kernel's own: no signal ends it.
    #[must_use]
    pub fn is_kernels(&self) -> bool {
        const PF_KTHREAD: u32 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }

    /// On its way out.
    #[must_use]
    pub fn is_exiting(&self) -> bool {
        const PF_EXITING: u32 = 0x4;
        self.flags & PF_EXITING != 0
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        // The command is in parentheses and may contain anything, parentheses and newlines included.
        let end = text.iter().rposition(|&c| c == b')')?;
        let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            ppid: field(4)?.parse().ok()?,
            session: field(6)?.parse().unwrap_or(0),
            flags: field(9)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            exit_code: field(52).and_then(|code| code.parse().ok()).unwrap_or(0),
        })
    }
}
