//! Shims of somebody else's, as iSulad's: four bytes through a FIFO.

use crate::node::Node;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sexton_common::{
    ContainerId,
    wire::{ApiError, ContainerInfo, Reply, Request, WatchRequest},
};
use std::{
    fs::File,
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A shim and a container that are only played: two sleeping processes and a FIFO.
#[derive(Debug)]
pub struct Foreign {
    /// What it is called.
    pub id: ContainerId,
    /// What there is to watch.
    pub request: WatchRequest,
    init: Child,
    shim: Child,
    /// The shim's end of the FIFO.
    pub end: Option<File>,
}

impl Foreign {
    /// Not watched yet. Its runtime knows nothing of it.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(node: &Node, name: &str) -> Self {
        let id = node.id(name);
        let fifo = node.dir().join(format!("{name}.fifo"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        let sleeper = || {
            let mut sleep = Command::new("sleep");
            sleep.arg("100000").env("SEXTON_TEST_NODE", node.prefix());
            sleep.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let (init, shim) = (sleeper(), sleeper());
        // As iSulad's shim: open for both, so that opening does not wait for a reader.
        let end = File::options().read(true).write(true).open(&fifo).unwrap();
        let request = WatchRequest {
            id: id.clone(),
            fifo,
            pid: init.id(),
            shim_pid: shim.id(),
            runtime: node.runtime(),
            bundle: PathBuf::new(),
        };
        Self { id, request, init, shim, end: Some(end) }
    }

    /// Has it watched.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    pub fn watch(&self, node: &Node) -> Result<ContainerInfo, ApiError> {
        match node.ask(&Request::Watch(self.request.clone()))? {
            Reply::Container(info) => Ok(*info),
            other => panic!("{other:?}"),
        }
    }

    /// The container ends; its shim reaps it.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn end_container(&mut self) {
        self.init.kill().unwrap();
        self.init.wait().unwrap();
    }

    /// The shim writes into its FIFO.
    ///
    /// # Panics
    /// If it cannot.
    pub fn write(&mut self, bytes: &[u8]) {
        self.end.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// The shim leaves.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn end_shim(&mut self) {
        self.end = None;
        self.shim.kill().unwrap();
        self.shim.wait().unwrap();
    }

    /// The shim leaves, and somebody else still has its FIFO open.
    ///
    /// # Panics
    /// If it cannot be killed.
    pub fn end_shim_but_not_its_fifo(&mut self) {
        self.shim.kill().unwrap();
        self.shim.wait().unwrap();
    }

    /// A whole life's end: the container dies, the shim says so and leaves.
    ///
    /// # Panics
    /// If something of that fails.
    pub fn exit(&mut self, code: i32) {
        self.end_container();
        self.write(&code.to_ne_bytes());
        self.end_shim();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        for child in [&mut self.init, &mut self.shim] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
