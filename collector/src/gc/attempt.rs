//! One attempt to clean up: the steps of the plan, each until it is seen to be done (I5).

mod commands;
mod mounts;
mod runtime;

use super::{
    Obstacle, cgroups, files, leftovers,
    plan::{Case, plan},
    processes::{self, Spared},
    rootfs,
    ward::{Dead, Occupied, Ward, is_of_today},
};
use crate::{context::Context, exit::write_record, runtimes::Lanes};
use sexton_common::{
    cgroup::CgroupDir,
    gc::{Estate, Step},
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// How long is waited for killed processes in one attempt; their pidfds tell of their end later.
const DIE_WITHIN: Duration = Duration::from_millis(500);
/// The same where they were in the way the last time: what is new is heard, and a thread is not spent on waiting.
const STILL_DIE_WITHIN: Duration = Duration::from_millis(20);
/// What a thread may be late.
const GRACE: Duration = Duration::from_secs(1);

/// One attempt.
pub struct Attempt<'a> {
    cx: &'a Arc<Context>,
    ward: &'a Arc<Ward>,
    lanes: &'a Lanes,
    estate: Estate,
    dead: Option<Dead>,
    revision: u64,
    end: Instant,
}

/// What came of a step: whether there was anything to do.
type Done = Result<bool, Obstacle>;

impl<'a> Attempt<'a> {
    /// Of at most `deadline`, clean-up commands apart, which have their own, and the wait for the runtime's turn. `again`: it
    /// was tried before.
    #[must_use]
    pub fn new(cx: &'a Arc<Context>, ward: &'a Arc<Ward>, deadline: Duration, again: bool) -> Self {
        let (estate, dead, revision) = {
            let inner = ward.lock();
            (inner.entry.estate.clone(), inner.dead.clone(), inner.revision)
        };
        // Whoever has just ended does not wait for those that were tried before (I7).
        let lanes = if again { &cx.gc.lanes } else { &cx.tools.lanes };
        Self { cx, ward, lanes, estate, dead, revision, end: Instant::now() + deadline }
    }

    /// Goes through the steps.
    ///
    /// # Errors
    /// What was in the way.
    pub async fn run(mut self) -> Result<(), Obstacle> {
        self.resolve().await?;
        let (alive, settled) = {
            let inner = self.ward.lock();
            (inner.alive, inner.settled)
        };
        let earlier_boot = !is_of_today(&self.estate);
        let case = Case { alive, record: self.dead.is_some(), earlier_boot, settled };
        for step in plan(case, &self.estate) {
            if step > Step::Cgroups {
                let mut inner = self.ward.lock();
                inner.settled |= inner.revision == self.revision;
            }
            if self.perform(step).await? {
                self.cx.gc.figures.did(step);
            }
        }
        if alive {
            return Err(Obstacle::new(Step::Record, "its exit is not known yet"));
        }
        Ok(())
    }

    /// What only the bundle says: it may be gone when it is needed.
    async fn resolve(&mut self) -> Result<(), Obstacle> {
        let Some(above) = self.ward.lock().unresolved.clone() else { return Ok(()) };
        if let Some(bundle) = self.estate.bundle.clone() {
            let (layout, id) = (self.cx.layout.clone(), self.estate.id.clone());
            let unseen = self.estate.cgroups.is_empty() && self.estate.processes.is_empty() && !above.is_empty();
            let read = move || {
                let guessed = if unseen { rootfs::expected_cgroups(&bundle, &above, &id) } else { Vec::new() };
                (rootfs::rootfs(&bundle, &layout), guessed)
            };
            let (rootfs, guessed) = self.block(Step::Record, "read its bundle", read).await?;
            let mut inner = self.ward.lock();
            let estate = &mut inner.entry.estate;
            estate.rootfs = estate.rootfs.take().or(rootfs);
            if estate.guessed.is_empty() {
                estate.guessed = guessed;
            }
            self.estate = estate.clone();
        }
        self.ward.lock().unresolved = None;
        Ok(())
    }

    async fn perform(&mut self, step: Step) -> Done {
        match step {
            Step::Record => self.record().await,
            Step::Processes => self.processes().await,
            Step::Runtime => self.runtime().await,
            Step::Cgroups => self.cgroups().await,
            Step::Mounts => self.mounts().await,
            Step::Netns => {
                let paths = self.estate.cleanup.netns.clone();
                self.each(step, "remove a network namespace", paths, super::mounts::remove_netns).await
            }
            Step::Files => {
                let paths = self.estate.cleanup.paths.clone();
                self.spare_others(step, paths.clone()).await?;
                self.each(step, "remove registered files", paths, files::remove).await
            }
            Step::Commands => {
                // Never closed. One takes as long as it likes, and holds up nothing but others.
                let _turn = self.cx.gc.commands.acquire().await;
                self.commands().await
            }
        }
    }

