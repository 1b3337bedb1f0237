//! Whether a container has come to rest, and whether anything is left.

use super::{
    site::Party,
    tally::{Outcome, Violation},
};
use crate::{
    node::Node,
    proc,
    subscriber::{Heard, Subscriber},
    wait::{LONG, wait_until},
};
use sexton_common::{
    ContainerId, ExitStatus, UnknownReason,
    wire::{ContainerInfo, EventKind, Reply, Request, State},
};
use std::time::{Duration, Instant};

/// What comes to rest does so within this, on a loaded machine.
pub const REST_WITHIN: Duration = LONG;
const CLEAN_WITHIN: Duration = LONG;
/// What waits for nobody must be seen waiting as long as this.
const WAITS_FOR: Duration = Duration::from_millis(200);
/// What is orphaned and was to be started by its shim is seen to by the collector within this.
const SEEN_TO_WITHIN: Duration = Duration::from_secs(5);

/// How a container has come to rest.
#[derive(Clone, Debug)]
pub enum Rest {
    /// Clean, with a record.
    Stopped(Box<ContainerInfo>),
    /// Created, and nobody is left who would start it.
    Waiting(Box<ContainerInfo>),
    /// There is none.
    Nothing,
}

/// Waits until nothing moves any more.
///
/// # Errors
/// If it goes on, or hangs.
pub fn settle(node: &Node, id: &ContainerId) -> Result<Rest, Violation> {
    let mut rest = None;
    let mut last = None;
    let mut waiting_since = None;
    let settled = wait_until(REST_WITHIN, || {
        last = node.list(true).into_iter().find(|info| info.id == *id);
        let waits = last.as_ref().is_some_and(|info| waits_to_be_started(node, info));
        waiting_since = waits.then(|| waiting_since.unwrap_or_else(Instant::now));
        rest = match &last {
            Some(info) if info.state == State::Stopped => Some(Rest::Stopped(Box::new(info.clone()))),
            Some(info) if waiting_since.is_some_and(|since: Instant| since.elapsed() > patience(info.state)) => {
                Some(Rest::Waiting(Box::new(info.clone())))
            }
            None if is_nowhere(node, id) => Some(Rest::Nothing),
            _ => None,
        };
        rest.is_some()
    });
    if settled && let Some(rest) = rest {
        return Ok(rest);
    }
    let shown = last.map_or_else(|| "not listed".to_owned(), |info| format!("{info:?}"));
    Err(Violation::leaked(format!(
        "{id} does not come to rest: {shown}; left:\n    {}",
        node.leftovers().join("\n    ")
    )))
}

fn patience(state: State) -> Duration {
    if state == State::Orphaned { SEEN_TO_WITHIN } else { WAITS_FOR }
}

/// Nobody is about to start it: its shim is dead, or leaves that to others of whom there is none.
fn waits_to_be_started(node: &Node, info: &ContainerInfo) -> bool {
    let alone = match info.state {
        State::Orphaned => !is_worked_on(node, &info.id, &[]),
        State::Created => !is_worked_on(node, &info.id, &info.shim_pid.into_iter().collect::<Vec<_>>()),
        _ => false,
    };
    alone && node.runtime_root().join(info.id.as_str()).join("exec.fifo").exists()
}

fn is_nowhere(node: &Node, id: &ContainerId) -> bool {
    // In this order: a process that is gone has left what it leaves.
    !is_worked_on(node, id, &[]) && !node.layout().container(id).path().exists()
}

/// Whether a shim or a runtime, but for those, is at it, or a child of a dead collector that is about to become one.
fn is_worked_on(node: &Node, id: &ContainerId, but: &[u32]) -> bool {
    let dir = node.dir().to_string_lossy().into_owned();
    let mut daemons = 0_usize;
    let mut at_it = 0;
    for pid in proc::pids().into_iter().filter(|pid| *pid != std::process::id() && !but.contains(pid)) {
        let words = proc::command_line(pid);
        daemons += usize::from(words.contains(&dir) && words.contains("sextond.toml"));
        at_it += u32::from(words.contains(id.as_str()));
    }
    at_it > 0 || daemons > node.expected().len().max(1)
}

