//! The GC loop: every run that is to be cleaned, from its first attempt until all of it is seen to be gone.
//!
//! Each has a task of its own (I7): one that hangs holds up nobody. What the first attempt does not get done becomes an
//! entry, durable before it is tried again, and is tried again after a back-off, or as soon as what was in the way goes.

use super::{
    Ask, Entries,
    calm::Calm,
    entries::Run,
    figures::Figures,
    lingering::Lingering,
    wake::Sources,
    ward::{Progress, Ward, entry},
};
use crate::{context::Context, runtimes::Lanes};
use sexton_common::{
    ContainerId, Layout,
    gc::{Entry, Estate, GcOrigin},
    identity::Presence,
    launch::Launch,
    wire::{GcFigures, State},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

/// See the module.
#[derive(Debug)]
pub struct Gc {
    /// On disk.
    pub entries: Entries,
    /// What it has done.
    pub figures: Figures,
    /// What wakes it.
    pub sources: Sources,
    /// Programs that were killed and do not die.
    pub lingering: Lingering,
    /// How many threads it may have at once.
    pub threads: Arc<Semaphore>,
    /// How many of them on file systems that may hang.
    pub shares: Shares,
    /// How many clean-up commands run at once.
    pub commands: Semaphore,
    /// Where those are tried that were tried before: whoever has just ended does not wait for them (I7).
    pub lanes: Lanes,
    /// What a clean-up command may take.
    pub command_timeout: Duration,
    /// Where its tasks run.
    pub tasks: TaskTracker,
    /// Whether exits are being told.
    pub calm: Calm,
    /// Held by whoever adds what is no container of ours: what bears one name becomes one entry.
    pub adding: tokio::sync::Mutex<()>,
    /// Changes when something is not in GC any more: whoever waits for a name tries again.
    pub gone: watch::Sender<u64>,
    wards: Mutex<BTreeMap<Run, Arc<Ward>>>,
    /// Found on disk, and not yet taken up.
    pending: Mutex<BTreeMap<Run, Entry>>,
}

/// How many threads there may be at once on file systems that may hang.
#[derive(Debug)]
pub struct Shares {
    /// Where mounts and registered files are.
    pub others: Arc<Semaphore>,
    /// Where bundles and records are.
    pub bundles: Arc<Semaphore>,
}

impl Shares {
    fn of(threads: usize) -> Self {
        let part = |n: usize| Arc::new(Semaphore::new((threads / n).max(1)));
        Self { others: part(2), bundles: part(4) }
    }
}

impl Gc {
    /// Without entries.
    #[must_use]
    pub fn new(layout: Layout, threads: usize, lanes: Lanes, command_timeout: Duration, tasks: TaskTracker) -> Self {
        Self {
            entries: Entries::new(layout),
            figures: Figures::default(),
            sources: Sources::default(),
            lingering: Lingering::default(),
            threads: Arc::new(Semaphore::new(threads)),
            shares: Shares::of(threads),
            commands: Semaphore::new(threads * 4),
            lanes,
            command_timeout,
            tasks,
            calm: Calm::default(),
            adding: tokio::sync::Mutex::new(()),
            gone: watch::channel(0).0,
            wards: Mutex::default(),
            pending: Mutex::default(),
        }
    }

    fn wards(&self) -> MutexGuard<'_, BTreeMap<Run, Arc<Ward>>> {
        self.wards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found on disk and has not been taken up.
    pub fn pending(&self) -> MutexGuard<'_, BTreeMap<Run, Entry>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an earlier collector's entry of this name has not been taken up.
    pub fn is_pending(&self, id: &ContainerId) -> bool {
        self.pending().range((id.clone(), 0)..=(id.clone(), u64::MAX)).next().is_some()
    }

    /// Whether an earlier collector was to remove it once it is clean.
    pub fn was_to_be_removed(&self, launch: &Launch) -> bool {
        self.pending().get(&launch.run()).is_some_and(|entry| entry.remove)
    }

    /// All that have been tried in vain.
    #[must_use]
    pub fn waiting(&self) -> Vec<Arc<Ward>> {
        self.wards().values().filter(|ward| ward.waits()).cloned().collect()
    }

    /// All, those that are tried for the first time too.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Ward>> {
        self.wards().values().cloned().collect()
    }

    /// Of this name: an earlier boot's too.
    #[must_use]
    pub fn of(&self, id: &ContainerId) -> Option<Arc<Ward>> {
        let wards = self.wards();
        let mut of_it = wards.range((id.clone(), 0)..=(id.clone(), u64::MAX)).map(|(_, ward)| ward.clone());
        of_it.next_back()
    }

    /// It is over, unless something was added since that revision.
    pub(super) fn drop_ward(&self, ward: &Ward, revision: u64) -> bool {
        let mut wards = self.wards();
        let inner = ward.lock();
        let over = inner.revision == revision;
        if over {
            wards.remove(&inner.entry.estate.run());
        }
        over
    }

    /// Whether it has not come to its end.
    pub(super) fn has(&self, ward: &Arc<Ward>) -> bool {
        let run = ward.lock().entry.estate.run();
        self.wards().get(&run).is_some_and(|there| Arc::ptr_eq(there, ward))
    }

    /// Of this run.
    #[must_use]
    pub fn of_run(&self, run: &Run) -> Option<Arc<Ward>> {
        self.wards().get(run).cloned()
    }

    /// Figures for clients.
    #[must_use]
    pub fn shown(&self) -> GcFigures {
        let waiting = self.waiting();
        let oldest = waiting.iter().map(|ward| ward.age()).max();
        GcFigures {
            entries: u32::try_from(waiting.len()).unwrap_or(u32::MAX),
            oldest_ms: oldest.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            ..self.figures.shown()
        }
    }
}

