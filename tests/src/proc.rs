//! Looks into `/proc`.

use crate::wait::{LONG, wait_for};
use rustix::process::{Signal, pidfd_send_signal};
use sexton_common::{ProcessIdentity, wire::Launched};
use std::{collections::BTreeMap, fs, path::Path};

/// All pids.
///
/// # Panics
/// If `/proc` cannot be read.
#[must_use]
pub fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The command line, blanks between its words; empty for zombies and for what is gone.
#[must_use]
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim_end().to_owned()
}

/// A field of `/proc/PID/status`.
#[must_use]
pub fn status(pid: u32, field: &str) -> Option<String> {
    field_of(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, field)
}

/// A field of a text as `/proc/PID/status` is.
#[must_use]
pub fn field_of(text: &str, field: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// The direct children of `pid`, zombies too.
///
/// # Panics
/// If `/proc` holds a stat that cannot be understood.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    let parent = |child| sexton_common::identity::Stat::of(child).ok().flatten().map(|stat| stat.ppid);
    pids().into_iter().filter(|&child| parent(child) == Some(pid)).collect()
}

/// Whether there is no such process, or only its zombie.
#[must_use]
pub fn is_dead(pid: u32) -> bool {
    sexton_common::identity::Stat::of(pid).unwrap().is_none_or(|stat| stat.is_dead())
}

/// Whether it is in that state, a letter as in `/proc/PID/status`.
#[must_use]
pub fn is_in(pid: u32, state: char) -> bool {
    status(pid, "State").is_some_and(|is| is.starts_with(state))
}

/// Whether the pid is free.
#[must_use]
pub fn is_gone(pid: u32) -> bool {
    sexton_common::identity::Stat::of(pid).unwrap().is_none()
}

/// How many descriptors of each kind `pid` has open: `socket`, `pipe`, `pidfd`, or a file's path.
#[must_use]
pub fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return kinds };
    for entry in entries.flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        *kinds.entry(kind(&target)).or_insert(0) += 1;
    }
    kinds
}

/// `socket:[7]`, `pipe:[7]`, `anon_inode:inotify` and `anon_inode:[eventfd]` by their kind; a path as it is.
fn kind(target: &Path) -> String {
    let target = target.to_string_lossy();
    if let Some(kind) = target.strip_prefix("anon_inode:") {
        return kind.trim_matches(['[', ']']).to_owned();
    }
    match target.split_once(":[") {
        Some((kind, _)) if !kind.starts_with('/') => kind.to_owned(),
        _ => target.into_owned(),
    }
}

/// Proportional and resident memory, in KiB, from `/proc/PID/smaps_rollup`; nothing of what is gone.
#[must_use]
pub fn memory_kib(pid: u32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |field| field_of(&text, field).and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or(0);
    (kib("Pss"), kib("Rss"))
}

/// SIGKILL, through a pidfd.
///
/// # Panics
/// If it is gone.
#[track_caller]
pub fn kill(pid: u32) {
    let (_, fd) = ProcessIdentity::open_pid(pid).unwrap();
    pidfd_send_signal(fd, Signal::KILL).unwrap();
}

/// SIGKILL to a container's shim, and its end.
///
/// # Panics
/// If it is gone, or does not end.
#[track_caller]
pub fn kill_shim(launched: &Launched) {
    kill(launched.shim_pid);
    wait_for("the shim's end", LONG, || is_dead(launched.shim_pid));
}

/// CPU time that it has used, in clock ticks (of which a second has 100).
///
/// # Panics
/// If it is gone.
#[must_use]
pub fn cpu_ticks(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = text.rsplit_once(')').unwrap();
    // Fields 14 and 15 of proc(5); the rest begins with the third.
    rest.split_ascii_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Resident memory, in KiB.
#[must_use]
pub fn resident_kib(pid: u32) -> u64 {
    let text = status(pid, "VmRSS").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}
