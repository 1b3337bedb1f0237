//! Running a program to its end, with a deadline.

use crate::wait::wait_until;
use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How a program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took until it had ended and both streams were closed.
    pub took: Duration,
}

impl Ended {
    /// The exit code.
    ///
    /// # Panics
    /// If it was killed by a signal.
    #[track_caller]
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("killed by signal {:?}: {self:?}", self.status.signal()))
    }

    /// Itself, having exited with 0.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    #[must_use]
    pub fn ok(self) -> Self {
        assert!(self.status.success(), "{self:?}");
        self
    }

    /// Its standard output as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

/// Runs it with empty standard input until it has ended and everybody has closed its output.
///
/// # Panics
/// If it cannot be started, or if it or its output is not at an end within a minute.
#[track_caller]
pub fn run(command: &mut Command) -> Ended {
    let begin = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let reader = |mut stream: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
        })
    };
    let stdout = reader(Box::new(child.stdout.take().unwrap()));
    let stderr = reader(Box::new(child.stderr.take().unwrap()));
    let mut status = None;
    let ended = wait_until(Duration::from_secs(90), || {
        status = status.or_else(|| child.try_wait().unwrap());
        status.is_some() && stdout.is_finished() && stderr.is_finished()
    });
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{command:?} does not end: status {status:?}, output closed {}", stdout.is_finished());
    }
    let text = |thread: std::thread::JoinHandle<std::io::Result<String>>| thread.join().unwrap().unwrap();
    Ended { status: status.unwrap(), stdout: text(stdout), stderr: text(stderr), took: begin.elapsed() }
}
