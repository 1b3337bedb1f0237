//! What tells that something in the way goes: pidfds, `cgroup.events`, the mount table.

use super::{Obstacle, cgroups::events_say};
use crate::{
    context::Context,
    seats::Rank,
    sys,
    watch::{Change, Directories, InitWatch, Watched},
};
use rustix::fs::inotify::{ReadFlags, WatchFlags};
use sexton_common::gc::Step;
use std::{
    collections::HashMap,
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::Interest,
    sync::{Notify, watch},
};

/// Processes that are watched for one entry; when the first of them goes the others are looked at anew.
const PROCESSES: usize = 4;
/// Cgroups that are watched for one entry.
const CGROUPS: usize = 8;

/// The sources that all entries share. Each runs only while somebody listens.
#[derive(Debug)]
pub struct Sources {
    mounts: watch::Sender<u64>,
    running: Mutex<bool>,
    cgroups: Option<Directories>,
    listeners: Mutex<HashMap<i32, Vec<Arc<Notify>>>>,
}

impl Default for Sources {
    fn default() -> Self {
        let cgroups = Directories::new()
            .inspect_err(
                |e| tracing::warn!(error = %e, "without inotify: a cgroup's end is not heard, only looked for"),
            )
            .ok();
        Self { mounts: watch::channel(0).0, running: Mutex::new(false), cgroups, listeners: Mutex::default() }
    }
}

