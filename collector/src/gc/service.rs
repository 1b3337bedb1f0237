//! The GC loop: every run that is to be cleaned, from its first attempt until all of it is seen to be gone.
//!
//! Each has a task of its own (I7): one that hangs holds up nobody. What the first attempt does not get done becomes an
//! entry, durable before it is tried again, and is tried again after a back-off, or as soon as what was in the way goes.

use super::{
    Attempt, Entries, Obstacle,
    entries::Run,
    figures::Figures,
    wake::{Sign, Sources, Wake},
    ward::{Dead, Progress, Ward, entry},
};
use crate::{backend::Lanes, context::Context, exit::Backoff};
use sexton_common::{
    ContainerId, Layout, Stamp, WallTime,
    cgroup::CgroupDir,
    durable,
    gc::{Entry, Estate, GcOrigin, Step},
    identity::Presence,
    launch::{Clean, Launch},
    wire::{GcFigures, State},
};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

/// How soon after an attempt the first sign leads to another; what gives signs but does not go gives way to the back-off.
const FIRST_GAP: Duration = Duration::from_millis(5);
/// How many signs lead to an attempt in each delay, where they never cease.
const HEEDED: u32 = 3;

/// See the module.
#[derive(Debug)]
pub struct Gc {
    /// On disk.
    pub entries: Entries,
    /// What it has done.
    pub figures: Figures,
    /// What wakes it.
    pub sources: Sources,
    /// How many threads it may have at once.
    pub threads: Arc<Semaphore>,
    /// Where those are tried that were tried before: whoever has just ended does not wait for them (I7).
    pub lanes: Lanes,
    /// What a clean-up command may take.
    pub command_timeout: Duration,
    /// Where its tasks run.
    pub tasks: TaskTracker,
    wards: Mutex<BTreeMap<Run, Arc<Ward>>>,
    /// Found on disk, and not yet taken up.
    pending: Mutex<BTreeMap<Run, Entry>>,
}

/// What is to be cleaned.
#[derive(Clone, Debug)]
pub struct Ask {
    /// All that is needed for it.
    pub estate: Estate,
    /// The cgroups of whoever called its runtime, below which its own may be.
    pub above: Vec<CgroupDir>,
    /// Where it comes from.
    pub origin: GcOrigin,
    /// Of a container whose exit is known.
    pub dead: Option<Dead>,
    /// Of a container that was killed and does not die.
    pub alive: bool,
    /// Whether the container is removed once it is clean.
    pub remove: bool,
}

impl Gc {
    /// Without entries.
    #[must_use]
    pub fn new(layout: Layout, threads: usize, lanes: Lanes, command_timeout: Duration, tasks: TaskTracker) -> Self {
        Self {
            entries: Entries::new(layout),
            figures: Figures::default(),
            sources: Sources::default(),
            threads: Arc::new(Semaphore::new(threads)),
            lanes,
            command_timeout,
            tasks,
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

    /// All that have been tried in vain.
    #[must_use]
    pub fn waiting(&self) -> Vec<Arc<Ward>> {
        self.wards().values().filter(|ward| ward.lock().obstacle.is_some()).cloned().collect()
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
    let run = (ask.estate.id.clone(), ask.estate.generation);
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
    drop(wards);
    let progress = ward.progress.subscribe();
    {
        let mut inner = ward.lock();
        inner.entry.estate.absorb(ask.estate);
        inner.entry.remove |= ask.remove;
        inner.unresolved = Some(ask.above);
        inner.dead = ask.dead.or(inner.dead.take());
        inner.alive = ask.alive;
        inner.revision += 1;
    }
    if new {
        let (cx, cancel) = (cx.clone(), cx.cancel.clone());
        gc.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = work(&cx, &ward) => {}
            }
        });
    } else {
        ward.wake.notify_one();
    }
    progress
}

/// The same, once it is durable.
///
/// # Errors
/// If it cannot be written; nothing is cleaned then.
pub async fn tend_durably(cx: &Arc<Context>, ask: Ask) -> Result<(), String> {
    let run = (ask.estate.id.clone(), ask.estate.generation);
    if let Some(ward) = cx.gc.of_run(&run) {
        drop(tend(cx, ask));
        return cx.gc.persist(cx, &ward).await;
    }
    let (gc, entry) = (cx.clone(), entry(ask.estate.clone(), ask.origin));
    let name = format!("note what is to be cleaned of {}", run.0);
    let (written, entry) = cx.tools.blocking.run(name, move || (gc.gc.entries.write(&entry), entry)).await;
    written.map_err(|e| format!("write the entry in {}: {e}", cx.layout.gc().display()))?;
    cx.gc.pending().insert(run, entry);
    drop(tend(cx, ask));
    Ok(())
}

