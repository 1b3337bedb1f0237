//! What a contestant has on the machine, and its end.

use super::{Running, command::call_quietly};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use rustix::process::{Signal, pidfd_send_signal};
use sexton_common::{ContainerId, ProcessIdentity, identity::Stat};
use sexton_tests::{Node, Options, leftovers, wait_until};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::Duration,
};

/// A node of a contestant's own, and the processes that it has started there.
#[derive(Debug)]
pub struct Home {
    node: Node,
    /// Where the runtime keeps a directory for each container.
    states: PathBuf,
    /// The cgroups in which the runtime makes one for each container, one for each hierarchy.
    parents: Vec<PathBuf>,
    /// Each container's init and monitor.
    processes: Mutex<HashMap<String, Vec<ProcessIdentity>>>,
}

impl Home {
    /// With `sextond`, if wanted.
    pub fn new(plan: &Plan, daemon: bool) -> Self {
        let node = plan.node(Options { daemon, ..Options::default() });
        let parents = parents(&fs::read_to_string("/proc/self/cgroup").unwrap(), Path::new("/sys/fs/cgroup"));
        Self { states: node.runtime_root(), node, parents, processes: Mutex::default() }
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// For its daemon's end.
    pub fn node_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    /// A directory of its own, in memory.
    pub fn volatile(&self, name: &str) -> PathBuf {
        let dir = self.node.runtime_root().with_file_name(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// The runtime's states are in another directory than the node's.
    pub fn states_in(&mut self, dir: PathBuf) {
        self.states = dir;
    }

    /// A command of the contestant's: what it leaves behind bears the node's name.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("SEXTON_TEST_NODE", self.node.prefix());
        command
    }

    /// runc with the node's root. Its words go to a file: its streams are the container's.
    pub fn runc(&self, verb: &str) -> Command {
        let mut command = self.command(sexton_tests::binaries::runc());
        command.arg("--root").arg(self.node.runtime_root()).arg("--log").arg(self.runc_log()).arg(verb);
        command
    }

    /// Runs it to its end.
    pub fn call_runc(&self, verb: &str, args: &[&str]) {
        call_quietly(self.runc(verb).args(args), || self.runc_words());
    }

    /// What runc said.
    pub fn runc_words(&self) -> String {
        fs::read_to_string(self.runc_log()).unwrap_or_default()
    }

    fn runc_log(&self) -> PathBuf {
        self.node.runtime_root().with_file_name("runc.log")
    }

    /// A container whose command has returned right now, and which a process of this name watches, if any does.
    pub fn born(&self, guest: &Guest, asked: u64, monitor: Option<&str>, init: impl FnOnce() -> u32) -> Running {
        let returned = now();
        let init = init();
        let monitor = monitor.map(|name| monitor_of(init, name));
        let known = [Some(init), monitor].into_iter().flatten().map(|pid| ProcessIdentity::of(pid).unwrap());
        self.processes.lock().unwrap().insert(guest.id.to_string(), known.collect());
        Running { init, monitor, asked, returned }
    }

    /// Whether neither cgroup nor runtime's state is left.
    pub fn is_clean(&self, id: &ContainerId) -> bool {
        !self.states.join(id.as_str()).exists() && self.parents.iter().all(|parent| !parent.join(id.as_str()).exists())
    }

    /// Kills a container's init, if it still runs, and waits for its end.
    pub fn kill(&self, id: &ContainerId) {
        let init = self.processes.lock().unwrap().get(id.as_str()).and_then(|known| known.first().copied());
        let Some(init) = init else { return };
        if let Ok(Some(fd)) = init.open() {
            let _ = pidfd_send_signal(fd, Signal::KILL);
        }
        assert!(wait_until(Duration::from_secs(30), || is_dead(&init)), "{id} does not die");
    }

    /// Removes by the runtime what no engine removes, dead or alive.
    pub fn remove(&self, id: &ContainerId) {
        self.kill(id);
        self.call_runc("delete", &["--force", id.as_str()]);
        self.forget(id);
    }

    /// It is gone.
    pub fn forget(&self, id: &ContainerId) {
        self.processes.lock().unwrap().remove(id.as_str());
    }
}

impl Drop for Home {
    /// All at once, which for hundreds of containers is much faster than the engine's own way. The node, which is
    /// dropped next, looks for what may be left, cgroups for instance.
    fn drop(&mut self) {
        let Ok(processes) = self.processes.get_mut() else { return };
        // Monitors first: none is to begin with cleaning up.
        let known: Vec<_> = processes.drain().flat_map(|(_, known)| known.into_iter().rev()).collect();
        for process in &known {
            if let Ok(Some(fd)) = process.open() {
                let _ = pidfd_send_signal(fd, Signal::KILL);
            }
        }
        wait_until(Duration::from_secs(10), || known.iter().all(is_dead));
        for state in leftovers::entries(&self.node.runtime_root()) {
            let _ = fs::remove_dir_all(state);
        }
    }
}

/// The parent, which must be the one that is meant: it is measured, and killed in the end.
fn monitor_of(init: u32, name: &str) -> u32 {
    let parent = Stat::of(init).unwrap().map_or(0, |stat| stat.ppid);
    // The kernel keeps 15 bytes of a name.
    let comm = fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    assert_eq!(comm.trim(), &name[..name.len().min(15)], "{parent}, the parent of {init}, is not {name}");
    parent
}

fn is_dead(process: &ProcessIdentity) -> bool {
    !matches!(process.look(), Ok(sexton_common::identity::Presence::Alive(_)))
}

/// The directories of a process' cgroups, given `/proc/PID/cgroup`, where hierarchies are mounted as is usual.
fn parents(table: &str, root: &Path) -> Vec<PathBuf> {
    let hybrid = root.join("unified");
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mount = match controllers.strip_prefix("name=").unwrap_or(controllers) {
            "" if hybrid.is_dir() => hybrid.clone(),
            "" => root.to_owned(),
            name => root.join(name),
        };
        Some(mount.join(path.trim_start_matches('/')))
    };
    table.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_are_found_in_each_hierarchy() {
        let root = Path::new("/nonexistent");
        let found = parents("4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/x:y\n0::/c\n", root);
        assert_eq!(found, ["memory/a/b", "cpu,cpuacct", "systemd/x:y", "c"].map(|path| root.join(path)));
    }
}
