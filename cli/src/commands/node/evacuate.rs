//! `node evacuate`.

use super::{
    drain::{LATE, drain},
    stats,
};
use crate::{
    args,
    commands::all::{self, Each},
    daemon::{Daemon, SIMPLE},
    failure::Failure,
    output,
};
use clap::Args;
use nix::sys::signal::Signal;
use sexton_common::wire::Request;
use std::time::Duration;

/// `sexton node evacuate`.
#[derive(Debug, Args)]
pub struct Evacuate {
    /// How long each has before SIGKILL
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = args::duration)]
    time: Duration,
    /// Print what came of each as JSON, one a line
    #[arg(long)]
    json: bool,
}

impl Evacuate {
    /// Prints the name of each that has ended, and at the end what lives on; may be repeated.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        stats(daemon, &Request::Maintenance { on: true })?;
        let each = Each {
            daemon,
            what: "stopping",
            within: self.time.saturating_add(SIMPLE),
            forgiven: all::STOPPED,
            json: self.json,
        };
        let mut failed = drain(&each, LATE, all::alive, |id| Request::Stop {
            id: id.clone(),
            signal: Signal::SIGTERM as i32,
            timeout_ms: args::millis(self.time),
        })?;
        // What counts is what is seen, not what was answered.
        let left = all::ids(&all::alive(daemon)?);
        failed.retain(|id, _| left.contains(id));
        for id in &left {
            failed.entry(id.clone()).or_insert(1);
        }
        if !left.is_empty() {
            output::complain(format_args!(
                "{} could not be stopped: `sexton gc why ID` says what is in the way; this may be repeated",
                left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            ));
        }
        Ok(all::code(&failed))
    }
}
