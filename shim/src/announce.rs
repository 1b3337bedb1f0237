//! Telling the collector, between create and start, so that no exit can be lost while it is up.

use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};
use sexton_common::{
    ContainerId, Layout,
    client::Client,
    wire::{ANNOUNCE_TIMEOUT, Request},
};
use std::{io, os::fd::AsFd, time::Instant};

/// Announces a container, if somebody listens. Takes at most [`ANNOUNCE_TIMEOUT`]; never fails: a collector that was
/// not told finds the container when it looks.
pub fn announce(layout: &Layout, id: &ContainerId, generation: u64, pidfd: impl AsFd) {
    let _ = attempt(layout, id, generation, pidfd);
}

fn attempt(layout: &Layout, id: &ContainerId, generation: u64, pidfd: impl AsFd) -> io::Result<()> {
    let deadline = Instant::now() + ANNOUNCE_TIMEOUT;
    let mut client = Client::connect_within(layout, ANNOUNCE_TIMEOUT)?;
    client.send(&Request::Announce { id: id.clone(), generation }, &[pidfd.as_fd()])?;
    // Whatever it answers, it has heard.
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    poll(&mut [PollFd::new(&client, PollFlags::IN)], Some(&left))?;
    Ok(())
}
