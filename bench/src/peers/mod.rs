//! Those who are compared: each runs the same bundles, and tells in its own way how they end.

use crate::guest::Guest;
use sexton_common::ContainerId;
use std::sync::mpsc::Receiver;

/// Somebody who runs containers, detached, and watches them.
pub trait Engine {
    /// As the tables have it.
    fn name(&self) -> &'static str;

    /// Runs the guest by the engine's own command; returns when that command has returned, and panics with its words
    /// if it failed.
    fn run(&mut self, guest: &Guest) -> Running;

    /// The daemon, where there is one.
    fn daemon(&self) -> Option<u32>;

    /// Begins to listen for exits, in a thread that notes the time of each as soon as it has been told. Returns when
    /// whatever ends from now on is heard.
    fn listen(&mut self) -> Exits;

    /// Whether nothing of the container is left but its record: process, cgroups, runtime's state. `None` where the
    /// engine leaves that to others.
    fn is_clean(&self, id: &ContainerId) -> Option<bool>;

    /// Removes what is left of one that has ended; no measured time.
    fn remove(&mut self, id: &ContainerId);
}

/// A container that runs.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its init, as the host sees it.
    pub init: u32,
    /// The process that watches it.
    pub monitor: u32,
}

/// What a listener heard: stops listening when it is dropped.
#[derive(Debug)]
pub struct Exits {
    /// In the order in which it was told.
    pub heard: Receiver<Exit>,
    /// Ends the thread and what it runs.
    pub guard: Box<dyn std::fmt::Debug>,
}

/// One exit that somebody was told of.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Whose.
    pub id: String,
    /// When, as [`crate::guest::now`].
    pub at: u64,
    /// The exit code as the engine says it: 128 and the signal's number for who was killed; `None` if it does not say.
    pub code: Option<i32>,
}
