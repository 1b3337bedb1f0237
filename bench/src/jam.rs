//! What keeps processes from dying of SIGKILL: each waits in the kernel, in state D, until it is let go.

use sexton_common::ContainerId;
use sexton_tests::{
    Bundle, LONG, Node,
    gc::{Freezer, LoopDisk},
    proc, wait_for,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Writes again and again what a frozen file system does not let it write.
fn writer(file: &str) -> String {
    format!("while :; do echo x > {file}; usleep 1000; done")
}

/// A file system whose writers can be made to wait, all at once.
#[derive(Debug)]
pub struct Disk(LoopDisk);

impl Disk {
    /// Below the node's directory.
    pub fn new(node: &Node, name: &str) -> Self {
        Self(LoopDisk::new(&node.dir().join(format!("{name}.image")), &node.dir().join(name)))
    }

    /// The bundle of a container that writes to it.
    pub fn writer(&self, bundle: Bundle, id: &ContainerId) -> Bundle {
        bundle.bind(self.0.point(), "/gate").sh(&writer(&format!("/gate/{id}")))
    }

    /// A process, in no container, that writes to it.
    pub fn process(&self, node: &Node, name: &str) -> Process {
        let mut command = Command::new("busybox");
        command.args(["sh", "-c", &writer(&self.0.point().join(name).display().to_string())]);
        command.env("SEXTON_TEST_NODE", node.prefix()).stdin(Stdio::null()).stdout(Stdio::null());
        Process(command.spawn().unwrap())
    }

    /// Nobody can write any more; returns when all of these wait.
    pub fn freeze(&self, writers: &[(&str, u32)]) {
        let wrote = |(name, _): &(&str, u32)| self.0.point().join(name).exists();
        wait_for("all have written", LONG, || writers.iter().all(wrote));
        self.0.freeze();
        wait_for("all wait in the kernel", LONG, || writers.iter().all(|&(_, pid)| is_stuck(pid)));
    }

    /// Everybody can.
    pub fn thaw(&self) {
        self.0.thaw();
    }
}

/// Killed when it is dropped; what it waits for must be thawed before.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_stuck(pid: u32) -> bool {
    proc::is_in(pid, 'D')
}

/// Where containers are kept each by something of its own, so that one can be let go without the others.
#[derive(Debug)]
pub enum Cells {
    /// Each below a cgroup of the v1 freezer.
    Cgroups(Freezer),
    /// Each writes to a file system: where there is no v1 freezer. That of v2 lets who was killed die.
    Disks,
}

/// What keeps one of them.
#[derive(Debug)]
pub enum Cell {
    /// The frozen cgroup.
    Cgroup(PathBuf),
    /// The frozen file system.
    Disk(Disk),
}

impl Cells {
    /// For containers of this node.
    pub fn new(node: &Node) -> Self {
        Freezer::new(&format!("{}cells", node.prefix())).map_or(Self::Disks, Self::Cgroups)
    }

    /// As a note has it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Cgroups(_) => "below a frozen cgroup (v1)",
            Self::Disks => "writing to a frozen file system",
        }
    }

    /// The bundle of a container that can be kept, and what keeps it.
    pub fn cell(&self, node: &Node, bundle: Bundle, id: &ContainerId) -> (Bundle, Cell) {
        match self {
            Self::Cgroups(freezer) => {
                let above = freezer.dir().join(id.as_str());
                fs::create_dir(&above).unwrap();
                let path = format!("{}/{id}", freezer.below(id));
                let bundle = bundle.sleeping().with(|config| config["linux"]["cgroupsPath"] = path.into());
                (bundle, Cell::Cgroup(above))
            }
            Self::Disks => {
                let disk = Disk::new(node, &format!("disk-{id}"));
                (disk.writer(bundle, id), Cell::Disk(disk))
            }
        }
    }
}

impl Cell {
    /// From now on the container, which has this init, does not die.
    pub fn close(&self, id: &ContainerId, init: u32) {
        match self {
            Self::Cgroup(above) => {
                freeze(above, "FROZEN");
                wait_for("it is frozen", LONG, || is_stuck(init));
            }
            Self::Disk(disk) => disk.freeze(&[(id.as_str(), init)]),
        }
    }

    /// It may die.
    pub fn open(&self) {
        match self {
            Self::Cgroup(above) => freeze(above, "THAWED"),
            Self::Disk(disk) => disk.thaw(),
        }
    }
}

fn freeze(cgroup: &Path, state: &str) {
    fs::write(cgroup.join("freezer.state"), state).unwrap();
}
