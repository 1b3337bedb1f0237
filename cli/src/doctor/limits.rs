//! How many containers the limits allow.

use super::{check::Check, kernel::Probe};
use sexton_common::{descriptors, wire::Node};

/// Descriptors of sextond for each container: FIFO and pidfd.
const DESCRIPTORS: u64 = 2;
/// Descriptors of a sextond without any container, about.
const STANDING: u64 = 20;
/// Processes for each container, the shim and the init.
const PROCESSES: u64 = 2;
/// Fewer containers than this are worth a word.
const FEW: u64 = 1000;

/// The limits, and what they allow.
pub fn checks(probe: &Probe, running: Option<&Node>) -> Vec<Check> {
    let mut checks = Vec::new();
    let limit = running.map_or(probe.nofile_hard, |node| node.descriptor_limit);
    let seats = running.map_or_else(|| descriptors::seats(limit, STANDING), |node| node.seats);
    let allowed = seats / DESCRIPTORS;
    let whose = if running.is_some() { "sextond's limit" } else { "this shell's hard limit" };
    let found = match running {
        Some(_) => format!("{limit} ({whose}): {allowed} containers"),
        None => format!("{} soft, {limit} hard ({whose}): {allowed} containers", probe.nofile_soft),
    };
    checks.push(if allowed == 0 {
        Check::fail("open files", found, "raise it: LimitNOFILE=1048576 in sextond.service, or `ulimit -Hn`")
    } else if allowed < FEW {
        Check::warn("open files", found, "raise it: LimitNOFILE=1048576 in sextond.service, or `ulimit -Hn`")
    } else {
        Check::ok("open files", found)
    });
    let processes =
        [("pid_max", "kernel.pid_max", probe.pid_max), ("threads-max", "kernel.threads-max", probe.threads_max)];
    for (name, key, limit) in processes {
        let allowed = limit / PROCESSES;
        let found = format!("{limit}: {allowed} containers of one process");
        checks.push(if allowed < FEW {
            Check::warn(name, found, format!("raise it: `sysctl -w {key}=...`"))
        } else {
            Check::ok(name, found)
        });
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::super::{
        check::Verdict,
        kernel::tests::{NEW, probe},
    };
    use super::*;

    #[test]
    fn numbers_of_containers() {
        let usual = checks(&probe(NEW), None);
        assert_eq!(usual[0].found, "1024 soft, 1048576 hard (this shell's hard limit): 516086 containers");
        assert_eq!(usual[1].found, "4194304: 2097152 containers of one process");
        assert_eq!(usual[2].found, "125000: 62500 containers of one process");
        assert!(usual.iter().all(|check| check.status == Verdict::Ok));
        let verdict = |limit: u64| {
            let mut low = probe(NEW);
            low.nofile_hard = limit;
            checks(&low, None)[0].status
        };
        assert_eq!([verdict(53), verdict(54), verdict(2800)], [Verdict::Fail, Verdict::Warn, Verdict::Ok]);
    }
}
