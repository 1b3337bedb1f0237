//! What a client asks.

use super::GcAddRequest;
use crate::{
    ContainerId,
    cleanup::Cleanup,
    launch::{Mode, OnShimDeath, Stdio},
    restart::RestartPolicy,
    runtime::Runtime,
    workload::Program,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a client asks. One at a time; the answer ends when the reply says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who are you? Answer: [`super::Reply::Version`].
    Version {},
    /// A shim says that its container's init exists; the init's pidfd may come along (`SCM_RIGHTS`).
    /// Answer: [`super::Reply::Done`] once the collector watches it.
    Announce {
        /// The container.
        id: ContainerId,
        /// Which run.
        generation: u64,
    },
    /// Create a container, or create and start it. With [`Stdio::Inherit`] its three streams come along
    /// (`SCM_RIGHTS`). Answer: [`super::Reply::Launched`].
    Launch(LaunchRequest),
    /// Start a created container, or a stopped one as a new run. Answer: [`super::Reply::Done`].
    Start {
        /// The container.
        id: ContainerId,
    },
    /// Send a signal to the container's init. Answer: [`super::Reply::Done`].
    Kill {
        /// The container.
        id: ContainerId,
        /// The signal's number.
        signal: i32,
    },
    /// Signal, wait, then SIGKILL. Answer: [`super::Reply::Container`] once its exit is known.
    Stop {
        /// The container.
        id: ContainerId,
        /// The first signal's number.
        signal: i32,
        /// How long to wait before SIGKILL.
        timeout_ms: u64,
    },
    /// Forget a stopped container; with `force` kill it first. Answer: [`super::Reply::Done`] once its files are gone.
    Remove {
        /// The container.
        id: ContainerId,
        /// Whatever its state.
        force: bool,
    },
    /// Answer: [`super::Reply::Container`] once its exit is known, at once if it is.
    Wait {
        /// The container.
        id: ContainerId,
        /// Which run, so that a removed one can be told from its successor; the present one if `None`.
        generation: Option<u64>,
    },
    /// Answer: [`super::Reply::Container`].
    Inspect {
        /// The container.
        id: ContainerId,
    },
    /// Answer: [`super::Reply::Containers`], until `last`.
    List {
        /// Stopped ones too.
        all: bool,
    },
    /// Watch a container of a foreign shim. Answer: [`super::Reply::Container`].
    Watch(WatchRequest),
    /// Answer: [`super::Reply::Snapshot`] until `last`, then every change as [`super::Reply::Event`], for ever. With `since`
    /// the events after that number, without a snapshot if they are all still at hand; else [`super::Reply::Lagged`]
    /// and a snapshot. A reader that is too slow gets [`super::Reply::Lagged`] and a snapshot too.
    Subscribe {
        /// The last sequence number seen.
        since: Option<u64>,
    },
    /// Answer: [`super::Reply::Node`].
    Node {},
    /// What is in GC. Answer: [`super::Reply::GcEntries`], until `last`.
    GcList {},
    /// What is in the way of cleaning a container; of one too that was killed and does not die. Answer:
    /// [`super::Reply::GcWhy`].
    GcWhy {
        /// The container.
        id: ContainerId,
    },
    /// Try again now: that one, or all. Answer: [`super::Reply::GcEntries`] after that attempt, those that are still there.
    GcRetry {
        /// The container.
        id: Option<ContainerId>,
    },
    /// Give up: what is not clean stays, and nobody will clean it. Answer: [`super::Reply::Done`].
    GcForget {
        /// The container.
        id: ContainerId,
    },
    /// Clean up after a container of some other engine. Answer: [`super::Reply::Done`] once that is durable; what comes
    /// of it is in the list.
    GcAdd(GcAddRequest),
    /// Look for what nobody owns any more. Answer: [`super::Reply::Findings`], until `last`.
    GcScan {
        /// Whether each gets an entry of its own, and so is cleaned.
        adopt: bool,
    },
    /// Stop it if it runs, and start it again as a new run. Answer: [`super::Reply::Launched`].
    Restart {
        /// The container.
        id: ContainerId,
        /// The first signal's number.
        signal: i32,
        /// How long to wait before SIGKILL.
        timeout_ms: u64,
    },
    /// Freeze its processes. Answer: [`super::Reply::Done`].
    Pause {
        /// The container.
        id: ContainerId,
    },
    /// Thaw its processes. Answer: [`super::Reply::Done`].
    Resume {
        /// The container.
        id: ContainerId,
    },
    /// What containers use. Answer: [`super::Reply::Stats`], until `last`; with a period again and again, for ever, or until
    /// none of those that were named is there any more.
    Stats {
        /// Which; all that run if empty.
        ids: Vec<ContainerId>,
        /// Milliseconds between samples, from 100; one sample if `None`.
        period_ms: Option<u64>,
    },
    /// How the machine is. Answer: [`super::Reply::NodeStats`].
    NodeStats {},
    /// Refuse new starts, or accept them again; outlives collector and machine. Answer: [`super::Reply::NodeStats`].
    Maintenance {
        /// Whether to refuse them.
        on: bool,
    },
}

/// What to launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRequest {
    /// Its name.
    pub id: ContainerId,
    /// Its OCI bundle, an absolute path.
    #[serde(default)]
    pub bundle: PathBuf,
    /// Who creates it.
    #[serde(default)]
    pub runtime: Runtime,
    /// Where its standard streams go.
    #[serde(default)]
    pub stdio: Stdio,
    /// Whether it is started too.
    pub mode: Mode,
    /// Whether it is removed once it has exited and is clean.
    #[serde(default)]
    pub auto_remove: bool,
    /// What becomes of it when its shim dies before it.
    #[serde(default)]
    pub on_shim_death: OnShimDeath,
    /// How long the runtime may take for each step; the collector's default if `None`.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// What else is to be cleaned after its end: absolute paths.
    #[serde(default)]
    pub cleanup: Cleanup,
    /// Whether it comes back after its end.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// A plain program instead of a bundle, which is empty then; `runtime` says nothing.
    #[serde(default)]
    pub program: Option<Program>,
}

/// A foreign shim's container (iSulad's `container_supervisor_add_exit_monitor`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchRequest {
    /// Its name.
    pub id: ContainerId,
    /// The exit FIFO, an absolute path. The shim writes four bytes, the exit code in native byte order.
    pub fifo: PathBuf,
    /// The container's init.
    pub pid: u32,
    /// The shim.
    pub shim_pid: u32,
    /// Who created it.
    #[serde(default)]
    pub runtime: Runtime,
    /// Its bundle, if it matters.
    #[serde(default)]
    pub bundle: PathBuf,
}
