//! How many containers this machine can hold at once.

use super::options::Kind;
use crate::proc;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;

/// Descriptors that the collector and we need besides those of the containers.
const DESCRIPTORS: u64 = 300;
/// Processes that others may need meanwhile.
const PROCESSES: u64 = 3000;

/// Raises our own limit of open files as far as it goes: a pidfd for every process that we are to kill.
pub fn raise_limits() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The most containers of a kind, by descriptors, process ids and memory.
#[must_use]
pub fn fits(kind: Kind) -> u64 {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // Both the collector's two for each, and our own two.
    let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let by_files = files.saturating_sub(DESCRIPTORS) / 2;
    let pids = number("/proc/sys/kernel/pid_max")
        .unwrap_or(32768)
        .min(number("/proc/sys/kernel/threads-max").unwrap_or(32768));
    let free = pids.saturating_sub(proc::pids().len() as u64 + PROCESSES);
    // Shim, init, and what a real one has below it; the middle process and the shim stay zombies for a while.
    let (processes, kib) = match kind {
        Kind::Real => (4, 3000),
        Kind::Light => (3, 600),
    };
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = proc::field_of(&text, "MemAvailable").unwrap_or_default();
    let available: u64 = available.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    by_files.min(free / processes).min(available / 2 / kib).max(1)
}
