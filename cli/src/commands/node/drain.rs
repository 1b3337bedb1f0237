//! Doing it to all until nothing is left to do it to: launches that were under way before maintenance come late.

use super::stats;
use crate::{
    commands::all::{Each, is_alive},
    daemon::Daemon,
    failure::{Failure, system},
    output,
};
use nix::poll::poll;
use sexton_common::{
    ContainerId,
    wire::{ContainerInfo, Request},
};
use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

/// How long launches that were under way before maintenance may take: their runtime has 120 s.
const LATE: Duration = Duration::from_secs(150);
/// When it is looked again whether they have come.
const STEP_MS: u16 = 100;

/// Does it once to each run that `list` shows, until there are no others and nothing is being launched.
///
/// # Errors
/// If sextond cannot be reached at all, or standard output is closed.
pub fn drain(
    each: &Each<'_>,
    list: impl Fn(&Daemon) -> Result<Vec<ContainerInfo>, Failure>,
    request: impl Fn(&ContainerId) -> Request + Sync,
) -> Result<BTreeMap<ContainerId, u8>, Failure> {
    let mut tried = HashSet::new();
    let mut failed = BTreeMap::new();
    let mut deadline = None;
    loop {
        // In this order: what is launched in between is in the list.
        let counted = stats(each.daemon, &Request::NodeStats {})?.running.used;
        let found = list(each.daemon)?;
        let new: Vec<_> = found
            .iter()
            .filter(|container| tried.insert((container.id.clone(), container.generation)))
            .map(|container| container.id.clone())
            .collect();
        if !new.is_empty() {
            failed.extend(each.run(&new, &request)?);
            continue;
        }
        if counted <= found.iter().filter(|container| is_alive(container)).count() as u64 {
            return Ok(failed);
        }
        if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + LATE) {
            output::complain("launches that were begun before are still under way: try again");
            return Ok(failed);
        }
        poll(&mut [], STEP_MS).map_err(system("wait"))?;
    }
}
