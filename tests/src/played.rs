//! Containers of which the test plays the shim: real processes, files and doorbells, and no runtime. What a real shim
//! does in one order can be done in any.

use crate::{node::Node, proc, wait::LONG, wait::wait_for};
use rustix::fs::{CWD, FileType, Mode as Bits, RenameFlags, mknodat};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp, durable,
    launch::{Mode, Origin, Stdio},
    layout::ContainerDir,
    restart::RestartPolicy,
    wire::{Reply, Request},
    workload::Workload,
};
use std::{
    fs::{self, File},
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, Stdio as Stream},
};

/// One run.
#[derive(Debug)]
pub struct Played {
    /// What was asked.
    pub launch: Launch,
    /// What came of it.
    pub init: Init,
    /// Its files.
    pub dir: ContainerDir,
    /// Init's.
    pub pidfd: OwnedFd,
    process: Child,
    shim: Child,
    fifo: Option<File>,
    reaped: bool,
    /// How it ended.
    pub record: Option<ExitRecord>,
}

impl Played {
    /// Its directory is in place, its init is noted; nobody was told.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(node: &Node, id: ContainerId, mode: Mode) -> Self {
        let spawn = |command: &mut Command| {
            command.env("SEXTON_TEST_NODE", node.prefix()).stdin(Stream::piped());
            command.stdout(Stream::null()).stderr(Stream::null()).spawn().unwrap()
        };
        let process = spawn(Command::new("sh").args(["-c", "read code; exit $code"]));
        let shim = spawn(Command::new("sleep").arg("100000"));
        let (identity, pidfd) = ProcessIdentity::open_pid(process.id()).unwrap();
        let created = Stamp::now();
        let shim_identity = ProcessIdentity::of(shim.id()).unwrap();
        let (launch, init) = facts(node, &id, mode, shim_identity, identity, created);
        let (unborn, dir) = (node.layout().unborn(shim.id()), node.layout().container(&id));
        fs::create_dir_all(unborn.path()).unwrap();
        durable::write(&unborn.launch(), &launch).unwrap();
        mknodat(CWD, unborn.exit_fifo(), FileType::Fifo, Bits::from(0o600), 0).unwrap();
        let fifo = File::options().read(true).write(true).open(unborn.exit_fifo()).unwrap();
        durable::rename(unborn.path(), dir.path(), RenameFlags::NOREPLACE).unwrap();
        durable::write(&dir.init(), &init).unwrap();
        Self { launch, init, dir, pidfd, process, shim, fifo: Some(fifo), reaped: false, record: None }
    }

    /// Says `announce`, of that generation, with that descriptor; what the collector answers, if it is there.
    pub fn announce(&self, node: &Node, generation: u64, fd: Option<BorrowedFd<'_>>) -> Option<Reply> {
        let fds: Vec<_> = fd.into_iter().collect();
        let mut client = sexton_common::client::Client::connect(node.layout()).ok()?;
        client.set_timeout(Some(LONG)).ok()?;
        client.send(&Request::Announce { id: self.launch.id.clone(), generation }, &fds).ok()?;
        client.receive().ok()
    }

    /// As its shim would announce it.
    pub fn announce_well(&self, node: &Node) -> Option<Reply> {
        self.announce(node, self.launch.generation, Some(self.pidfd.as_fd()))
    }

    /// Its init ends by itself with `code`, and is not reaped.
    ///
    /// # Panics
    /// If it does not.
    pub fn end(&mut self, code: u8) {
        writeln!(self.process.stdin.take().unwrap(), "{code}").unwrap();
        let pid = self.process.id();
        wait_for("its end", LONG, || proc::is_dead(pid));
        self.record = Some(ExitRecord {
            id: self.launch.id.clone(),
            generation: self.launch.generation,
            process: Some(self.init.process),
            status: ExitStatus::Code(code),
            source: Source::Waited,
            oom_killed: None,
            started: Some(self.init.ready),
            exited: Some(Stamp::now()),
            usage: None,
            memory_peak: None,
            cpu_ns: None,
        });
    }

    /// The shim writes its record, unless there is one; `false` without an end, or a shim.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self) -> bool {
        let (Some(record), Some(_)) = (&self.record, &self.fifo) else { return false };
        durable::write_new(&self.dir.exit(), record).unwrap()
    }

    /// Somebody writes into the FIFO, if the shim still holds it open and there is room.
    pub fn ring(&self, bytes: &[u8]) {
        let Some(fifo) = &self.fifo else { return };
        // Nobody may be reading.
        if rustix::io::ioctl_fionread(fifo).is_ok_and(|waiting| waiting < 16_384) {
            let mut fifo = fifo;
            fifo.write_all(bytes).unwrap();
        }
    }

    /// The shim reaps init, which must have ended.
    ///
    /// # Panics
    /// If it has not.
    pub fn reap(&mut self) {
        assert!(self.record.is_some());
        self.process.wait().unwrap();
        self.reaped = true;
    }

    /// Whether its init was reaped.
    #[must_use]
    pub fn is_reaped(&self) -> bool {
        self.reaped
    }

    /// The shim dies: its FIFO is closed, and its pid is free.
    ///
    /// # Panics
    /// If it does not.
    pub fn end_shim(&mut self) {
        self.fifo = None;
        self.shim.kill().unwrap();
        self.shim.wait().unwrap();
    }

    /// Whether its shim lives.
    #[must_use]
    pub fn has_shim(&self) -> bool {
        self.fifo.is_some()
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        for child in [&mut self.process, &mut self.shim] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The facts of a container that some processes play.
pub fn facts(
    node: &Node,
    id: &ContainerId,
    mode: Mode,
    shim: ProcessIdentity,
    process: ProcessIdentity,
    created: Stamp,
) -> (Launch, Init) {
    let launch = Launch {
        id: id.clone(),
        generation: created.boot_ns / 1000,
        workload: Workload::Oci { bundle: PathBuf::new(), runtime: node.runtime() },
        stdio: Stdio::Null,
        mode,
        auto_remove: false,
        on_shim_death: Default::default(),
        shim,
        origin: Origin::Sexton,
        cgroups: Vec::new(),
        created,
        cleanup: sexton_common::cleanup::Cleanup::default(),
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    };
    let init = Init {
        id: id.clone(),
        generation: launch.generation,
        process,
        cgroups: Vec::new(),
        ready: Stamp::now(),
        executable: None,
        shim: launch.shim,
        workload: launch.workload.clone(),
    };
    (launch, init)
}
