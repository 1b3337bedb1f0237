//! A collector with a keeper above it.

use crate::{
    daemon::{Daemon, is_settled},
    leftovers,
    node::Node,
    proc,
    wait::{LONG, wait_for, wait_until},
};
use rustix::process::{Pid, Signal, kill_process, pidfd_send_signal};
use sexton_common::{
    ProcessIdentity,
    client::Client,
    wire::{Reply, Request},
};
use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

/// `sextond --keeper`, and what it keeps.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    collector: u32,
}

impl Keeper {
    /// Starts it on a node without a collector, and waits until the collector answers.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    #[must_use]
    pub fn start(node: &Node) -> Self {
        Self::start_by(node, Daemon::command(node.layout(), &node.config()))
    }

    /// The same by a command of one's own, which lacks only `--keeper`.
    ///
    /// # Panics
    /// If no collector answers.
    #[track_caller]
    #[must_use]
    pub fn start_by(node: &Node, mut command: Command) -> Self {
        let words = File::options().append(true).create(true).open(node.log()).unwrap();
        command.arg("--keeper").env("SEXTON_TEST_NODE", node.prefix()).stdin(Stdio::null());
        let child = command.stdout(words.try_clone().unwrap()).stderr(words).spawn().unwrap();
        let mut keeper = Self { child, collector: 0 };
        keeper.wait_for_another(node);
        keeper
    }

    /// Waits for another collector than the last one.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn wait_for_another(&mut self, node: &Node) {
        let before = self.collector;
        let back = wait_until(LONG, || match answers(node) {
            Some(pid) if pid != before => {
                self.collector = pid;
                true
            }
            _ => false,
        });
        assert!(back, "no collector answers but {before}: {}", node.words());
        node.expect(&[self.pid(), self.collector]);
        assert_eq!(proc::status(self.collector, "PPid"), Some(self.child.id().to_string()), "it is its keeper's child");
    }

    /// The keeper's own pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The collector's.
    #[must_use]
    pub fn collector(&self) -> u32 {
        self.collector
    }

    /// Sends the collector SIGKILL, does what is to be done meanwhile, and waits for the next one.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn kill_collector(&mut self, node: &Node, meanwhile: impl FnOnce()) {
        // The keeper is stopped as long as there must be no collector.
        self.signal(Signal::STOP);
        wait_for("the keeper to stand still", LONG, || {
            proc::status(self.pid(), "State").is_some_and(|s| s.starts_with('T'))
        });
        self.strike();
        wait_for("the collector's end", LONG, || proc::is_dead(self.collector));
        meanwhile();
        self.signal(Signal::CONT);
        self.wait_for_another(node);
    }

    /// Sends the collector SIGKILL, and that is all.
    pub fn strike(&self) {
        if let Ok((_, fd)) = ProcessIdentity::open_pid(self.collector) {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
    }

    /// Signals the keeper.
    ///
    /// # Panics
    /// If it is dead.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the keeper's end", LONG, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Removes all records, stops both, and looks for leftovers.
    ///
    /// # Panics
    /// If anything is left, or it does not stop well.
    #[track_caller]
    pub fn finish(self, node: Node) {
        node.remove_all();
        self.stop(&node);
        node.finish();
    }

    /// Stops both.
    ///
    /// # Panics
    /// If it does not stop well.
    #[track_caller]
    pub fn stop(mut self, node: &Node) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "the keeper ended with {status}: {}", node.words());
        assert_eq!(sockets(node), Vec::<PathBuf>::new(), "its socket is gone with it");
        node.expect(&[]);
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The node's own end takes care of what it kept.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sockets of all keepers.
#[must_use]
pub fn sockets(node: &Node) -> Vec<PathBuf> {
    let entries = leftovers::entries(node.layout().state());
    entries
        .into_iter()
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("keeper.")))
        .collect()
}

fn answers(node: &Node) -> Option<u32> {
    let mut client = Client::connect(node.layout()).ok()?;
    client.set_timeout(Some(LONG)).ok()?;
    match client.call(&Request::Version {}) {
        Ok(Reply::Version { pid, .. }) if is_settled(node.layout()) => Some(pid),
        _ => None,
    }
}
