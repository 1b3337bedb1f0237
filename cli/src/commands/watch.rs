//! `watch`.

use super::launch::RuntimeOptions;
use crate::{
    args,
    daemon::{Daemon, SIMPLE, unexpected},
    failure::Failure,
    output,
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{Reply, Request, WatchRequest},
};
use std::path::PathBuf;

/// `sexton watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// The container's name
    #[arg(long)]
    id: ContainerId,
    /// The FIFO that its shim writes the exit code to: four bytes, in native byte order
    #[arg(long, value_name = "PATH", value_parser = args::absolute)]
    fifo: PathBuf,
    /// The container's init
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: u32,
    /// The shim
    #[arg(long, value_name = "PPID", value_parser = clap::value_parser!(u32).range(1..))]
    shim_pid: u32,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Its bundle, if it matters
    #[arg(long, value_name = "DIR", value_parser = args::absolute)]
    bundle: Option<PathBuf>,
    /// Print the container as JSON
    #[arg(long)]
    json: bool,
}

impl Watch {
    /// Hands it over to sextond and prints its name.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let request = WatchRequest {
            id: self.id,
            fifo: self.fifo,
            pid: self.pid,
            shim_pid: self.shim_pid,
            runtime: self.runtime.into(),
            bundle: self.bundle.unwrap_or_default(),
        };
        match daemon.ask(&Request::Watch(request), SIMPLE)? {
            Reply::Container(container) if self.json => output::json_to_read(&container)?,
            Reply::Container(container) => output::line(&container.id)?,
            other => return Err(unexpected(&other)),
        }
        Ok(0)
    }
}
