//! Where the container's standard streams go.

use crate::sys;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use sexton_common::launch::Stdio;
use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::PathBuf,
};

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// `/dev/null`.
    Null,
    /// Ours, or three others.
    Descriptors([RawFd; 3]),
    /// A file.
    File(PathBuf),
}

/// The same, opened: close-on-exec and above the standard streams.
#[derive(Debug)]
pub enum Streams {
    /// `/dev/null`, all three.
    Null,
    /// stdin, stdout, stderr.
    Given([OwnedFd; 3]),
    /// stdout and stderr are appended to it.
    File(File),
}

impl Asked {
    /// Understands `null`, `inherit`, `file:PATH` and `fds:IN,OUT,ERR`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            let path = std::path::absolute(path).map_err(|e| format!("--stdio {text}: {e}"))?;
            return Ok(Self::File(path));
        }
        if let Some(list) = text.strip_prefix("fds:") {
            let numbers: Result<Vec<RawFd>, _> = list.split(',').map(str::parse).collect();
            let numbers = numbers.ok().and_then(|numbers| <[RawFd; 3]>::try_from(numbers).ok());
            let numbers = numbers.filter(|numbers| numbers.iter().all(|&fd| fd >= 0));
            return numbers.map(Self::Descriptors).ok_or_else(|| format!("--stdio {text}: write it as fds:IN,OUT,ERR"));
        }
        match text {
            "null" => Ok(Self::Null),
            "inherit" => Ok(Self::Descriptors([0, 1, 2])),
            _ => Err(format!("--stdio {text:?}: use null, inherit, file:PATH or fds:IN,OUT,ERR")),
        }
    }

    /// Opens what was asked for. Does not block.
    pub fn open(self) -> Result<(Stdio, Streams), String> {
        match self {
            Self::Null => Ok((Stdio::Null, Streams::Null)),
            Self::Descriptors([input, output, error]) => {
                let copy = |fd| sys::copy_of(fd).map_err(|e| format!("--stdio: descriptor {fd}: {e}: is it open?"));
                Ok((Stdio::Inherit, Streams::Given([copy(input)?, copy(output)?, copy(error)?])))
            }
            Self::File(path) => {
                let opened = append_to(&path);
                let file = opened.map_err(|e| {
                    format!("--stdio: open {} for appending: {e}: its directory must exist", path.display())
                })?;
                Ok((Stdio::File(path), Streams::File(file)))
            }
        }
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    // Non-blocking, so that a FIFO without a reader is an error and not a wait.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let flags = i32::try_from(flags).unwrap_or(0);
    let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}

impl Streams {
    /// Their descriptors' numbers.
    pub fn numbers(&self) -> Vec<RawFd> {
        match self {
            Self::Null => Vec::new(),
            Self::Given(streams) => streams.iter().map(AsRawFd::as_raw_fd).collect(),
            Self::File(file) => vec![file.as_raw_fd()],
        }
    }

    /// Makes them this process' own. `/dev/null` is there already.
    pub fn take_place(&self) -> io::Result<()> {
        use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
        match self {
            Self::Null => {}
            Self::Given([input, output, error]) => {
                dup2_stdin(input)?;
                dup2_stdout(output)?;
                dup2_stderr(error)?;
            }
            Self::File(file) => {
                dup2_stdout(file)?;
                dup2_stderr(file)?;
            }
        }
        Ok(())
    }

    /// How long the file is.
    pub fn length(&self) -> u64 {
        match self {
            Self::File(file) => file.metadata().map_or(0, |meta| meta.len()),
            _ => 0,
        }
    }

    /// What was appended to the file since it had this length, at most 8 KiB.
    pub fn since(&self, length: u64) -> Vec<u8> {
        let Self::File(file) = self else { return Vec::new() };
        // Opened again, since this one is for writing only; non-blocking in case that it is a device.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(path) else { return Vec::new() };
        let mut bytes = vec![0; 8192];
        let read = file.read_at(&mut bytes, length).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_appended_to_and_heard() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "before ").unwrap();
        let (stdio, streams) = Asked::File(path.clone()).open().unwrap();
        assert_eq!(stdio, Stdio::File(path.clone()));
        let length = streams.length();
        let Streams::File(file) = &streams else { panic!("a file was expected") };
        (&*file).write_all(b"after").unwrap();
        assert_eq!(streams.since(length), b"after");
        assert_eq!(std::fs::read(path).unwrap(), b"before after");
    }

    #[test]
    fn a_fifo_that_nobody_reads_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(Asked::File(path).open().is_err());
    }
}
