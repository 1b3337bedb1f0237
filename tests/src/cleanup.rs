//! Cleaning up after a test that failed: nothing of it may disturb the next one.

use crate::{binaries, leftovers, node::Node, wait::wait_until};
use nix::mount::{MntFlags, umount2};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::{fs, process::Command, time::Duration};

/// Kills, unmounts and removes all that belongs to the node. Best effort.
pub fn everything(node: &Node) {
    // Nobody dies while he is frozen.
    for cgroup in leftovers::cgroups(node.prefix()) {
        let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
    }
    // One pass may meet a runtime that is just starting something.
    wait_until(Duration::from_secs(10), || {
        let processes = leftovers::processes(node);
        for &pid in &processes {
            kill(node, pid);
        }
        processes.is_empty()
    });
    for path in leftovers::entries(&node.runtime_root()) {
        let id = path.file_name().unwrap_or_default();
        let _ = Command::new(binaries::runc())
            .arg("--root")
            .arg(node.runtime_root())
            .args(["delete", "--force"])
            .arg(id)
            .output();
    }
    for cgroup in leftovers::cgroups(node.prefix()) {
        let _ = fs::remove_dir(cgroup);
    }
    for mount in leftovers::mounts(node).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
}

fn kill(node: &Node, pid: u32) {
    let Some(raw) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) else { return };
    let Ok(fd) = pidfd_open(raw, PidfdFlags::empty()) else { return };
    // With the pidfd at hand the process is looked at again: the pid may have changed hands.
    if leftovers::processes(node).contains(&pid) {
        let _ = pidfd_send_signal(&fd, Signal::KILL);
    }
}
