//! `node`: the machine as a whole.

mod status;

use crate::{daemon::Daemon, failure::Failure};
use clap::{Args, Subcommand};

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
}

impl Node {
    /// Does it. Returns the process' exit code.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        match self.verb {
            None => self.status.execute(daemon),
            Some(Verb::Status(status)) => status.execute(daemon),
        }
    }
}
