//! Finding all containers that lie on disk.

use crate::{container::Facts, gc};
use sexton_common::{
    ContainerId, Launch, durable,
    layout::{ContainerDir, Layout},
    unborn,
};
use std::{fs, io};

/// What lies on disk.
#[derive(Debug, Default)]
pub struct Scan {
    /// What could be read.
    pub found: Vec<Facts>,
    /// How many could not.
    pub unread: usize,
}

/// Reads all containers' facts, and finishes what was being removed or created by somebody who is dead. Nothing that
/// a collector was registering before the `first` scan will ever be finished. Blocks on the disk.
///
/// # Errors
/// If the directory cannot be listed.
pub fn scan(layout: &Layout, first: bool) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for entry in fs::read_dir(layout.containers())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let dir = ContainerDir::at(path);
        let unborn = name.strip_prefix(Layout::UNBORN);
        if name.starts_with(Layout::BURIED) || unborn.is_some_and(|maker| is_abandoned(&dir, maker, first)) {
            // A launch that came to nothing: what it registered is left to whoever asked.
            if let (Some(_), Ok(Some(launch))) = (unborn, durable::read::<Launch>(&dir.launch()))
                && let Err(e) = gc::remove_lasting(layout, &launch.id, launch.generation)
            {
                tracing::error!(id = %launch.id, error = %e, "the launch in the data directory cannot be removed");
                continue;
            }
            if let Err(e) = gc::bury(&dir, &dir) {
                tracing::error!(directory = %dir.path().display(), error = %e, "a dead container's files cannot be removed");
            }
            continue;
        }
        if name.parse::<ContainerId>().is_err() {
            continue;
        }
        match Facts::read(layout, dir) {
            Ok(Some(facts)) => scan.found.push(facts),
            Ok(None) => {}
            Err(e) => {
                tracing::error!(id = %name, error = %e, "a container cannot be read now: tried again");
                scan.unread += 1;
            }
        }
    }
    Ok(scan)
}

/// A directory that was never finished belongs to the shim whose pid is in its name, or, with an id behind the pid,
/// to a collector, of which there is one at a time.
fn is_abandoned(dir: &ContainerDir, maker: &str, first: bool) -> bool {
    match maker.split_once('-') {
        Some((collector, _id)) => first || collector != std::process::id().to_string(),
        None => maker.parse().is_ok_and(|pid| unborn::is_abandoned(dir, pid)),
    }
}
