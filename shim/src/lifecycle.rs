//! From nothing to a container that runs, or back to nothing.

use crate::{
    args::Plan,
    cgroups,
    home::Home,
    lasting,
    place::{Grave, NoPlace, Place},
    report::Failure,
    sys::{self, Which},
    undo,
    watch::Watch,
};
use sexton_common::{
    Init, Launch, ProcessIdentity, Stamp,
    cgroup::{self, CgroupDir},
    durable,
    identity::Executable,
    launch::Origin,
    wire::Launched,
    workload::Workload,
};
use std::{io, os::fd::OwnedFd};

/// Why nothing was launched, and what of it could not be removed from a disk that fails.
#[derive(Debug)]
pub struct Failed(pub Failure, pub Option<Box<Grave>>);

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self(failure, None)
    }
}

/// Launches the container. On failure nothing is left of it, or what is named.
pub fn launch(mut plan: Plan, home: Home) -> Result<(Launched, Watch), Failed> {
    let doing = format!("launch {}", plan.id);
    let failed = |e: io::Error| Failure::ours(format!("{doing}: {e}"));
    // The runtime knows it then too, but the way out is another.
    let there = |path: &std::path::Path| path.symlink_metadata().is_ok();
    // What is in GC cannot be removed either: that is said first.
    if there(plan.layout.container(&plan.id).path()) && !there(&plan.layout.gc_entry(&plan.id)) {
        return Err(Failure::ours(NoPlace::Taken(plan.id).to_string()).into());
    }
    if lasting::in_gc(&plan) {
        return Err(Failure::ours(NoPlace::InGc(plan.id).to_string()).into());
    }
    if let Some(runtime) = plan.workload.runtime().filter(|runtime| undo::is_known(runtime, &plan.id, &home)) {
        return Err(Failure::ours(format!(
            "container {} exists in runtime {} already: delete it there, or choose another id",
            plan.id,
            runtime.program.display()
        ))
        .into());
    }
    let own = cgroup::own().map_err(failed)?;
    if let Workload::Process(program) = &mut plan.workload {
        program.cgroup = cgroups::settled(program, &plan.id);
    }
    let created = Stamp::now();
    let launch = Launch {
        id: plan.id.clone(),
        generation: created.boot_ns / 1000,
        workload: plan.workload.clone(),
        stdio: plan.stdio.clone(),
        mode: plan.mode,
        auto_remove: plan.auto_remove,
        on_shim_death: plan.on_shim_death,
        shim: ProcessIdentity::of(home.pid).map_err(failed)?,
        origin: Origin::Sexton,
        cgroups: own,
        created,
        cleanup: plan.cleanup.clone(),
        restart: plan.restart,
        timeout_ms: u64::try_from(plan.timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let state = plan.layout.state();
    let place = Place::prepare(&plan, &launch).map_err(|(e, grave)| {
        let failure = match e {
            NoPlace::Taken(_) | NoPlace::InGc(_) => Failure::ours(e.to_string()),
            NoPlace::Failed(..) => {
                Failure::ours(format!("{doing}: {e}: is {} writable, with space left?", state.display()))
            }
        };
        Failed(failure, grave)
    })?;
    let Launch { generation, shim, cgroups: own, .. } = launch;
    let mut birth = Birth { plan, home, place, own, cgroups: Vec::new(), generation, shim };
    match birth.give() {
        Ok((init, started)) => Ok(birth.grow_up(init, started)),
        Err(trouble) => Err(birth.undone(trouble)),
    }
}

/// A container in the making.
pub struct Birth {
    /// What was asked for.
    pub plan: Plan,
    /// Whose child it will be.
    pub home: Home,
    /// Where its files are.
    pub place: Place,
    /// The shim's own cgroups.
    pub own: Vec<CgroupDir>,
    /// What must be gone if it fails.
    pub cgroups: Vec<CgroupDir>,
    /// Which run it is.
    pub generation: u64,
    shim: ProcessIdentity,
}

/// Why it failed.
pub enum Trouble {
    /// This, and there is something to clean.
    Failed(Failure),
    /// The runtime has a container of this name, and it is not ours to delete.
    NotOurs(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Birth {
    fn give(&mut self) -> Result<(Init, Option<Stamp>), Trouble> {
        match self.plan.workload.clone() {
            Workload::Oci { runtime, bundle } => self.give_to(&runtime, &bundle),
            Workload::Process(program) => self.give_itself(&program),
        }
    }

    /// Makes what was created known on disk. Its pidfd is for the collector.
    pub fn known(&mut self, pid: u32) -> Result<(Init, OwnedFd), Failure> {
        let id = &self.plan.id;
        let failed = |what: &str, e: io::Error| Failure::ours(format!("create {id}: {what}: {e}"));
        let (process, pidfd) = ProcessIdentity::open_pid(pid).map_err(|e| failed(&format!("open process {pid}"), e))?;
        sys::look(Which::Pid(pid)).map_err(|_| {
            Failure::ours(format!("create {id}: process {pid} did not become the shim's child: its exit status would be lost with this runtime"))
        })?;
        let cgroups = cgroup::of_process(pid).map_err(|e| failed("find its cgroups", e))?;
        for cgroup in &cgroups {
            if !self.cgroups.contains(cgroup) {
                self.cgroups.push(cgroup.clone());
            }
        }
        let init = Init {
            id: id.clone(),
            generation: self.generation,
            process,
            cgroups,
            ready: Stamp::now(),
            executable: Executable::of(pid),
            shim: self.shim,
            workload: self.plan.workload.clone(),
        };
        durable::write(&self.place.files.init(), &init)
            .map_err(|e| failed("write `init` in the state directory", e))?;
        Ok((init, pidfd))
    }

    fn undone(self, trouble: Trouble) -> Failed {
        let Self { plan, home, place, generation, cgroups, .. } = self;
        let (mut failure, ours) = match trouble {
            Trouble::Failed(failure) => (failure, true),
            Trouble::NotOurs(failure) => (failure, false),
        };
        let Err((left, grave)) = undo::undo(&plan, &home, place, generation, cgroups, ours) else {
            return failure.into();
        };
        let (id, who) = (&plan.id, if grave.is_some() { "shim" } else { "collector" });
        failure.message += &format!("\nNot cleaned yet: {left}. The {who} goes on trying; see `sexton inspect {id}`.");
        Failed(failure, grave)
    }

    /// Keeps what the watch needs and drops all else.
    fn grow_up(self, init: Init, started: Option<Stamp>) -> (Launched, Watch) {
        let dir = self.plan.layout.container(&self.plan.id);
        let launched = Launched {
            id: self.plan.id,
            generation: self.generation,
            pid: init.process.pid,
            shim_pid: self.home.pid,
            exit_fifo: dir.exit_fifo(),
            exit_file: dir.exit(),
        };
        let whose = self.plan.workload.program().map(|_| self.home.pid);
        (launched, Watch::new(&init, started, self.place, self.home.signals, whose))
    }
}
