//! All of them at once.

use super::fleet::Ship;
use crate::chance::Chance;
use rustix::process::{Signal, pidfd_send_signal};
use std::{
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

/// From the first signal to the last.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    /// Before the first.
    pub begin: Instant,
    /// After the last.
    pub end: Instant,
}

/// Kills every container, and the shims that are to be killed, as quickly as it can, in an order of the seed's.
#[must_use]
pub fn strike(ships: &[Ship], seed: u64) -> Struck {
    let mut blows: Vec<(BorrowedFd<'_>, Signal)> = Vec::with_capacity(ships.len() * 2);
    blows.extend(ships.iter().map(|ship| (ship.init.as_fd(), ship.signal)));
    blows.extend(ships.iter().filter(|ship| ship.loses_shim).map(|ship| (ship.shim.as_fd(), Signal::KILL)));
    let mut chance = Chance::new(seed);
    for last in (1..blows.len()).rev() {
        blows.swap(last, usize::try_from(chance.below(last as u64 + 1)).unwrap());
    }
    let begin = Instant::now();
    for (process, signal) in blows {
        // A shim may be gone by itself: its container is.
        let _ = pidfd_send_signal(process, signal);
    }
    Struck { begin, end: Instant::now() }
}
