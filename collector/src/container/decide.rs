//! What follows from what was seen of a container, and from nothing else.
//!
//! | launch | init | exit | shim  | init process | so |
//! |---|---|---|-------|-------|----|
//! | y | – | – | alive | –     | being created: watch |
//! | y | – | – | dead  | –     | never started: `Unknown { never_started }`, clean up |
//! | y | y | – | alive | any   | running: FIFO and pidfd |
//! | y | y | – | dead  | there | orphaned: pidfd |
//! | y | y | – | dead  | gone  | `Unknown { shim_and_collector_killed }` |
//! | y | any | y | any | any   | exit known: clean up, unless `clean` says that it is |

use super::machine::Phase;
use sexton_common::UnknownReason;

/// What was seen of a container that has a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// An exit record of this run.
    pub record: bool,
    /// That it is clean.
    pub clean: bool,
    /// It is a foreign shim's.
    pub foreign: bool,
    /// Its shim is dead. It writes its record before that, so this was seen before the files.
    pub shim_dead: bool,
    /// Its init was noted down.
    pub init: bool,
    /// That process has been reaped.
    pub gone: bool,
    /// Somebody else is to start it, and has not yet.
    pub waits: bool,
    /// What was noted down of its init did not decode.
    pub init_damaged: bool,
    /// Its exit record did not decode.
    pub record_damaged: bool,
}

/// Where it is in its life, and why nobody will ever know how it ended, if that is so.
#[must_use]
pub fn decide(seen: &Seen) -> (Phase, Option<UnknownReason>) {
    if seen.record {
        return (if seen.clean { Phase::Stopped } else { Phase::Stopping }, None);
    }
    let unknown = match (seen.init, seen.shim_dead) {
        // The shim did its work; only its record was spoilt afterwards.
        (_, true) if seen.record_damaged && (seen.gone || !seen.init) => Some(UnknownReason::RecordDamaged),
        (false, true) if seen.init_damaged => Some(UnknownReason::RecordDamaged),
        (false, true) => Some(UnknownReason::NeverStarted),
        // A foreign FIFO may still hold the code, or have hung up: it is asked first.
        (true, true) if seen.gone && !seen.foreign => Some(UnknownReason::ShimAndCollectorKilled),
        _ => None,
    };
    let phase = match seen.init {
        _ if unknown.is_some() => Phase::Stopping,
        false => Phase::Creating,
        true if seen.shim_dead && !seen.foreign => Phase::Orphaned,
        true if seen.waits => Phase::Created,
        true => Phase::Running,
    };
    (phase, unknown)
}
