//! OCI bundles as small as they get.

use crate::node::Node;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// A bundle that is being made: busybox on a read-only root, with its own pid namespace.
#[derive(Debug)]
pub struct Bundle {
    dir: PathBuf,
    config: Value,
}

impl Bundle {
    /// In a directory of the node's, with a name of its own.
    ///
    /// # Panics
    /// If the name is taken.
    #[track_caller]
    #[must_use]
    pub fn new(node: &Node, name: &str) -> Self {
        let dir = node.dir().join("bundles").join(name);
        fs::create_dir_all(dir.parent().unwrap()).unwrap();
        fs::create_dir(&dir).unwrap();
        let namespaces = ["pid", "mount", "ipc", "uts"].map(|kind| json!({ "type": kind }));
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": false,
                "user": { "uid": 0, "gid": 0 },
                "args": ["/bin/true"],
                "env": ["PATH=/bin"],
                "cwd": "/tmp",
                "noNewPrivileges": true,
            },
            "root": { "path": node.rootfs(), "readonly": true },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] },
                { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"] },
            ],
            "linux": { "namespaces": namespaces },
        });
        Self { dir, config }
    }

    /// What runs in it.
    #[must_use]
    pub fn args<A: AsRef<str>>(mut self, args: &[A]) -> Self {
        self.config["process"]["args"] = args.iter().map(AsRef::as_ref).collect();
        self
    }

    /// A shell runs this.
    #[must_use]
    pub fn sh(self, script: &str) -> Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Sleeps until it is killed.
    #[must_use]
    pub fn sleeping(self) -> Self {
        self.args(&["/bin/sleep", "100000"])
    }

    /// In the host's pid namespace.
    #[must_use]
    pub fn host_pids(self) -> Self {
        self.with(|config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
        })
    }

    /// Core dumps of any size, in `/tmp`, which is its working directory.
    #[must_use]
    pub fn core_dumps(self) -> Self {
        let most = 1 << 30;
        self.with(|config| {
            config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "hard": most, "soft": most }]);
        })
    }

    /// No core dump.
    #[must_use]
    pub fn no_core_dumps(self) -> Self {
        self.with(|config| config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }]))
    }

    /// A file or directory of the host's at the same path below `/gate`.
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str) -> Self {
        let mount = json!({ "destination": destination, "type": "bind", "source": source, "options": ["rbind", "rw"] });
        self.with(|config| config["mounts"].as_array_mut().unwrap().push(mount))
    }

    /// A static program of the host's runs in it, with these arguments.
    #[must_use]
    pub fn program(self, program: &Path, args: &[&str]) -> Self {
        let words: Vec<&str> = std::iter::once("/dev/program").chain(args.iter().copied()).collect();
        self.bind(program, "/dev/program").args(&words)
    }

    /// It ends when, and as, the test says.
    ///
    /// # Panics
    /// If the gate cannot be made.
    #[must_use]
    pub fn gated(self) -> (Self, Gate) {
        let dir = self.dir.join("gate");
        fs::create_dir(&dir).unwrap();
        mknodat(CWD, dir.join("in"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
        // Open for both directions: neither side waits for the other, and what is written stays.
        let fifo = File::options().read(true).write(true).open(dir.join("in")).unwrap();
        let script = "read code < /gate/in; exit $code";
        (self.bind(&dir, "/gate").sh(script), Gate(fifo))
    }

    /// Any other change of `config.json`.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self
    }

    /// Writes `config.json`; the bundle's directory.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn write(self) -> PathBuf {
        fs::write(self.dir.join("config.json"), self.config.to_string()).unwrap();
        self.dir
    }
}

/// What a gated container waits at.
#[derive(Debug)]
pub struct Gate(File);

impl Gate {
    /// The container exits with `code`.
    ///
    /// # Panics
    /// If it cannot be told.
    pub fn exit(&self, code: u8) {
        (&self.0).write_all(format!("{code}\n").as_bytes()).unwrap();
    }
}
