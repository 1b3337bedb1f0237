//! Finding containers on disk: all of them at the start, new ones as they appear.

use crate::{container::Facts, overseer::Overseer, sys};
use rustix::fs::inotify;
use sexton_common::{
    ContainerId,
    layout::{ContainerDir, Layout},
};
use std::{fs, io, mem::MaybeUninit, os::fd::OwnedFd, path::Path, sync::Arc};
use tokio::io::unix::AsyncFd;

/// Tells of every container's directory that is renamed into place, whoever's shim did it.
#[derive(Debug)]
pub struct Births(AsyncFd<OwnedFd>);

impl Births {
    /// Watches the containers' directory from now on.
    ///
    /// # Errors
    /// As inotify(7).
    pub fn watch(containers: &Path) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, containers, inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::ONLYDIR)?;
        Ok(Self(sys::watch_reading(fd)?))
    }

    /// Hands every new container to the overseer, for ever.
    pub async fn serve(self, overseer: Arc<Overseer>) {
        let cancel = overseer.cx.cancel.clone();
        loop {
            let births = tokio::select! {
                () = cancel.cancelled() => return,
                births = self.next() => births,
            };
            match births {
                Ok(Some(names)) => {
                    for id in names.iter().filter_map(|name| name.parse::<ContainerId>().ok()) {
                        overseer.discover(&id).await;
                    }
                }
                // The kernel's queue was full and something is missing: look at all.
                Ok(None) => {
                    if let Err(e) = overseer.rediscover().await {
                        tracing::error!(error = %e, "the containers' directory cannot be scanned");
                    }
                }
                Err(e) => {
                    tracing::error!(error = %e, "new containers are heard of by announcement only from now on");
                    return;
                }
            }
        }
    }

    /// The names that appeared; `None` if some were lost.
    async fn next(&self) -> io::Result<Option<Vec<String>>> {
        let mut ready = self.0.readable().await?;
        let mut names = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.0.get_ref(), &mut buffer);
        // At most what the kernel queues (fs.inotify.max_queued_events).
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW) => return Ok(None),
                Ok(event) => names.extend(event.file_name().map(|name| name.to_string_lossy().into_owned())),
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(Some(names));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Reads all containers' facts, and finishes what was being removed or created by somebody who is dead. Blocks on the disk.
///
/// # Errors
/// If the directory cannot be listed.
pub fn scan(layout: &Layout) -> io::Result<Vec<Facts>> {
    let mut found = Vec::new();
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
            Ok(Some(facts)) => found.push(facts),
            Ok(None) => {}
            Err(e) => {
                tracing::error!(id = %name, error = %e, "a container cannot be recovered now: restart sextond when this is mended")
            }
        }
    }
    Ok(found)
}

/// A container's directory that was never finished belongs to the shim whose pid is in its name.
fn is_dead(pid: &str) -> bool {
    let Ok(pid) = pid.parse::<u32>() else { return false };
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim() != "sexton-shim"
}
