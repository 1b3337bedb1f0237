//! What containers and the machine use, as clients see it.

use super::{ContainerInfo, State};
use crate::{ContainerId, WallTime};
use serde::{Deserialize, Serialize};
use std::{net::IpAddr, path::PathBuf};

/// What a container uses. What the kernel does not tell is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerStats {
    /// The container.
    pub id: ContainerId,
    /// Which run.
    pub generation: u64,
    /// Where it is in its life.
    pub state: State,
    /// When this was sampled.
    pub at: WallTime,
    /// Memory in use, in bytes, without the page cache that goes as soon as somebody wants it.
    pub memory: Option<u64>,
    /// The most that it may use, in bytes; `None` if there is no limit, or none is told.
    pub memory_limit: Option<u64>,
    /// CPU time since it began, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// CPU in use since the sample before, in hundredths of a percent of one core; `None` in a first sample.
    pub cpu_of_core: Option<u32>,
    /// The same, of all cores.
    pub cpu_of_all: Option<u32>,
    /// Processes and threads; without a `pids` controller those in the container's topmost cgroup only.
    pub pids: Option<u64>,
    /// How often the OOM killer struck.
    pub oom_kills: Option<u64>,
    /// What went to and from disks, as far as the kernel counts that for this container.
    pub io: Option<IoUse>,
    /// What its registered paths take; `None` if it has none, and while nobody has counted yet.
    pub disk: Option<DiskUse>,
}

impl ContainerStats {
    /// Of a container of which nothing is to be seen, now.
    #[must_use]
    pub fn none(info: &ContainerInfo) -> Self {
        Self {
            id: info.id.clone(),
            generation: info.generation,
            state: info.state,
            at: WallTime::now(),
            memory: None,
            memory_limit: None,
            cpu_ns: None,
            cpu_of_core: None,
            cpu_of_all: None,
            pids: None,
            oom_kills: None,
            io: None,
            disk: None,
        }
    }
}

/// What went to and from disks, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoUse {
    /// Read.
    pub read: u64,
    /// Written.
    pub written: u64,
}

/// What lies in a container's registered paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Bytes, as the file system has them allocated.
    pub bytes: u64,
    /// Whether all was counted; not, if that took too long.
    pub complete: bool,
    /// When it was counted.
    pub at: WallTime,
}

/// How the machine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStats {
    /// Whether it takes new containers.
    pub state: NodeState,
    /// Why not, if not: a figure and its watermark each.
    pub why: Vec<String>,
    /// When this was sampled.
    pub at: WallTime,
    /// The machine's name.
    pub hostname: String,
    /// Its addresses, without those of loopback and of link-local scope.
    pub addresses: Vec<IpAddr>,
    /// CPUs that are online.
    pub cpus: u32,
    /// The load of 1, 5 and 15 minutes, in hundredths.
    pub load: [u32; 3],
    /// Memory, in bytes; `left` is what could be had without swapping.
    pub memory: Room,
    /// Where the data directory lies, in bytes; `left` is what root may still write.
    pub disk: Room,
    /// That directory.
    pub disk_path: PathBuf,
    /// Descriptors of the collector.
    pub descriptors: Room,
    /// Containers that run or are about to, of those that may.
    pub running: Room,
    /// Containers by their state.
    pub containers: Vec<(State, u32)>,
    /// Entries of the GC.
    pub gc_entries: u32,
    /// Milliseconds since the machine was started.
    pub uptime_ms: u64,
}

/// How much there is of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// All of it; `None` if it has no bound.
    pub total: Option<u64>,
    /// What is left; `None` if it has no bound.
    pub left: Option<u64>,
    /// What is used.
    pub used: u64,
}

/// Whether a node takes new containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It does.
    Ready,
    /// It should not be given any: a high watermark is crossed. Past the low one they are refused.
    Full,
    /// It refuses all.
    Maintenance,
}

impl NodeState {
    /// As people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Full => "FULL",
            Self::Maintenance => "MAINTENANCE",
        }
    }
}
