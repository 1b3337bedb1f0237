//! What the collector answers.

use super::{ApiError, ContainerInfo, ContainerStats, Event, Finding, GcFigures, GcInfo, GcWhy, NodeStats};
use crate::{ContainerId, WallTime};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What the collector answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Who it is.
    Version {
        /// The release.
        version: String,
        /// [`super::PROTOCOL`].
        protocol: u32,
        /// Its pid.
        pid: u32,
    },
    /// It is done.
    Done {},
    /// What was launched.
    Launched(Launched),
    /// A container as it is now.
    Container(Box<ContainerInfo>),
    /// Some containers.
    Containers {
        /// A part of the list.
        containers: Vec<ContainerInfo>,
        /// Whether the list ends here.
        last: bool,
    },
    /// Some containers as they were at `seq`.
    Snapshot {
        /// The events up to this number are in it, those after it follow.
        seq: u64,
        /// A part of it.
        containers: Vec<ContainerInfo>,
        /// Whether it ends here.
        last: bool,
    },
    /// A change.
    Event(Box<Event>),
    /// Events up to `seq` are not all at hand any more; a snapshot follows.
    Lagged {
        /// The last event that the subscriber had.
        seen: u64,
    },
    /// How the node is.
    Node(Node),
    /// It was not done.
    Error(ApiError),
    /// Some entries of the GC.
    GcEntries {
        /// A part of the list.
        entries: Vec<GcInfo>,
        /// Whether the list ends here.
        last: bool,
    },
    /// An entry, and what is in its way.
    GcWhy(Box<GcWhy>),
    /// What was left behind.
    Findings {
        /// A part of the list.
        findings: Vec<Finding>,
        /// Whether the list ends here.
        last: bool,
    },
    /// What some containers use.
    Stats {
        /// A part of the list.
        containers: Vec<ContainerStats>,
        /// Whether the sample ends here.
        last: bool,
    },
    /// How the machine is.
    NodeStats(Box<NodeStats>),
}

/// What the shim prints once it is done, and the collector passes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// The container.
    pub id: ContainerId,
    /// Which run.
    pub generation: u64,
    /// The container's init.
    pub pid: u32,
    /// Its shim.
    pub shim_pid: u32,
    /// The doorbell.
    pub exit_fifo: PathBuf,
    /// Where its exit record will lie.
    pub exit_file: PathBuf,
}

/// The collector and its limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The release.
    pub version: String,
    /// The collector's pid.
    pub pid: u32,
    /// Since when it runs.
    pub since: WallTime,
    /// Containers that it knows.
    pub containers: u32,
    /// Descriptors that it has open.
    pub descriptors: u64,
    /// Descriptors that it may have open.
    pub descriptor_limit: u64,
    /// Files in quarantine.
    pub quarantined: u32,
    /// The last sequence number given out.
    pub seq: u64,
    /// Of the descriptors that it may have, those that watch containers, two for each. The rest is kept for its work.
    pub seats: u64,
    /// Those that do so now.
    pub seats_taken: u64,
    /// Containers that are watched by a slower way, for want of descriptors.
    pub surplus: u32,
    /// Pidfds that the service manager, or the keeper, holds for it; `None` if nobody does.
    pub stored: Option<u64>,
    /// The GC loop.
    pub gc: GcFigures,
}
