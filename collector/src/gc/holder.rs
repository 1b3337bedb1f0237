//! Who is in the way, and where it waits.

use super::{
    census::pid_namespace,
    freezer::{self, frozen_by},
    obstacle::Holder,
};
use sexton_common::{
    ProcessIdentity,
    identity::{Presence, Stat},
    wire,
};
use std::{collections::VecDeque, fs, path::Path};

/// More threads of one process are not looked at.
const THREADS: usize = 1024;
/// More processes of a pid namespace are not named.
const RELATIVES: usize = 64;
/// More of a kernel stack is not told, nor more of a line of it.
const FRAMES: usize = 32;
const FRAME: usize = 128;

/// What can be seen of a process that is alive: of the thread that keeps it.
#[derive(Clone, Debug)]
pub struct Seen {
    pid: u32,
    tid: u32,
    comm: String,
    state: char,
    wchan: Option<String>,
    /// Whether it is on its way out.
    exiting: bool,
}

impl Seen {
    /// `None` if it is dead.
    #[must_use]
    pub fn of(process: &ProcessIdentity) -> Option<Self> {
        let pid = process.pid;
        let (tid, stat) = keeper(pid)?;
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/task/{tid}/{name}"));
        let seen = Self {
            pid,
            tid,
            comm: comm(pid),
            state: char::from(stat.state),
            wchan: file("wchan").ok().filter(|wchan| !matches!(wchan.as_str(), "" | "0")),
            exiting: stat.is_exiting(),
        };
        // All that was read of whoever had the pid: it is ours still, so it was then.
        matches!(process.look(), Ok(Presence::Alive(_))).then_some(seen)
    }

    /// The cgroup that freezes it.
    #[must_use]
    pub fn frozen_by(&self) -> Option<std::path::PathBuf> {
        frozen_by(self.tid)
    }

    /// Those that matter most have the smallest.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self.state {
            'D' => 0,
            _ if self.is_waiting_init() => 2,
            _ => 1,
        }
    }

    /// Whether it is the init of a pid namespace that died: it waits in the kernel for everybody else in there, and no
    /// cgroup has it any more.
    #[must_use]
    pub fn is_waiting_init(&self) -> bool {
        let status = || fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let ids = |status: &str| status.lines().find_map(|line| Some(line.strip_prefix("NSpid:")?.to_owned()));
        let is_init = |ids: String| ids.split_whitespace().count() > 1 && ids.split_whitespace().last() == Some("1");
        self.exiting && ids(&status()).is_some_and(is_init)
    }

    /// Who it is.
    #[must_use]
    pub fn name(&self) -> String {
        format!("process {} ({})", self.pid, self.comm)
    }

    /// What keeps it, in one line, and what helps.
    #[must_use]
    pub fn words(&self, how: &str, frozen_by: Option<&Path>, killed: bool) -> String {
        let (name, state) = (self.name(), self.state);
        let at = self.wchan.as_ref().map(|wchan| format!(" in {wchan}")).unwrap_or_default();
        if let Some(frozen) = frozen_by {
            return format!("{name} is frozen by cgroup {}: {}", frozen.display(), freezer::way_out(frozen));
        }
        match (state, killed) {
            ('D', true) => format!(
                "{name} is in state D{at} since it was killed; it cannot die before the kernel lets it: what it waits for (a device, a server, a frozen file system) has to answer"
            ),
            (_, true) => format!("{name} was killed and is not gone yet: state {state}{at}"),
            (_, false) => format!("{name} is {how}, in state {state}{at}"),
        }
    }
}

/// The thread that keeps a process from ending: one in state D, if there is one. Its leader may be a zombie long since.
fn keeper(pid: u32) -> Option<(u32, Stat)> {
    let leader = Stat::of(pid).ok()??;
    if leader.state == b'D' || leader.threads <= 1 {
        return Some((pid, leader)).filter(|_| !leader.is_dead());
    }
    let tids = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let tids = tids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(THREADS);
    let live = tids.filter_map(|tid| Some((tid, Stat::of_thread(pid, tid).ok()??)));
    let live = live.filter(|(_, stat)| !matches!(stat.state, b'Z' | b'X'));
    Some(live.min_by_key(|(_, stat)| stat.state != b'D').unwrap_or((pid, leader)))
}

/// A process may call itself anything, newlines and escape sequences included.
fn comm(pid: u32) -> String {
    let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    let comm = String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned();
    comm.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Who it is and where it waits, as far as can be read; state `X` and no name if it is gone. Blocks on the file system.
#[must_use]
pub fn describe(holder: &Holder) -> wire::Holder {
    let seen = Seen::of(&holder.process);
    let stack = seen.as_ref().map(|seen| stack(seen.pid, seen.tid)).unwrap_or_default();
    let state = match (&seen, holder.process.look()) {
        (Some(seen), _) => seen.state,
        (None, Ok(Presence::Zombie(..))) => 'Z',
        (None, _) => 'X',
    };
    wire::Holder {
        pid: holder.process.pid,
        comm: seen.as_ref().map(|seen| seen.comm.clone()).unwrap_or_default(),
        state: state.into(),
        wchan: seen.as_ref().and_then(|seen| seen.wchan.clone()),
        stack,
        how: holder.how.clone(),
        frozen_by: seen.and_then(|seen| seen.frozen_by()),
        mount_ns: holder.mount_ns,
    }
}

fn stack(pid: u32, tid: u32) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stack")).unwrap_or_default();
    let frame = |line: &str| line.trim_start_matches("[<0>]").trim().chars().take(FRAME).collect();
    text.lines().take(FRAMES).map(frame).collect()
}

/// The processes that a dying init waits for: its descendants, or, where it has none, whoever was put into its namespace
/// from outside.
#[must_use]
pub fn awaited_by(init: &ProcessIdentity) -> Vec<ProcessIdentity> {
    let living = |pid: u32| {
        let process = ProcessIdentity::of(pid).ok()?;
        matches!(process.look(), Ok(Presence::Alive(_))).then_some(process)
    };
    let (mut found, mut next) = (Vec::new(), VecDeque::from([init.pid]));
    while let Some(parent) = next.pop_front().filter(|_| found.len() < RELATIVES) {
        let children = children(parent);
        found.extend(children.iter().filter_map(|&pid| living(pid)));
        next.extend(children.into_iter().take(RELATIVES));
    }
    if found.is_empty()
        && let Some(namespace) = pid_namespace(init.pid)
    {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let inside = pids.filter(|&pid| pid != init.pid && pid_namespace(pid) == Some(namespace));
        found = inside.filter_map(living).take(RELATIVES).collect();
    }
    // Whoever had that pid, if it is not the one that was asked for.
    if matches!(init.look(), Ok(Presence::Alive(_))) { found } else { Vec::new() }
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().take(THREADS);
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
#[path = "holder_tests.rs"]
mod tests;
