//! Everything that there is in the model: one id, its runs, the disk, the collector.

use super::{
    super::machine::Machine,
    config::{Config, Left},
};
use sexton_common::{ExitStatus, Source, UnknownReason};

/// How many runs of one id there may be.
pub const RUNS: usize = 2;

/// A run, by its place in [`World::runs`]: its generation.
pub type G = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rec {
    pub of: G,
    pub status: ExitStatus,
    pub source: Source,
}

impl Rec {
    pub fn unknown(of: G, reason: UnknownReason) -> Self {
        Self { of, status: ExitStatus::Unknown { reason }, source: Source::None }
    }
}

/// What the kernel says of a run's init.
pub fn status(g: G) -> ExitStatus {
    ExitStatus::Code(if g == 0 { 40 } else { 41 })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    No,
    /// Waits to be started.
    Created,
    Running,
    Zombie,
    Reaped,
}

/// Where a shim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shim {
    No,
    /// Looked: nobody has the id.
    Looked,
    /// The directory is in place.
    Placed,
    /// And its name is durable.
    Durable,
    /// The runtime creates.
    Creating,
    Created,
    /// `init` is there.
    Noted,
    /// Has announced, waits for an answer.
    Announced,
    /// About to start it, or others are.
    Starting,
    Asleep,
    /// At this step of the delivery.
    Delivers {
        step: u8,
        /// The record could not be written.
        failed: bool,
        /// Not for the first time.
        again: bool,
    },
    /// The launch failed: at this step of undoing it.
    Undoes(u8),
    /// Its files are closed, it is not dead yet.
    Dying,
    Dead,
}

/// A run's directory, wherever it is moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Dir {
    pub launch_synced: bool,
    pub init: bool,
    /// The shim's temporary file, and whether its content is durable.
    pub temporary: Option<bool>,
    pub exit: Option<Rec>,
    /// What of `exit` would outlast a power cut.
    pub exit_synced: bool,
    pub exit_named: bool,
    pub clean: bool,
    pub removed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub shim: Shim,
    pub init: Init,
    /// The user's process has run.
    pub ran: bool,
    pub dir: Dir,
    /// Unread records in the FIFO.
    pub bytes: u8,
    /// The shim has rung, and had been able to write.
    pub rung: bool,
    /// What subscribers were told.
    pub told: Option<Rec>,
    /// By this collector.
    pub heard: u8,
    /// Its pidfd lies in the descriptor store.
    pub stored: bool,
    /// The engine wanted it removed.
    pub unwanted: bool,
    pub undone: bool,
}

/// What a task is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Idle,
    /// Before it is a task.
    Conclude(UnknownReason),
    RingLearns,
    RingLooks,
    /// The steps of `on_shim_death`.
    ShimDeath(u8),
    Look,
    Write(Rec),
    /// In whose directory.
    Sync(Rec, G),
}

/// What is being done for it outside of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    No,
    Start,
    Ensure,
    Look,
    Delete,
    Remember,
    Bury,
    Over(super::super::event::Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    pub machine: Machine,
    /// Whose.
    pub init: Option<G>,
    /// And whether it is on disk.
    pub verdict: Option<(Rec, bool)>,
    /// Whose, and whether a writer was there when it was opened.
    pub fifo: Option<(G, bool)>,
    pub shim_watched: bool,
    pub pidfd: Option<G>,
    /// The pidfd's first step was seen.
    pub died: bool,
    pub reaped: bool,
    pub timer: bool,
    pub op: Op,
    pub work: Work,
    /// An announcement waits to be read.
    pub mail: Option<G>,
}

/// Somebody who reads a container's facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Reader {
    pub stage: u8,
    pub g: G,
    pub shim_dead: bool,
    pub init: Option<G>,
    pub exit: Option<Rec>,
    pub clean: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Up {
    Down,
    /// Not listening yet.
    Begun,
    Listening,
    Scanning,
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub up: Up,
    pub listens: bool,
    pub births: bool,
    /// The scan, and what is born.
    pub reader: Reader,
    /// Who announces.
    pub caller: Reader,
    pub tasks: [Option<Task>; RUNS],
    /// Whose task has the id.
    pub handle: Option<G>,
}

impl Node {
    pub const DOWN: Self = Self {
        up: Up::Down,
        listens: false,
        births: false,
        reader: Reader { stage: 0, g: 0, shim_dead: false, init: None, exit: None, clean: false },
        caller: Reader { stage: 0, g: 0, shim_dead: false, init: None, exit: None, clean: false },
        tasks: [None; RUNS],
        handle: None,
    };
}

/// What was violated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    I1(&'static str),
    I2(&'static str),
    I3(&'static str),
    I4(&'static str),
    Stuck(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub runs: [Run; RUNS],
    /// Whose directory lies at the id, and whether that is durable.
    pub place: Option<G>,
    pub place_synced: bool,
    /// Whose container the runtime has under the id.
    pub runtime: Option<G>,
    pub full: bool,
    /// It was full once.
    pub spoilt: bool,
    pub node: Node,
    pub left: Left,
    pub broken: Option<Broken>,
}

impl World {
    pub fn new(cx: &Config) -> Self {
        let run = Run {
            shim: Shim::No,
            init: Init::No,
            ran: false,
            dir: Dir::default(),
            bytes: 0,
            rung: false,
            told: None,
            heard: 0,
            stored: false,
            unwanted: false,
            undone: false,
        };
        Self {
            runs: [run; RUNS],
            place: None,
            place_synced: false,
            runtime: None,
            full: false,
            spoilt: false,
            node: if cx.ready { Node { up: Up::Ready, listens: true, ..Node::DOWN } } else { Node::DOWN },
            left: cx.left,
            broken: None,
        }
    }

    pub fn shim_dead(&self, g: G) -> bool {
        self.runs[g].shim == Shim::Dead
    }

    pub fn init_dead(&self, g: G) -> bool {
        matches!(self.runs[g].init, Init::Zombie | Init::Reaped)
    }

    pub fn breaks(&mut self, what: Broken) {
        self.broken.get_or_insert(what);
    }
}
