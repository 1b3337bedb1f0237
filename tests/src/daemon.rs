//! A `sextond` of one's own.

use crate::{binaries, proc, wait::wait_until};
use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{
    Layout,
    client::Client,
    wire::{ContainerInfo, Reply, Request, State},
};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// A running collector.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// Its descriptors by kind when it had just become ready.
    pub descriptors: BTreeMap<String, usize>,
}

impl Daemon {
    /// Starts it and waits until it answers, and knows what every container is; its words are appended to `log`. `limits` are prlimit(1)'s options.
    ///
    /// # Panics
    /// If it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(layout: &Layout, config: &Path, env: &[(String, OsString)], log: &Path, limits: &[String]) -> Self {
        let mut daemon = Self::spawn(layout, config, env, log, limits);
        daemon.wait(layout, log, is_settled);
        daemon.count_descriptors();
        daemon
    }

    /// Starts it and waits until it answers, whatever it knows yet.
    ///
    /// # Panics
    /// If it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn spawn(layout: &Layout, config: &Path, env: &[(String, OsString)], log: &Path, limits: &[String]) -> Self {
        let words = File::options().append(true).create(true).open(log).unwrap();
        let mut command = limited(Self::command(layout, config), limits);
        command.envs(env.iter().cloned());
        command.stdin(Stdio::null()).stdout(words.try_clone().unwrap()).stderr(words);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let mut daemon = Self { child, descriptors: BTreeMap::new() };
        daemon.wait(layout, log, |_| true);
        daemon
    }

    #[track_caller]
    fn wait(&mut self, layout: &Layout, log: &Path, condition: impl Fn(&Layout) -> bool) {
        let mut ended = None;
        let ready = wait_until(Duration::from_secs(30), || {
            ended = self.child.try_wait().unwrap();
            ended.is_some() || (answers(layout, self.child.id()) && condition(layout))
        });
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "sextond ended at once with {ended:?}: {}", said());
        assert!(ready, "sextond does not answer: {}", said());
    }

    /// What answered a question must be closed again before they are counted.
    fn count_descriptors(&mut self) {
        let pid = self.child.id();
        wait_until(Duration::from_secs(5), || {
            let before = std::mem::replace(&mut self.descriptors, proc::descriptors(pid));
            before == self.descriptors
        });
    }

    /// The command line, without a word about streams.
    #[must_use]
    pub fn command(layout: &Layout, config: &Path) -> Command {
        let mut command = Command::new(binaries::sextond());
        command.arg("--config").arg(config);
        command.arg("--state-dir").arg(layout.state()).arg("--data-dir").arg(layout.data());
        command.env_remove("SEXTON_STATE_DIR").env_remove("SEXTON_DATA_DIR").env_remove("NOTIFY_SOCKET");
        command
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Panics
    /// If it cannot be waited for.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it is dead.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Sends a signal, waits for its end; its status and how long that took.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn stop(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal(signal);
        let mut status = None;
        let ended = wait_until(Duration::from_secs(20), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "sextond does not end by {signal:?}");
        (status.unwrap(), begin.elapsed())
    }

    /// Makes an end of it, whatever state it is in.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same by way of prlimit(1), which then becomes the program.
fn limited(command: Command, limits: &[String]) -> Command {
    if limits.is_empty() {
        return command;
    }
    let mut prlimit = Command::new("prlimit");
    prlimit.args(limits).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => prlimit.env(name, value),
            None => prlimit.env_remove(name),
        };
    }
    prlimit
}

fn answers(layout: &Layout, daemon: u32) -> bool {
    let Ok(mut client) = Client::connect(layout) else { return false };
    let _ = client.set_timeout(Some(Duration::from_secs(5)));
    matches!(client.call(&Request::Version {}), Ok(Reply::Version { pid, .. }) if pid == daemon)
}

/// Whether the collector answers, and knows what every container is.
#[must_use]
pub fn is_settled(layout: &Layout) -> bool {
    listed(layout).is_some_and(|all| all.iter().all(|info| info.state != State::Pending))
}

/// All containers; `None` if the collector does not answer.
#[must_use]
pub fn listed(layout: &Layout) -> Option<Vec<ContainerInfo>> {
    let mut client = Client::connect(layout).ok()?;
    client.set_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut reply = client.call(&Request::List { all: true }).ok()?;
    let mut all = Vec::new();
    loop {
        let Reply::Containers { containers, last } = reply else { return None };
        all.extend(containers);
        if last {
            return Some(all);
        }
        reply = client.receive().ok()?;
    }
}
