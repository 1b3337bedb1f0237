//! Containers and their changes, as clients see them.

use crate::{ContainerId, ExitStatus, Source, WallTime, exit::Usage, restart::RestartPolicy};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything about a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerInfo {
    /// The container.
    pub id: ContainerId,
    /// Which run.
    pub generation: u64,
    /// Where it is in its life.
    pub state: State,
    /// Its init; stays after its death.
    pub pid: Option<u32>,
    /// Its shim; stays after its death.
    pub shim_pid: Option<u32>,
    /// How it ended.
    pub status: Option<ExitStatus>,
    /// How that is known.
    pub source: Option<Source>,
    /// Whether the OOM killer struck in it.
    pub oom_killed: Option<bool>,
    /// When it was asked for.
    pub created_at: WallTime,
    /// When the runtime was told to start it.
    pub started_at: Option<WallTime>,
    /// When its end was seen.
    pub exited_at: Option<WallTime>,
    /// How long it ran, by a clock that does not jump.
    pub ran_ns: Option<u64>,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its runtime.
    pub runtime: PathBuf,
    /// Whether it is removed once it is clean.
    pub auto_remove: bool,
    /// Whether its shim is a foreign one.
    pub foreign: bool,
    /// How often cleaning it was tried.
    pub attempts: u32,
    /// What was in the way the last time, if something was.
    pub in_the_way: Option<String>,
    /// What it used, as its parent learnt it.
    pub usage: Option<Usage>,
    /// The cgroup's most memory, in bytes.
    pub memory_peak: Option<u64>,
    /// The cgroup's CPU time, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// [`ContainerInfo::started_at`] in nanoseconds since boot, by the clock that does not jump; the generation is
    /// the same of its creation, in microseconds.
    pub started_ns: Option<u64>,
    /// The program and its arguments, if it is a plain program; at most about 4 KiB of them, then `...`.
    #[serde(default)]
    pub command: Vec<String>,
    /// Whether and when it comes back; `None` if it never does and never did.
    #[serde(default)]
    pub restart: Option<Box<RestartInfo>>,
}

impl ContainerInfo {
    /// Whether it may run again by itself: it is to be started, or its policy has not come to its last end yet, which may be
    /// a moment later than it is clean.
    #[must_use]
    pub fn may_come_back(&self) -> bool {
        self.restart.as_ref().is_some_and(|restart| {
            // Without a run there is no end that could be new.
            let ended = self.status.is_some() && self.generation != 0;
            let decided = !ended || restart.last.is_some_and(|last| last.generation == self.generation);
            restart.next_start.is_some() || (!decided && !restart.stopped_by_user)
        })
    }

    /// One that is known to be there, and no more than that: any run's word takes its place.
    #[must_use]
    pub fn pending(id: ContainerId) -> Self {
        Self {
            id,
            generation: 0,
            state: State::Pending,
            pid: None,
            shim_pid: None,
            status: None,
            source: None,
            oom_killed: None,
            created_at: WallTime(0),
            started_at: None,
            exited_at: None,
            ran_ns: None,
            bundle: PathBuf::new(),
            runtime: PathBuf::new(),
            auto_remove: false,
            foreign: false,
            attempts: 0,
            in_the_way: None,
            usage: None,
            memory_peak: None,
            cpu_ns: None,
            started_ns: None,
            command: Vec::new(),
            restart: None,
        }
    }
}

/// Whether and when a container comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartInfo {
    /// Its policy.
    pub policy: RestartPolicy,
    /// How often it was started again; a user's start begins anew.
    pub count: u32,
    /// When it is started again, if it is to be.
    pub next_start: Option<WallTime>,
    /// Whether a user has stopped it.
    pub stopped_by_user: bool,
    /// The run before this one, if there was one.
    pub last: Option<LastRun>,
    /// Why the last attempt to start it again failed.
    pub failure: Option<String>,
}

/// How an earlier run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// Which.
    pub generation: u64,
    /// How.
    pub status: ExitStatus,
    /// When.
    pub exited_at: Option<WallTime>,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The runtime is at it.
    Creating,
    /// There, not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process runs, its shim is dead.
    Orphaned,
    /// Its process is dead and what it owned is being cleaned.
    Stopping,
    /// Something is in the way of cleaning; tried again later.
    Gc,
    /// Everything that it owned is gone; its record stays until it is removed.
    Stopped,
    /// Its process is frozen.
    Paused,
    /// It has stopped and will be started again.
    Restarting,
    /// It lies on disk and is still being looked at, after a restart of the collector.
    Pending,
}

impl State {
    /// As it stands in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Orphaned => "orphaned",
            Self::Stopping => "stopping",
            Self::Gc => "gc",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Pending => "pending",
        }
    }
}

/// One change of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one from event to event; a restarted collector begins higher than it ever was before.
    pub seq: u64,
    /// When.
    pub at: WallTime,
    /// What happened.
    pub kind: EventKind,
    /// The container after it.
    pub container: ContainerInfo,
}

/// What happened to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was created, or found after a restart of the collector.
    Created,
    /// It was started.
    Started,
    /// Its shim died before it.
    Orphaned,
    /// Its exit status is known: once per run.
    Exited,
    /// Something is in the way of cleaning it.
    Delayed,
    /// Everything that it owned is gone.
    Stopped,
    /// Its record was removed.
    Removed,
    /// It was frozen.
    Paused,
    /// It was thawed.
    Resumed,
    /// It will be started again, at `restart.next_start`.
    Restarting,
    /// Its policy would have it back, and gives up.
    GaveUp,
}

impl EventKind {
    /// As it stands in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Orphaned => "orphaned",
            Self::Exited => "exited",
            Self::Delayed => "delayed",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Restarting => "restarting",
            Self::GaveUp => "gave_up",
        }
    }
}
