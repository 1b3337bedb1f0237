//! The last events.

use super::Packer;
use crate::packed::Packed;
use sexton_common::{
    WallTime,
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

    /// The containers that exited, the last one first.
    pub(super) fn exits(&self) -> impl Iterator<Item = &Packed<ContainerInfo>> {
        self.0.iter().rev().filter(|told| told.kind == EventKind::Exited).map(|told| &told.container)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
