//! A node of one's own: state, data and runtime root in a temporary directory, with a collector if wanted.

mod collector;

use crate::{binaries, cleanup, daemon::Daemon, leftovers, pids, proc, wait::LONG, wait::wait_until};
use sexton_common::{ContainerId, Layout, runtime::Runtime};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

/// How a node is made.
#[derive(Debug)]
pub struct Options {
    /// Whether it has a collector from the beginning.
    pub daemon: bool,
    /// The collector's configuration, TOML.
    pub config: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { daemon: true, config: String::new() }
    }
}

/// A node. Ends with [`Node::finish`], which looks for leftovers; dropped early it cleans up without a word.
#[derive(Debug)]
pub struct Node {
    prefix: String,
    layout: Layout,
    /// What collector and command line have in their environment.
    pub env: Vec<(String, OsString)>,
    daemon: Option<Daemon>,
    /// Processes of a keeper's or a service manager's, which are meant to be there.
    expected: Mutex<Vec<u32>>,
    limits: Vec<String>,
    directory: TempDir,
}

impl Node {
    /// With a collector.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    /// Without a collector; not even the state directory exists.
    #[track_caller]
    #[must_use]
    pub fn bare() -> Self {
        Self::with(Options { daemon: false, ..Options::default() })
    }

    /// As `options` say.
    ///
    /// # Panics
    /// If the collector does not get ready.
    #[track_caller]
    #[must_use]
    pub fn with(options: Options) -> Self {
        Self::below(Path::new("/tmp"), options)
    }

    /// The same, with all of its files below this directory.
    ///
    /// # Panics
    /// If the collector does not get ready.
    #[track_caller]
    #[must_use]
    pub fn below(place: &Path, options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::Builder::new().prefix("sexton-test-").tempdir_in(place).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        // Ends in a dash, so that no node's prefix is the beginning of another's.
        let prefix = format!("sxt{}n{number}-", pids::owner());
        let layout = Layout::new(directory.path().join("state"), directory.path().join("data"));
        fs::write(directory.path().join("sextond.toml"), options.config).unwrap();
        make_rootfs(&directory.path().join("rootfs"));
        let env = vec![("SEXTON_TEST_NODE".to_owned(), prefix.clone().into())];
        let mut node =
            Self { prefix, layout, env, daemon: None, expected: Mutex::default(), limits: Vec::new(), directory };
        if options.daemon {
            node.start_daemon();
        }
        node
    }

    /// An id that only this node has.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    #[must_use]
    pub fn id(&self, name: &str) -> ContainerId {
        format!("{}{name}", self.prefix).parse().unwrap()
    }

    /// What all of its ids begin with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Everything of the node's lies in here.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Its state and data.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where its bundles' common root file system is.
    #[must_use]
    pub fn rootfs(&self) -> PathBuf {
        self.dir().join("rootfs")
    }

    /// Where its runtime keeps state.
    #[must_use]
    pub fn runtime_root(&self) -> PathBuf {
        self.dir().join("runc")
    }

    /// runc with that root.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        Runtime { program: binaries::runc(), root: Some(self.runtime_root()), args: Vec::new() }
    }

    /// The collector's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir().join("sextond.toml")
    }

    /// Where the collector's words go.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir().join("sextond.log")
    }

    /// With a collector that has these limits, options of prlimit(1).
    #[track_caller]
    #[must_use]
    pub fn limited(limits: &[&str]) -> Self {
        let mut node = Self::bare();
        node.limits = limits.iter().map(ToString::to_string).collect();
        node.start_daemon();
        node
    }

    /// What the collector said so far.
    #[must_use]
    pub fn words(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// From now on these processes are meant to be there.
    ///
    /// # Panics
    /// If another test thread has panicked with them.
    pub fn expect(&self, processes: &[u32]) {
        *self.expected.lock().unwrap() = processes.to_vec();
    }

    /// They are.
    ///
    /// # Panics
    /// As [`Node::expect`].
    #[must_use]
    pub fn expected(&self) -> Vec<u32> {
        self.expected.lock().unwrap().clone()
    }

    /// What is left on the machine of this node's containers, but for the collector; empty if nothing is.
    #[must_use]
    pub fn leftovers(&self) -> Vec<String> {
        let mut known = self.expected();
        known.extend(self.daemon.as_ref().map(Daemon::pid));
        leftovers::of(self, &known)
    }

    /// Waits until nothing is left.
    ///
    /// # Panics
    /// If something stays.
    #[track_caller]
    pub fn assert_clean(&self) {
        // No line begins with a line's end.
        self.assert_clean_but("\n");
    }

    /// Waits until nothing is left but the records of what has ended.
    ///
    /// # Panics
    /// If something stays.
    #[track_caller]
    pub fn assert_clean_but_records(&self) {
        self.assert_clean_but("state ");
    }

    /// Waits until nothing is left but what begins with `known`.
    ///
    /// # Panics
    /// If something stays.
    #[track_caller]
    pub fn assert_clean_but(&self, known: &str) {
        let mut left = Vec::new();
        let clean = wait_until(LONG, || {
            left = self.leftovers();
            left.retain(|line| !line.starts_with(known));
            left.is_empty()
        });
        assert!(clean, "left behind:\n  {}\nsextond said:\n{}", left.join("\n  "), self.words());
    }

    /// Removes the records of all containers, which must be stopped; then looks for leftovers: processes, mounts,
    /// cgroups, runtime state, files, and descriptors of the collector's; then stops the collector.
    ///
    /// # Panics
    /// If anything is left.
    #[track_caller]
    pub fn finish(mut self) {
        if self.daemon.is_some() {
            self.remove_all();
            self.assert_clean();
            self.assert_descriptors();
            self.terminate_daemon();
        }
        self.assert_clean();
        let words = self.words();
        assert!(!words.contains("panicked at"), "sextond panicked:\n{words}");
    }

    /// The collector has as many descriptors of each kind as when it was started, at most.
    ///
    /// # Panics
    /// If it has more.
    #[track_caller]
    pub fn assert_descriptors(&mut self) {
        let daemon = self.daemon();
        let (before, pid) = (daemon.descriptors.clone(), daemon.pid());
        let mut now = before.clone();
        let back = wait_until(LONG, || {
            now = proc::descriptors(pid);
            now.iter().all(|(kind, count)| *count <= before.get(kind).copied().unwrap_or(0))
        });
        assert!(back, "descriptors of sextond at the beginning: {before:?}, now: {now:?}");
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- sextond of {} said:\n{}---", self.prefix, self.words());
        }
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill();
        }
        cleanup::everything(self);
    }
}

/// busybox under a few names, and where runc mounts things.
fn make_rootfs(root: &Path) {
    for dir in ["bin", "proc", "dev", "tmp", "gate", "etc"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(binaries::find("busybox").unwrap(), root.join("bin/busybox")).unwrap();
    for name in ["sh", "sleep", "cat", "true", "false", "kill", "echo", "ls", "test", "usleep"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
}
