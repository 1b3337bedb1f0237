//! What a node's containers have left on the machine.

use crate::{node::Node, proc};
use sexton_common::mountinfo::unescape;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// All of it, a line each, but for the processes `known`.
#[must_use]
pub fn of(node: &Node, known: &[u32]) -> Vec<String> {
    let mut left: Vec<String> = Vec::new();
    let about = |pid: u32| format!("process {pid} ({}) {:?}", state(pid), proc::command_line(pid));
    left.extend(processes(node).into_iter().filter(|pid| !known.contains(pid)).map(about));
    left.extend(mounts(node).into_iter().map(|mount| format!("mount {}", mount.display())));
    left.extend(cgroups(node.prefix()).into_iter().map(|dir| format!("cgroup {}", dir.display())));
    left.extend(entries(&node.runtime_root()).into_iter().map(|path| format!("runtime state {}", path.display())));
    left.extend(entries(&node.layout().containers()).into_iter().map(|path| format!("state {}", path.display())));
    left.extend(entries(&node.layout().gc()).into_iter().map(|path| format!("GC entry {}", path.display())));
    left.extend(entries(&node.layout().instances()).into_iter().map(|path| format!("instance {}", path.display())));
    left.extend(entries(&node.layout().lasting()).into_iter().map(|path| format!("lasting launch {}", path.display())));
    left.extend(loops(node).into_iter().map(|file| format!("loop device of {file}")));
    let strays = entries(node.layout().state()).into_iter().filter(|path| path.to_string_lossy().contains('~'));
    left.extend(strays.map(|path| format!("temporary file {}", path.display())));
    left
}

fn state(pid: u32) -> String {
    proc::status(pid, "State").unwrap_or_else(|| "gone".into())
}

/// The processes that mention the node: in command line, environment or cgroup.
#[must_use]
pub fn processes(node: &Node) -> Vec<u32> {
    let own = std::process::id();
    let dir = node.dir().to_string_lossy().into_owned();
    let marker = format!("SEXTON_TEST_NODE={}", node.prefix());
    let mentions = |pid: u32| {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let command = proc::command_line(pid);
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        cgroup.contains(node.prefix())
            || command.contains(node.prefix())
            || command.contains(&dir)
            || environment.split(|&byte| byte == 0).any(|variable| variable == marker.as_bytes())
    };
    proc::pids().into_iter().filter(|&pid| pid != own && mentions(pid)).collect()
}

/// The mounts below the node's directory, outermost first.
#[must_use]
pub fn mounts(node: &Node) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| unescape(field.as_bytes()));
    points.filter(|point| point.starts_with(node.dir())).collect()
}

/// The files of the node's that a loop device has.
#[must_use]
pub fn loops(node: &Node) -> Vec<String> {
    let devices = entries(Path::new("/sys/block"));
    let files = devices.iter().filter_map(|device| fs::read_to_string(device.join("loop/backing_file")).ok());
    files.filter(|file| Path::new(file.trim()).starts_with(node.dir())).collect()
}

/// The cgroup directories, of every hierarchy, whose name begins with `prefix`; innermost first.
#[must_use]
pub fn cgroups(prefix: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, prefix: &str, inside: bool, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                // A plain program's is called after us, too.
                let inside = inside || name.strip_prefix("sexton-").unwrap_or(&name).starts_with(prefix);
                walk(&entry.path(), prefix, inside, found);
                if inside {
                    found.push(entry.path());
                }
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), prefix, false, &mut found);
    found
}

/// What is in a directory; nothing if there is none.
#[must_use]
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}
