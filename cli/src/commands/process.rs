//! A plain program instead of a bundle: the options of `run` and `create`.

use crate::args;
use clap::Args;
use sexton_common::workload::Program;
use std::path::PathBuf;

/// A program, and how it is run.
#[derive(Debug, Args)]
#[command(next_help_heading = "A plain program instead of a bundle")]
pub struct ProgramOptions {
    /// One more variable besides those that sextond has; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE", conflicts_with = "bundle", allow_hyphen_values = true)]
    env: Vec<String>,
    /// Its working directory [default: /]
    #[arg(short = 'w', long, value_name = "DIR", value_parser = args::absolute, conflicts_with = "bundle")]
    cwd: Option<PathBuf>,
    /// Who runs it: NAME or UID, with :GROUP or :GID if wanted [default: as sextond]
    #[arg(short, long, value_name = "USER", conflicts_with = "bundle")]
    user: Option<String>,
    /// The cgroup, a path below the root of every hierarchy, in which it gets one of its own [default: sextond's]
    #[arg(long, value_name = "PATH", conflicts_with = "bundle")]
    cgroup: Option<PathBuf>,
    /// The program and its arguments, after --
    #[arg(
        last = true,
        value_name = "COMMAND",
        conflicts_with_all = ["bundle", "runtime", "runtime_root", "runtime_arg"]
    )]
    command: Vec<String>,
}

impl From<ProgramOptions> for Option<Program> {
    fn from(options: ProgramOptions) -> Self {
        let ProgramOptions { env, cwd, user, cgroup, command } = options;
        (!command.is_empty()).then_some(Program { command, env, cwd, user, cgroup })
    }
}
