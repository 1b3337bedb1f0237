//! `node` alone.

use super::stats;
use crate::{daemon::Daemon, failure::Failure, output};
use clap::Args;
use sexton_common::wire::{NodeStats, Request};

/// `sexton node`.
#[derive(Debug, Args)]
pub struct Status {
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Prints it.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        show(&stats(daemon, &Request::NodeStats {})?, self.json)
    }
}

/// Prints the state, its reasons, and how much runs.
pub fn show(stats: &NodeStats, json: bool) -> Result<u8, Failure> {
    if json {
        output::json_to_read(stats)?;
        return Ok(0);
    }
    output::line(stats.state.name())?;
    stats.why.iter().try_for_each(|why| output::line(format_args!("  {}", output::plain(why))))?;
    let most = stats.running.total.map(|total| format!(" of {total}")).unwrap_or_default();
    output::line(format_args!("  {}{most} containers run or are about to", stats.running.used))?;
    Ok(0)
}
