//! Setting up what tells of a container.

use super::task::{FOREIGN_TELLS_WITHIN, LOOK_AGAIN, Task};
use crate::{
    store::Name,
    watch::{Fifo, InitWatch},
};
use sexton_common::{identity::Presence, launch::Origin};
use std::os::fd::OwnedFd;
use tokio::time::Instant;

impl Task {
    /// Its name in the descriptor store.
    pub(super) fn name(&self) -> Name {
        Name { id: self.launch.id.clone(), generation: self.launch.generation }
    }

    /// Watches init. If it is gone already there is nothing to watch: its shim will tell, or has told.
    pub(super) fn watch_init(&mut self, pidfd: Option<OwnedFd>) {
        let Some(init) = &self.init else { return };
        match InitWatch::open(init.process, pidfd) {
            Ok(watch) => {
                if let Some(watch) = &watch {
                    self.cx.store.keep(&self.name(), watch.fd());
                }
                self.watch = watch;
            }
            Err(e) => {
                tracing::warn!(id = %self.launch.id, error = %e, "init cannot be watched now; looking again every second");
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// Watches the shim through its FIFO; where that cannot tell, through its pidfd.
    pub(super) fn watch_shim(&mut self) {
        let path = match &self.launch.origin {
            Origin::Sexton => self.dir.exit_fifo(),
            Origin::Foreign { fifo } => fifo.clone(),
        };
        match Fifo::open(&path) {
            Ok(fifo) => {
                self.fifo = Some(fifo);
                // A writer that was gone before we opened it will never hang up on us.
                match self.launch.shim.look() {
                    // It may be dying: a killed process closes its files a moment before it is a zombie.
                    Ok(Presence::Alive(_)) if !self.is_foreign() => self.look_at = Some(Instant::now() + LOOK_AGAIN),
                    Ok(Presence::Alive(_)) => {}
                    _ if self.is_foreign() && self.watch.is_some() => {}
                    _ if self.is_foreign() => self.look_at = Some(Instant::now() + FOREIGN_TELLS_WITHIN),
                    _ => self.look_at = Some(Instant::now()),
                }
            }
            Err(e) => {
                tracing::warn!(id = %self.launch.id, fifo = %path.display(), error = %e, "the exit FIFO cannot be opened: watching the shim itself");
                self.watch_shim_process();
            }
        }
    }

    pub(super) fn watch_shim_process(&mut self) {
        match InitWatch::open(self.launch.shim, None) {
            Ok(Some(shim)) => self.shim = Some(shim),
            // Gone: `look_again` sees that too, and acts on it.
            Ok(None) => self.look_at = Some(Instant::now()),
            Err(_) => self.look_at = Some(Instant::now() + LOOK_AGAIN),
        }
    }
}
