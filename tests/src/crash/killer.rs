//! Runs a program and kills it at the Nth stop: each system call has two, one before and one after it. Or lets its disk
//! fail from the Nth change on.

use super::{fault::Fault, tracer::Tracer};
use crate::wait::wait_until;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// What befalls the program.
#[derive(Clone, Debug, Default)]
pub enum Blow {
    /// SIGKILL. Every system call has two stops.
    #[default]
    Kill,
    /// What it changes below a directory fails. Every such system call has one stop.
    BadDisk(Fault, PathBuf),
}

/// What to run, and when to kill.
#[derive(Debug)]
pub struct Order {
    /// The program. Its standard input is `/dev/null`; its streams are ours to choose.
    pub command: Command,
    /// Where its words are appended.
    pub words: PathBuf,
    /// Which process: 0 is the program itself with all of its threads, 1 its first child, 2 that one's first child.
    pub depth: u32,
    /// The stop at which it happens, from 1; never if `None`.
    pub at: Option<u64>,
    /// What.
    pub blow: Blow,
    /// Whether it is made to ask the kernel for the time.
    pub no_vdso: bool,
    /// By how many seconds its wall clock is off, if it asks the kernel.
    pub clock_off: Arc<AtomicI64>,
}

impl Order {
    /// A program that is killed, and whose clock is right.
    #[must_use]
    pub fn new(command: Command, words: PathBuf, depth: u32, at: Option<u64>) -> Self {
        Self { command, words, depth, at, blow: Blow::Kill, no_vdso: false, clock_off: Arc::default() }
    }
}

/// Where it was hit.
#[derive(Clone, Debug)]
pub struct Kill {
    /// Which stop.
    pub stop: u64,
    /// Before the system call, or after it.
    pub entry: bool,
    /// The system call.
    pub call: String,
    /// The system calls before that one, the oldest first.
    pub before: Vec<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// How many stops there were.
    pub stops: u64,
    /// Where it was hit, if it lived that long.
    pub kill: Option<Kill>,
    /// The last system calls, the oldest first.
    pub last: Vec<String>,
    /// How many system calls failed.
    pub failed: u64,
    /// How the program itself, depth 0, ended.
    pub ended: Option<ExitStatus>,
}

/// What the tracer tells while it works.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) killed: AtomicBool,
    pub(super) healed: AtomicBool,
    pub(super) failed: AtomicU64,
    pub(super) target: AtomicI32,
    pub(super) stops: AtomicU64,
}

/// A program that is being traced.
#[derive(Debug)]
pub struct Killer {
    thread: Option<JoinHandle<Report>>,
    told: Arc<Told>,
}

impl Killer {
    /// Starts the program.
    #[must_use]
    pub fn start(order: Order) -> Self {
        let told = Arc::new(Told::default());
        let tell = Arc::clone(&told);
        // Tracing belongs to a thread: only the one that attached may ask for anything.
        let thread = std::thread::spawn(move || Tracer::new(order, tell).run());
        Self { thread: Some(thread), told }
    }

    /// Whether the Nth stop has come.
    #[must_use]
    pub fn has_killed(&self) -> bool {
        self.told.killed.load(Ordering::SeqCst)
    }

    /// How many system calls have failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.told.failed.load(Ordering::SeqCst)
    }

    /// The disk is whole again.
    pub fn heal(&self) {
        self.told.healed.store(true, Ordering::SeqCst);
    }

    /// Whether program and traced process are at their end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until the program has made no system call for `quiet`: it sleeps, or waits for somebody. Whether it is
    /// so, and neither killed nor at its end.
    #[must_use]
    pub fn settles(&self, quiet: Duration, deadline: Duration) -> bool {
        let (mut stops, mut since) = (self.told.stops.load(Ordering::SeqCst), Instant::now());
        let over = || self.has_killed() || self.is_over();
        wait_until(deadline, || {
            let now = self.told.stops.load(Ordering::SeqCst);
            if now != stops {
                (stops, since) = (now, Instant::now());
            }
            over() || since.elapsed() >= quiet
        });
        !over()
    }

    /// The traced process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.told.target.load(Ordering::SeqCst).cast_unsigned()
    }

    /// Sends the traced process a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = self.told.target.load(Ordering::SeqCst);
        // Its number cannot have gone to another: the tracer, who has not reaped it, says when it is over.
        if pid != 0 && !self.is_over() {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Waits until program and traced process are at their end.
    ///
    /// # Errors
    /// That they are not by the deadline; then the traced process is killed.
    ///
    /// # Panics
    /// If tracing failed.
    pub fn join(mut self, deadline: Duration) -> Result<Report, String> {
        let in_time = wait_until(deadline, || self.is_over());
        if !in_time {
            self.signal(Signal::SIGKILL);
        }
        let report = self.thread.take().unwrap().join().unwrap();
        if in_time { Ok(report) } else { Err(format!("it did not end within {deadline:?}: {report:?}")) }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
