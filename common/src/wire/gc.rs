//! What is to be cleaned, as clients see it.

use crate::{
    ContainerId, WallTime,
    cleanup::Cleanup,
    gc::{GcOrigin, Step},
    runtime::Runtime,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A container that some other engine left behind (iSulad's `gc_add_container`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GcAddRequest {
    /// Its name.
    pub id: ContainerId,
    /// Who created it.
    #[serde(default)]
    pub runtime: Runtime,
    /// Its processes: killed, with everything that is in their cgroups.
    #[serde(default)]
    pub pids: Vec<u32>,
    /// Its bundle, if it matters.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// What else is to be cleaned.
    #[serde(default)]
    pub cleanup: Cleanup,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcInfo {
    /// The container.
    pub id: ContainerId,
    /// Which run.
    pub generation: u64,
    /// How it came here.
    pub origin: GcOrigin,
    /// Whether it is of an earlier boot: only its files and its commands are left.
    pub earlier_boot: bool,
    /// Since when.
    pub since: WallTime,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried again, unless what is in the way goes before; `None` while it is being tried.
    pub next_try: Option<WallTime>,
    /// How far it came.
    pub step: Step,
    /// What is in the way, in one line.
    pub in_the_way: String,
}

/// An entry and everything that can be seen of what is in its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcWhy {
    /// The entry.
    pub entry: GcInfo,
    /// What is in the way now; nothing if it is about to be clean.
    pub obstacles: Vec<Obstacle>,
    /// The end of what the last clean-up command said.
    pub output: Option<String>,
}

/// Something that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// Of which step.
    pub step: Step,
    /// In one line.
    pub what: String,
    /// Since when it is seen.
    pub since: WallTime,
    /// The processes that have to go first.
    pub holders: Vec<Holder>,
}

/// A process that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its pid.
    pub pid: u32,
    /// Its command's name.
    pub comm: String,
    /// The letter that `/proc` has for its state: `D` waits in the kernel.
    pub state: String,
    /// Where in the kernel it waits.
    pub wchan: Option<String>,
    /// Its kernel stack, innermost first, where it may be read.
    pub stack: Vec<String>,
    /// Why it is in the way, e.g. `in cgroup /x`, `cwd`, `fd 3`.
    pub how: String,
    /// The frozen cgroup that keeps it from dying.
    pub frozen_by: Option<PathBuf>,
    /// Its mount namespace, if that is another one than sextond's.
    pub mount_ns: Option<u64>,
}

/// Something that belongs to a container that nobody owns any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Whose it was, if its name tells.
    pub id: Option<ContainerId>,
    /// Where it is.
    pub path: PathBuf,
    /// The shim's pid.
    pub pid: Option<u32>,
    /// Why it is taken for left behind.
    pub why: String,
    /// The entry that it has now.
    pub adopted: Option<ContainerId>,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A runtime's state, without a process.
    RuntimeState,
    /// A cgroup without a process.
    Cgroup,
    /// A mount.
    Mount,
    /// A shim without a state directory.
    Shim,
}

impl FindingKind {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RuntimeState => "runtime state",
            Self::Cgroup => "cgroup",
            Self::Mount => "mount",
            Self::Shim => "shim",
        }
    }
}

/// What the loop has done since the collector began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcFigures {
    /// Entries that wait.
    pub entries: u32,
    /// Attempts, first ones included.
    pub attempts: u64,
    /// Milliseconds since the oldest entry came.
    pub oldest_ms: Option<u64>,
    /// Runs that were cleaned.
    pub cleaned: u64,
    /// How often a step had something to do and was seen to be done.
    pub done: Vec<(Step, u64)>,
}