/// What is told of a run that has come to rest, against what the container did. `launched`: somebody was told that
/// it runs. `may_be_unknown`: shim and collector were dead when it ended.
///
/// # Errors
/// If that is not the truth.
pub fn judge(
    node: &Node,
    party: &Party,
    rest: &Rest,
    launched: bool,
    may_be_unknown: bool,
) -> Result<Outcome, Violation> {
    let Party { id, code, .. } = party;
    let ran = party.has_run();
    let info = match rest {
        Rest::Nothing if ran => return Err(Violation::lost(format!("{id} has run, and nothing says so"))),
        Rest::Nothing if launched => return Err(Violation::lost(format!("{id} was launched, and nothing says so"))),
        Rest::Nothing => return Ok(Outcome::NeverStarted),
        Rest::Waiting(info) if ran => return Err(Violation::lost(format!("{id} has run: {info:?}"))),
        Rest::Waiting(_) => return Ok(Outcome::LeftWaiting),
        Rest::Stopped(info) => info,
    };
    let Some(record) = node.record(id) else { return Err(Violation::lost(format!("no record on disk: {info:?}"))) };
    if (Some(record.status), Some(record.source), record.generation) != (info.status, info.source, info.generation) {
        return Err(Violation::lost(format!("record and collector differ: {record:?}, {info:?}")));
    }
    match record.status {
        ExitStatus::Code(said) if ran && said == *code => Ok(Outcome::Exact),
        ExitStatus::Unknown { reason: UnknownReason::NeverStarted } if !ran => Ok(Outcome::NeverStarted),
        ExitStatus::Unknown { reason: UnknownReason::ShimAndCollectorKilled } if may_be_unknown => Ok(Outcome::Unknown),
        // What waited to become the user's process was killed: the kernel's word on that.
        ExitStatus::Signal { .. } | ExitStatus::Code(_) if !ran => Ok(Outcome::NeverStarted),
        status => Err(Violation::lost(format!(
            "{id} has run: {ran}, exits with {code}, and is said to be {status}: {record:?}"
        ))),
    }
}

/// All that a subscriber is told of what has happened by now: it may be a little behind those who ask.
#[must_use]
pub fn heard_by_now(node: &Node, events: &Subscriber) -> Heard {
    let Ok(Reply::Node(now)) = node.ask(&Request::Node {}) else { return events.heard() };
    let mut heard = events.heard();
    wait_until(REST_WITHIN, || {
        heard = events.heard();
        heard.events.last().map_or(heard.snapshot_seq, |(_, event)| event.seq) >= now.seq
    });
    heard
}

/// An exit is told once to whoever listens all the time.
///
/// # Errors
/// If it is not.
pub fn judge_events(heard: &Heard, id: &ContainerId, expected: Option<usize>) -> Result<(), Violation> {
    let kinds: Vec<_> =
        heard.events.iter().map(|(_, event)| event).filter(|event| event.container.id == *id).map(|e| e.kind).collect();
    let exits = kinds.iter().filter(|kind| **kind == EventKind::Exited).count();
    if expected.map_or(exits <= 1, |expected| exits == expected) {
        return Ok(());
    }
    Err(Violation::lost(format!("{id}: its exit was told {exits} times, not {expected:?}: {kinds:?}")))
}

/// Removes it, whatever state it is in.
///
/// # Errors
/// If the collector refuses.
pub fn remove(node: &Node, id: &ContainerId) -> Result<(), Violation> {
    node.remove(id, true).map_err(|e| Violation::leaked(format!("rm -f {id}: {e}")))
}

/// Nothing is left of anything.
///
/// # Errors
/// What is.
pub fn nothing_left(node: &Node) -> Result<(), Violation> {
    nothing_left_but(node, None)
}

/// Nothing is left but this process.
///
/// # Errors
/// What is.
pub fn nothing_left_but(node: &Node, pid: Option<u32>) -> Result<(), Violation> {
    let known = pid.map(|pid| format!("process {pid} "));
    let mut left = Vec::new();
    let clean = wait_until(CLEAN_WITHIN, || {
        left = node.leftovers();
        left.retain(|line| known.as_ref().is_none_or(|known| !line.starts_with(known)));
        left.is_empty()
    });
    if clean { Ok(()) } else { Err(Violation::leaked(format!("left behind: {}", left.join("; ")))) }
}

/// The id is free: it runs once more, from launch to removal.
///
/// # Errors
/// If it does not.
pub fn again(node: &Node, party: &mut Party, code: u8) -> Result<(), Violation> {
    party.exits(code);
    let launched = node.launch(node.launch_request(&party.id, party.bundle(), sexton_common::launch::Mode::Run));
    launched.map_err(|e| Violation::wrong(format!("{} cannot be used again: {e}", party.id)))?;
    let info = node.wait(&party.id);
    if info.status != Some(ExitStatus::Code(code)) {
        return Err(Violation::lost(format!("used again, it exits with {code}: {info:?}")));
    }
    remove(node, &party.id)
}
