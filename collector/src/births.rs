//! Containers that appear while the collector runs.

use crate::{exit::Backoff, overseer::Overseer, watch::Names};
use rustix::fs::inotify::WatchFlags;
use sexton_common::ContainerId;
use std::{io, path::Path, sync::Arc, time::Duration};
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
