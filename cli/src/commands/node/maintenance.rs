//! `node maintenance`.

use super::{stats, status::show};
use crate::{daemon::Daemon, failure::Failure};
use clap::{Args, ValueEnum};
use sexton_common::wire::Request;

/// `sexton node maintenance`.
#[derive(Debug, Args)]
pub struct Maintenance {
    /// Whether to refuse starts
    #[arg(value_name = "on|off")]
    to: To,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    On,
    Off,
}

impl Maintenance {
    /// Says how the node is then.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        show(&stats(daemon, &Request::Maintenance { on: self.to == To::On })?, self.json)
    }
}
