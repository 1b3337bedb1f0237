//! Finding containers on disk: all of them at the start, new ones as they appear.

use crate::{container::Facts, exit::Backoff, overseer::Overseer, watch::Names};
use rustix::fs::inotify::WatchFlags;
use sexton_common::{
    ContainerId,
    layout::{ContainerDir, Layout},
};
use std::{fs, io, path::Path, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// When what could not be read is looked at again.
const AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));

/// Tells of every container's directory that is renamed into place, whoever's shim did it.
#[derive(Debug)]
pub struct Births(Names);

impl Births {
    /// Watches the containers' directory from now on.
    ///
    /// # Errors
    /// As inotify(7).
    pub fn watch(containers: &Path) -> io::Result<Self> {
        Names::watch(containers, WatchFlags::MOVED_TO).map(Self)
    }

    /// Hands every new container to the overseer, for ever. With `incomplete`, and whenever one cannot be
    /// read, all are looked at again a little later.
    pub async fn serve(self, overseer: Arc<Overseer>, incomplete: bool) {
        let cancel = overseer.cx.cancel.clone();
        let mut failures = 0;
        let mut scan_at = incomplete.then(Instant::now);
        loop {
            let births = tokio::select! {
                () = cancel.cancelled() => return,
                births = self.0.next() => births,
                () = sleep_until(scan_at.unwrap_or_else(Instant::now)), if scan_at.is_some() => Ok(None),
            };
            let complete = match births {
                Ok(Some(names)) => take_all(&overseer, &names).await,
                // It is time, or the kernel's queue was full and something is missing.
                Ok(None) => {
                    scan_at = None;
                    let scanned = overseer.rediscover().await;
                    failures = if scanned.as_ref().is_ok_and(|scan| scan.unread == 0) { 0 } else { failures + 1 };
                    failures == 0
                }
                Err(e) => {
                    tracing::error!(error = %e, "new containers are heard of by announcement only from now on");
                    return;
                }
            };
            if !complete {
                scan_at.get_or_insert(Instant::now() + AGAIN.delay(failures));
            }
        }
    }
}

async fn take_all(overseer: &Arc<Overseer>, names: &[String]) -> bool {
    let mut complete = true;
    for id in names.iter().filter_map(|name| name.parse::<ContainerId>().ok()) {
        if let Err(e) = overseer.discover(&id).await {
            tracing::error!(%id, error = %e, "a container cannot be read now: tried again");
            complete = false;
        }
    }
    complete
}

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
            if let Err(e) = crate::gc::bury(&dir, &dir) {
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
