//! What a test asks about use.

use crate::{node::Node, wait::LONG};
use sexton_common::{
    ContainerId,
    client::Client,
    wire::{ApiError, ContainerStats, NodeStats, Reply, Request},
};
use std::time::{Duration, Instant};

/// One who takes samples.
#[derive(Debug)]
pub struct Samples {
    client: Client,
}

impl Samples {
    /// The next whole sample.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense, or none comes.
    #[track_caller]
    pub fn take(&mut self) -> Result<Vec<ContainerStats>, ApiError> {
        let mut all = Vec::new();
        loop {
            match self.client.receive() {
                Ok(Reply::Stats { containers, last }) => {
                    all.extend(containers);
                    if last {
                        return Ok(all);
                    }
                }
                Ok(Reply::Error(error)) => return Err(error),
                other => panic!("stats: {other:?}"),
            }
        }
    }

    /// Takes samples of one container until one is as wanted.
    ///
    /// # Panics
    /// If none is.
    #[track_caller]
    pub fn until(&mut self, what: &str, wanted: impl Fn(&ContainerStats) -> bool) -> ContainerStats {
        let (end, mut last) = (Instant::now() + LONG, None);
        while Instant::now() < end {
            last = self.take().unwrap().pop();
            if let Some(stats) = last.as_ref().filter(|stats| wanted(stats)) {
                return stats.clone();
            }
        }
        panic!("waited {LONG:?} in vain: {what}: {last:?}");
    }

    /// The connection, for what comes after an error.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Node {
    /// Samples of these containers with this period; of all that run if there are none.
    ///
    /// # Panics
    /// If nobody listens.
    #[track_caller]
    #[must_use]
    pub fn samples(&self, ids: &[ContainerId], period: Option<Duration>) -> Samples {
        let period_ms = period.map(|period| u64::try_from(period.as_millis()).unwrap());
        let mut client = self.client();
        client.send(&Request::Stats { ids: ids.to_vec(), period_ms }, &[]).unwrap();
        Samples { client }
    }

    /// One sample.
    ///
    /// # Errors
    /// What the collector answered.
    #[track_caller]
    pub fn stats(&self, ids: &[ContainerId]) -> Result<Vec<ContainerStats>, ApiError> {
        self.samples(ids, None).take()
    }

    /// How the machine is.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    #[must_use]
    pub fn node_stats(&self) -> NodeStats {
        match self.ask(&Request::NodeStats {}) {
            Ok(Reply::NodeStats(stats)) => *stats,
            other => panic!("node stats: {other:?}"),
        }
    }
}
