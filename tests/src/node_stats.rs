//! What a test asks of a node's status.

use crate::node::{Node, Options};
use sexton_common::wire::{NodeState, NodeStats, Reply, Request};
use std::fs;

impl Node {
    /// With this in the section `[node]`.
    #[track_caller]
    #[must_use]
    pub fn marked(marks: &str) -> Self {
        Self::with(Options { config: format!("[node]\n{marks}\n"), ..Options::default() })
    }

    /// The collector killed, and started with this in the section `[node]`.
    ///
    /// # Panics
    /// If it does not get ready.
    #[track_caller]
    pub fn mark(&mut self, marks: &str) {
        self.kill_daemon();
        fs::write(self.config(), format!("[node]\n{marks}\n")).unwrap();
        self.start_daemon();
    }

    /// How it is.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn node_status(&self) -> NodeStats {
        self.stats_by(&Request::NodeStats {})
    }

    /// Begins maintenance or ends it; how it is then.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn maintain(&self, on: bool) -> NodeStats {
        self.stats_by(&Request::Maintenance { on })
    }

    #[track_caller]
    fn stats_by(&self, request: &Request) -> NodeStats {
        match self.ask(request) {
            Ok(Reply::NodeStats(stats)) => *stats,
            other => panic!("{request:?}: {other:?}"),
        }
    }

    /// Its state and its reasons.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn state(&self) -> (NodeState, Vec<String>) {
        let stats = self.node_status();
        (stats.state, stats.why)
    }
}
