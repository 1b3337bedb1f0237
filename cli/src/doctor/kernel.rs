//! What the kernel can do.

use super::check::Check;
use serde::Deserialize;

/// What `sextond --probe` prints; it may say more in later releases.
#[derive(Clone, Debug, Deserialize)]
pub struct Probe {
    kernel: String,
    pidfd: bool,
    pidfs_inode: bool,
    pidfd_info_exit: bool,
    cgroup: String,
    /// Descriptors that a process may have open, for now.
    pub nofile_soft: u64,
    /// The most that it may raise that to.
    pub nofile_hard: u64,
    /// Pids there are.
    pub pid_max: u64,
    /// Threads there may be.
    pub threads_max: u64,
}

/// The kernel's features.
pub fn checks(probe: &Probe) -> Vec<Check> {
    let has = |there: bool| if there { "yes" } else { "no" };
    let mut checks = vec![Check::ok("kernel", probe.kernel.as_str())];
    checks.push(if probe.pidfd {
        Check::ok("pidfd", has(true))
    } else {
        Check::fail("pidfd", has(false), "boot Linux 5.3 or newer, and let seccomp allow pidfd_open")
    });
    checks.push(if probe.pidfs_inode {
        Check::ok("pidfd inode", has(true))
    } else {
        Check::warn("pidfd inode", has(false), "processes are told apart by start time only; Linux 6.9 has inodes too")
    });
    checks.push(if probe.pidfd_info_exit {
        Check::ok("PIDFD_INFO_EXIT", has(true))
    } else {
        let less = "if a shim is killed, its container's status is unknown; Linux 6.15 tells it";
        Check::warn("PIDFD_INFO_EXIT", has(false), less)
    });
    checks.push(match probe.cgroup.as_str() {
        "none" => Check::fail("cgroups", "none mounted", "mount cgroup2 on /sys/fs/cgroup; systemd does"),
        layout => Check::ok("cgroups", layout),
    });
    checks
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::check::Verdict;
    use super::*;

    pub(crate) fn probe(line: &str) -> Probe {
        serde_json::from_str(line).unwrap()
    }

    pub(crate) const NEW: &str = r#"{"kernel":"6.18.44","pidfd":true,"pidfs_inode":true,"pidfd_info_exit":true,
        "cgroup":"hybrid","nofile_soft":1024,"nofile_hard":1048576,"pid_max":4194304,"threads_max":125000,"later":1}"#;
    const OLD: &str = r#"{"kernel":"4.19.0","pidfd":false,"pidfs_inode":false,"pidfd_info_exit":false,
        "cgroup":"none","nofile_soft":1024,"nofile_hard":4096,"pid_max":32768,"threads_max":15000}"#;

    #[test]
    fn a_new_kernel_is_fine_and_an_old_one_is_not() {
        let verdicts = |line| checks(&probe(line)).iter().map(|check| check.status).collect::<Vec<_>>();
        assert_eq!(verdicts(NEW), [Verdict::Ok; 5]);
        assert_eq!(verdicts(OLD), [Verdict::Ok, Verdict::Fail, Verdict::Warn, Verdict::Warn, Verdict::Fail]);
    }
}
