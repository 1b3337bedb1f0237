//! A node's collector: started, stopped, killed.

use super::Node;
use crate::daemon::Daemon;
use rustix::process::Signal;
use std::time::Duration;

impl Node {
    /// Starts the collector, again.
    ///
    /// # Panics
    /// If it does not get ready.
    #[track_caller]
    pub fn start_daemon(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        self.daemon = Some(Daemon::start(&self.layout, &self.config(), &self.env, &self.log(), &self.limits));
    }

    /// Starts the collector again; it need not know yet what every container is.
    ///
    /// # Panics
    /// If it does not answer.
    #[track_caller]
    pub fn start_looking(&mut self) {
        assert!(self.daemon.is_none(), "it runs");
        self.daemon = Some(Daemon::spawn(&self.layout, &self.config(), &self.env, &self.log(), &self.limits));
    }

    /// The collector.
    ///
    /// # Panics
    /// If none was started.
    #[track_caller]
    pub fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    /// SIGTERM, and its end. What it was at may not be over within its second on a loaded machine; then it says so.
    ///
    /// # Panics
    /// If it does not end, or says otherwise.
    #[track_caller]
    pub fn terminate_daemon(&mut self) {
        let before = self.words().len();
        let (status, took) = self.daemon().stop(Signal::TERM);
        self.daemon = None;
        let words = self.words().split_off(before);
        let left_some = status.code() == Some(1) && words.contains("stopped, but not all of it");
        assert!(status.success() || left_some, "sextond ended with {status}: {words}");
        assert!(took < Duration::from_secs(15), "sextond took {took:?} to stop: {words}");
    }

    /// SIGTERM, and what belongs to it: exit 0 in about a second.
    ///
    /// # Panics
    /// If it takes longer or says otherwise.
    #[track_caller]
    pub fn terminate_daemon_in_time(&mut self) {
        let (status, took) = self.daemon().stop(Signal::TERM);
        self.daemon = None;
        assert!(status.success(), "sextond ended with {status}: {}", self.words());
        // One second is promised; the second one is for a loaded machine.
        assert!(took < Duration::from_secs(2), "sextond took {took:?} to stop: {}", self.words());
    }

    /// SIGKILL.
    #[track_caller]
    pub fn kill_daemon(&mut self) {
        self.daemon().kill();
        self.daemon = None;
    }
}