/// Until it is clean, or given up.
async fn work(cx: &Arc<Context>, ward: &Arc<Ward>) {
    let backoff = Backoff::new(cx.backoff.0, cx.backoff.1);
    let (mut failures, mut fruitless) = (1, 0);
    loop {
        let (revision, forgotten) = {
            let mut inner = ward.lock();
            inner.next_try = None;
            (inner.revision, inner.forgotten)
        };
        if forgotten {
            return forget(cx, ward).await;
        }
        let done = attempt(cx, ward).await;
        let obstacle = match done {
            // What is to be cleaned has grown meanwhile.
            _ if ward.lock().revision != revision => continue,
            Ok(()) => match finish(cx, ward).await {
                Ok(()) => return,
                Err(obstacle) => obstacle,
            },
            Err(obstacle) => obstacle,
        };
        // Something else than the last time is progress.
        if ward.delayed(obstacle.clone()) {
            (failures, fruitless) = (1, 0);
        }
        let delay = backoff.delay(failures);
        tell(cx, ward, delay).await;
        match wait(cx, ward, &obstacle, delay, fruitless).await {
            Woken::Due { restless } => {
                failures = failures.saturating_add(1);
                // A few signs are heeded in each delay, and after a quiet one each at once again.
                fruitless = if restless { fruitless.saturating_sub(HEEDED) } else { 0 };
            }
            Woken::Asked => {}
            Woken::Sign => fruitless += 1,
        }
    }
}

async fn attempt(cx: &Arc<Context>, ward: &Arc<Ward>) -> Result<(), Obstacle> {
    let again = ward.lock().entry.attempts > 0;
    let mut place = if again { &cx.gc.lanes } else { &cx.tools.lanes }.enter().await;
    cx.gc.figures.tried();
    ward.lock().entry.attempts += 1;
    place.during(Attempt::new(cx, ward, cx.deadline).run()).await
}

/// Something was in the way: that is durable, then everybody is told.
async fn tell(cx: &Arc<Context>, ward: &Arc<Ward>, delay: Duration) {
    if let Err(e) = cx.gc.persist(cx, ward).await {
        tracing::error!(error = %e, "what is to be cleaned is known as long as sextond runs, and written when it is tried again");
    }
    let mut inner = ward.lock();
    let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    inner.next_try = Some(WallTime(WallTime::now().0.saturating_add(delay)));
    let Entry { estate, attempts, in_the_way, step, .. } = &inner.entry;
    tracing::warn!(id = %estate.id, attempts, %step, why = in_the_way, "not clean yet");
    let progress = Progress::InTheWay { attempts: *attempts, what: in_the_way.clone() };
    drop(inner);
    ward.progress.send_replace(progress);
}

/// Why it is tried again.
enum Woken {
    /// `restless`: signs were waiting for their gap.
    Due {
        restless: bool,
    },
    Asked,
    Sign,
}

/// Until it is time, somebody asks, or there is a sign. `fruitless`: how many signs in a row have led nowhere.
async fn wait(cx: &Arc<Context>, ward: &Arc<Ward>, obstacle: &Obstacle, delay: Duration, fruitless: u32) -> Woken {
    let begun = Instant::now();
    let gap = FIRST_GAP.saturating_mul(1 << fruitless.min(20)).min(delay);
    let mut wake = Wake::of(cx, obstacle);
    let missed = wake.is_late || (fruitless == 0 && wake.may_have_missed());
    let restless = AtomicBool::new(false);
    let sign = async {
        if missed || wake.sign().await == Sign::Changed {
            restless.store(true, Ordering::Relaxed);
            // What changes all the time, and does not go, is not looked at all the time.
            sleep_until(begun + gap).await;
        }
    };
    tokio::select! {
        biased;
        () = sleep_until(begun + delay) => Woken::Due { restless: restless.load(Ordering::Relaxed) },
        () = ward.wake.notified() => Woken::Asked,
        () = sign => Woken::Sign,
    }
}

