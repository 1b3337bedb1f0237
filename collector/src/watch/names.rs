//! The names in directories, as they come and go.

use crate::sys;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};
use tokio::io::unix::AsyncFd;

/// An inotify(7) instance that watches any number of directories: one descriptor for all of them.
#[derive(Debug)]
pub struct Directories(AsyncFd<OwnedFd>);

/// What happened in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which directory, as [`Directories::watch`] said.
    pub directory: i32,
    /// What.
    pub what: ReadFlags,
    /// To which file in it; none if to the directory itself.
    pub name: Option<String>,
}

impl Directories {
    /// Watching nothing yet.
    ///
    /// # Errors
    /// As inotify(7).
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self(sys::watch_reading(fd)?))
    }

    /// Watches a directory from now on for these events; its number.
    ///
    /// # Errors
    /// As inotify(7).
    pub fn watch(&self, dir: &Path, events: WatchFlags) -> io::Result<i32> {
        Ok(inotify::add_watch(self.0.get_ref(), dir, events | WatchFlags::ONLYDIR)?)
    }

    /// Watches it no more. One that has been removed is not watched anyway.
    pub fn forget(&self, directory: i32) {
        let _ = inotify::remove_watch(self.0.get_ref(), directory);
    }

    /// What happened since; `None` if the kernel has lost some of it. Cancel-safe.
    ///
    /// # Errors
    /// If it cannot be read any more.
    pub async fn next(&self) -> io::Result<Option<Vec<Change>>> {
        let mut ready = self.0.readable().await?;
        let mut changes = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(self.0.get_ref(), &mut buffer);
        // At most what the kernel queues (fs.inotify.max_queued_events).
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => return Ok(None),
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                    changes.push(Change { directory: event.wd(), what: event.events(), name });
                }
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    return Ok(Some(changes));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Watches one directory.
#[derive(Debug)]
pub struct Names(Directories);

impl Names {
    /// Watches from now on for these events.
    ///
    /// # Errors
    /// As inotify(7).
    pub fn watch(dir: &Path, events: WatchFlags) -> io::Result<Self> {
        let directories = Directories::new()?;
        directories.watch(dir, events)?;
        Ok(Self(directories))
    }

    /// What happened since; `None` if the kernel has lost some of it.
    ///
    /// # Errors
    /// If it cannot be read any more.
    pub async fn next(&self) -> io::Result<Option<Vec<String>>> {
        let changes = self.0.next().await?;
        Ok(changes.map(|changes| changes.into_iter().filter_map(|change| change.name).collect()))
    }
}
