//! What tests put in the way: freezers, and file systems that can be frozen.

use crate::leftovers;
use nix::mount::{MntFlags, umount2};
use sexton_common::ContainerId;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A cgroup of the v1 freezer, of the test's own, above containers that have it in their `cgroupsPath`. Thawed and
/// removed, in every hierarchy, when it is dropped.
#[derive(Debug)]
pub struct Freezer(String);

impl Freezer {
    const HIERARCHY: &str = "/sys/fs/cgroup/freezer";

    /// Of this name; it should begin with the node's prefix. `None` where there is no v1 freezer.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if !Path::new(Self::HIERARCHY).is_dir() {
            return None;
        }
        fs::create_dir(Path::new(Self::HIERARCHY).join(name)).unwrap();
        Some(Self(name.into()))
    }

    /// Removes one of this name from every hierarchy, if it is there and empty: runtimes make it, and leave it.
    pub fn remove(name: &str) {
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = fs::remove_dir(hierarchy.path().join(name));
        }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        Path::new(Self::HIERARCHY).join(&self.0)
    }

    /// The `cgroupsPath` of a container below it.
    #[must_use]
    pub fn below(&self, id: &ContainerId) -> String {
        format!("/{}/{id}", self.0)
    }

    /// Puts a process into it, and in every other hierarchy into the root: no cgroup of a container's has it any more.
    ///
    /// # Panics
    /// If it cannot.
    pub fn take(&self, pid: u32) {
        for hierarchy in leftovers::entries(Path::new("/sys/fs/cgroup")) {
            let to = if hierarchy == Path::new(Self::HIERARCHY) { self.dir() } else { hierarchy };
            fs::write(to.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }

    /// Freezes, or thaws.
    ///
    /// # Panics
    /// If it cannot.
    pub fn freeze(&self, yes: bool) {
        fs::write(self.dir().join("freezer.state"), if yes { "FROZEN" } else { "THAWED" }).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.dir().join("freezer.state"), "THAWED");
        for cgroup in leftovers::cgroups(&self.0) {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// ext4 on a loop device. Thawed, unmounted and detached when it is dropped.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    point: PathBuf,
}

impl LoopDisk {
    /// Of 16 MiB, in the file `image`, mounted at `point`, which is made. The loop device goes with its last mount.
    ///
    /// # Panics
    /// If that fails.
    #[must_use]
    pub fn new(image: &Path, point: &Path) -> Self {
        fs::create_dir_all(point).unwrap();
        fs::File::create(image).unwrap().set_len(16 << 20).unwrap();
        let disk = Self { image: image.into(), point: point.into() };
        must(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        must(Command::new("mount").args(["-o", "loop"]).arg(image).arg(point));
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Whether the loop device is still attached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        let out = Command::new("losetup").arg("-j").arg(&self.image).output().unwrap();
        !out.stdout.is_empty()
    }

    /// Freezes the file system: whoever writes to it waits in the kernel.
    ///
    /// # Panics
    /// If it cannot.
    pub fn freeze(&self) {
        must(Command::new("fsfreeze").arg("-f").arg(&self.point));
    }

    /// Thaws it.
    ///
    /// # Panics
    /// If it was not frozen.
    pub fn thaw(&self) {
        must(Command::new("fsfreeze").arg("-u").arg(&self.point));
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Never unmounted frozen: that would hang for ever.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.point).output();
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
        let attached = Command::new("losetup").arg("-j").arg(&self.image).output();
        let attached = attached.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        for device in attached.lines().filter_map(|line| line.split(':').next()) {
            let _ = Command::new("losetup").arg("-d").arg(device).output();
        }
    }
}

fn must(command: &mut Command) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}
