//! Where everything lies. The only place that joins state paths.

use crate::ContainerId;
use std::path::{Path, PathBuf};

/// The two roots (design, "What lies on disk").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    state: PathBuf,
    data: PathBuf,
}

impl Layout {
    /// What dies with the machine.
    pub const STATE_DIR: &str = "/run/sexton";
    /// What outlives a reboot.
    pub const DATA_DIR: &str = "/var/lib/sexton";
    /// Overrides [`Layout::STATE_DIR`].
    pub const STATE_ENV: &str = "SEXTON_STATE_DIR";
    /// Overrides [`Layout::DATA_DIR`].
    pub const DATA_ENV: &str = "SEXTON_DATA_DIR";

    /// With these roots.
    #[must_use]
    pub fn new(state: PathBuf, data: PathBuf) -> Self {
        Self { state, data }
    }

    /// The roots that were given, else those of the environment, else the usual ones.
    #[must_use]
    pub fn resolve(state: Option<PathBuf>, data: Option<PathBuf>) -> Self {
        let or = |given: Option<PathBuf>, variable: &str, usual: &str| {
            let set = || std::env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
            let dir = given.or_else(set).unwrap_or_else(|| usual.into());
            // Whoever is started with it may have another working directory.
            std::path::absolute(&dir).unwrap_or(dir)
        };
        Self { state: or(state, Self::STATE_ENV, Self::STATE_DIR), data: or(data, Self::DATA_ENV, Self::DATA_DIR) }
    }

    /// The state root.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The data root.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The collector's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.state.join("sextond.sock")
    }

    /// The collector's lock: one per state directory.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state.join("sextond.lock")
    }

    /// Where `sextond --keeper`, of pid `pid` and begun at `since`, hears its daemon. One of its own: a second keeper,
    /// which fails for want of the collector's lock, must not deafen the first, nor one of that pid in another namespace.
    #[must_use]
    pub fn keeper_socket(&self, pid: u32, since: u64) -> PathBuf {
        self.state.join(format!("keeper.{pid}.{since:x}.sock"))
    }

    /// The containers' directories.
    #[must_use]
    pub fn containers(&self) -> PathBuf {
        self.state.join("containers")
    }

    /// Where files that do not decode are kept.
    #[must_use]
    pub fn quarantine(&self) -> PathBuf {
        self.state.join("quarantine")
    }

    /// What is still to be cleaned, an entry each.
    #[must_use]
    pub fn gc(&self) -> PathBuf {
        self.data.join("gc")
    }

    /// One container's [`crate::gc::Entry`].
    #[must_use]
    pub fn gc_entry(&self, id: &ContainerId) -> PathBuf {
        self.gc().join(id.as_str())
    }

    /// The containers that come back after their end, a file each.
    #[must_use]
    pub fn instances(&self) -> PathBuf {
        self.data.join("instances")
    }

    /// One container's [`crate::instance::Instance`].
    #[must_use]
    pub fn instance(&self, id: &ContainerId) -> PathBuf {
        self.instances().join(id.as_str())
    }

    /// The [`crate::maintenance::Maintenance`], as long as it lasts.
    #[must_use]
    pub fn maintenance(&self) -> PathBuf {
        self.data.join("maintenance")
    }

    /// The containers that own what a reboot does not clear.
    #[must_use]
    pub fn lasting(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// One of them: its `launch`, as in [`Layout::container`], and nothing else.
    #[must_use]
    pub fn lasting_container(&self, id: &ContainerId) -> ContainerDir {
        ContainerDir(self.lasting().join(id.as_str()))
    }

    /// Where the process `pid` fills it before it is renamed into place.
    #[must_use]
    pub fn lasting_unborn(&self, pid: u32) -> ContainerDir {
        ContainerDir(self.lasting().join(format!("{}{pid}", Self::UNBORN)))
    }

    /// Where it goes when it is removed.
    #[must_use]
    pub fn lasting_buried(&self, id: &ContainerId, generation: u64) -> ContainerDir {
        ContainerDir(self.lasting().join(format!("{}{generation}-{id}", Self::BURIED)))
    }

    /// Where entries and launches in [`Layout::data`] that do not decode are kept: on the same file system.
    #[must_use]
    pub fn data_quarantine(&self) -> PathBuf {
        self.data.join("quarantine")
    }

    /// One container's files.
    #[must_use]
    pub fn container(&self, id: &ContainerId) -> ContainerDir {
        ContainerDir(self.containers().join(id.as_str()))
    }

    /// Where the process `pid` fills a container's directory before it is renamed into place. No id begins
    /// with `~`, so it never collides with one.
    #[must_use]
    pub fn unborn(&self, pid: u32) -> ContainerDir {
        ContainerDir(self.containers().join(format!("{}{pid}", Self::UNBORN)))
    }

    /// Where the collector, of pid `pid`, fills the directory of a container that it registers itself; another one for
    /// each attempt.
    #[must_use]
    pub fn unborn_of(&self, pid: u32, attempt: u32, id: &ContainerId) -> ContainerDir {
        ContainerDir(self.containers().join(format!("{}{pid}-{attempt}-{id}", Self::UNBORN)))
    }

    /// What the names of unborn containers' directories begin with; the creator's pid follows.
    pub const UNBORN: &str = "~new-";
    /// What the names of removed containers' directories begin with, until they are empty and gone.
    pub const BURIED: &str = "~gone-";

    /// Where a container's directory goes when it is removed, out of the way in one step.
    #[must_use]
    pub fn buried(&self, id: &ContainerId, generation: u64) -> ContainerDir {
        ContainerDir(self.containers().join(format!("{}{generation}-{id}", Self::BURIED)))
    }
}

/// A container's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDir(PathBuf);

impl ContainerDir {
    /// What the gate is called.
    pub const GATE: &str = "exec.fifo";
    /// What the doorbell is called.
    pub const EXIT_FIFO: &str = "exit.fifo";

    /// A container's directory reached by another way, e.g. through a descriptor.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The [`crate::Launch`].
    #[must_use]
    pub fn launch(&self) -> PathBuf {
        self.0.join("launch")
    }

    /// The [`crate::Init`].
    #[must_use]
    pub fn init(&self) -> PathBuf {
        self.0.join("init")
    }

    /// The FIFO at which a plain program waits to be started, as runc's `exec.fifo`.
    #[must_use]
    pub fn gate(&self) -> PathBuf {
        self.0.join(Self::GATE)
    }

    /// The [`crate::launch::Started`], where the collector started it.
    #[must_use]
    pub fn start(&self) -> PathBuf {
        self.0.join("start")
    }

    /// The [`crate::ExitRecord`].
    #[must_use]
    pub fn exit(&self) -> PathBuf {
        self.0.join("exit")
    }

    /// The [`crate::launch::Clean`], once nothing is left.
    #[must_use]
    pub fn clean(&self) -> PathBuf {
        self.0.join("clean")
    }

    /// The doorbell.
    #[must_use]
    pub fn exit_fifo(&self) -> PathBuf {
        self.0.join(Self::EXIT_FIFO)
    }

    /// Where the runtime writes the pid of the container's init, until `init` has it.
    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.0.join("pid")
    }

    /// The runtime's own log, kept while it works.
    #[must_use]
    pub fn runtime_log(&self) -> PathBuf {
        self.0.join("runtime.log")
    }
}
