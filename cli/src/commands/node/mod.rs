//! `node`: the machine, and whether it takes containers.

mod drain;
mod evacuate;
mod maintenance;
mod reset;
mod status;

use crate::{
    daemon::{Daemon, SIMPLE, unexpected},
    failure::Failure,
};
use clap::{Args, Subcommand};
use sexton_common::wire::{NodeStats, Reply, Request};

/// `sexton node`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Node {
    #[command(flatten)]
    status: status::Status,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show how the machine is: the same as without a verb
    Status(status::Status),
    /// Refuse all starts, or accept them again; outlives sextond and the machine
    Maintenance(maintenance::Maintenance),
    /// Begin maintenance and stop everything
    Evacuate(evacuate::Evacuate),
    /// Kill and remove everything, clean up what is in GC, and say what cannot go
    Reset(reset::Reset),
}

impl Node {
    /// Does it. Returns the process' exit code.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        match self.verb {
            None => self.status.execute(daemon),
            Some(Verb::Status(status)) => status.execute(daemon),
            Some(Verb::Maintenance(maintenance)) => maintenance.execute(daemon),
            Some(Verb::Evacuate(evacuate)) => evacuate.execute(daemon),
            Some(Verb::Reset(reset)) => reset.execute(daemon),
        }
    }
}

/// How the node is, or becomes.
fn stats(daemon: &Daemon, request: &Request) -> Result<NodeStats, Failure> {
    match daemon.ask(request, SIMPLE)? {
        Reply::NodeStats(stats) => Ok(*stats),
        other => Err(unexpected(&other)),
    }
}
