//! What goes over the collector's socket.
//!
//! A client's first byte decides: `{` means JSON, one object a line; anything else means frames, a length
//! (u32, big-endian, at most [`MAX_FRAME`]) and that many bytes of postcard. Both carry the same types.
//! Variants and fields are only ever appended.

use crate::{
    ContainerId, ExitStatus, Source, WallTime,
    exit::Usage,
    launch::{Mode, Stdio},
    runtime::Runtime,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{io, path::PathBuf, time::Duration};

/// The longest frame's body, and the longest JSON line, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// Raised when an old client would misunderstand a new collector.
pub const PROTOCOL: u32 = 1;

/// What a client asks. One at a time; the answer ends when the reply says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who are you? Answer: [`Reply::Version`].
    Version {},
    /// A shim says that its container's init exists; the init's pidfd may come along (`SCM_RIGHTS`).
    /// Answer: [`Reply::Done`] once the collector watches it.
    Announce {
        /// The container.
        id: ContainerId,
        /// Which run.
        generation: u64,
    },
    /// Create a container, or create and start it. With [`Stdio::Inherit`] its three streams come along
    /// (`SCM_RIGHTS`). Answer: [`Reply::Launched`].
    Launch(LaunchRequest),
    /// Start a created container. Answer: [`Reply::Done`].
    Start {
        /// The container.
        id: ContainerId,
    },
    /// Send a signal to the container's init. Answer: [`Reply::Done`].
    Kill {
        /// The container.
        id: ContainerId,
        /// The signal's number.
        signal: i32,
    },
    /// Signal, wait, then SIGKILL. Answer: [`Reply::Container`] once its exit is known.
    Stop {
        /// The container.
        id: ContainerId,
        /// The first signal's number.
        signal: i32,
        /// How long to wait before SIGKILL.
        timeout_ms: u64,
    },
    /// Forget a stopped container; with `force` kill it first. Answer: [`Reply::Done`] once its files are gone.
    Remove {
        /// The container.
        id: ContainerId,
        /// Whatever its state.
        force: bool,
    },
    /// Answer: [`Reply::Container`] once its exit is known, at once if it is.
    Wait {
        /// The container.
        id: ContainerId,
        /// Which run, so that a removed one can be told from its successor; the present one if `None`.
        generation: Option<u64>,
    },
    /// Answer: [`Reply::Container`].
    Inspect {
        /// The container.
        id: ContainerId,
    },
    /// Answer: [`Reply::Containers`], until `last`.
    List {
        /// Stopped ones too.
        all: bool,
    },
    /// Watch a container of a foreign shim. Answer: [`Reply::Container`].
    Watch(WatchRequest),
    /// Answer: [`Reply::Snapshot`] until `last`, then every change as [`Reply::Event`], for ever. With `since`
    /// the events after that number, without a snapshot if they are all still at hand; else [`Reply::Lagged`]
    /// and a snapshot. A reader that is too slow gets [`Reply::Lagged`] and a snapshot too.
    Subscribe {
        /// The last sequence number seen.
        since: Option<u64>,
    },
    /// Answer: [`Reply::Node`].
    Node {},
}

/// What to launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchRequest {
    /// Its name.
    pub id: ContainerId,
    /// Its OCI bundle, an absolute path.
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
    /// How long the runtime may take for each step; the collector's default if `None`.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
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

/// What the collector answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Who it is.
    Version {
        /// The release.
        version: String,
        /// [`PROTOCOL`].
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
        }
    }
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
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: the operation, the object, the way out.
    pub message: String,
    /// The exit code that a command line should end with.
    pub exit_code: u8,
}

impl ApiError {
    /// An error that a command line answers with 1.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        // A frame is bounded, and so is every message in it.
        let end = (0..=message.len().min(4096)).rev().find(|&end| message.is_char_boundary(end));
        message.truncate(end.unwrap_or(0));
        Self { code, message, exit_code: 1 }
    }
}

/// Kinds of errors that a program may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense.
    Invalid,
    /// There is no such container.
    NoSuchContainer,
    /// The id is taken.
    AlreadyExists,
    /// It runs already, or ran already.
    AlreadyStarted,
    /// It does not run.
    NotRunning,
    /// It runs, and that is in the way.
    Running,
    /// It is being cleaned, or something is in the way of that.
    InGc,
    /// A queue is full, or the container is busy: try again.
    Busy,
    /// The runtime or the shim failed.
    RuntimeFailed,
    /// It took too long.
    TimedOut,
    /// The collector is shutting down.
    ShuttingDown,
    /// Not for this user.
    Denied,
    /// The collector itself failed.
    Internal,
}

/// A frame: length and body.
///
/// # Errors
/// `InvalidData` if it would be longer than [`MAX_FRAME`] or has a path that is not UTF-8.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame =
        postcard::to_extend(message, vec![0; 4]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let body = frame.len() - 4;
    let length = u32::try_from(body).ok().filter(|_| body <= MAX_FRAME);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the message is longer than 64 KiB"))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The message in a frame's body. Bytes after it are an error.
///
/// # Errors
/// `InvalidData` if it is none. Never panics, whatever the bytes are.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    let invalid = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let (message, rest) = postcard::take_from_bytes(body).map_err(|e| invalid(&e))?;
    if rest.is_empty() { Ok(message) } else { Err(invalid(&"bytes after the message")) }
}

/// How long the shim waits for the collector's answer to its announcement.
pub const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(1);
