//! Whoever runs what a container is.
//!
//! One trait. What is done to one run through it is done one after the other, by the backend: callers need not wait for each other.
//! Only `create` wants the container for itself: nothing else that changes it is under way then, and its earlier run is clean.
//! Different containers do not wait for each other. To add a backend: write one file here with a type that implements [`Backend`], name it in
//! [`sexton_common::workload::Workload`] if its containers outlive the collector, and choose it where instances are made.
//! `simulated` is one of containers that exist in tests only; it notes what a caller must not do.

#[cfg(test)]
pub mod simulated;

mod shimmed;

pub use shimmed::Shims;

use crate::stats::Sampler;
use sexton_common::{
    ContainerId,
    instance::Ended,
    launch::Launch,
    wire::{ApiError, ContainerInfo, ContainerStats, Launched, State},
};
use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};
use tokio::sync::watch;

/// What is being done. Dropping it does not undo it.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + Send + 'a>>;

/// See the module. None of it blocks the thread; each call ends by itself, with an error if it takes too long.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Creates a new run of what was launched before, and starts it. On failure nothing is left of it, or the GC has it.
    /// The earlier run's record makes room for it.
    fn create<'a>(&'a self, launch: &'a Launch) -> Doing<'a, Launched>;

    /// Starts a run that was created and waits for that.
    fn start<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()>;

    /// Where the container is in its life.
    fn state(&self, id: &ContainerId) -> Option<State>;

    /// Signals its first process.
    fn kill<'a>(&'a self, id: &'a ContainerId, signal: i32) -> Doing<'a, ()>;

    /// Signals, waits, then SIGKILLs. Returns once its exit is known.
    fn stop<'a>(&'a self, id: &'a ContainerId, signal: i32, timeout: Duration) -> Doing<'a, ()>;

    /// Freezes it.
    fn pause<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()>;

    /// Thaws it.
    fn resume<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()>;

    /// Removes what is left of it; with `force` kills it first. Returns once that is seen to be gone.
    fn delete<'a>(&'a self, id: &'a ContainerId, force: bool) -> Doing<'a, ()>;

    /// What these use now, sampled together, since thousands of containers are one job then; and what the next sample goes
    /// on from.
    fn stats<'a>(
        &'a self,
        containers: Vec<Arc<ContainerInfo>>,
        before: Sampler,
    ) -> Doing<'a, (Vec<ContainerStats>, Sampler)>;

    /// How its present run does, and every run after it.
    fn watch(&self, id: &ContainerId) -> watch::Receiver<Seen>;
}

/// What is seen of a container's runs: only ever the newest, which a later one replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Which run; 0 if there is none.
    pub generation: u64,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
    /// Everything that it owned was observed gone.
    pub clean: bool,
    /// Something is in the way of cleaning it.
    pub in_gc: bool,
    /// Its record was removed.
    pub gone: bool,
    /// It ended before anybody had started it, as far as that was seen.
    pub unstarted: bool,
}
