//! `kill` and `stop`.

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
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Stop {
    /// Stops all at once and prints the name of each that has ended.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let within = self.timeout.saturating_add(SIMPLE);
        fanout::each(daemon, &self.ids, within, |id| Request::Stop {
            id: id.clone(),
            signal: self.signal,
            timeout_ms: args::millis(self.timeout),
        })
    }
}
