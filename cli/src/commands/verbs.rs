//! `start`, `pause`, `resume` and `rm`: one plain request for each container.

use super::{
    all::{self, Each},
    ps,
};
use crate::{daemon::Daemon, failure::Failure, fanout};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{ErrorCode, Request},
};
use std::time::Duration;

/// How long a start may take: the runtime's own step, of 120 s, is in it.
const START: Duration = Duration::from_secs(130);
/// How long freezing and thawing may take: the runtime's time, its queue, and the kernel's.
const FREEZE: Duration = Duration::from_secs(60);
/// How long a removal may take: with force, the kill and the first clean-up are in it.
const REMOVE: Duration = Duration::from_secs(60);

/// `sexton start`.
#[derive(Debug, Args)]
pub struct Start {
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Start {
    /// Starts each and prints its name.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        fanout::each(daemon, &self.ids, START, |id| Request::Start { id: id.clone() })
    }
}

/// `sexton pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Pause {
    /// Freezes each and prints its name.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        fanout::each(daemon, &self.ids, FREEZE, |id| Request::Pause { id: id.clone() })
    }
}

/// `sexton resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Resume {
    /// Thaws each and prints its name.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        fanout::each(daemon, &self.ids, FREEZE, |id| Request::Resume { id: id.clone() })
    }
}

/// `sexton rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Kill those that still run
    #[arg(short, long)]
    force: bool,
    /// All that there are; without --force those that run are refused
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: print what came of each as JSON, one a line
    #[arg(long, requires = "all", conflicts_with = "ids")]
    json: bool,
    /// The containers
    #[arg(required_unless_present = "all", value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Rm {
    /// Removes each and prints its name.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let request = |id: &ContainerId| Request::Remove { id: id.clone(), force: self.force };
        if !self.all {
            return fanout::each(daemon, &self.ids, REMOVE, request);
        }
        let forgiven = &[ErrorCode::NoSuchContainer];
        let each = Each { daemon, what: "removing", within: REMOVE, forgiven, json: self.json };
        let ids = all::ids(&ps::list(daemon, true)?);
        Ok(all::code(&each.run(&ids, request)?))
    }
}
