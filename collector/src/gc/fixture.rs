//! For tests: real cgroups and processes, of which nothing is left, however a test ends.

use super::census::{Spared, dirs};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sexton_common::{ProcessIdentity, cgroup::CgroupDir};
use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// However slow the machine is.
pub const LONG: Duration = Duration::from_secs(60);
/// For what is not going to happen.
pub const BRIEF: Duration = Duration::from_millis(300);

pub fn within(time: Duration) -> Instant {
    Instant::now() + time
}

pub fn nobody() -> Spared {
    Spared::of(HashSet::new)
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = within(LONG);
    while !done() {
        assert!(Instant::now() < end, "{what} did not happen within {LONG:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Where this hierarchy is mounted: a controller of v1, or v2 if it is empty. Without it, and without root, a test that
/// needs it cannot run: it fails, or says so by name where that is allowed.
pub fn mounted(hierarchy: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mount = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let is = match hierarchy {
            "" => fields[2] == "cgroup2",
            controller => fields[2] == "cgroup" && fields[3].split(',').any(|option| option == controller),
        };
        // One that is not hidden below another mount.
        is.then(|| PathBuf::from(fields[1])).filter(|dir| dir.join("cgroup.procs").exists())
    };
    let found = mounts.lines().find_map(mount).filter(|_| rustix::process::geteuid().is_root());
    if found.is_none() {
        skip(&format!("needs root and the cgroup hierarchy '{hierarchy}'"));
    }
    found
}

pub fn skip(reason: &str) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let allowed = std::env::var_os("SEXTON_ALLOW_SKIP").is_some_and(|v| v == "1");
    assert!(allowed, "{name}: {reason} (SEXTON_ALLOW_SKIP=1 skips what cannot run)");
    eprintln!("SKIPPED {name}: {reason}");
}

/// A cgroup of a unique name in each of some hierarchies, as a container has them.
pub struct Cgroups(pub Vec<CgroupDir>);

impl Cgroups {
    /// `None` if the test cannot run.
    pub fn new(hierarchies: &[&str]) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sexton-unit-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut made = Self(Vec::new());
        for hierarchy in hierarchies {
            let dir = mounted(hierarchy)?.join(&name);
            fs::create_dir(&dir).unwrap();
            made.0.push(CgroupDir { hierarchy: (*hierarchy).into(), dir });
        }
        Some(made)
    }

    pub fn dir(&self, index: usize) -> &Path {
        &self.0[index].dir
    }

    pub fn paths(&self) -> Vec<PathBuf> {
        dirs(&self.0).map(Path::to_owned).collect()
    }

    /// A cgroup below the first.
    pub fn below(&self, name: &str) -> CgroupDir {
        let dir = self.dir(0).join(name);
        fs::create_dir_all(&dir).unwrap();
        CgroupDir { hierarchy: self.0[0].hierarchy.clone(), dir }
    }

    /// Runs a shell script in all of them, until it says that it is ready.
    pub fn run(&self, script: &str) -> Running {
        Running::new(&self.paths(), script)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let end = within(LONG);
        super::thaw(&self.0);
        for cgroup in &self.0 {
            while cgroup.dir.exists() && Instant::now() < end {
                empty(&cgroup.dir);
                thread::park_timeout(Duration::from_millis(2));
            }
            if !thread::panicking() {
                assert!(!cgroup.dir.exists(), "{} is left", cgroup.dir.display());
            }
        }
    }
}

/// Without the code that is tested.
fn empty(dir: &Path) {
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            empty(&entry.path());
        }
    }
    for pid in fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
        if let Some(Ok(fd)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
    }
    let _ = fs::remove_dir(dir);
}

pub fn comm(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

pub fn write(file: impl AsRef<Path>, word: &str) {
    fs::OpenOptions::new().write(true).open(file).unwrap().write_all(word.as_bytes()).unwrap();
}

/// Freezes a cgroup of v1, until all in it are frozen.
pub fn freeze(dir: &Path) {
    write(dir.join("freezer.state"), "FROZEN");
    wait_for("the freezing", || fs::read_to_string(dir.join("freezer.state")).unwrap() == "FROZEN\n");
}

pub fn thaw(dir: &Path) {
    write(dir.join("freezer.state"), "THAWED");
}

/// A process of a test's own.
pub struct Running {
    pub child: Child,
    /// What it says after it was ready.
    pub output: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// A shell script that moves into these cgroups and says `ready` when it is.
    pub fn new(cgroups: &[PathBuf], script: &str) -> Self {
        let enter: String =
            cgroups.iter().map(|dir| format!("echo $$ > '{}/cgroup.procs' || exit 9\n", dir.display())).collect();
        let mut command = Command::new("sh");
        command.arg("-c").arg(enter + script);
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut running = Self { child, output };
        assert_eq!(running.line(), "ready");
        running
    }

    /// A `sleep(1)` in these cgroups.
    pub fn sleep(cgroups: &[PathBuf]) -> Self {
        let sleep = Self::new(cgroups, "echo ready; exec sleep 1000");
        wait_for("the sleep", || comm(sleep.pid()) == "sleep");
        sleep
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn process(&self) -> ProcessIdentity {
        ProcessIdentity::of(self.pid()).unwrap()
    }

    pub fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // A frozen one ends when its cgroup's turn comes to be dropped, after it.
        let end = within(BRIEF);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < end {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}

/// Runs this very test again in namespaces of its own, with `setup` done before; true if we are in there. The outer test
/// ends with the inner one's outcome.
pub fn inside(unshare: &[&str], setup: &str) -> bool {
    if std::env::var_os("SEXTON_UNIT_INSIDE").is_some() {
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        skip("needs root");
        return false;
    }
    let name = thread::current().name().unwrap().to_owned();
    let script = format!("set -e\n{setup}\nexec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(unshare).args(["sh", "-c", &script, "sh"]).arg(std::env::current_exe().unwrap());
    command.args([&name, "--exact", "--nocapture"]).env("SEXTON_UNIT_INSIDE", "1");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    let status: ExitStatus = child.wait().unwrap();
    // One that was not found passes, too.
    assert!(status.success() && output.contains("1 passed"), "in there: {status}: {output}");
    false
}
