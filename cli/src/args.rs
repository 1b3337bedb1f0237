//! The command line, and the values that it understands.

use crate::{commands, commands::Command};
use clap::Parser;
use sexton_common::{Layout, launch::Stdio, wire::PROTOCOL};
use std::{path::PathBuf, time::Duration};

/// Runs containers and tells how they ended: exactly, once, and leaving nothing behind.
#[derive(Debug, Parser)]
#[command(name = "sexton", version, max_term_width = 100)]
#[command(after_help = "Exit codes: the container's own for run and wait (128 + N if signal N ended it); 125 if its \
    status is unknown or sexton failed to run it; 124 if wait timed out; 2 for bad usage; else 1.")]
pub struct Cli {
    /// sextond's state directory [default: $SEXTON_STATE_DIR, else /run/sexton]
    #[arg(long, global = true, value_name = "DIR", value_parser = absolute)]
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
        use commands::Command::{Create, Run, Wait};
        matches!(self, Run(_) | Create(_) | Wait(_))
    }
}

/// This client's release and protocol.
pub fn own_version() -> (&'static str, u32) {
    (env!("CARGO_PKG_VERSION"), PROTOCOL)
}

/// A path, made absolute: sextond has another working directory.
pub fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|e| format!("{e}: give a path"))
}

/// A runtime: a path if there is a slash in it, else a name that sextond looks up in its own `PATH`.
pub fn program(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("the runtime's name is empty: give runc, crun or a path".into()),
        path if path.contains('/') => absolute(path),
        name => Ok(name.into()),
    }
}

/// A duration as `10s`, `1m 30s` or, as `docker stop -t` has it, a number of seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    humantime::parse_duration(text).map_err(|e| format!("{e}: write e.g. 10s, 500ms or 2m"))
}

/// A duration that is not zero.
pub fn some_time(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|time| {
        if time.is_zero() { Err("it must be longer than zero: write e.g. 10s".into()) } else { Ok(time) }
    })
}

/// `null`, `inherit` or `file:PATH`.
pub fn stdio(text: &str) -> Result<Stdio, String> {
    match text.split_once(':') {
        None if text == "null" => Ok(Stdio::Null),
        None if text == "inherit" => Ok(Stdio::Inherit),
        Some(("file", path)) if !path.is_empty() => absolute(path).map(Stdio::File),
        _ => Err("use null, inherit or file:PATH".into()),
    }
}

/// Milliseconds, as requests carry them.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    fn durations() {
        assert_eq!(duration("10").unwrap(), Duration::from_secs(10));
        assert_eq!(duration("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        assert!(duration("ten").unwrap_err().contains("write e.g."));
        assert!(duration("-1").is_err() && duration("").is_err());
        assert!(some_time("0s").is_err());
    }

    #[test]
    fn stdio_words() {
        assert_eq!(stdio("null").unwrap(), Stdio::Null);
        assert_eq!(stdio("inherit").unwrap(), Stdio::Inherit);
        assert_eq!(stdio("file:/a:b").unwrap(), Stdio::File("/a:b".into()));
        assert_eq!(stdio("file:x").unwrap(), Stdio::File(std::env::current_dir().unwrap().join("x")));
        for bad in ["", "file:", "fifo", "NULL", "file", "fds:0,1,2"] {
            assert!(stdio(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn runtimes() {
        assert_eq!(program("crun").unwrap(), PathBuf::from("crun"));
        assert!(program("./crun").unwrap().is_absolute());
        assert!(program("").is_err());
    }

    #[test]
    fn every_verb_parses() {
        for line in [
            "run -d --rm c1 --bundle /b --runtime crun --runtime-root /r --runtime-arg --debug --stdio file:/o --timeout 5s",
            "create c1 -b .",
            "start c1 c2",
            "ps -a --json",
            "wait c1 c2 --timeout 10s --json",
            "events --json --since 7",
            "inspect c1 --json",
            "kill c1",
            "kill c1 hup",
            "stop c1 c2 -t 10 -s INT",
            "rm -f c1 c2",
            "watch --id c1 --fifo /f --pid 5 --shim-pid 6 --runtime runc --runtime-root /r --bundle /b --json",
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
        refused(&["stop"], "<ID>...");
        refused(&["run", "c1", "-b", ""], "give a path");
    }
}
