//! The FIFO at which a plain program waits to be started.
//!
//! Its process opens it for writing, and whoever starts it for reading: both go on at once. If the program is executed the
//! writing end is closed with nothing said. If not, its process says why and ends with that code.

use crate::layout::ContainerDir;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

/// The most that is said: what a pipe takes in one piece.
const MAX: usize = 4096;

/// The end of whoever starts it.
#[derive(Debug)]
pub struct Gate {
    fd: OwnedFd,
    path: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The program is executed. If its process has ended since then, or in between, that is its exit.
    Begun,
    /// It could not be.
    Refused(Refusal),
    /// Its process was killed before.
    Dead,
}

/// Why a program was not executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What its process ends with: 127 if it is not there, 126 if it is no program, else 125.
    pub code: u8,
    /// For people.
    pub text: String,
}

impl Refusal {
    /// In the process that should have become the program.
    pub fn say(&self, gate: impl AsFd) {
        let mut bytes = Vec::with_capacity(self.text.len() + 1);
        bytes.push(self.code);
        bytes.extend_from_slice(self.text.as_bytes());
        bytes.truncate(MAX);
        // Who opened the gate may have gone away.
        let _ = rustix::io::write(gate, &bytes);
    }
}

impl Gate {
    /// Opens it, which lets the process go on as soon as it is there. Does not block.
    ///
    /// # Errors
    /// `NotFound` if it was opened before.
    pub fn open(dir: &ContainerDir) -> io::Result<Self> {
        let path = dir.gate();
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(CWD, &path, flags, Mode::empty())?;
        Ok(Self { fd, path })
    }

    /// What came of it, if that is known within `timeout`; `pidfd` is its process'.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn look(&self, pidfd: impl AsFd, timeout: &Timespec) -> io::Result<Option<Opened>> {
        let dead = {
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(timeout)) {
                Ok(0) | Err(Errno::INTR) => return Ok(None),
                Ok(_) => {}
                Err(e) => return Err(e.into()),
            }
            // Nobody has hung up before anybody was there.
            fds[0].revents().is_empty()
        };
        let mut bytes = vec![0; MAX];
        let said = match rustix::io::read(&self.fd, &mut bytes) {
            Ok(said) => said,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        bytes.truncate(said);
        Ok(Some(match bytes.split_first() {
            Some((&code, text)) => Opened::Refused(Refusal { code, text: String::from_utf8_lossy(text).into_owned() }),
            // It may have gone through between the two looks: the gate is taken away by who does.
            None if dead && self.path.symlink_metadata().is_ok() => Opened::Dead,
            None => Opened::Begun,
        }))
    }
}

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
