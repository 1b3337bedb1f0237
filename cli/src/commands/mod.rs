//! The command line, and its verbs.

mod all;
mod cleanup;
mod events;
mod gc;
mod inspect;
mod launch;
mod node;
mod process;
mod ps;
mod restart;
mod signals;
mod stats;
mod verbs;
mod version;
mod wait;
mod watch;

use crate::{args, daemon::Daemon, doctor, failure::Failure};
use clap::{Parser, Subcommand};
use sexton_common::Layout;
use std::path::PathBuf;

/// Runs containers and tells how they ended: exactly, once, and leaving nothing behind.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, max_term_width = 100)]
#[command(after_help = "Exit codes: the container's own for run and wait (128 + N if signal N ended it); 125 if its \
    status is unknown or sexton failed to run it; 124 if wait timed out. Of all others: 2 for bad usage, 3 no such \
    container, 4 the id is taken, 5 already started, 6 already stopped, 7 not running, 8 running, 9 in GC, 10 the node \
    is full, 11 in maintenance, 12 the runtime failed, 13 it took too long, 14 busy, 15 paused, 16 not paused, \
    17 sextond is shutting down, 18 not allowed, else 1. Several containers: the code if all that failed agree, \
    else 1.")]
pub struct Cli {
    /// sextond's state directory [default: $SEXTON_STATE_DIR, else /run/sexton]
    #[arg(long, global = true, value_name = "DIR", value_parser = args::absolute)]
    pub state_dir: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Where everything lies.
    pub fn layout(&self) -> Layout {
        Layout::resolve(self.state_dir.clone(), None)
    }
}

