//! Those who are compared: each runs the same bundles, and tells in its own way how they end.
//!
//! What all of them share, so that no figure comes from anything but the contestant: the same runc, the same bundle on
//! disk, its streams at `/dev/null`, the runtime's usual cgroup, every contestant's state on the same tmpfs, and what
//! it wants to keep on the same disk.

mod command;
mod conmon;
mod containerd;
mod floor;
mod home;
mod listening;
mod runc;
mod sexton;
mod shim;

use crate::{guest::Guest, plan::Plan};
use home::Home;
use listening::Listening;
use sexton_common::ContainerId;
use sexton_tests::{Node, binaries};
use std::sync::mpsc::Receiver;

/// Somebody who runs containers, detached, and watches them. Several threads may run and remove at once. Nothing is
/// left of it and its containers once it is dropped.
pub trait Engine: Send + Sync {
    /// What it has on the machine.
    fn home(&self) -> &Home;

    /// Runs the guest by the engine's own command; returns when that command has returned, and panics with its words
    /// if it failed.
    fn run(&self, guest: &Guest) -> Running;

    /// The daemon, where there is one.
    fn daemon(&self) -> Option<u32> {
        None
    }

    /// Begins to listen for exits, in a thread that notes the time of each as soon as it has been told. Returns when
    /// whatever ends from now on is heard. `None` for who tells nobody.
    fn listen(&self) -> Option<Exits> {
        None
    }

    /// What whoever uses the engine has to do after an exit, with the engine's own commands, so that nothing but a
    /// record is left; nothing where the engine does so itself. Its time counts as the engine's.
    fn clean(&self, _id: &ContainerId) {}

    /// The same for several, in one command where there is one.
    fn clean_all(&self, ids: &[ContainerId]) {
        ids.iter().for_each(|id| self.clean(id));
    }

    /// Removes all that is left of one, which may still run; its time is nobody's.
    fn remove(&self, id: &ContainerId);

    /// Where its guests' bundles and ids come from.
    fn node(&self) -> &Node {
        self.home().node()
    }

    /// Whether nothing of the container is left but its record: neither cgroup, and so no process, nor the runtime's
    /// state. Looked at in the same way for everybody, and cheap.
    fn is_clean(&self, id: &ContainerId) -> bool {
        self.home().is_clean(id)
    }
}

/// A container that runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its init, as the host sees it.
    pub init: u32,
    /// The process that watches it, if anybody does.
    pub monitor: Option<u32>,
    /// Just before the engine's command was started, as [`crate::guest::now`].
    pub asked: u64,
    /// When it had returned.
    pub returned: u64,
}

/// What a listener heard: stops listening when it is dropped.
#[derive(Debug)]
pub struct Exits {
    /// In the order in which it was told.
    pub heard: Receiver<Exit>,
    /// Ends the thread and what it runs.
    #[allow(dead_code, reason = "it is only dropped")]
    pub guard: Listening,
}

/// One exit that somebody was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Whose.
    pub id: String,
    /// When, as [`crate::guest::now`].
    pub at: u64,
    /// The exit code as the engine says it: 128 and the signal's number for who was killed; `None` if it does not say.
    pub code: Option<i32>,
}

/// Who there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `sexton run -d`, which asks `sextond`.
    Sexton,
    /// The same, whose exits are heard through `sexton events`.
    SextonEvents,
    /// `sexton-shim run`, and no collector anywhere: as conmon is used.
    Shim,
    /// `sexton-shim run` by an engine that listens to `sextond`.
    ShimWithCollector,
    /// `conmon` and then `runc start`, as Podman and CRI-O do it.
    Conmon,
    /// `ctr run -d`.
    Containerd,
    /// `runc run -d`: nobody watches, nobody tells.
    RuncRun,
    /// `runc create` and `runc start`: nor here.
    RuncCreate,
    /// The smallest parent that can be written, which runs `runc run -d` and then waits.
    Floor,
}

impl Kind {
    /// As the tables have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sexton => "sexton run -d",
            Self::SextonEvents => "sexton run -d, sexton events",
            Self::Shim => "sexton-shim",
            Self::ShimWithCollector => "sexton-shim, sextond listens",
            Self::Conmon => "conmon",
            Self::Containerd => "ctr run -d",
            Self::RuncRun => "runc run -d",
            Self::RuncCreate => "runc create + start",
            Self::Floor => "smallest parent",
        }
    }

    /// The first of its programs that this machine does not have.
    pub fn missing(self) -> Option<&'static str> {
        let programs: &[&str] = match self {
            Self::Conmon => &["conmon"],
            Self::Containerd => &["containerd", "containerd-shim-runc-v2", "ctr"],
            _ => &[],
        };
        programs.iter().copied().find(|program| binaries::find(program).is_none())
    }

    /// One of one's own, with no containers yet.
    pub fn engine(self, plan: &Plan) -> Box<dyn Engine> {
        match self {
            Self::Sexton => Box::new(sexton::Sexton::new(plan)),
            Self::SextonEvents => Box::new(sexton::Sexton::with_events(plan)),
            Self::Shim => Box::new(shim::Shim::alone(plan)),
            Self::ShimWithCollector => Box::new(shim::Shim::with_collector(plan)),
            Self::Conmon => Box::new(conmon::Conmon::new(plan)),
            Self::Containerd => Box::new(containerd::Containerd::new(plan)),
            Self::RuncRun => Box::new(runc::Runc::run(plan)),
            Self::RuncCreate => Box::new(runc::Runc::create(plan)),
            Self::Floor => Box::new(floor::Floor::new(plan)),
        }
    }
}

#[cfg(test)]
mod tests;
