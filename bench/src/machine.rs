//! What a run's figures hold for: machine, kernel, and everybody's versions.

use serde::{Deserialize, Serialize};
use sexton_tests::{binaries, proc::field_of};
use std::{fs, path::Path, process::Command};

/// See the module.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many of them this process may use.
    pub cores: usize,
    /// Memory.
    pub memory_mib: u64,
    /// `uname -r`, and the architecture.
    pub kernel: String,
    /// `v1`, `hybrid` or `v2`.
    pub cgroups: String,
    /// The load average of the last minute when the run began: figures of a busy machine are worth less.
    pub load: f64,
    /// The file systems of what dies with the machine, and of what does not.
    pub file_systems: [String; 2],
    /// Programs and their versions.
    pub versions: Vec<(String, String)>,
}

impl Machine {
    /// This one.
    pub fn here(state: &Path, data: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cpu = field_of(&read("/proc/cpuinfo").replace("\t:", ":"), "model name");
        let memory = field_of(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let versions = [
            (binaries::sexton(), "--version"),
            (binaries::runc(), "--version"),
            ("crun".into(), "--version"),
            ("conmon".into(), "--version"),
            ("containerd".into(), "--version"),
        ];
        Self {
            cpu: cpu.unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: format!("{} {}", read("/proc/sys/kernel/osrelease").trim(), std::env::consts::ARCH),
            cgroups: cgroups().into(),
            load: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            file_systems: [state, data].map(file_system),
            versions: versions
                .into_iter()
                .map(|(program, flag)| {
                    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    (name, first_line(&program, flag).unwrap_or_else(|| "not installed".into()))
                })
                .collect(),
        }
    }
}

/// What nothing can be measured without, if something is missing: what it is, and where it comes from.
pub fn missing() -> Option<String> {
    let own = [binaries::shim(), binaries::sextond(), binaries::sexton()].into_iter().find(|path| !path.exists());
    if let Some(path) = own {
        return Some(format!(
            "{} does not exist: `make build` makes it, SEXTON_BIN_DIR says where it is",
            path.display()
        ));
    }
    let program = ["runc", "busybox", "cc"].into_iter().find(|program| binaries::find(program).is_none());
    program.map(|program| format!("{program} is not installed: `make bench` installs what is needed"))
}

fn cgroups() -> &'static str {
    let root = Path::new("/sys/fs/cgroup");
    match (root.join("cgroup.controllers").exists(), root.join("unified/cgroup.procs").exists()) {
        (true, _) => "v2",
        (false, true) => "hybrid",
        (false, false) => "v1",
    }
}

/// The kind of the file system in which `path` lies, as stat(1) calls it.
pub fn file_system(path: &Path) -> String {
    let stat = Command::new("stat").args(["-f", "-c", "%T"]).arg(path).output();
    stat.map_or_else(|e| e.to_string(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn first_line(program: &Path, flag: &str) -> Option<String> {
    let output = Command::new(program).arg(flag).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned())
}