/// All is gone: that is noted, and the entry goes.
async fn finish(cx: &Arc<Context>, ward: &Arc<Ward>) -> Result<(), Obstacle> {
    remember(cx, ward).await;
    remove(cx, ward).await?;
    cx.gc.figures.cleaned();
    let id = ward.lock().entry.estate.id.clone();
    tracing::info!(%id, "clean");
    ward.progress.send_replace(Progress::Clean);
    Ok(())
}

async fn forget(cx: &Arc<Context>, ward: &Arc<Ward>) {
    remember(cx, ward).await;
    if let Err(obstacle) = remove(cx, ward).await {
        tracing::error!(error = obstacle.what, "forgotten, but it comes back after a restart");
        let run = run_of(ward);
        cx.gc.wards().remove(&run);
    }
    ward.progress.send_replace(Progress::Forgotten);
}

fn run_of(ward: &Ward) -> Run {
    let inner = ward.lock();
    (inner.entry.estate.id.clone(), inner.entry.estate.generation)
}

async fn remove(cx: &Arc<Context>, ward: &Arc<Ward>) -> Result<(), Obstacle> {
    let run = run_of(ward);
    let (gc, of) = (cx.clone(), run.clone());
    let name = format!("remove the entry of {}", run.0);
    let removed = cx.tools.blocking.run(name, move || gc.gc.entries.remove(&of)).await;
    removed
        .map_err(|e| Obstacle::new(Step::Record, format!("remove the entry in {}: {e}", cx.layout.gc().display())))?;
    cx.gc.wards().remove(&run);
    Ok(())
}

/// So that nobody cleans again what by then may be another's of the same name.
async fn remember(cx: &Arc<Context>, ward: &Arc<Ward>) {
    let (dead, generation) = {
        let inner = ward.lock();
        (inner.dead.clone(), inner.entry.estate.generation)
    };
    let Some(Dead { dir, verdict }) = dead else { return };
    let path = dir.clean();
    let write = move || durable::write(&path, &Clean { generation, at: Stamp::now() });
    let written = cx.tools.blocking.run("note that it is clean", write).await;
    if let Err(e) = written.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
        tracing::warn!(id = %verdict.record.id, error = %e, "it is clean, but that cannot be noted: looked at again after a restart");
    }
}

/// Entries that lie on disk; those of containers are taken up by their tasks.
pub fn restore(cx: &Arc<Context>, entries: Vec<Entry>) {
    let mut pending = cx.gc.pending();
    pending.extend(entries.into_iter().map(|entry| ((entry.estate.id.clone(), entry.estate.generation), entry)));
}

/// After the scan: takes up what has no container any more, of this boot or an earlier one. `launches`: containers that
/// own what outlives a reboot.
pub async fn take_up(cx: &Arc<Context>, launches: Vec<Launch>) {
    let known = |run: &Run| cx.board.get(&run.0).is_some_and(|info| info.generation == run.1);
    let left: Vec<(Run, Entry)> = cx.gc.pending().iter().map(|(run, entry)| (run.clone(), entry.clone())).collect();
    for (run, entry) in left {
        let info = cx.board.get(&run.0).filter(|info| info.generation == run.1);
        match info.map(|info| info.state) {
            // It was clean before its entry could be removed.
            Some(State::Stopped) => {
                cx.gc.pending().remove(&run);
                let (gc, of) = (cx.clone(), run.clone());
                if let Err(e) = cx.tools.blocking.run("remove an entry", move || gc.gc.entries.remove(&of)).await {
                    tracing::warn!(id = %run.0, error = %e, "the entry of a clean container cannot be removed");
                }
            }
            Some(_) => {}
            None => drop(tend(cx, Ask::of(entry.estate, entry.origin))),
        }
    }
    for launch in launches {
        let run = (launch.id.clone(), launch.generation);
        let unborn = launch.shim.look().is_ok_and(|shim| matches!(shim, Presence::Alive(_)));
        if !known(&run) && !unborn && cx.gc.of_run(&run).is_none() {
            drop(tend(cx, Ask::of(Estate::of(&launch, None), GcOrigin::Container)));
        }
    }
}

impl Ask {
    /// Of what has no container.
    #[must_use]
    pub fn of(estate: Estate, origin: GcOrigin) -> Self {
        Self { estate, above: Vec::new(), origin, dead: None, alive: false, remove: false }
    }
}
