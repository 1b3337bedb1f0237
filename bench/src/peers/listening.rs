//! Threads that listen until nobody wants to know any more.

use super::{Exit, Exits};
use rustix::event::{EventfdFlags, eventfd};
use std::{
    fmt,
    os::fd::OwnedFd,
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
};

/// More than anybody ever runs at once: no listener waits for who counts.
const ROOM: usize = 65_536;

/// A thread that listens, and how it is told to stop.
pub struct Listening {
    stop: Option<Box<dyn FnOnce() + Send>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// Runs `listen` in a thread; `stop` makes it return.
    pub fn start(
        stop: impl FnOnce() + Send + 'static,
        listen: impl FnOnce(SyncSender<Exit>) + Send + 'static,
    ) -> Exits {
        let (sender, heard) = sync_channel(ROOM);
        let thread = Some(std::thread::spawn(move || listen(sender)));
        Exits { heard, guard: Self { stop: Some(Box::new(stop)), thread } }
    }

    /// The same for who waits for descriptors: one of them becomes readable when it is to stop.
    pub fn until_told(listen: impl FnOnce(OwnedFd, SyncSender<Exit>) + Send + 'static) -> Exits {
        let end = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let told = end.try_clone().unwrap();
        let stop = move || {
            let _ = rustix::io::write(end, &1u64.to_ne_bytes());
        };
        Self::start(stop, move |sender| listen(told, sender))
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