    /// Runs what may block, with the share of threads that its step has: what lies on file systems that may hang never has
    /// all of them, for `/proc` and cgroups do not hang.
    async fn block<T: Send + 'static>(
        &self,
        step: Step,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Obstacle> {
        let shares = &self.cx.gc.shares;
        let share = match step {
            Step::Mounts | Step::Netns | Step::Files => Some(&shares.others),
            Step::Record => Some(&shares.bundles),
            Step::Processes | Step::Runtime | Step::Cgroups | Step::Commands => None,
        };
        self.block_on(share, step, name, work).await
    }

    /// Runs what may block on the ward's one thread, so that what hangs in the kernel costs one thread whatever the
    /// number of attempts, and no more than a part of all threads together.
    async fn block_on<T: Send + 'static>(
        &self,
        share: Option<&Arc<Semaphore>>,
        step: Step,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Obstacle> {
        let id = &self.estate.id;
        let hangs =
            || Obstacle::new(step, format!("to {name} hangs in the kernel: see `sexton doctor` and the kernel's log"));
        let Some(occupied) = self.ward.occupy() else { return Err(hangs()) };
        let permits = async {
            let share = if let Some(share) = share { Some(share.clone().acquire_owned().await) } else { None };
            (share, self.cx.gc.threads.clone().acquire_owned().await)
        };
        let Ok(thread) = timeout_at(self.end, permits).await else {
            occupied.free();
            return Err(Obstacle::new(step, format!("no thread is left to {name}: others hang in the kernel")));
        };
        let work = move || {
            let done = work();
            drop(thread);
            (done, occupied)
        };
        let running = self.cx.tools.blocking.run(format!("{name} of {id}"), work);
        match timeout_at(self.end + GRACE, running).await {
            Ok((done, occupied)) => {
                Occupied::free(occupied);
                Ok(done)
            }
            Err(_late) => Err(hangs()),
        }
    }

    fn until(&self) -> std::time::Instant {
        self.end.into_std()
    }

    /// The record is part of what must be in order before anything is forgotten.
    async fn record(&self) -> Done {
        let Some(Dead { verdict, dir, .. }) = self.dead.clone().filter(|dead| !dead.verdict.durable) else {
            return Ok(false);
        };
        let (shown, record) = (dir.exit(), verdict.record);
        // Somebody else's record stands (I1).
        let write = move || write_record(&dir, &record).map(|_| ());
        match self.block(Step::Record, "write the exit record", write).await? {
            Ok(()) => {
                let mut inner = self.ward.lock();
                inner.dead.iter_mut().for_each(|dead| dead.verdict.durable = true);
                Ok(true)
            }
            // Removed by hand: there is nobody left to keep it for.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => {
                let what = format!("the exit record is not on disk yet: write {}: {e}", shown.display());
                Err(Obstacle::new(Step::Record, what))
            }
        }
    }

    fn spared(&self) -> Spared {
        let (board, keeper) = (self.cx.board.clone(), self.cx.keeper);
        let own: Vec<_> = self.estate.processes.iter().map(|process| process.pid).collect();
        Spared::of(move || {
            let (inits, shims) = board.processes();
            let mut spared = inits;
            // Its own init is no stranger.
            spared.retain(|pid| !own.contains(pid));
            spared.extend(shims);
            spared.extend(keeper);
            spared.insert(std::process::id());
            spared
        })
    }

    async fn processes(&self) -> Done {
        let Estate { cgroups, processes, .. } = &self.estate;
        let (cgroups, processes, spared) = (cgroups.clone(), processes.clone(), self.spared());
        let again = self.ward.lock().obstacle.as_ref().is_some_and(|(obstacle, _)| obstacle.step == Step::Processes);
        let within = if again { STILL_DIE_WITHIN } else { DIE_WITHIN };
        let until = self.until().min(std::time::Instant::now() + within);
        let shim = self.dead.as_ref().and_then(|dead| dead.ends_leftovers);
        let work = move || {
            let found = processes::end(&cgroups, &processes, &spared, until)?;
            let left = shim.map_or(Ok(false), |shim| leftovers::end(&shim, until))?;
            Ok(again || found || left)
        };
        self.block(Step::Processes, "end its processes", work).await?
    }

    async fn cgroups(&self) -> Done {
        let dirs = |cgroups: &[CgroupDir]| cgroups.iter().map(|cgroup| cgroup.dir.clone()).collect::<Vec<PathBuf>>();
        let all = [dirs(&self.estate.cgroups), dirs(&self.estate.guessed)].concat();
        let until = self.until();
        let work = move || {
            let left = all.iter().any(|dir| dir.symlink_metadata().is_ok());
            cgroups::remove(&all, until).map(|()| left)
        };
        self.block(Step::Cgroups, "remove its cgroups", work).await?
    }

    async fn each(
        &self,
        step: Step,
        name: &str,
        paths: Vec<PathBuf>,
        remove: impl Fn(&std::path::Path, std::time::Instant) -> Result<(), Obstacle> + Send + 'static,
    ) -> Done {
        let until = self.until();
        let work = move || {
            let mut found = false;
            let mut first = None;
            for path in paths {
                found |= path.symlink_metadata().is_ok();
                if let Err(obstacle) = remove(&path, until) {
                    first.get_or_insert(obstacle);
                }
            }
            first.map_or(Ok(found), Err)
        };
        self.block(step, name, work).await?
    }
}
