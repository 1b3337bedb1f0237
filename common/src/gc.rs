//! What is still to be cleaned: entries that outlive the collector, and the machine's reboot.

use crate::{
    ContainerId, Launch, ProcessIdentity, Stamp,
    cgroup::{CgroupDir, of_program},
    cleanup::Cleanup,
    durable::Fact,
    identity::BootId,
    launch::Init,
    runtime::Runtime,
};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf};

/// Everything that is needed to clean up after a run, whatever else of it is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    /// The container.
    pub id: ContainerId,
    /// Which run.
    pub generation: u64,
    /// Of which boot: processes, cgroups, mounts and the runtime's state of an earlier one are gone by definition, and
    /// whatever bears their names today is somebody else's.
    pub boot: BootId,
    /// Who has it, if a runtime does.
    pub runtime: Option<Runtime>,
    /// Its bundle, if it has one.
    pub bundle: Option<PathBuf>,
    /// Its root file system, below which it may have left mounts; `None` if that is not known, or not its own.
    pub rootfs: Option<PathBuf>,
    /// Processes that must be gone, whatever cgroup they are in.
    pub processes: Vec<ProcessIdentity>,
    /// Its cgroups: whatever is in them is killed.
    pub cgroups: Vec<CgroupDir>,
    /// Where its runtime would have made them, if it came so far: removed if they are empty.
    pub guessed: Vec<CgroupDir>,
    /// What was registered.
    pub cleanup: Cleanup,
}

impl Estate {
    /// Of this run, with nothing to clean yet.
    #[must_use]
    pub fn bare(id: ContainerId, generation: u64, boot: BootId) -> Self {
        Self {
            id,
            generation,
            boot,
            runtime: None,
            bundle: None,
            rootfs: None,
            processes: Vec::new(),
            cgroups: Vec::new(),
            guessed: Vec::new(),
            cleanup: Cleanup::default(),
        }
    }

    /// Of a container, without its root file system; `init` knows its process and cgroups.
    #[must_use]
    pub fn of(launch: &Launch, init: Option<&Init>) -> Self {
        // What a bundle says of its cgroups is read later: it may lie on a file system that hangs.
        let program = launch.workload.program().filter(|_| init.is_none());
        let guessed = program.map(|program| of_program(&launch.cgroups, program.cgroup.as_deref(), &launch.id));
        Self {
            guessed: guessed.and_then(Result::ok).unwrap_or_default(),
            runtime: launch.workload.runtime().cloned(),
            bundle: launch.workload.bundle().map(Into::into),
            processes: init.map(|init| init.process).into_iter().collect(),
            cgroups: init.map(|init| init.cgroups.clone()).unwrap_or_default(),
            cleanup: launch.cleanup.clone(),
            ..Self::bare(launch.id.clone(), launch.generation, launch.shim.boot_id)
        }
    }

    /// Which run it is of: container and generation.
    #[must_use]
    pub fn run(&self) -> (ContainerId, u64) {
        (self.id.clone(), self.generation)
    }

    /// Takes in what another says of the same container.
    pub fn absorb(&mut self, other: Self) {
        fn union<T: PartialEq>(mine: &mut Vec<T>, theirs: Vec<T>) {
            for one in theirs {
                if !mine.contains(&one) {
                    mine.push(one);
                }
            }
        }
        union(&mut self.processes, other.processes);
        union(&mut self.cgroups, other.cgroups);
        union(&mut self.guessed, other.guessed);
        union(&mut self.cleanup.paths, other.cleanup.paths);
        union(&mut self.cleanup.mounts, other.cleanup.mounts);
        union(&mut self.cleanup.netns, other.cleanup.netns);
        union(&mut self.cleanup.exec, other.cleanup.exec);
        self.runtime = self.runtime.take().or(other.runtime);
        self.bundle = self.bundle.take().or(other.bundle);
        self.rootfs = self.rootfs.take().or(other.rootfs);
    }
}

/// An entry: written before its first retry, removed once all is seen to be gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What is to be cleaned.
    pub estate: Estate,
    /// How it came here.
    pub origin: GcOrigin,
    /// Since when.
    pub since: Stamp,
    /// How often it was tried.
    pub attempts: u32,
    /// How far it came.
    pub step: Step,
    /// What was in the way.
    pub in_the_way: String,
    /// How many of the registered commands, in their order, have ended with 0.
    pub commands_done: u32,
    /// File systems that were mounted for this container alone: they must be gone from everywhere.
    pub devices: Vec<Device>,
    /// Whether its record is to be removed once it is clean.
    pub remove: bool,
}

impl Fact for Entry {
    const KIND: u8 = b'G';
    const VERSION: u16 = 1;
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Device {
    /// `st_dev`'s major number, as in `/proc/PID/mountinfo`.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
    /// The kind of file system.
    pub fs: String,
    /// What is mounted, e.g. `/dev/loop3`.
    pub source: String,
}

/// How an entry came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GcOrigin {
    /// One of Sexton's containers.
    Container,
    /// `sexton gc add`: some other engine left it behind.
    Added,
    /// `sexton gc scan --adopt`.
    Adopted,
}

/// The steps of cleaning up, in their order: none begins before all is seen to be gone that those before it are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The exit record is on disk.
    Record,
    /// Thaw, then kill everything in the cgroups.
    Processes,
    /// The runtime forgets it.
    Runtime,
    /// Cgroup directories, leaf first.
    Cgroups,
    /// Mounts, innermost first.
    Mounts,
    /// Network namespaces.
    Netns,
    /// Files.
    Files,
    /// Clean-up commands.
    Commands,
}

impl Step {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Record,
        Self::Processes,
        Self::Runtime,
        Self::Cgroups,
        Self::Mounts,
        Self::Netns,
        Self::Files,
        Self::Commands,
    ];

    /// As it stands in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Processes => "processes",
            Self::Runtime => "runtime",
            Self::Cgroups => "cgroups",
            Self::Mounts => "mounts",
            Self::Netns => "netns",
            Self::Files => "files",
            Self::Commands => "commands",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