impl Command {
    /// Whether its exit code is a container's, so that its own failures need one that containers rarely have:
    /// 125, as `docker run` and `podman wait` do.
    pub fn speaks_for_a_container(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Create(_) | Self::Wait(_))
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create and start a container, wait for it and end as it does
    Run(launch::Run),
    /// Create a container; `start` starts it
    Create(launch::Create),
    /// Start containers that were created, or have ended
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
    /// Stop containers if they run, and start them again
    Restart(restart::Restart),
    /// Freeze the processes of containers
    Pause(verbs::Pause),
    /// Let paused containers go on
    #[command(visible_alias = "unpause")]
    Resume(verbs::Resume),
    /// Remove stopped containers
    Rm(verbs::Rm),
    /// Watch a container of a foreign shim (iSulad's), which writes its exit code to a FIFO
    Watch(watch::Watch),
    /// Garbage: what could not be cleaned yet, what is in the way, and what others left behind
    Gc(gc::Gc),
    /// Show what containers use: CPU, memory, processes, I/O, disk
    Stats(stats::Stats),
    /// Show how the machine is; have it refuse containers, stop or remove all
    Node(node::Node),
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
        Command::Restart(restart) => restart.execute(&daemon),
        Command::Pause(pause) => pause.execute(&daemon),
        Command::Resume(resume) => resume.execute(&daemon),
        Command::Rm(rm) => rm.execute(&daemon),
        Command::Watch(watch) => watch.execute(&daemon),
        Command::Gc(gc) => gc.execute(&daemon),
        Command::Stats(stats) => stats.execute(&daemon),
        Command::Node(node) => node.execute(&daemon),
        Command::Version(version) => version.execute(&daemon),
        Command::Doctor(doctor) => doctor.execute(&daemon),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_parses() {
        for line in [
            "run -d --rm c1 --bundle /b --runtime crun --runtime-root /r --runtime-arg --debug --stdio file:/o --timeout 5s",
            "create c1 -b .",
            "run c1 -b . --cleanup-path p --cleanup-path /q --cleanup-mount /m --cleanup-netns /n --cleanup-exec -x",
            "create c1 -b . --cleanup-exec true --cleanup-exec false",
            "start c1 c2",
            "ps -a --json",
            "wait c1 c2 --timeout 10s --json",
            "events --json --since 7",
            "inspect c1 --json",
            "kill c1",
            "kill c1 hup",
            "stop c1 c2 -t 10 -s INT",
            "pause c1 c2",
            "resume c1 c2",
            "unpause c1",
            "rm -f c1 c2",
            "watch --id c1 --fifo /f --pid 5 --shim-pid 6 --runtime runc --runtime-root /r --bundle /b --json",
            "gc ls --json",
            "gc why c1 --json",
            "gc retry c1 c2",
            "gc retry --all",
            "gc forget c1 --i-know",
            "gc forget c1",
            "gc add c1",
            "gc add c1 --runtime crun --runtime-root /r --runtime-arg --debug --pid 5 --pid 6 --bundle /b --cleanup-path p",
            "gc scan --adopt --json",
            "gc ls --state-dir /s",
            "stats",
            "stats c1 c2 --watch",
            "stats --watch 2s --json",
            "stop --all --json",
            "rm --all -f --json",
            "node",
            "node --json",
            "node status --json",
            "node maintenance on",
            "node maintenance off --json",
            "node evacuate --time 5s --json",
            "node reset --i-know --json",
            "version --json",
            "doctor --json",
            "ps --state-dir /s",
        ] {
            let parsed = Cli::try_parse_from(["sexton"].into_iter().chain(line.split(' ')));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn bad_input_is_refused_with_a_reason() {
        let long = "x".repeat(129);
        let refused = |line: &[&str], word: &str| {
            let error = Cli::try_parse_from(["sexton"].iter().chain(line)).unwrap_err().to_string();
            assert!(error.contains(word), "{line:?}: {error}");
        };
        refused(&["inspect", "../x"], "may not contain '/'");
        refused(&["wait", ".."], "is a directory, not a container id");
        refused(&["start", ""], "may not be empty");
        refused(&["rm", &long], "at most 128 bytes, this one has 129");
        refused(&["run", "c1"], "--bundle");
        refused(&["kill", "c1", "NOSUCH"], "is not a signal");
        for verb in ["stop", "rm"] {
            refused(&[verb], "<ID>...");
            refused(&[verb, "--all", "c1"], "cannot be used with");
            refused(&[verb, "--json", "c1"], "cannot be used with");
        }
        refused(&["node", "maintenance"], "<on|off>");
        refused(&["node", "maintenance", "maybe"], "maybe");
        refused(&["node", "evacuate", "c1"], "c1");
        refused(&["run", "c1", "-b", ""], "give a path");
        for option in ["--cleanup-path", "--cleanup-mount", "--cleanup-netns"] {
            refused(&["run", "c1", "-b", ".", option, ""], "give a path");
            refused(&["create", "c1", "-b", ".", option], option);
        }
        refused(&["run", "c1", "-b", ".", "--cleanup-exec", " "], "what /bin/sh -c should run");
        refused(&["gc", "add", "c1", "--cleanup-exec", ""], "what /bin/sh -c should run");
        refused(&["gc"], "Usage: sexton gc");
        refused(&["gc", "why"], "<ID>");
        refused(&["gc", "why", "a/b"], "may not contain '/'");
        refused(&["gc", "why", "c1", "c2"], "c2");
        refused(&["gc", "ls", "c1"], "c1");
        refused(&["gc", "retry"], "--all");
        refused(&["gc", "retry", "--all", "c1"], "cannot be used with");
        refused(&["gc", "retry", &long], "at most 128 bytes");
        refused(&["gc", "forget", "--i-know"], "<ID>");
        refused(&["gc", "forget", "--i-know", "c1", "c2"], "c2");
        refused(&["gc", "add", "--pid", "7"], "<ID>");
        for pid in ["0", "1", "x", "4294967296"] {
            refused(&["gc", "add", "c1", "--pid", pid], pid);
        }
        refused(&["gc", "add", "c1", "--runtime", ""], "name is empty");
        refused(&["gc", "scan", "c1"], "c1");
        refused(&["stats", "a/b"], "may not contain '/'");
        refused(&["stats", "--watch", "0s"], "longer than zero");
        refused(&["node", "c1"], "c1");
    }
}
