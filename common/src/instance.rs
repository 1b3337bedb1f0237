//! A container that comes back after its end, as it outlives its runs, the collector and the machine.

use crate::{ContainerId, ExitStatus, Launch, Stamp, WallTime, durable::Fact, identity::BootId};
use serde::{Deserialize, Serialize};

/// The `instances/<id>` fact. Written before anything that it says is done: a collector that is killed in between goes
/// on where this stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// The container.
    pub id: ContainerId,
    /// What was launched last, and will be again.
    pub launch: Launch,
    /// In which boot this was written.
    pub boot: BootId,
    /// How often it was started again since a user has started it.
    pub count: u32,
    /// The delay before the last restart, in milliseconds; 0 before the first.
    pub delay_ms: u64,
    /// How many of its last ends in a row were unknown.
    pub unknowns: u32,
    /// A user has stopped it.
    pub stopped_by_user: bool,
    /// It is being removed.
    pub removing: bool,
    /// What is to come.
    pub next: Next,
    /// How the last run that ended did.
    pub last: Option<Ended>,
    /// Why the last attempt to start it again failed.
    pub failure: Option<String>,
}

impl Fact for Instance {
    const KIND: u8 = b'N';
    const VERSION: u16 = 1;
}

/// What is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Next {
    /// Its run is there, or its end has not been decided upon.
    Run,
    /// It is started again after that run.
    Start {
        /// The run that ended: one of a higher generation is the restart.
        after: u64,
        /// When.
        due: Stamp,
    },
    /// It stays as it is.
    Nothing {
        /// The run that ended.
        after: u64,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which.
    pub generation: u64,
    /// How.
    pub status: ExitStatus,
    /// When its end was seen.
    pub exited: Option<WallTime>,
    /// How long it ran, by the clock that does not jump, in nanoseconds; `None` if it never did, or nobody knows.
    pub ran_ns: Option<u64>,
}
