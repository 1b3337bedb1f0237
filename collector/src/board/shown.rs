//! A container as it stands on the board.

use crate::packed::Packed;
use sexton_common::wire::{ContainerInfo, State};

/// What is looked at of all containers at once; the rest is packed.
#[derive(Debug)]
pub struct Shown {
    /// Which run.
    pub generation: u64,
    /// Its init.
    pub pid: Option<u32>,
    /// Its shim.
    pub shim_pid: Option<u32>,
    /// Where it is in its life.
    pub state: State,
    /// Whether its end is known.
    pub ended: bool,
    /// Whether its next start is known.
    pub comes_back: bool,
    /// All of it.
    pub(super) info: Packed<ContainerInfo>,
}

impl Shown {
    pub(super) fn of(container: &ContainerInfo, info: Packed<ContainerInfo>) -> Self {
        Self {
            generation: container.generation,
            pid: container.pid,
            shim_pid: container.shim_pid,
            state: container.state,
            ended: container.status.is_some(),
            comes_back: container.restart.as_ref().is_some_and(|restart| restart.next_start.is_some()),
            info,
        }
    }
}
