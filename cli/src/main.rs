//! `sexton`: what a person types.

mod args;
mod commands;
mod daemon;
mod doctor;
mod failure;
#[cfg(test)]
mod fake;
mod fanout;
mod follow;
mod forward;
mod output;
mod program;
mod progress;
mod removal;
mod show;
mod signal;
mod table;

use clap::{Parser, error::ErrorKind};
use commands::Cli;
use std::{ffi::OsString, process::ExitCode};

/// What `docker run` ends with when it was not the container that failed.
const NOT_THE_CONTAINER: u8 = 125;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            let for_a_container = speaks_for_a_container(std::env::args_os().skip(1));
            // Nothing can be done about a closed stderr.
            let _ = error.print();
            return ExitCode::from(if shown {
                0
            } else if for_a_container {
                NOT_THE_CONTAINER
            } else {
                2
            });
        }
    };
    let for_a_container = cli.command.speaks_for_a_container();
    match commands::execute(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if !failure.is_quiet() {
                output::complain(&failure);
            }
            ExitCode::from(failure.exit_code(for_a_container))
        }
    }
}

/// Whether these arguments, which clap refused, were meant for `run`, `create` or `wait`.
fn speaks_for_a_container(mut arguments: impl Iterator<Item = OsString>) -> bool {
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--state-dir") => drop(arguments.next()),
            Some(option) if option.starts_with('-') => {}
            Some(verb) => return matches!(verb, "run" | "create" | "wait"),
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_found_among_refused_arguments() {
        let of = |line: &str| speaks_for_a_container(line.split(' ').map(OsString::from));
        assert!(of("run --no-such-option"));
        assert!(of("--state-dir run create"));
        assert!(of("--state-dir=/x create ../x"));
        assert!(!of("--state-dir run ps"));
        assert!(!of("ps run"));
        assert!(!of("--bogus"));
    }
}
