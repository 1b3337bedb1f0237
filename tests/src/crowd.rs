//! Many containers at little cost: the facts of each, a process for each that runs, and one shim for all.

use crate::{node::Node, played::facts, proc, wait::LONG, wait::wait_for};
use rustix::fs::{CWD, FileType, Mode as Bits, mknodat};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp,
    durable::{self, Fact},
    launch::{Clean, Mode},
    layout::ContainerDir,
};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Child, Command, Stdio as Stream},
};

/// See the module.
#[derive(Debug)]
pub struct Crowd {
    /// They run until [`Member::end`].
    pub running: Vec<Member>,
    /// They have ended, each with the code of its place, and were clean.
    pub stopped: Vec<Member>,
    shim: Child,
}

/// One container.
#[derive(Debug)]
pub struct Member {
    /// What was asked.
    pub launch: Launch,
    /// What came of it.
    pub init: Init,
    dir: ContainerDir,
    process: Option<Child>,
}

impl Crowd {
    /// So many that run, and so many that have stopped, as if while no collector ran.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn new(node: &Node, running: usize, stopped: usize) -> Self {
        let shim = sleeper(node);
        let identity = ProcessIdentity::of(shim.id()).unwrap();
        let running = (0..running).map(|n| Member::new(node, &format!("r{n}"), identity, true)).collect();
        let stopped: Vec<_> = (0..stopped).map(|n| Member::new(node, &format!("s{n}"), identity, false)).collect();
        for (n, member) in stopped.iter().enumerate() {
            write(&member.dir.exit(), &member.record(code(n)));
            write(&member.dir.clean(), &Clean { generation: member.launch.generation, at: Stamp::now() });
        }
        rustix::fs::sync();
        Self { running, stopped, shim }
    }
}

/// Of the `n`th of those that have stopped.
#[must_use]
pub fn code(n: usize) -> u8 {
    u8::try_from(n % 251).unwrap()
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let processes = self.running.iter_mut().filter_map(|member| member.process.as_mut());
        for child in processes.chain([&mut self.shim]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Member {
    fn new(node: &Node, name: &str, shim: ProcessIdentity, runs: bool) -> Self {
        let (id, created) = (node.id(name), Stamp::now());
        let process = runs.then(|| sleeper(node));
        let identity = match &process {
            Some(process) => ProcessIdentity::of(process.id()).unwrap(),
            None => ProcessIdentity::gone(shim.pid).unwrap(),
        };
        // Whoever has ended has no shim any more.
        let shim = if runs { shim } else { identity };
        let (launch, init) = facts(node, &id, Mode::Run, shim, identity, created);
        let dir = node.layout().container(&id);
        fs::create_dir_all(dir.path()).unwrap();
        write(&dir.launch(), &launch);
        write(&dir.init(), &init);
        mknodat(CWD, dir.exit_fifo(), FileType::Fifo, Bits::from(0o600), 0).unwrap();
        Self { launch, init, dir, process }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.launch.id
    }

    /// Its record, had it ended so.
    #[must_use]
    pub fn record(&self, code: u8) -> ExitRecord {
        ExitRecord {
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
        }
    }

    /// It ends, and its shim says that it was with this code.
    ///
    /// # Panics
    /// If it has ended, or cannot.
    pub fn end(&mut self, code: u8) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        wait_for("its end", LONG, || proc::is_dead(process.id()));
        let record = self.record(code);
        assert!(durable::write_new(&self.dir.exit(), &record).unwrap());
        process.wait().unwrap();
        let mut fifo = File::options().read(true).write(true).open(self.dir.exit_fifo()).unwrap();
        fifo.write_all(&durable::encode(&record).unwrap()).unwrap();
    }
}

fn sleeper(node: &Node) -> Child {
    let mut command = Command::new("sleep");
    command.arg("100000").env("SEXTON_TEST_NODE", node.prefix());
    command.stdin(Stream::null()).stdout(Stream::null()).stderr(Stream::null()).spawn().unwrap()
}

/// Not durably: nobody loses power here, and there are many.
fn write<F: Fact>(path: &Path, fact: &F) {
    fs::write(path, durable::encode(fact).unwrap()).unwrap();
}
