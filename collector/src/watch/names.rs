//! The names in a directory, as they come and go.

use crate::sys;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::{io, mem::MaybeUninit, os::fd::OwnedFd, path::Path};
use tokio::io::unix::AsyncFd;

/// An inotify(7) instance that watches one directory.
#[derive(Debug)]
pub struct Names(AsyncFd<OwnedFd>);

impl Names {
    /// Watches from now on for these events.
    ///
    /// # Errors
    /// As inotify(7).
    pub fn watch(dir: &Path, events: WatchFlags) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&fd, dir, events | WatchFlags::ONLYDIR)?;
        Ok(Self(sys::watch_reading(fd)?))
    }

    /// What happened since; `None` if the kernel has lost some of it.
    ///
    /// # Errors
    /// If it cannot be read any more.
    pub async fn next(&self) -> io::Result<Option<Vec<String>>> {
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
