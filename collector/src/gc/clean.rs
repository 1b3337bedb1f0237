//! One attempt to clean up after a container.
//!
//! Each step may be done any number of times, and none is believed: the attempt has succeeded when a look
//! finds nothing left (I5).

use super::observe;
use crate::{
    backend::{Lanes, Runtimes},
    blocking::Blocking,
    container::is_anothers,
    exit::{Verdict, write_record},
};
use sexton_common::{
    Init, Launch, Stamp, cgroup::CgroupDir, durable, identity::Presence, launch::Clean, layout::ContainerDir,
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// What a dead container leaves: all that is needed to clean up after it.
#[derive(Clone, Debug)]
pub struct Estate {
    /// What was asked.
    pub launch: Arc<Launch>,
    /// What came of it.
    pub init: Option<Arc<Init>>,
    /// Its exit record, and whether it is on disk.
    pub verdict: Verdict,
    /// Its files.
    pub dir: ContainerDir,
}

/// Cleans.
#[derive(Clone, Debug)]
pub struct Cleaner {
    /// Runs the runtimes.
    pub runtimes: Runtimes,
    /// How many at once.
    pub lanes: Lanes,
    /// For what may block.
    pub blocking: Blocking,
}

impl Cleaner {
    /// One attempt, of at most `deadline` once its turn has come.
    ///
    /// # Errors
    /// What is in the way, for people.
    pub async fn attempt(&self, estate: Estate, deadline: Duration) -> Result<(), String> {
        let mut place = self.lanes.enter().await;
        let step = std::sync::Mutex::new("");
        let note = |name| *step.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = name;
        let work = async {
            self.steps(&estate, Instant::now() + deadline, note).await?;
            self.remember(&estate).await;
            Ok(())
        };
        match place.during(timeout(deadline, work)).await {
            Ok(done) => done,
            Err(_late) => {
                let step = *step.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                Err(format!("{step} was not done after {deadline:?}"))
            }
        }
    }

    async fn steps(&self, estate: &Estate, end: Instant, note: impl Fn(&'static str)) -> Result<(), String> {
        note("writing the exit record");
        self.ensure_record(estate).await?;
        note("looking what is left");
        let cgroups = self.cgroups(estate).await;
        // Where nothing was noted down there may be more than can be looked at: the runtime is asked anyway.
        let known = estate.init.is_some();
        let mut words = match self.look(estate, &cgroups, end).await? {
            None if known => return Ok(()),
            left => left.unwrap_or_default(),
        };
        for options in [&[][..], &["--force"]] {
            // A runtime would kill what still runs: without force it refuses, with force it is our doing.
            if !options.is_empty() && self.lives(estate).await {
                return Err(words);
            }
            if self.is_anothers(estate).await {
                return Ok(());
            }
            note("the runtime's delete");
            let launch = &estate.launch;
            // Half of what is left: a delete that hangs leaves time for the one with force.
            let share = end.saturating_duration_since(Instant::now()) / 2;
            let outcome = self.runtimes.run(&launch.runtime, "delete", options, &launch.id, share).await;
            note("removing cgroups that the runtime left");
            let empty = cgroups.clone();
            self.blocking.run("rmdir cgroups", move || observe::remove_empty(&empty)).await;
            note("looking what is left");
            match self.look(estate, &cgroups, end).await? {
                None => return Ok(()),
                Some(left) if outcome.ok => words = left,
                Some(left) => words = format!("{left}; {}", outcome.words),
            }
        }
        Err(words)
    }

    /// The record is part of what must be in order before anything is forgotten.
    async fn ensure_record(&self, estate: &Estate) -> Result<(), String> {
        if estate.verdict.durable {
            return Ok(());
        }
        let (dir, record) = (estate.dir.clone(), estate.verdict.record.clone());
        let shown = estate.dir.exit();
        // Somebody else's record stands (I1).
        let write = move || write_record(&dir, &record).map(|_| ());
        let written = self.blocking.run("write the exit record", write).await;
        match written {
            Ok(()) => Ok(()),
            // Removed by hand: there is nobody left to keep it for.
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(format!("the exit record is not on disk yet: write {}: {e}", shown.display())),
        }
    }

    /// So that nobody cleans again what by then may be another's of the same name.
    async fn remember(&self, estate: &Estate) {
        let (path, generation) = (estate.dir.clean(), estate.launch.generation);
        let write = move || durable::write(&path, &Clean { generation, at: Stamp::now() });
        let written = self.blocking.run("note that it is clean", write).await;
        if let Err(e) = written.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
            tracing::warn!(id = %estate.launch.id, error = %e, "it is clean, but that cannot be noted: looked at again after a restart");
        }
    }

    async fn is_anothers(&self, estate: &Estate) -> bool {
        let (dir, generation) = (estate.dir.clone(), estate.launch.generation);
        self.blocking.run("look at the launch", move || is_anothers(&dir, generation)).await
    }

    async fn lives(&self, estate: &Estate) -> bool {
        let Some(init) = estate.init.clone() else { return false };
        self.blocking.run("look at init", move || matches!(init.process.look(), Ok(Presence::Alive(_)))).await
    }

    /// The container's cgroups: as they were noted down, or, where its shim did not live to do that, where the
    /// runtime would have made them.
    async fn cgroups(&self, estate: &Estate) -> Vec<PathBuf> {
        let dirs = |cgroups: &[CgroupDir]| cgroups.iter().map(|cgroup| cgroup.dir.clone()).collect();
        if let Some(init) = &estate.init {
            return dirs(&init.cgroups);
        }
        let launch = estate.launch.clone();
        self.blocking.run("find its cgroups", move || dirs(&observe::expected_cgroups(&launch))).await
    }

    /// What is left, for people; `None` if nothing.
    async fn look(&self, estate: &Estate, cgroups: &[PathBuf], end: Instant) -> Result<Option<String>, String> {
        let cgroups = cgroups.to_vec();
        if let Some(busy) = self.blocking.run("look at cgroups", move || observe::cgroup_left(&cgroups)).await {
            return Ok(Some(busy));
        }
        let launch = &estate.launch;
        match launch.runtime.state_dir(&launch.id) {
            Some(dir) => {
                let there = self.blocking.run("look at the runtime's state", move || observe::exists(&dir)).await;
                Ok(there.map(|dir| format!("the runtime still has {dir}")))
            }
            None => {
                let share = end.saturating_duration_since(Instant::now()) / 2;
                let outcome = self.runtimes.run(&launch.runtime, "state", &[], &launch.id, share).await;
                // No answer is not a no: what cannot be asked has not been seen to be gone.
                if !outcome.answered {
                    return Err(outcome.words);
                }
                let program = launch.runtime.program.display();
                Ok(outcome.ok.then(|| format!("{program} still knows the container")))
            }
        }
    }
}

#[cfg(test)]
#[path = "clean_tests.rs"]
mod tests;
