//! `restart`.

use crate::{
    args,
    daemon::{Daemon, unexpected},
    failure::Failure,
    fanout, output, signal,
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{Reply, Request},
};
use std::time::Duration;

/// What its end, its clean-up and its start may take, besides the time that it has for its end.
const ROUND: Duration = Duration::from_secs(180);

/// `sexton restart`.
#[derive(Debug, Args)]
pub struct Restart {
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

impl Restart {
    /// Restarts all at once and prints the name of each that runs again.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let within = self.timeout.saturating_add(ROUND);
        let request = |id: &ContainerId| Request::Restart {
            id: id.clone(),
            signal: self.signal,
            timeout_ms: args::millis(self.timeout),
        };
        fanout::each_of(
            daemon,
            &self.ids,
            within,
            request,
            |connection| connection.receive(within),
            |id, reply| match reply {
                Reply::Launched(_) => output::line(id),
                other => Err(unexpected(&other)),
            },
        )
    }
}