/// Takes up what is to be cleaned, or adds to what is; whoever asked follows how far it is.
pub fn tend(cx: &Arc<Context>, ask: Ask) -> watch::Receiver<Progress> {
    let gc = &cx.gc;
    let run = ask.estate.run();
    let kept = gc.pending().remove(&run);
    let mut wards = gc.wards();
    let (ward, new) = match wards.get(&run) {
        Some(ward) => (ward.clone(), false),
        None => {
            let durable = kept.is_some();
            let entry = kept.unwrap_or_else(|| entry(ask.estate.clone(), ask.origin));
            let ward = Ward::new(entry, durable);
            wards.insert(run, ward.clone());
            (ward, true)
        }
    };
    let progress = ward.progress.subscribe();
    {
        let mut inner = ward.lock();
        let named = |estate: &Estate| {
            (estate.processes.clone(), estate.cgroups.clone(), estate.guessed.clone(), estate.runtime.clone())
        };
        let before = named(&inner.entry.estate);
        inner.entry.estate.absorb(ask.estate);
        inner.settled &= named(&inner.entry.estate) == before;
        inner.entry.remove |= ask.remove;
        inner.unresolved = Some(ask.above);
        inner.dead = ask.dead.or(inner.dead.take());
        inner.alive = ask.alive;
        // Whoever asks wants it cleaned, whatever somebody said of what it was before.
        inner.forgotten = false;
        inner.revision += 1;
    }
    // Only now may its task find that it is done.
    drop(wards);
    if new {
        let (cx, cancel) = (cx.clone(), cx.cancel.clone());
        gc.tasks.spawn(async move {
            let work = async {
                if ask.patient {
                    cx.gc.calm.wait().await;
                }
                super::tend::work(&cx, &ward).await;
            };
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work => cx.gc.gone.send_modify(|count| *count += 1),
            }
        });
    } else {
        ward.wake.notify_one();
    }
    progress
}

/// Entries that lie on disk; those of containers are taken up by their tasks.
pub fn restore(cx: &Arc<Context>, entries: Vec<Entry>) {
    let mut pending = cx.gc.pending();
    pending.extend(entries.into_iter().map(|entry| (entry.estate.run(), entry)));
}

/// After the scan: takes up what has no container any more, of this boot or an earlier one. `launches`: containers that
/// own what outlives a reboot.
pub async fn take_up(cx: &Arc<Context>, launches: Vec<Launch>) {
    let state = |run: &Run| Some(cx.board.get(&run.0).filter(|info| info.generation == run.1)?.state);
    // It may be alive: once it can be read its own task sees to it.
    let unread = |run: &Run| {
        let lies = || cx.layout.container(&run.0).path().symlink_metadata().is_ok();
        cx.board.is_pending(&run.0) || (cx.board.get(&run.0).is_none() && lies())
    };
    let left: Vec<(Run, Entry)> = cx.gc.pending().iter().map(|(run, entry)| (run.clone(), entry.clone())).collect();
    for (run, entry) in left {
        match state(&run) {
            Some(State::Stopped | State::Restarting) => {
                cx.gc.pending().remove(&run);
                remove_late(cx, run).await;
            }
            Some(_) => {}
            None if unread(&run) => {}
            None => drop(tend(cx, Ask::of(entry.estate, entry.origin))),
        }
    }
    for launch in launches {
        let run = launch.run();
        match state(&run) {
            Some(State::Stopped | State::Restarting) => remove_late(cx, run).await,
            Some(_) => {}
            None => {
                let unborn = launch.shim.look().is_ok_and(|shim| matches!(shim, Presence::Alive(_)));
                if !unread(&run) && !unborn && cx.gc.of_run(&run).is_none() {
                    drop(tend(cx, Ask::of(Estate::of(&launch, None), GcOrigin::Container)));
                }
            }
        }
    }
}

/// It was clean before what lies in the data directory could be removed.
async fn remove_late(cx: &Arc<Context>, run: Run) {
    let (gc, id) = (cx.clone(), run.0.clone());
    if let Err(e) = cx.tools.blocking.run("remove an entry", move || gc.gc.entries.remove(&run)).await {
        tracing::warn!(%id, error = %e, "what is left of a clean container in the data directory cannot be removed");
    }
}
