//! Containers that appear while the collector runs.

use crate::{exit::Backoff, overseer::Overseer, watch::Names};
use rustix::fs::inotify::WatchFlags;
use std::{io, path::Path, sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

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

    /// Hands every new container to the overseer, for ever. What cannot be read is looked at again a little later.
    pub async fn serve(self, overseer: Arc<Overseer>) {
        let cancel = overseer.cx.cancel.clone();
        let mut births = Some(self.0);
        // Beside each other: a look at one that hangs holds up nobody (I7).
        let mut looks = JoinSet::new();
        let (mut failures, mut unlisted, mut again_at, mut under_way) = (0, false, None, false);
        loop {
            let undecided = unlisted || !overseer.cx.board.pending().is_empty();
            if undecided && again_at.is_none() && !under_way {
                failures += 1;
                again_at = Some(Instant::now() + AGAIN.delay(failures));
            }
            let what = tokio::select! {
                () = cancel.cancelled() => return,
                heard = next(births.as_ref()) => match heard {
                    Ok(Some(names)) => Look::At(names),
                    // The kernel's queue was full: something is missing.
                    Ok(None) => Look::AtAll,
                    Err(e) => {
                        tracing::error!(error = %e, "new containers are heard of by announcement only from now on");
                        births = None;
                        continue;
                    }
                },
                Some(done) = looks.join_next() => {
                    match done {
                        Ok(Done::Listed(listed)) => (unlisted, under_way) = (!listed, false),
                        Ok(Done::Again) | Err(_) => under_way = false,
                        Ok(Done::Once) => {}
                    }
                    if !unlisted && overseer.cx.board.pending().is_empty() {
                        failures = 0;
                    }
                    continue;
                }
                () = sleep_until(again_at.unwrap_or_else(Instant::now)), if again_at.is_some() => {
                    again_at = None;
                    if unlisted { Look::AtAll } else { Look::Again }
                }
            };
            under_way |= !matches!(what, Look::At(_));
            looks.spawn(look(overseer.clone(), what));
        }
    }
}

enum Look {
    At(Vec<String>),
    AtAll,
    Again,
}

enum Done {
    Once,
    Listed(bool),
    Again,
}

async fn next(births: Option<&Names>) -> io::Result<Option<Vec<String>>> {
    match births {
        Some(births) => births.next().await,
        None => std::future::pending().await,
    }
}

async fn look(overseer: Arc<Overseer>, what: Look) -> Done {
    match what {
        Look::At(names) => {
            overseer.look_at(names.iter().filter_map(|name| name.parse().ok()).collect()).await;
            Done::Once
        }
        Look::AtAll => {
            let listed = overseer.rediscover().await;
            if let Err(e) = &listed {
                tracing::error!(error = %e, "the containers' directory cannot be listed now: tried again");
            }
            Done::Listed(listed.is_ok())
        }
        Look::Again => {
            overseer.look_at(overseer.cx.board.pending()).await;
            Done::Again
        }
    }
}
