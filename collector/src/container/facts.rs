//! What lies on disk about a container, and what follows from it after a restart. The table is in `decide.rs`.

use super::{
    decide::{Seen, decide},
    machine::Phase,
};
use crate::{
    exit::{Verdict, of_death, read_exit, started},
    gc,
};
use sexton_common::{
    ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp, UnknownReason, cgroup,
    durable::{self, ReadError},
    identity::{Presence, Stat},
    launch::{Clean, Mode, Origin},
    layout::{ContainerDir, Layout},
    workload::Workload,
};
use std::{os::fd::OwnedFd, path::Path};

/// A container's facts.
#[derive(Debug)]
pub struct Facts {
    /// What was asked.
    pub launch: Launch,
    /// What came of it.
    pub init: Option<Init>,
    /// How it ended.
    pub verdict: Option<Verdict>,
    /// Its init, if that was there: whoever reaps it after our look, its status is ours.
    pub pidfd: Option<OwnedFd>,
    /// When it was started, as far as that was written down.
    pub started: Option<Stamp>,
    /// Why nobody will ever know how it ended; whoever takes the container over makes that record.
    pub unknown: Option<UnknownReason>,
    /// Its own freezer holds it.
    pub frozen: bool,
    /// Its files.
    pub dir: ContainerDir,
    /// Where it is in its life.
    pub phase: Phase,
}

impl Facts {
    /// Reads them, and decides by the table. What does not decode goes to quarantine, loudly; a container
    /// without a launch that decodes goes there as a whole. `None` if there is nothing to watch. Blocks.
    ///
    /// # Errors
    /// If a file cannot be read for another reason.
    pub fn read(layout: &Layout, dir: ContainerDir) -> Result<Option<Self>, ReadError> {
        let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let launch: Launch = match durable::read(&dir.launch()) {
            Ok(Some(launch)) => launch,
            Ok(None) => return Ok(None),
            Err(ReadError::Damaged { path, damage }) => {
                tracing::error!(id = %name, file = %path.display(), %damage, "a container's launch does not decode");
                match mended(layout, &dir, &name) {
                    Some(launch) => launch,
                    None => return Ok(None),
                }
            }
            Err(e) => return Err(e),
        };
        if launch.id.as_str() != name {
            tracing::error!(directory = %name, id = %launch.id, "a container's launch lies in another container's directory");
            quarantine(layout, dir.path(), &name);
            return Ok(None);
        }
        let generation = launch.generation;
        let mut facts = Self {
            init: None,
            verdict: None,
            pidfd: None,
            started: None,
            unknown: None,
            frozen: false,
            phase: Phase::Creating,
            launch,
            dir,
        };
        let mut damaged = false;
        // The shim writes its record before it dies: when it is seen dead, what it wrote is there.
        let shim_dead = matches!(facts.launch.shim.look(), Ok(Presence::Gone | Presence::Zombie(..)));
        // Or it has undone its launch, and another run has its name by now.
        if shim_dead && !is_of(&facts.dir, generation) {
            return Self::read(layout, facts.dir);
        }
        facts.init = or_quarantine(layout, &facts, "init", durable::read(&facts.dir.init()), &mut damaged)?;
        facts.init = facts.init.filter(|init| init.generation == generation);
        if damaged && !shim_dead {
            facts.init = mended_init(&facts);
        }
        facts.started = facts.init.as_ref().and_then(|init| started(&facts.launch, init, &facts.dir));
        let mut record_damaged = false;
        let exit = read_exit(&facts.dir, generation);
        let exit = or_quarantine(layout, &facts, "exit", exit, &mut record_damaged)?;
        facts.verdict = exit.map(|record| Verdict { record, durable: true });
        facts.decide(shim_dead, damaged, record_damaged);
        Ok(Some(facts))
    }

    fn decide(&mut self, shim_dead: bool, init_damaged: bool, record_damaged: bool) {
        let mut seen = Seen {
            record: self.verdict.is_some(),
            foreign: matches!(self.launch.origin, Origin::Foreign { .. }),
            shim_dead,
            init: self.init.is_some(),
            init_damaged,
            record_damaged,
            ..Seen::default()
        };
        if seen.record {
            let clean: Option<Clean> = durable::read(&self.dir.clean()).ok().flatten();
            seen.clean = clean.is_some_and(|clean| clean.generation == self.launch.generation);
        } else {
            match self.init.as_ref().map(|init| init.process.look()) {
                // Where its shim lives that has its status, and a descriptor is spared.
                Some(Ok(Presence::Alive(fd) | Presence::Zombie(fd, _))) => self.pidfd = shim_dead.then_some(fd),
                presence => seen.gone = matches!(presence, Some(Ok(Presence::Gone))),
            }
            seen.waits = seen.init && self.launch.mode == Mode::Create && !self.seen_started();
        }
        (self.phase, self.unknown) = decide(&seen);
        self.frozen = matches!(self.phase, Phase::Running | Phase::Orphaned)
            && self.init.as_ref().is_some_and(|init| gc::is_frozen(&init.cgroups));
    }

    /// With a pidfd that outlived shim and collector: the kernel may still say how it ended.
    pub fn reconsider(&mut self, kept: Option<&OwnedFd>) {
        let lost = matches!(self.unknown, Some(UnknownReason::ShimAndCollectorKilled | UnknownReason::RecordDamaged));
        let is_init = kept.zip(self.init.as_ref()).is_some_and(|(fd, init)| init.process.is(fd));
        if lost && is_init {
            self.unknown = None;
            self.phase = Phase::Orphaned;
        }
    }

