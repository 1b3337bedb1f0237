//! How a container ended.

use crate::{ContainerId, ProcessIdentity, Stamp, durable::Fact};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The one record of a run's end (I1): the same bytes in the `exit` file and in the FIFO.
///
/// Encoded it has at most [`ExitRecord::MAX`] bytes, so that writing it to a FIFO is atomic (POSIX `PIPE_BUF`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The container.
    pub id: ContainerId,
    /// Which run of it.
    pub generation: u64,
    /// The container's init; `None` if it never came to be.
    pub process: Option<ProcessIdentity>,
    /// How it ended.
    pub status: ExitStatus,
    /// Where [`ExitRecord::status`] comes from.
    pub source: Source,
    /// Whether the OOM killer struck in the container's cgroup; `None` if that could not be read any more.
    pub oom_killed: Option<bool>,
    /// When the runtime was told to start it (`run`), or when it was created (`create`, started by others).
    pub started: Option<Stamp>,
    /// When its end was seen by its parent, or by whoever watched it; `None` if nobody did.
    pub exited: Option<Stamp>,
    /// What init and the children that it waited for used; only its parent learns that.
    pub usage: Option<Usage>,
    /// The cgroup's most memory, in bytes, page cache included.
    pub memory_peak: Option<u64>,
    /// The cgroup's CPU time, in nanoseconds.
    pub cpu_ns: Option<u64>,
}

impl ExitRecord {
    /// The most bytes an encoded record has.
    pub const MAX: usize = 512;
}

impl Fact for ExitRecord {
    const KIND: u8 = b'E';
    const VERSION: u16 = 1;
}

/// What the kernel said, or that it is not known (I3). Never an invented number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// `exit(code)`.
    Code(u8),
    /// Ended by a signal.
    Signal {
        /// The signal's number.
        number: u8,
        /// Whether the kernel dumped core.
        core_dumped: bool,
    },
    /// Nobody who could know is left.
    Unknown {
        /// Why it is not known.
        reason: UnknownReason,
    },
}

impl ExitStatus {
    /// From a raw wait status, as `waitpid(2)`, `/proc/PID/stat` and `PIDFD_GET_INFO` give it.
    #[must_use]
    pub fn from_raw(raw: i32) -> Self {
        let [low, code, ..] = raw.to_le_bytes();
        match low & 0x7f {
            0 => Self::Code(code),
            number => Self::Signal { number, core_dumped: low & 0x80 != 0 },
        }
    }

    /// What a shell would report: the code, or 128 + signal. `None` if unknown.
    #[must_use]
    pub fn shell_code(&self) -> Option<u8> {
        match *self {
            Self::Code(code) => Some(code),
            Self::Signal { number, .. } => Some(128u8.saturating_add(number)),
            Self::Unknown { .. } => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with {code}"),
            Self::Signal { number, core_dumped } => {
                write!(f, "killed by signal {number}{}", if *core_dumped { " (core dumped)" } else { "" })
            }
            Self::Unknown { reason } => write!(f, "unknown: {reason}"),
        }
    }
}

/// Why a status is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum UnknownReason {
    /// The shim died before the container's process was started: there never was a status.
    #[error("it was never started")]
    NeverStarted,
    /// The shim was killed, and this kernel tells a reaped process' status to nobody else.
    #[error("its shim was killed")]
    ShimKilled,
    /// Shim and collector were both dead when it ended.
    #[error("shim and collector were both dead when it ended")]
    ShimAndCollectorKilled,
    /// The exit record was damaged on disk; it lies in quarantine.
    #[error("its exit record was damaged on disk")]
    RecordDamaged,
    /// A foreign shim wrote fewer than four bytes, or a number that is no exit code.
    #[error("the foreign shim's exit message was not a 4-byte exit code")]
    ForeignMalformed,
    /// A foreign shim closed its FIFO without a word.
    #[error("the foreign shim closed its exit FIFO without writing a code")]
    ForeignHangUp,
}

/// Where a status comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The shim's own `waitid(2)`.
    Waited,
    /// The kernel's word on a process that somebody else reaped (`PIDFD_INFO_EXIT`, Linux 6.15).
    Pidfd,
    /// Field 52 of `/proc/PID/stat` of the unreaped process.
    Zombie,
    /// A foreign shim's exit FIFO.
    Reported,
    /// Nowhere: the status is unknown.
    None,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waited => "waited",
            Self::Pidfd => "pidfd",
            Self::Zombie => "zombie",
            Self::Reported => "reported",
            Self::None => "none",
        })
    }
}

/// `struct rusage` (getrusage(2)), what Linux fills of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds in user mode.
    pub user_us: u64,
    /// Microseconds in the kernel.
    pub system_us: u64,
    /// Most resident memory of one process, in KiB.
    pub max_rss_kib: u64,
    /// Page faults without I/O.
    pub minor_faults: u64,
    /// Page faults with I/O.
    pub major_faults: u64,
    /// Blocks read, of 512 bytes.
    pub blocks_in: u64,
    /// Blocks written, of 512 bytes.
    pub blocks_out: u64,
    /// Context switches that it asked for.
    pub voluntary_switches: u64,
    /// Context switches that it suffered.
    pub involuntary_switches: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_raw_status_of_the_kernel_is_understood() {
        for code in 0..=255u8 {
            assert_eq!(ExitStatus::from_raw(i32::from(code) << 8), ExitStatus::Code(code));
        }
        for number in 1..=64u8 {
            let raw = i32::from(number);
            assert_eq!(ExitStatus::from_raw(raw), ExitStatus::Signal { number, core_dumped: false });
            assert_eq!(ExitStatus::from_raw(raw | 0x80), ExitStatus::Signal { number, core_dumped: true });
        }
    }
}
