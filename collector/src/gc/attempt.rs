//! One attempt to clean up: the steps of the plan, each until it is seen to be done (I5).

use super::{
    Gc, Obstacle, cgroups, files, mounts,
    plan::{Case, plan},
    processes::{self, Spared},
    rootfs,
    ward::{Dead, Occupied, Ward, is_of_today},
};
use crate::{context::Context, exit::write_record};
use sexton_common::{
    ExitStatus,
    cgroup::CgroupDir,
    gc::{Estate, Step},
    runtime::Runtime,
    wire::State,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

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
    estate: Estate,
    dead: Option<Dead>,
    end: Instant,
}

/// What came of a step: whether there was anything to do.
type Done = Result<bool, Obstacle>;

impl<'a> Attempt<'a> {
    /// Of at most `deadline`, clean-up commands apart, which have their own.
    #[must_use]
    pub fn new(cx: &'a Arc<Context>, ward: &'a Arc<Ward>, deadline: Duration) -> Self {
        let (estate, dead) = {
            let inner = ward.lock();
            (inner.entry.estate.clone(), inner.dead.clone())
        };
        Self { cx, ward, estate, dead, end: Instant::now() + deadline }
    }

    /// Goes through the steps.
    ///
    /// # Errors
    /// What was in the way.
    pub async fn run(mut self) -> Result<(), Obstacle> {
        self.resolve().await?;
        let alive = self.ward.lock().alive;
        let earlier_boot = !is_of_today(&self.estate);
        let case = Case { alive, record: self.dead.is_some(), earlier_boot };
        for step in plan(case, &self.estate) {
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
                self.each(step, "remove a network namespace", paths, mounts::remove_netns).await
            }
            Step::Files => {
                let paths = self.estate.cleanup.paths.clone();
                self.each(step, "remove registered files", paths, files::remove).await
            }
            Step::Commands => self.commands().await,
        }
    }

    /// Runs what may block on the ward's one thread, so that what hangs in the kernel costs one thread whatever the
    /// number of attempts, and no more than a part of all threads together.
    async fn block<T: Send + 'static>(
        &self,
        step: Step,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Obstacle> {
        let id = &self.estate.id;
        let hangs =
            || Obstacle::new(step, format!("to {name} hangs in the kernel: see `sexton doctor` and the kernel's log"));
        let Some(occupied) = self.ward.occupy() else { return Err(hangs()) };
        let threads = self.cx.gc.threads.clone();
        let Ok(Ok(thread)) = timeout_at(self.end, threads.acquire_owned()).await else {
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
        let Some(Dead { verdict, dir }) = self.dead.clone().filter(|dead| !dead.verdict.durable) else {
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
        let (inits, shims) = self.cx.board.processes();
        let mut spared = inits;
        // Its own init is no stranger.
        for process in &self.estate.processes {
            spared.remove(&process.pid);
        }
        spared.extend(shims);
        spared.extend(self.cx.keeper);
        spared.insert(std::process::id());
        Spared(spared)
    }

    async fn processes(&self) -> Done {
        let Estate { cgroups, processes, .. } = &self.estate;
        let (cgroups, processes, spared) = (cgroups.clone(), processes.clone(), self.spared());
        let again = self.ward.lock().obstacle.as_ref().is_some_and(|(obstacle, _)| obstacle.step == Step::Processes);
        let within = if again { STILL_DIE_WITHIN } else { DIE_WITHIN };
        let until = self.until().min(std::time::Instant::now() + within);
        let work = move || {
            let left = again || processes::look(&cgroups, &processes, &spared).is_some();
            processes::end(&cgroups, &processes, &spared, until).map(|()| left)
        };
        self.block(Step::Processes, "end its processes", work).await?
    }

    /// Half of what is left: a delete that hangs leaves time for the one with force.
    fn share(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()) / 2
    }

    async fn runtime(&self) -> Done {
        let Some(runtime) = self.estate.runtime.clone() else { return Ok(false) };
        // Where nothing was noted down there may be more than can be looked at: the runtime is asked anyway.
        let known = !self.estate.processes.is_empty();
        let left = self.known_to(&runtime).await?;
        if left.is_none() && (known || self.dead.is_none()) {
            return Ok(false);
        }
        let mut words = left.unwrap_or_default();
        for options in [&[][..], &["--force"]] {
            if self.is_anothers().await? {
                return Ok(false);
            }
            let outcome = self.cx.tools.runtimes.run(&runtime, "delete", options, &self.estate.id, self.share()).await;
            match self.known_to(&runtime).await? {
                None => return Ok(true),
                Some(left) if outcome.ok => words = left,
                Some(left) => words = format!("{left}; {}", outcome.words),
            }
        }
        Err(Obstacle::new(Step::Runtime, words))
    }

    /// Another run may have the name by now: the runtime knows names only.
    async fn is_anothers(&self) -> Result<bool, Obstacle> {
        let Some(dir) = self.dead.as_ref().map(|dead| dead.dir.clone()) else { return Ok(false) };
        let generation = self.estate.generation;
        let look = move || crate::container::is_anothers(&dir, generation);
        self.block(Step::Runtime, "look at the launch", look).await
    }

    /// What the runtime still has of it, for people.
    async fn known_to(&self, runtime: &Runtime) -> Result<Option<String>, Obstacle> {
        let id = &self.estate.id;
        if let Some(dir) = runtime.state_dir(id) {
            let there = move || dir.symlink_metadata().is_ok().then(|| dir.display().to_string());
            let there = self.block(Step::Runtime, "look at the runtime's state", there).await?;
            return Ok(there.map(|dir| format!("the runtime still has {dir}")));
        }
        let outcome = self.cx.tools.runtimes.run(runtime, "state", &[], id, self.share()).await;
        // No answer is not a no: what cannot be asked has not been seen to be gone.
        if !outcome.answered {
            return Err(Obstacle::new(Step::Runtime, outcome.words));
        }
        Ok(outcome.ok.then(|| format!("{} still knows the container", runtime.program.display())))
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

    async fn mounts(&self) -> Done {
        let cleanup = &self.estate.cleanup;
        let at = [cleanup.mounts.clone(), cleanup.paths.clone()].concat();
        let rootfs = self.estate.rootfs.clone();
        let look = move || {
            mounts::look(&mounts::Points { rootfs: rootfs.as_deref(), at: at.iter().map(PathBuf::as_path).collect() })
        };
        let found = self.block(Step::Mounts, "look at its mounts", look).await?;
        let found = found.map_err(|e| Obstacle::new(Step::Mounts, format!("read /proc/self/mountinfo: {e}")))?;
        let fresh = !found.mounts.is_empty();
        let earlier = self.ward.lock().entry.devices.clone();
        if !fresh && earlier.is_empty() {
            return Ok(false);
        }
        if fresh {
            let new = found.devices.iter().any(|device| !earlier.contains(device));
            if new {
                // Once unmounted it cannot be seen any more what it was (I4).
                self.ward
                    .lock()
                    .entry
                    .devices
                    .extend(found.devices.into_iter().filter(|device| !earlier.contains(device)));
                self.cx.gc.persist(self.cx, self.ward).await.map_err(|e| Obstacle::new(Step::Mounts, e))?;
            }
            let (rootfs, at) =
                (self.unshared_rootfs().await?, [cleanup.mounts.clone(), cleanup.paths.clone()].concat());
            let until = self.until();
            let clear = move || {
                mounts::clear(
                    &mounts::Points { rootfs: rootfs.as_deref(), at: at.iter().map(PathBuf::as_path).collect() },
                    until,
                )
            };
            self.block(Step::Mounts, "unmount", clear).await??;
        }
        let (devices, until) = (self.ward.lock().entry.devices.clone(), self.until());
        let held = self.block(Step::Mounts, "look who holds its mounts", move || mounts::held(&devices, until)).await?;
        held.map_or(Ok(true), Err)
    }

    /// `None` if another container that lives has the same root file system: its mounts are not only this one's.
    async fn unshared_rootfs(&self) -> Result<Option<PathBuf>, Obstacle> {
        let Some(own) = self.estate.rootfs.clone() else { return Ok(None) };
        let (_, containers) = self.cx.board.snapshot();
        let others: Vec<PathBuf> = containers
            .iter()
            .filter(|info| info.id != self.estate.id && info.state != State::Stopped)
            .map(|info| info.bundle.clone())
            .collect();
        let layout = self.cx.layout.clone();
        let work = move || {
            (!others.iter().any(|bundle| rootfs::rootfs(bundle, &layout).as_ref() == Some(&own))).then_some(own)
        };
        self.block(Step::Mounts, "look at the root file systems of others", work).await
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

    async fn commands(&self) -> Done {
        let done = self.ward.lock().entry.commands_done as usize;
        let commands = self.estate.cleanup.exec.clone();
        for (index, command) in commands.iter().enumerate().skip(done) {
            let outcome = self.cx.tools.runtimes.shell(command, &self.surroundings(), self.cx.gc.command_timeout).await;
            tracing::info!(id = %self.estate.id, command, ok = outcome.ok, output = outcome.words, "clean-up command");
            self.ward.lock().output = Some(outcome.words.clone());
            if !outcome.ok {
                let what =
                    format!("clean-up command {} of {}, `{command}`: {}", index + 1, commands.len(), outcome.words);
                return Err(Obstacle::new(Step::Commands, what));
            }
            let durable = {
                let mut inner = self.ward.lock();
                inner.entry.commands_done = u32::try_from(index + 1).unwrap_or(u32::MAX);
                inner.written.is_some()
            };
            if durable && let Err(e) = self.cx.gc.persist(self.cx, self.ward).await {
                tracing::warn!(id = %self.estate.id, error = %e, "a clean-up command is done, but that cannot be noted: it may run again");
            }
        }
        Ok(true)
    }

    fn surroundings(&self) -> [(&'static str, String); 4] {
        let estate = &self.estate;
        let status = self.dead.as_ref().map(|dead| dead.verdict.record.status);
        let code = status.as_ref().and_then(ExitStatus::shell_code);
        [
            ("SEXTON_ID", estate.id.to_string()),
            ("SEXTON_GENERATION", estate.generation.to_string()),
            ("SEXTON_BUNDLE", estate.bundle.as_ref().map(|bundle| bundle.display().to_string()).unwrap_or_default()),
            ("SEXTON_STATUS", code.map(|code| code.to_string()).unwrap_or_default()),
        ]
    }
}

impl Gc {
    /// Writes the ward's entry.
    ///
    /// # Errors
    /// For people.
    pub async fn persist(&self, cx: &Arc<Context>, ward: &Arc<Ward>) -> Result<(), String> {
        let Some(entry) = ward.unwritten() else { return Ok(()) };
        let gc = cx.clone();
        let name = format!("note what is to be cleaned of {}", entry.estate.id);
        match cx.tools.blocking.run(name, move || gc.gc.entries.write(&entry).map(|()| entry)).await {
            Ok(entry) => {
                ward.lock().written = Some(Box::new(entry));
                Ok(())
            }
            Err(e) => Err(format!("write the entry in {}: {e}", cx.layout.gc().display())),
        }
    }
}
