//! Things that a container registers for clean-up, and what keeps them from being cleaned.

use crate::{
    binaries,
    node::Node,
    shim,
    wait::{LONG, wait_for},
};
use sexton_common::{
    ContainerId,
    cleanup::Cleanup,
    launch::Mode,
    runtime::Runtime,
    wire::{Launched, State},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A configuration: what a whole attempt may take, the first back-off and the last, and what a command may take.
#[must_use]
pub fn config(deadline: &str, first: &str, max: &str, command: &str) -> String {
    format!(
        "[exit]\ndeadline = \"{deadline}\"\nbackoff_first = \"{first}\"\nbackoff_max = \"{max}\"\n[gc]\ncommand_timeout = \"{command}\"\n"
    )
}

/// Tried again by itself only after a minute: what is clean before was woken or asked.
#[must_use]
pub fn patient() -> String {
    config("10s", "60s", "60s", "10s")
}

impl Node {
    /// Launches a bundle that owns more, through the API.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn run_owning(&self, id: &ContainerId, bundle: &Path, cleanup: Cleanup) -> Launched {
        let mut request = self.launch_request(id, bundle, Mode::Run);
        request.cleanup = cleanup;
        self.launch(request).unwrap_or_else(|e| panic!("run {id}: {e}: {}", self.words()))
    }

    /// Launches it through another runtime.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn run_with(&self, id: &ContainerId, bundle: &Path, runtime: Runtime) -> Launched {
        let mut request = self.launch_request(id, bundle, Mode::Run);
        request.runtime = runtime;
        self.launch(request).unwrap_or_else(|e| panic!("run {id}: {e}: {}", self.words()))
    }

    /// `sexton run -d` with these further options; what it launched.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn run_cli(&self, id: &ContainerId, bundle: &Path, options: &[&str]) -> Launched {
        shim::launched(&crate::run(&mut self.cli(&["run", "-d", "--json"], id, bundle, options)).ok())
    }

    /// `sexton VERB ID` with a bundle, the node's runtime and further options.
    #[must_use]
    pub fn cli(&self, verb: &[&str], id: &ContainerId, bundle: &Path, options: &[&str]) -> Command {
        let mut command = self.sexton_command(verb);
        command.arg("--bundle").arg(bundle).arg("--runtime").arg(binaries::runc());
        command.arg("--runtime-root").arg(self.runtime_root()).args(options).arg(id.as_str());
        command
    }

    /// A root file system of that bundle's own.
    ///
    /// # Panics
    /// If it cannot be copied.
    #[must_use]
    pub fn own_rootfs(&self, bundle: &str) -> PathBuf {
        let root = self.dir().join("bundles").join(bundle).join("rootfs");
        must(Command::new("cp").arg("-a").arg(self.rootfs()).arg(&root));
        root
    }

    /// `sexton gc retry ID`, which must find it clean.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn retry_is_enough(&self, id: &ContainerId) {
        wait_for("the end of the attempt", LONG, || {
            self.gc_list().iter().find(|entry| entry.id == *id).is_none_or(|entry| entry.next_try.is_some())
        });
        let _ = self.sexton(&["gc", "retry", id.as_str()]).ok();
        self.wait_state(id, State::Stopped);
        assert!(!self.layout().gc_entry(id).exists());
    }
}

/// Makes the directory and mounts a tmpfs on it.
///
/// # Panics
/// If it cannot.
pub fn tmpfs(at: &Path) {
    fs::create_dir_all(at).unwrap();
    must(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(at));
}

/// Binds a directory.
///
/// # Panics
/// If it cannot.
pub fn bind(what: &Path, at: &Path) {
    fs::create_dir_all(at).unwrap();
    must(Command::new("mount").arg("--bind").arg(what).arg(at));
}

/// How many mounts there are at this point.
///
/// # Panics
/// If the table cannot be read.
#[must_use]
pub fn mounted(at: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == at)).count()
}

/// Runs it; it must succeed.
///
/// # Panics
/// If it does not.
#[track_caller]
pub fn must(command: &mut Command) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// As long as one has this, the other tests of its binary that want it wait: whoever makes a mount namespace, as a runtime
/// does at every launch, has a copy of what they have mounted, and is in the way for a moment.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Somebody who is in the way; killed when it is dropped.
#[derive(Debug)]
pub struct Bystander(Child);

impl Bystander {
    /// Starts it.
    ///
    /// # Panics
    /// If it cannot.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// runc, but for `delete`: as long as a flag is there it hangs and ignores SIGTERM. It notes every run, and every one that
/// begins while another is there.
#[derive(Debug)]
pub struct Hanging {
    dir: PathBuf,
    /// The runtime.
    pub runtime: Runtime,
}

impl Hanging {
    /// With its flag set. `how` it hangs; `:` for a loop until the flag goes.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn new(node: &Node, how: &str) -> Self {
        let dir = node.dir().join("hanging");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("flag"), "").unwrap();
        let at = dir.display();
        // A lock goes with its process, whoever reaps it, and the children do not have it.
        let text = format!(
            "echo begin >> {at}/notes; exec 9>{at}/lock; flock -n 9 || echo overlap >> {at}/notes; trap '' TERM; \
             if [ -e {at}/flag ]; then sleep 100000 9>&- & child=$!; echo $child >> {at}/children; {how}; fi; \
             while [ -e {at}/flag ]; do sleep 0.1 9>&-; done; [ -z \"$child\" ] || kill -9 $child"
        );
        let runtime = node.runtime_but("hanging-runc", "delete", &text);
        Self { dir, runtime }
    }

    /// From now on it does what it is for.
    ///
    /// # Panics
    /// If it does already.
    pub fn heal(&self) {
        fs::remove_file(self.dir.join("flag")).unwrap();
    }

    /// How often it was told to delete.
    ///
    /// # Panics
    /// If two were there at once.
    #[must_use]
    pub fn begun(&self) -> usize {
        let notes = fs::read_to_string(self.dir.join("notes")).unwrap_or_default();
        assert!(!notes.contains("overlap"), "two runtimes at once:\n{notes}");
        notes.lines().count()
    }

    /// Its children that are alive.
    #[must_use]
    pub fn children(&self) -> Vec<u32> {
        let noted = fs::read_to_string(self.dir.join("children")).unwrap_or_default();
        let pids = noted.lines().filter_map(|line| line.parse().ok());
        pids.filter(|pid| crate::proc::command_line(*pid).starts_with("sleep 100000")).collect()
    }
}