impl Sources {
    /// Passes on what cgroups tell, for ever.
    pub async fn serve(&self) {
        let Some(directories) = &self.cgroups else { return };
        loop {
            match directories.next().await {
                Ok(Some(changes)) => {
                    let listeners = self.lock();
                    for change in changes.iter().filter(|change| is_sign(change)) {
                        listeners.get(&change.directory).into_iter().flatten().for_each(|one| one.notify_one());
                    }
                }
                // Something was lost: everybody looks.
                Ok(None) => self.lock().values().flatten().for_each(|one| one.notify_one()),
                Err(e) => return tracing::warn!(error = %e, "a cgroup's end is not heard any more, only looked for"),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<i32, Vec<Arc<Notify>>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What else is written in a cgroup, we write: to thaw, and to kill.
fn is_sign(change: &Change) -> bool {
    !change.what.contains(ReadFlags::MODIFY) || change.name.as_deref() == Some("cgroup.events")
}

/// What one entry waits for.
#[derive(Debug)]
pub struct Wake {
    cx: Arc<Context>,
    processes: Vec<InitWatch>,
    mounts: Option<watch::Receiver<u64>>,
    cgroups: Vec<i32>,
    changed: Arc<Notify>,
    /// Something was gone already when it was to be watched.
    pub is_late: bool,
    /// Something may have happened between the look and the beginning of the watch.
    pub may_have_missed: bool,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A process that was in the way is dead.
    Died,
    /// Something has changed where it was in the way; it need not be what was meant.
    Changed,
}

impl Wake {
    /// Watches what is in the way, as far as there are descriptors for it.
    pub fn of(cx: &Arc<Context>, obstacle: &Obstacle) -> Self {
        let mut wake = Self {
            cx: cx.clone(),
            processes: Vec::new(),
            mounts: obstacle.mounts.then(|| mounts(cx)),
            cgroups: Vec::new(),
            changed: Arc::new(Notify::new()),
            is_late: false,
            may_have_missed: obstacle.mounts,
        };
        for holder in obstacle.holders.iter().take(PROCESSES) {
            let Some(seat) = cx.seat(Rank::Bell) else { break };
            match InitWatch::open(holder.process, None) {
                Ok(Some(watch)) if !watch.is_dead() => wake.processes.push(watch.on(seat)),
                Ok(_) => wake.is_late = true,
                Err(_) => seat.refused(),
            }
        }
        for dir in obstacle.cgroups.iter().take(CGROUPS) {
            wake.listen(dir);
        }
        // Processes that are there still have not gone in between; and who looks again, looks through `/proc`.
        let there =
            obstacle.step == Step::Processes && obstacle.cgroups.iter().any(|dir| events_say(dir, "populated 1"));
        wake.may_have_missed |= !wake.cgroups.is_empty() && !there;
        wake
    }

    fn listen(&mut self, dir: &Path) {
        let sources = &self.cx.gc.sources;
        let Some(directories) = &sources.cgroups else { return };
        let mut listeners = sources.lock();
        // Kernfs tells of the directory's own end, and of changes of `cgroup.events` in it (cgroups(7)).
        match directories.watch(dir, WatchFlags::MODIFY | WatchFlags::DELETE_SELF | WatchFlags::DELETE) {
            Ok(number) => {
                listeners.entry(number).or_default().push(self.changed.clone());
                self.cgroups.push(number);
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.is_late = true,
            Err(_) => {}
        }
    }

    /// Waits for a sign. Cancel-safe.
    pub async fn sign(&mut self) -> Sign {
        loop {
            tokio::select! {
                () = self.changed.notified() => return Sign::Changed,
                () = changed(self.mounts.as_mut()) => return Sign::Changed,
                (index, step) = any(&self.processes) => {
                    // Its descriptor is needed elsewhere, or cannot be watched: the back-off is left.
                    let died = matches!(step, Ok(Watched::Zombie | Watched::Reaped));
                    drop(self.processes.swap_remove(index));
                    if died {
                        return Sign::Died;
                    }
                }
            }
        }
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let sources = &self.cx.gc.sources;
        let mut listeners = sources.lock();
        for number in &self.cgroups {
            let Some(all) = listeners.get_mut(number) else { continue };
            all.retain(|one| !Arc::ptr_eq(one, &self.changed));
            if all.is_empty() {
                listeners.remove(number);
                sources.cgroups.iter().for_each(|directories| directories.forget(*number));
            }
        }
    }
}

async fn changed(mounts: Option<&mut watch::Receiver<u64>>) {
    match mounts {
        Some(mounts) => {
            if mounts.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// The first of them that makes a step.
async fn any(watches: &[InitWatch]) -> (usize, io::Result<Watched>) {
    let mut steps: Vec<_> = watches.iter().map(|watch| Box::pin(watch.step())).collect();
    std::future::poll_fn(|cx| {
        for (index, step) in steps.iter_mut().enumerate() {
            if let std::task::Poll::Ready(step) = step.as_mut().poll(cx) {
                return std::task::Poll::Ready((index, step));
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// Changes of our mount table: `poll(2)` on `/proc/self/mountinfo` tells of them (proc_pid_mounts(5), Linux 2.6.30).
fn mounts(cx: &Arc<Context>) -> watch::Receiver<u64> {
    let sources = &cx.gc.sources;
    let mut running = sources.running.lock().unwrap_or_else(PoisonError::into_inner);
    let receiver = sources.mounts.subscribe();
    if !*running {
        *running = true;
        let cx = cx.clone();
        cx.gc.tasks.clone().spawn(async move {
            let cancel = cx.cancel.clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                watched = watch_mounts(&cx.gc.sources) => if let Err(e) = watched {
                    *cx.gc.sources.running.lock().unwrap_or_else(PoisonError::into_inner) = false;
                    tracing::warn!(error = %e, "changes of the mount table are not heard, only looked for");
                },
            }
        });
    }
    receiver
}

async fn watch_mounts(sources: &Sources) -> io::Result<()> {
    let table = sys::watch_priority(File::open("/proc/self/mountinfo")?.into())?;
    loop {
        tokio::select! {
            // Nobody listens any more, unless somebody has begun to meanwhile.
            () = sources.mounts.closed() => {
                let mut running = sources.running.lock().unwrap_or_else(PoisonError::into_inner);
                if sources.mounts.receiver_count() == 0 {
                    *running = false;
                    return Ok(());
                }
            }
            ready = table.ready(Interest::PRIORITY | Interest::ERROR) => {
                ready?.clear_ready();
                sources.mounts.send_modify(|count| *count += 1);
            }
        }
    }
}
