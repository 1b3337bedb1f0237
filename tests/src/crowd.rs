//! Many containers at little cost: the files of each as runc's containers have them, a process for each that runs, and one
//! shim for all, which is their parent.

mod processes;

use crate::node::Node;
use processes::Processes;
use rustix::fs::{CWD, FileType, Mode as Bits, mknodat};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp,
    cgroup::{self, CgroupDir},
    durable::{self, Fact},
    identity::Executable,
    launch::{Clean, Mode},
    layout::ContainerDir,
    restart::RestartPolicy,
    workload::Workload,
};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

/// See the module. Takes its processes with it when it is dropped.
#[derive(Debug)]
pub struct Crowd {
    /// They run until [`Member::end`].
    pub running: Vec<Member>,
    /// They have ended, each with the code of its place, and were clean.
    pub stopped: Vec<Member>,
}

/// One container.
#[derive(Debug)]
pub struct Member {
    /// What was asked.
    pub launch: Launch,
    /// What came of it.
    pub init: Init,
    dir: ContainerDir,
    processes: Arc<Processes>,
}

impl Crowd {
    /// So many that run, and so many that have stopped, as if while no collector ran. Some 10,000 in a second or two.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn new(node: &Node, running: usize, stopped: usize) -> Self {
        Self::that_comes_back(node, running, stopped, RestartPolicy::No)
    }

    /// The same, with a restart policy. Those that have stopped must not come back by it.
    ///
    /// # Panics
    /// If they cannot be made.
    #[must_use]
    pub fn that_comes_back(node: &Node, running: usize, stopped: usize, restart: RestartPolicy) -> Self {
        let (processes, pids) = Processes::new(node, running);
        let maker = Maker {
            node,
            shim: ProcessIdentity::of(processes.shim()).unwrap(),
            executable: Executable::of(processes.shim()),
            own: cgroup::own().unwrap(),
            restart,
            processes: Arc::new(processes),
        };
        let running = pids.into_iter().enumerate().map(|(n, pid)| maker.member(&format!("r{n}"), Some(pid))).collect();
        let stopped: Vec<_> = (0..stopped).map(|n| maker.member(&format!("s{n}"), None)).collect();
        for (n, member) in stopped.iter().enumerate() {
            write(&member.dir.exit(), &member.record(code(n)));
            write(&member.dir.clean(), &Clean { generation: member.launch.generation, at: Stamp::now() });
        }
        rustix::fs::sync();
        Self { running, stopped }
    }
}

/// Of the `n`th of those that have stopped.
#[must_use]
pub fn code(n: usize) -> u8 {
    u8::try_from(n % 251).unwrap()
}

struct Maker<'a> {
    node: &'a Node,
    shim: ProcessIdentity,
    executable: Option<Executable>,
    own: Vec<CgroupDir>,
    restart: RestartPolicy,
    processes: Arc<Processes>,
}

impl Maker<'_> {
    fn member(&self, name: &str, pid: Option<u32>) -> Member {
        let (id, created) = (self.node.id(name), Stamp::now());
        // Whoever has ended has no shim any more.
        let (shim, process) = match pid {
            Some(pid) => (self.shim, ProcessIdentity::of(pid).unwrap()),
            None => [ProcessIdentity::gone(self.shim.pid).unwrap(); 2].into(),
        };
        let (launch, init) = crate::played::facts(self.node, &id, Mode::Run, shim, process, created);
        let workload = Workload::Oci { bundle: self.bundle(name), runtime: self.node.runtime() };
        // Where runc makes them. They do not exist: nobody is in them, and nothing of them is left to clean.
        let made = |own: &CgroupDir| CgroupDir { hierarchy: own.hierarchy.clone(), dir: own.dir.join(id.as_str()) };
        let cgroups = self.own.iter().map(made).collect();
        let launch = Launch { cgroups: self.own.clone(), workload: workload.clone(), restart: self.restart, ..launch };
        let init = Init { cgroups, executable: self.executable, workload, ..init };
        let dir = self.node.layout().container(&id);
        fs::create_dir_all(dir.path()).unwrap();
        write(&dir.launch(), &launch);
        write(&dir.init(), &init);
        mknodat(CWD, dir.exit_fifo(), FileType::Fifo, Bits::from(0o600), 0).unwrap();
        Member { launch, init, dir, processes: self.processes.clone() }
    }

    /// With a root file system of its own, in which nothing is mounted.
    fn bundle(&self, name: &str) -> PathBuf {
        let bundle = self.node.dir().join("bundles").join(name);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        fs::write(bundle.join("config.json"), r#"{"root":{"path":"rootfs"}}"#).unwrap();
        bundle
    }
}

impl Member {
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

    /// It ends with this code, and its shim says so.
    ///
    /// # Panics
    /// If it has ended, or cannot.
    pub fn end(&mut self, code: u8) {
        self.die(code);
        self.tell(code);
    }

    /// It ends with this code. Its shim neither says so nor reaps it: returns when it is a zombie.
    ///
    /// # Panics
    /// If it has ended, or cannot.
    pub fn die(&mut self, code: u8) {
        self.processes.end(self.init.process.pid, code);
    }

    /// Its shim writes the record, durably, reaps it and rings, in the order in which ours does.
    ///
    /// # Panics
    /// If it has not died, or was reaped.
    pub fn tell(&mut self, code: u8) {
        let record = self.record(code);
        assert!(durable::write_new(&self.dir.exit(), &record).unwrap());
        self.processes.reap(self.init.process.pid);
        let mut fifo = File::options().read(true).write(true).open(self.dir.exit_fifo()).unwrap();
        fifo.write_all(&durable::encode(&record).unwrap()).unwrap();
    }
}

/// Not durably: nobody loses power here, and there are many.
fn write<F: Fact>(path: &Path, fact: &F) {
    fs::write(path, durable::encode(fact).unwrap()).unwrap();
}