    /// Makes the record that says that nothing is known, where that is so. Only for who alone has the
    /// container: somebody else may know better. Blocks on the disk.
    pub fn conclude(&mut self) {
        if let Some(reason) = self.unknown.take() {
            let death = (ExitStatus::Unknown { reason }, Source::None);
            self.verdict = Some(of_death(&self.launch, self.init.as_ref(), &self.dir, death, None));
        }
    }

    /// The runtime's word, if it can be had: a collector that was killed may have noted a start that never was.
    fn seen_started(&mut self) -> bool {
        let started = waits_for_start(&self.launch, &self.dir).map_or(self.started.is_some(), |waits| !waits);
        self.started = self.started.filter(|_| started);
        started
    }
}

/// Whether this run's launch lies there, and not nothing or another run's. What cannot be read is not another's.
/// Blocks on the disk.
pub fn is_of(dir: &ContainerDir, generation: u64) -> bool {
    match durable::read::<Launch>(&dir.launch()) {
        Ok(Some(launch)) => launch.generation == generation,
        // One that could not be mended; a directory that was removed went as a whole.
        Ok(None) => dir.init().exists(),
        Err(_) => true,
    }
}

/// Whether another run has the name by now: then nothing that bears it is this one's to remove (I4). Blocks on the disk.
pub fn is_anothers(dir: &ContainerDir, generation: u64) -> bool {
    durable::read::<Launch>(&dir.launch()).ok().flatten().is_some_and(|launch| launch.generation != generation)
}

/// Where what runc and crun have created waits, in their state of it.
pub const EXEC_FIFO: &str = "exec.fifo";

/// Whether a created container still waits to be started: runc and crun keep `exec.fifo` in their state until
/// then, and our shim keeps it in the container's directory for a plain program. `None` if that cannot be seen. Blocks on the
/// file system.
pub fn waits_for_start(launch: &Launch, dir: &ContainerDir) -> Option<bool> {
    match &launch.workload {
        Workload::Oci { runtime, .. } => {
            let state = runtime.state_dir(&launch.id)?;
            state.exists().then(|| state.join(EXEC_FIFO).exists())
        }
        Workload::Process(_) => Some(dir.gate().exists()),
    }
}

/// The launch as far as `init` knows it; without that nothing can be done, and all of it goes to quarantine.
fn mended(layout: &Layout, dir: &ContainerDir, name: &str) -> Option<Launch> {
    let init = durable::read::<Init>(&dir.init()).ok().flatten().filter(|init| init.id.as_str() == name);
    let Some(launch) = init.map(|init| init.to_launch()) else {
        quarantine(layout, dir.path(), name);
        return None;
    };
    quarantine(layout, &dir.launch(), &format!("{name}.launch"));
    if let Err(e) = durable::write(&dir.launch(), &launch) {
        tracing::error!(id = %name, error = %e, "the launch cannot be written anew; it is known as long as sextond runs");
    }
    Some(launch)
}

/// What was created, found anew: the only child of the shim, where it has only one.
fn mended_init(facts: &Facts) -> Option<Init> {
    let launch = &facts.launch;
    let shim = launch.shim.pid;
    let children = std::fs::read_to_string(format!("/proc/{shim}/task/{shim}/children")).ok()?;
    let mut children = children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
    let (Some(pid), None) = (children.next(), children.next()) else { return None };
    let init = Init {
        id: launch.id.clone(),
        generation: launch.generation,
        process: ProcessIdentity::of(pid).ok()?,
        cgroups: cgroup::of_process(pid).ok()?,
        ready: launch.created,
        executable: None,
        shim: launch.shim,
        workload: launch.workload.clone(),
    };
    // Neither of them was replaced by another process while we looked.
    Stat::of(pid).ok()?.filter(|stat| stat.ppid == shim && stat.start_time == init.process.start_time)?;
    launch.shim.open().ok()??;
    if let Err(e) = durable::write(&facts.dir.init(), &init) {
        tracing::error!(id = %launch.id, error = %e, "what was created cannot be written anew; it is known as long as sextond runs");
    }
    Some(init)
}

fn or_quarantine<T>(
    layout: &Layout,
    facts: &Facts,
    what: &str,
    read: Result<Option<T>, ReadError>,
    damaged: &mut bool,
) -> Result<Option<T>, ReadError> {
    match read {
        Err(ReadError::Damaged { path, damage }) => {
            let id = &facts.launch.id;
            tracing::error!(%id, file = %path.display(), %damage, "a state file does not decode");
            quarantine(layout, &path, &format!("{id}.{what}"));
            *damaged = true;
            Ok(None)
        }
        other => other,
    }
}

/// Moves what does not decode aside, and says where it is.
pub fn quarantine(layout: &Layout, path: &Path, label: &str) {
    match durable::quarantine(path, label, &layout.quarantine()) {
        Ok(to) => {
            tracing::error!(from = %path.display(), to = %to.display(), "moved to quarantine: keep it, it may be needed to find out")
        }
        Err(e) => {
            tracing::error!(file = %path.display(), error = %e, "cannot be moved to quarantine: left where it is")
        }
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
