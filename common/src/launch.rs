//! What was asked for, and what came of it.

use crate::{
    ContainerId, ProcessIdentity, Stamp, cgroup::CgroupDir, cleanup::Cleanup, durable::Fact, identity::Executable,
    restart::RestartPolicy, workload::Workload,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The `launch` fact: what was asked, written before anything exists that would have to be cleaned (I4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The container.
    pub id: ContainerId,
    /// Which run of it: microseconds of the boot-time clock at its creation, so that no two runs of an id
    /// within a boot share it, with no counter that could be lost.
    pub generation: u64,
    /// The shim: ours, or a foreign one. Where it is dead and no `init` exists, nothing was started.
    pub shim: ProcessIdentity,
    /// What it runs.
    pub workload: Workload,
    /// Where the container's standard streams go.
    pub stdio: Stdio,
    /// Who starts it.
    pub mode: Mode,
    /// Whether the collector removes it once it is clean.
    pub auto_remove: bool,
    /// What the collector does when the shim dies before the container.
    pub on_shim_death: OnShimDeath,
    /// Whose shim it is, and so what its FIFO says.
    pub origin: Origin,
    /// The shim's own cgroup in each hierarchy. The runtime makes the container's below it, unless the bundle
    /// names another place; known before there is one (I4).
    pub cgroups: Vec<CgroupDir>,
    /// When this was written.
    pub created: Stamp,
    /// What else is to be cleaned after its end.
    pub cleanup: Cleanup,
    /// Whether it comes back after its end.
    pub restart: RestartPolicy,
    /// What each step of the launch may take, in milliseconds: when it is started again, too.
    pub timeout_ms: u64,
}

impl Launch {
    /// What a step may take if nobody says otherwise, in milliseconds.
    pub const TIMEOUT_MS: u64 = 120_000;

    /// Which run it is of: container and generation.
    #[must_use]
    pub fn run(&self) -> (ContainerId, u64) {
        (self.id.clone(), self.generation)
    }
}

impl Fact for Launch {
    const KIND: u8 = b'L';
    const VERSION: u16 = 1;
}

/// The `init` fact: what the runtime created. Written between create and start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Init {
    /// The container.
    pub id: ContainerId,
    /// Which run of it.
    pub generation: u64,
    /// The container's init.
    pub process: ProcessIdentity,
    /// Its cgroup directory in each hierarchy, where it is not one that it shares with its shim.
    pub cgroups: Vec<CgroupDir>,
    /// When this was written, right before the runtime is told to start it (`run`).
    pub ready: Stamp,
    /// What the process executed when this was written: the runtime's code, which waits to become the user's program.
    /// `None` if that could not be seen.
    pub executable: Option<Executable>,
    /// As in [`Launch`]: either file suffices to watch the container and to clean up after it.
    pub shim: ProcessIdentity,
    /// As in [`Launch`].
    pub workload: Workload,
}

impl Init {
    /// What of the launch is known from this, where the launch itself is lost: enough to watch the container
    /// of one of our shims, and to clean up after it.
    #[must_use]
    pub fn to_launch(&self) -> Launch {
        Launch {
            id: self.id.clone(),
            generation: self.generation,
            workload: self.workload.clone(),
            stdio: Stdio::Null,
            mode: Mode::Run,
            auto_remove: false,
            on_shim_death: OnShimDeath::Adopt,
            shim: self.shim,
            origin: Origin::Sexton,
            cgroups: Vec::new(),
            created: self.ready,
            cleanup: Cleanup::default(),
            restart: RestartPolicy::No,
            timeout_ms: Launch::TIMEOUT_MS,
        }
    }
}

impl Fact for Init {
    const KIND: u8 = b'I';
    const VERSION: u16 = 1;
}

/// The `start` fact: written by the collector right before it tells the runtime to start a created
/// container, so that the exit record can say when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which run.
    pub generation: u64,
    /// When.
    pub at: Stamp,
}

impl Fact for Started {
    const KIND: u8 = b'S';
    const VERSION: u16 = 1;
}

/// The `clean` fact: everything that the run owned was observed gone. From then on whatever bears the
/// container's name in the runtime or among the cgroups is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// Which run.
    pub generation: u64,
    /// When.
    pub at: Stamp,
}

impl Fact for Clean {
    const KIND: u8 = b'C';
    const VERSION: u16 = 1;
}

/// Where the container's standard streams go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdio {
    /// `/dev/null`, all three.
    #[default]
    Null,
    /// The streams of whoever launches it.
    Inherit,
    /// Output appended to a file by the container itself (`O_APPEND`); nothing to read.
    File(PathBuf),
}

/// Who starts the container's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The engine, later.
    Create,
    /// The shim, at once.
    Run,
}

/// What the collector does when a shim dies before its container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnShimDeath {
    /// It watches the container itself; the exit is exact all the same.
    #[default]
    Adopt,
    /// It kills the container, for those who would rather start it anew than have it run without its parent.
    Kill,
}

/// Whose shim it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `sexton-shim`: an [`crate::ExitRecord`] comes through the FIFO and lies in the `exit` file.
    Sexton,
    /// Somebody else's, as iSulad's: four bytes, the exit code in native byte order, come through this FIFO.
    Foreign {
        /// The FIFO.
        fifo: PathBuf,
    },
}
