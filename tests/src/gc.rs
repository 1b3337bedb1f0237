//! What a test asks of the GC, and what it puts in its way.

pub use crate::obstacles::{Freezer, LoopDisk};

use crate::{
    leftovers,
    node::{Node, Options},
    subscriber::Subscriber,
    wait::{LONG, wait_some, wait_until},
};
use sexton_common::{
    ContainerId, WallTime, durable,
    gc::Entry,
    wire::{ApiError, EventKind, Finding, GcAddRequest, GcInfo, GcWhy, Reply, Request, State},
};
use std::time::{Duration, Instant};

/// What it may take from "nothing is in the way any more" to "clean": a second is promised, the rest is for a loaded
/// machine. A retry is not due for much longer.
const WOKEN_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// With a collector that tries nothing again in the time that a test takes, unless it is woken.
    #[track_caller]
    #[must_use]
    pub fn patient() -> Self {
        let config = "[exit]\nbackoff_first = '10m'\nbackoff_max = '10m'\n".into();
        Self::with(Options { config, ..Options::default() })
    }

    /// Has what is in the way of all of these go; how long it takes until they are clean.
    ///
    /// # Panics
    /// If they were to be tried again soon anyway, or if nothing wakes the collector.
    #[track_caller]
    pub fn clean_after(&self, events: &Subscriber, ids: &[&ContainerId], release: impl FnOnce()) -> Duration {
        for id in ids {
            // None while it is being tried.
            let due = wait_some(&format!("{id} waits in GC"), LONG, || {
                self.gc_list().into_iter().find(|entry| entry.id == **id)?.next_try
            });
            assert!(due > WallTime(WallTime::now().0 + 60_000_000_000), "{id} is tried again soon anyway");
        }
        let since = Instant::now();
        release();
        let took = ids.iter().map(|id| events.wait(id, EventKind::Stopped).0.duration_since(since)).max().unwrap();
        eprintln!("clean {took:?} after nothing was in the way any more");
        assert!(took < WOKEN_WITHIN, "{took:?}");
        assert!(ids.iter().all(|id| !self.layout().gc_entry(id).exists()));
        took
    }

    /// What is in GC.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn gc_list(&self) -> Vec<GcInfo> {
        let mut client = self.client();
        let mut all = Vec::new();
        let mut reply = client.call(&Request::GcList {});
        loop {
            match reply {
                Ok(Reply::GcEntries { entries, last }) => {
                    all.extend(entries);
                    if last {
                        return all;
                    }
                }
                other => panic!("gc list: {other:?}"),
            }
            reply = client.receive();
        }
    }

    /// What is in the way of one.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    pub fn gc_why(&self, id: &ContainerId) -> Result<GcWhy, ApiError> {
        match self.ask(&Request::GcWhy { id: id.clone() })? {
            Reply::GcWhy(why) => Ok(*why),
            other => panic!("gc why {id}: {other:?}"),
        }
    }

    /// What to ask for to have a container of the node's runtime cleaned that is not ours.
    #[must_use]
    pub fn gc_add_request(&self, id: &ContainerId) -> GcAddRequest {
        let cleanup = sexton_common::cleanup::Cleanup::default();
        GcAddRequest { id: id.clone(), runtime: self.runtime(), pids: Vec::new(), bundle: None, cleanup }
    }

    /// Has it cleaned.
    ///
    /// # Errors
    /// What the collector answered.
    #[track_caller]
    pub fn gc_add(&self, request: GcAddRequest) -> Result<(), ApiError> {
        self.ask(&Request::GcAdd(request)).map(|reply| assert_eq!(reply, Reply::Done {}))
    }

    /// What nobody owns any more.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    #[must_use]
    pub fn gc_scan(&self, adopt: bool) -> Vec<Finding> {
        let mut client = self.client();
        let mut all = Vec::new();
        let mut reply = client.call(&Request::GcScan { adopt });
        loop {
            match reply {
                Ok(Reply::Findings { findings, last }) => {
                    all.extend(findings);
                    if last {
                        return all;
                    }
                }
                other => panic!("gc scan: {other:?}"),
            }
            reply = client.receive();
        }
    }

    /// Waits until nothing is in GC.
    ///
    /// # Panics
    /// If something stays.
    #[track_caller]
    pub fn wait_no_gc(&self) {
        let mut left = Vec::new();
        let clean = wait_until(LONG, || {
            left = self.gc_list();
            left.is_empty() && leftovers::entries(&self.layout().gc()).is_empty()
        });
        assert!(clean, "in GC: {left:#?}\nsextond said:\n{}", self.words());
    }

    /// What is durable of what is to be cleaned. An attempt counts from its beginning, and is written in its end, if their number
    /// has doubled.
    ///
    /// # Panics
    /// If it is not there, or damaged.
    #[track_caller]
    pub fn gc_entry(&self, id: &ContainerId) -> Entry {
        durable::read(&self.layout().gc_entry(id)).unwrap().unwrap()
    }

    /// Waits until it is in GC, durably, and everybody is told.
    ///
    /// # Panics
    /// If that does not come.
    #[track_caller]
    pub fn wait_gc(&self, id: &ContainerId) -> GcInfo {
        wait_some(&format!("{id} in GC"), LONG, || {
            let entry = self.gc_list().into_iter().find(|entry| entry.id == *id);
            // One that was added is no container of Sexton's.
            let told = self.list(true).iter().all(|info| info.id != *id || info.state == State::Gc);
            entry.filter(|_| told && self.layout().gc_entry(id).exists())
        })
    }
}
