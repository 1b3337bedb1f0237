//! All simulated containers, what lives in them, and what was done to them that must not be.

use super::{
    super::Seen,
    run::{Container, Phase, Run},
    script::{Creation, Script},
};
use sexton_common::{
    ContainerId, ExitStatus, UnknownReason, WallTime,
    instance::Ended,
    wire::{ApiError, ErrorCode, Launched},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

/// 2026-01-01: wall clocks say the same in every run of a test.
const EPOCH: u64 = 1_767_225_600_000_000_000;
/// So many violations are kept in words.
const WORDS: usize = 64;
/// A creation that hangs is undone by then.
pub(super) const CREATED_WITHIN: Duration = Duration::from_secs(120);

/// See the module.
pub(super) struct World {
    pub(super) script: Script,
    epoch: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) containers: HashMap<ContainerId, Container>,
    pub(super) figures: Figures,
    pub(super) violations: Vec<String>,
    generation: u64,
}

/// What went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Creations that were begun.
    pub creations: u64,
    /// Runs that began.
    pub starts: u64,
    /// Runs that ended.
    pub exits: u64,
    /// Runs that live, paused ones too.
    pub alive: u64,
    /// The most that lived at once.
    pub most_alive: u64,
    /// What the caller must not do, and did.
    pub violations: u64,
}

impl Inner {
    pub(super) fn violate(&mut self, words: String) {
        self.figures.violations += 1;
        if self.violations.len() < WORDS {
            self.violations.push(words);
        }
    }

    pub(super) fn container(&mut self, id: &ContainerId) -> &mut Container {
        self.containers.entry(id.clone()).or_insert_with(|| Container {
            seen: watch::Sender::default(),
            created: 0,
            call: None,
            run: None,
        })
    }

    /// One more than ever before, and as late as the clock says.
    pub(super) fn next_generation(&mut self, epoch: Instant) -> u64 {
        let now = u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.generation = now.max(self.generation + 1);
        self.generation
    }
}

impl World {
    pub(super) fn new(script: Script) -> Arc<Self> {
        Arc::new(Self { script, epoch: Instant::now(), inner: Mutex::default() })
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn epoch(&self) -> Instant {
        self.epoch
    }

    pub(super) fn now(&self) -> WallTime {
        WallTime(EPOCH + u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX - EPOCH))
    }

    /// Changes a run, if it is still the newest, and what is seen of it.
    fn with<T>(&self, of: &(ContainerId, u64), change: impl FnOnce(&mut Run, &mut Seen) -> T) -> Option<T> {
        let mut inner = self.inner();
        let container = inner.containers.get_mut(&of.0)?;
        let run = container.run.as_mut().filter(|run| run.generation == of.1)?;
        let mut done = None;
        container.seen.send_modify(|seen| done = Some(change(run, seen)));
        done
    }

    fn end(&self, of: &(ContainerId, u64), status: ExitStatus, ran: Option<Duration>) {
        let exited = Some(self.now());
        let ran_ns = ran.map(|ran| u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX));
        self.with(of, |run, seen| {
            run.phase = Phase::Dead;
            seen.ended = Some(Ended { generation: of.1, status, exited, ran_ns });
        });
    }

    /// Nothing is left of it.
    pub(super) fn remove(&self, id: &ContainerId) {
        let mut inner = self.inner();
        if let Some(container) = inner.containers.get_mut(id) {
            container.run = None;
            container.seen.send_modify(|seen| seen.gone = true);
        }
    }
}

/// A run's life, from its creation on, whoever still waits for that.
pub(super) async fn live(
    world: Arc<World>,
    of: (ContainerId, u64),
    created: oneshot::Sender<Result<Launched, ApiError>>,
) {
    let Some((plan, wake)) = world.with(&of, |run, _| (run.plan, run.wake.clone())) else { return };
    pass(plan.hidden).await;
    // The earlier run's record makes room.
    world.with(&of, |run, seen| {
        run.phase = Phase::Creating;
        *seen = Seen { generation: of.1, ..Seen::default() };
    });
    let (code, words, in_gc) = match plan.creation {
        Creation::Takes(time) => {
            pass(time).await;
            begin(&world, &of);
            // Whoever asked may be gone.
            let _ = created.send(Ok(launched(&of)));
            run(&world, &of, &wake).await;
            return clean(&world, &of, plan.clean, plan.in_gc).await;
        }
        Creation::Fails { after, code, in_gc } => {
            pass(after).await;
            (code, "as it stands in the script", in_gc)
        }
        Creation::Hangs => {
            sleep(CREATED_WITHIN).await;
            (ErrorCode::TimedOut, "it took too long", Duration::ZERO)
        }
    };
    let error = Err(ApiError::new(code, format!("create {}: {words}", of.0)));
    if in_gc.is_zero() {
        world.remove(&of.0);
        let _ = created.send(error);
        return;
    }
    world.end(&of, ExitStatus::Unknown { reason: UnknownReason::NeverStarted }, None);
    world.with(&of, |run, seen| (run.phase, seen.in_gc) = (Phase::Gc, true));
    let _ = created.send(error);
    clean(&world, &of, Duration::ZERO, in_gc).await;
}

/// What takes no time does not even wait for its turn: a timer would take a millisecond.
async fn pass(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn launched(of: &(ContainerId, u64)) -> Launched {
    let dir = std::path::PathBuf::from(format!("/simulated/{}", of.0));
    Launched {
        id: of.0.clone(),
        generation: of.1,
        pid: 1,
        shim_pid: 1,
        exit_fifo: dir.join("exit.fifo"),
        exit_file: dir.join("exit"),
    }
}

fn begin(world: &World, of: &(ContainerId, u64)) {
    world.with(of, |run, _| run.start());
    let figures = &mut world.inner().figures;
    figures.starts += 1;
    figures.alive += 1;
    figures.most_alive = figures.most_alive.max(figures.alive);
}

async fn run(world: &World, of: &(ContainerId, u64), wake: &tokio::sync::Notify) {
    let (status, ran) = loop {
        let end = world.with(of, |run, _| (run.end(), run.started)).and_then(|(end, started)| Some((end?, started)));
        match end {
            Some(((at, status), started)) if at <= Instant::now() => break (status, started.elapsed()),
            Some(((at, _), _)) => tokio::select! {
                () = sleep_until(at) => {}
                () = wake.notified() => {}
            },
            None => wake.notified().await,
        }
    };
    {
        let figures = &mut world.inner().figures;
        figures.exits += 1;
        figures.alive -= 1;
    }
    world.end(of, status, Some(ran));
}

async fn clean(world: &World, of: &(ContainerId, u64), takes: Duration, in_gc: Duration) {
    pass(takes).await;
    if !in_gc.is_zero() {
        world.with(of, |run, seen| (run.phase, seen.in_gc) = (Phase::Gc, true));
        pass(in_gc).await;
    }
    let remove = world.with(of, |run, seen| {
        run.phase = Phase::Clean;
        (seen.in_gc, seen.clean) = (false, true);
        run.remove
    });
    if remove == Some(true) {
        world.remove(&of.0);
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("figures", &self.inner().figures).finish_non_exhaustive()
    }
}
