//! What lies in the containers' directory.

use crate::gc;
use sexton_common::{
    ContainerId, Launch, durable,
    layout::{ContainerDir, Layout},
    unborn,
};
use std::{fs, io};

/// What lies there, by name alone.
#[derive(Debug, Default)]
pub struct Listing {
    /// What may be containers.
    pub ids: Vec<ContainerId>,
    /// What somebody was creating or removing.
    pub unfinished: Vec<ContainerDir>,
}

/// Lists the directory, and looks into nothing that is in it: that may hang. Blocks on the disk.
///
/// # Errors
/// If it cannot be listed.
pub fn list(layout: &Layout) -> io::Result<Listing> {
    let mut listing = Listing::default();
    for entry in fs::read_dir(layout.containers())? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(Layout::BURIED) || name.starts_with(Layout::UNBORN) {
            listing.unfinished.push(ContainerDir::at(entry.path()));
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            listing.ids.extend(name.parse::<ContainerId>());
        }
    }
    Ok(listing)
}

/// Finishes what was being removed or created by somebody who is dead. Nothing that a collector was registering before
/// the `first` look will ever be finished. Blocks on the disk.
pub fn finish(layout: &Layout, unfinished: &[ContainerDir], first: bool) {
    for dir in unfinished {
        let name = dir.path().file_name().unwrap_or_default().to_string_lossy();
        let unborn = name.strip_prefix(Layout::UNBORN);
        if unborn.is_some_and(|maker| !is_abandoned(dir, maker, first)) {
            continue;
        }
        // A launch that came to nothing: what it registered is left to whoever asked.
        if let (Some(_), Ok(Some(launch))) = (unborn, durable::read::<Launch>(&dir.launch()))
            && let Err(e) = gc::remove_lasting(layout, &launch.id, launch.generation)
        {
            tracing::error!(id = %launch.id, error = %e, "the launch in the data directory cannot be removed");
            continue;
        }
        if let Err(e) = gc::bury(dir, dir) {
            tracing::error!(directory = %dir.path().display(), error = %e, "a dead container's files cannot be removed");
        }
    }
}

/// A directory that was never finished belongs to the shim whose pid is in its name, or, with an id behind the pid,
/// to a collector, of which there is one at a time.
fn is_abandoned(dir: &ContainerDir, maker: &str, first: bool) -> bool {
    match maker.split_once('-') {
        Some((collector, _id)) => first || collector != std::process::id().to_string(),
        None => maker.parse().is_ok_and(|pid| unborn::is_abandoned(dir, pid)),
    }
}
