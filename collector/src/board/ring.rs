//! The last events.

use super::Packer;
use crate::packed::Packed;
use sexton_common::{
    ContainerId, WallTime,
    wire::{ContainerInfo, Event, EventKind},
};
use std::collections::VecDeque;

/// How many events stay at hand for slow and returning subscribers.
pub(super) const RING: usize = 2048;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<Told>);

/// An event, its container packed.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) at: WallTime,
    pub(super) kind: EventKind,
    /// Whose: what is looked for is found without unpacking all others.
    pub(super) run: (ContainerId, u64),
    pub(super) container: Packed<ContainerInfo>,
}

/// What a subscriber gets next.
#[derive(Debug)]
pub enum Next {
    /// The event after the one it had.
    Event(Box<Event>),
    /// It had all: wait.
    Wait,
    /// The event after the one it had is not at hand any more.
    Lagged,
}

impl Ring {
    pub(super) fn push(&mut self, told: Told) {
        if self.0.len() == RING {
            self.0.pop_front();
        }
        self.0.push_back(told);
    }

    /// What comes after `seen`, if the last one was `latest`.
    pub(super) fn after(&self, seen: u64, latest: u64, packer: &Packer) -> Next {
        if seen == latest {
            return Next::Wait;
        }
        let first = self.0.front().map_or(latest + 1, |told| told.seq);
        let index = (seen.saturating_add(1)).checked_sub(first).and_then(|index| usize::try_from(index).ok());
        let told = index.and_then(|index| self.0.get(index));
        match told.and_then(|told| Some((told, packer.unpack(&told.container)?))) {
            Some((&Told { seq, at, kind, .. }, container)) => Next::Event(Box::new(Event { seq, at, kind, container })),
            // Too old, or of a future that never was.
            None => Next::Lagged,
        }
    }

    /// The exit of that run.
    pub(super) fn exit(&self, id: &ContainerId, generation: u64) -> Option<&Packed<ContainerInfo>> {
        let is = |told: &&Told| told.kind == EventKind::Exited && told.run.0 == *id && told.run.1 == generation;
        self.0.iter().rev().find(is).map(|told| &told.container)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
