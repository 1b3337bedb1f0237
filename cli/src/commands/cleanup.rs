//! What is registered for clean-up: the options of `run`, `create` and `gc add`.

use crate::args;
use clap::Args;
use sexton_common::cleanup::Cleanup;
use std::path::PathBuf;

/// What else is to be cleaned.
#[derive(Debug, Args)]
#[command(next_help_heading = "What else is cleaned up after its end (each may be repeated; 64 things at most)")]
pub struct CleanupOptions {
    /// Remove this file, socket, FIFO or directory with all that is in it; a link itself, never what it points at
    #[arg(long, value_name = "PATH", value_parser = args::absolute)]
    cleanup_path: Vec<PathBuf>,
    /// Unmount everything that is mounted here and below; the directory stays
    #[arg(long, value_name = "PATH", value_parser = args::absolute)]
    cleanup_mount: Vec<PathBuf>,
    /// Unmount this network namespace, as `ip netns` makes them, and remove the file
    #[arg(long, value_name = "PATH", value_parser = args::absolute)]
    cleanup_netns: Vec<PathBuf>,
    /// Run this by /bin/sh -c after everything else is gone, until it ends with 0: at least once, in the order given
    ///
    /// SEXTON_ID, SEXTON_GENERATION, SEXTON_BUNDLE and SEXTON_STATUS (as a shell would see it; empty if it is unknown)
    /// are in its environment. A reboot does not cancel it.
    #[arg(long, value_name = "COMMAND", value_parser = args::shell_command, allow_hyphen_values = true)]
    cleanup_exec: Vec<String>,
}

impl From<CleanupOptions> for Cleanup {
    fn from(options: CleanupOptions) -> Self {
        Self {
            paths: options.cleanup_path,
            mounts: options.cleanup_mount,
            netns: options.cleanup_netns,
            exec: options.cleanup_exec,
        }
    }
}
