//! The verbs.

mod events;
mod inspect;
mod launch;
mod ps;
mod signals;
mod verbs;
mod version;
mod wait;
mod watch;

use crate::{args::Cli, daemon::Daemon, doctor, failure::Failure};
use clap::Subcommand;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create and start a container, wait for it and end as it does
    Run(launch::Run),
    /// Create a container; `start` starts it
    Create(launch::Create),
    /// Start created containers
    Start(verbs::Start),
    /// List containers
    Ps(ps::Ps),
    /// Wait until containers end, print each status and end with the last
    Wait(wait::Wait),
    /// Print what happens to containers, as it happens
    Events(events::Events),
    /// Show everything about a container
    Inspect(inspect::Inspect),
    /// Send a signal to a container
    Kill(signals::Kill),
    /// Signal containers, wait, then kill those that still run
    Stop(signals::Stop),
    /// Remove stopped containers
    Rm(verbs::Rm),
    /// Watch a container of a foreign shim (iSulad's), which writes its exit code to a FIFO
    Watch(watch::Watch),
    /// Show the releases of sexton and sextond
    Version(version::Version),
    /// Check whether this machine is fit for sextond, and say what to do about it
    Doctor(doctor::Doctor),
}

/// Does it. Returns the process' exit code.
pub fn execute(cli: Cli) -> Result<u8, Failure> {
    let daemon = Daemon { layout: cli.layout() };
    match cli.command {
        Command::Run(run) => run.execute(&daemon),
        Command::Create(create) => create.execute(&daemon),
        Command::Start(start) => start.execute(&daemon),
        Command::Ps(ps) => ps.execute(&daemon),
        Command::Wait(wait) => wait.execute(&daemon),
        Command::Events(events) => events.execute(&daemon),
        Command::Inspect(inspect) => inspect.execute(&daemon),
        Command::Kill(kill) => kill.execute(&daemon),
        Command::Stop(stop) => stop.execute(&daemon),
        Command::Rm(rm) => rm.execute(&daemon),
        Command::Watch(watch) => watch.execute(&daemon),
        Command::Version(version) => version.execute(&daemon),
        Command::Doctor(doctor) => doctor.execute(&daemon),
    }
}
