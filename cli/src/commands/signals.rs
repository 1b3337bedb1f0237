//! `kill` and `stop`.

use super::all::{self, Each};
use crate::{
    args,
    daemon::{Daemon, SIMPLE},
    failure::Failure,
    fanout, signal,
};
use clap::Args;
use sexton_common::{ContainerId, wire::Request};
use std::time::Duration;

/// `sexton kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// The container
    id: ContainerId,
    /// The signal: a name with or without SIG, RTMIN+N, or a number
    #[arg(default_value = "TERM", value_parser = signal::parse)]
    signal: i32,
}

impl Kill {
    /// Sends it.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        daemon.done(&Request::Kill { id: self.id, signal: self.signal }, SIMPLE)?;
        Ok(0)
    }
}

/// `sexton stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// How long to wait before SIGKILL
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = args::duration)]
    timeout: Duration,
    /// The first signal
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal::parse)]
    signal: i32,
    /// All that run or are about to
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// With --all: print what came of each as JSON, one a line
    #[arg(long, requires = "all", conflicts_with = "ids")]
    json: bool,
    /// The containers
    #[arg(required_unless_present = "all", value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Stop {
    /// Stops all at once and prints the name of each that has ended.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let within = self.timeout.saturating_add(SIMPLE);
        let timeout_ms = args::millis(self.timeout);
        let request = |id: &ContainerId| Request::Stop { id: id.clone(), signal: self.signal, timeout_ms };
        if !self.all {
            return fanout::each(daemon, &self.ids, within, request);
        }
        let each = Each { daemon, what: "stopping", within, forgiven: all::STOPPED, json: self.json };
        let ids = all::ids(&all::alive(daemon)?);
        Ok(all::code(&each.run(&ids, request)?))
    }
}
