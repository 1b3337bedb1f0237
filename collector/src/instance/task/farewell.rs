//! The end of an instance.

use super::Task;
use sexton_common::{instance::Next, wire::EventKind};

impl Task {
    /// Nothing is left of it on disk; whether the collector is still there.
    pub(super) async fn forget(&mut self) -> bool {
        let id = self.instance.id.clone();
        while let Err(e) = self.around.book.remove(&id).await {
            tracing::error!(%id, error = %e, "its instance cannot be removed: tried again");
            for done in self.done.drain(..) {
                let _ = done.send(Err(e.clone()));
            }
            self.pause();
            tokio::select! {
                () = self.around.cancel.cancelled() => return false,
                order = self.inbox.recv() => self.obey(order).await,
                () = tokio::time::sleep(self.pause) => {}
            }
        }
        self.around.board.restart_is(&id, None);
        // Its last run's record was gone before.
        if let Some(info) = self.around.board.get(&id).filter(|_| !self.is_there()) {
            self.around.board.publish(EventKind::Removed, info);
        }
        for done in self.done.drain(..) {
            let _ = done.send(Ok(()));
        }
        true
    }

    /// Whether there is anything left to do for it: somebody may have come while it was forgotten, who found it there.
    pub(super) async fn goes_on(&mut self) -> bool {
        let generation = self.seen.borrow().generation;
        match self.inbox.try_recv() {
            Some(order) => self.obey(order).await,
            None if self.is_there() && generation != self.instance.launch.generation => {
                (self.instance.removing, self.instance.last) = (false, None);
                self.instance.next = Next::Nothing { after: self.instance.launch.generation };
                self.take_over(generation).await;
            }
            None => {
                self.inbox.close();
                return false;
            }
        }
        true
    }
}
