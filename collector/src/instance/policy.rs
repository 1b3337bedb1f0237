//! Whether and when a container comes back: pure.
//!
//! Moby's rules and numbers, but for this: count and delay outlive the collector; a user's stop goes before every policy;
//! an end that nobody knows does not count as a failure without end; a start that failed is tried again like any failure.

use sexton_common::{ExitStatus, UnknownReason, restart::RestartPolicy};
use std::time::Duration;

/// The numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The delay before the first restart.
    pub first: Duration,
    /// The longest delay; each is twice the one before.
    pub max: Duration,
    /// After a run of at least this length the next delay is the first again.
    pub reset_after: Duration,
    /// How `on-failure` takes an end that nobody knows.
    pub unknown: UnknownEnds,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            max: Duration::from_secs(60),
            reset_after: Duration::from_secs(10),
            unknown: UnknownEnds::Failure { in_a_row: 3 },
        }
    }
}

/// How `on-failure` takes an end that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownEnds {
    /// As a failure, so many in a row; the container stays as it is after the next one.
    Failure {
        /// How many.
        in_a_row: u32,
    },
    /// As a success.
    Success,
}

/// What is remembered from run to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often it was started again since a user has started it.
    pub count: u32,
    /// The delay before the last restart; 0 before the first, and after a long run.
    pub delay_ms: u64,
    /// How many of its last ends in a row were unknown.
    pub unknowns: u32,
}

/// What follows from an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is started again.
    Restart {
        /// To be remembered.
        tally: Tally,
        /// After so long.
        delay: Duration,
    },
    /// It stays as it is.
    Stay {
        /// To be remembered.
        tally: Tally,
        /// Why.
        why: Stay,
    },
}

/// Why a container stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Its policy does not want it back after such an end.
    NotWanted,
    /// A user has stopped it.
    StoppedByUser,
    /// `on-failure:N` is used up.
    Exhausted,
    /// Too many of its ends in a row were unknown.
    Unknown,
}

/// Why the collector has just begun to look after a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The collector was away, the machine was not.
    CollectorRestarted,
    /// The machine was.
    MachineRebooted {
        /// It ran, or was about to, when the machine went down.
        was_running: bool,
    },
}

/// How an end counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Failure,
    Unknown,
}

fn end(status: &ExitStatus) -> End {
    match status {
        ExitStatus::Code(0) => End::Success,
        // That it never began is known.
        ExitStatus::Code(_)
        | ExitStatus::Signal { .. }
        | ExitStatus::Unknown { reason: UnknownReason::NeverStarted } => End::Failure,
        ExitStatus::Unknown { .. } => End::Unknown,
    }
}

/// What follows from a run's end. `ran` is how long it ran, if it did and somebody knows.
pub fn after_exit(
    policy: RestartPolicy,
    tally: Tally,
    stopped_by_user: bool,
    status: &ExitStatus,
    ran: Option<Duration>,
    rules: &Rules,
) -> Verdict {
    let unborn = matches!(status, ExitStatus::Unknown { reason: UnknownReason::NeverStarted });
    let mut tally = tally;
    if ran.is_some_and(|ran| ran >= rules.reset_after) && !unborn {
        tally.delay_ms = 0;
    }
    tally.unknowns = match end(status) {
        End::Unknown => tally.unknowns.saturating_add(1),
        // Nothing ran that could have ended.
        End::Failure if unborn => tally.unknowns,
        End::Failure | End::Success => 0,
    };
    decide(policy, tally, stopped_by_user, end(status), rules)
}

/// What follows from a start that failed: as after a failed run that took no time.
pub fn after_failed_start(policy: RestartPolicy, tally: Tally, stopped_by_user: bool, rules: &Rules) -> Verdict {
    decide(policy, tally, stopped_by_user, End::Failure, rules)
}

/// Whether a container that does not run is started when the collector starts. Its last end, if it had one, was decided upon
/// (and is in `tally`), or its machine was rebooted; if it ran then, that end is unknown and not in `tally`, and whoever starts
/// the container counts it there.
pub fn at_start(
    policy: RestartPolicy,
    tally: Tally,
    stopped_by_user: bool,
    came: Came,
    last: Option<&ExitStatus>,
    rules: &Rules,
) -> bool {
    let lost = came == Came::MachineRebooted { was_running: true };
    match policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        _ if stopped_by_user => false,
        RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnReboot => lost,
        RestartPolicy::OnFailure { .. } => {
            let unknowns = tally.unknowns.saturating_add(u32::from(lost));
            let end = if lost { Some(End::Unknown) } else { last.map(end) };
            end.is_some_and(|end| objection(policy, Tally { unknowns, ..tally }, end, rules).is_none())
        }
    }
}

fn decide(policy: RestartPolicy, tally: Tally, stopped_by_user: bool, end: End, rules: &Rules) -> Verdict {
    let why = if stopped_by_user { Some(Stay::StoppedByUser) } else { objection(policy, tally, end, rules) };
    if let Some(why) = why {
        return Verdict::Stay { tally, why };
    }
    let delay = match tally.delay_ms {
        0 => rules.first,
        // The configuration may be another than it was then.
        before => Duration::from_millis(before.saturating_mul(2)).max(rules.first),
    };
    let delay = delay.min(rules.max);
    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).max(1);
    Verdict::Restart { tally: Tally { count: tally.count.saturating_add(1), delay_ms, ..tally }, delay }
}

/// Why a policy does not want a container back after such an end, which `tally` has already.
fn objection(policy: RestartPolicy, tally: Tally, end: End, rules: &Rules) -> Option<Stay> {
    let max = match policy {
        RestartPolicy::No | RestartPolicy::OnReboot => return Some(Stay::NotWanted),
        RestartPolicy::Always | RestartPolicy::UnlessStopped => return None,
        RestartPolicy::OnFailure { max } => max,
    };
    match (end, rules.unknown) {
        (End::Success, _) | (End::Unknown, UnknownEnds::Success) => return Some(Stay::NotWanted),
        (End::Unknown, UnknownEnds::Failure { in_a_row }) if tally.unknowns > in_a_row => return Some(Stay::Unknown),
        (End::Unknown, UnknownEnds::Failure { .. }) | (End::Failure, _) => {}
    }
    max.is_some_and(|max| tally.count >= max.get()).then_some(Stay::Exhausted)
}
