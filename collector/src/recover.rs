//! Finding all containers that lie on disk.

use crate::{container::Facts, gc};
use sexton_common::{
    ContainerId,
    layout::{ContainerDir, Layout},
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

/// Reads all containers' facts, and finishes what was being removed or created by somebody who is dead. Blocks on the disk.
///
/// # Errors
/// If the directory cannot be listed.
pub fn scan(layout: &Layout) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for entry in fs::read_dir(layout.containers())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with(Layout::BURIED) || name.strip_prefix(Layout::UNBORN).is_some_and(is_dead) {
            let dir = ContainerDir::at(path);
            if let Err(e) = gc::bury(&dir, &dir) {
                tracing::error!(directory = %dir.path().display(), error = %e, "a dead container's files cannot be removed");
            }
            continue;
        }
        if name.parse::<ContainerId>().is_err() {
            continue;
        }
        match Facts::read(layout, ContainerDir::at(path)) {
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

/// A container's directory that was never finished belongs to whoever's pid is in its name.
fn is_dead(name: &str) -> bool {
    let pid = name.split('-').next().unwrap_or_default();
    let Ok(pid) = pid.parse::<u32>() else { return false };
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    !comm.starts_with("sexton")
}
