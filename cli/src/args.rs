//! The values that the command line understands.

use sexton_common::{
    launch::{OnShimDeath, Stdio},
    wire::PROTOCOL,
};
use std::{path::PathBuf, time::Duration};

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

/// What `/bin/sh -c` should run.
pub fn shell_command(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty: give what /bin/sh -c should run".into()) } else { Ok(text.into()) }
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

/// `adopt` or `kill`.
pub fn on_shim_death(text: &str) -> Result<OnShimDeath, String> {
    match text {
        "adopt" => Ok(OnShimDeath::Adopt),
        "kill" => Ok(OnShimDeath::Kill),
        _ => Err("use adopt or kill".into()),
    }
}

/// Milliseconds, as requests carry them.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn commands_are_not_empty() {
        assert_eq!(shell_command("-x; true ").unwrap(), "-x; true ");
        for bad in ["", " ", "\t\n"] {
            assert!(shell_command(bad).unwrap_err().contains("/bin/sh -c"), "{bad:?}");
        }
    }

    #[test]
    fn runtimes() {
        assert_eq!(program("crun").unwrap(), PathBuf::from("crun"));
        assert!(program("./crun").unwrap().is_absolute());
        assert!(program("").is_err());
    }
}
