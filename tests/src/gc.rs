//! What a test asks of the GC, and what it puts in its way.

use crate::{
    leftovers,
    node::{Node, Options},
    subscriber::Subscriber,
    wait::{LONG, wait_some},
};
use nix::mount::{MntFlags, umount2};
use sexton_common::{
    ContainerId, WallTime,
    wire::{ApiError, EventKind, GcInfo, GcWhy, Reply, Request, State},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// What it may take from "nothing is in the way any more" to "clean": a second is promised, the rest is for a loaded
/// machine. A retry is not due for much longer.
const WOKEN_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// With a collector that tries nothing again in the time that a test takes, unless it is woken.
    #[track_caller]
    #[must_use]
    pub fn patient() -> Self {
        let config = "[exit]\nbackoff_first = '10m'\nbackoff_max = '10m'\n".into();
        Self::with(Options { config, ..Options::default() })
    }

    /// Has what is in the way of all of these go; how long it takes until they are clean.
    ///
    /// # Panics
    /// If they were to be tried again soon anyway, or if nothing wakes the collector.
    #[track_caller]
    pub fn clean_after(&self, events: &Subscriber, ids: &[&ContainerId], release: impl FnOnce()) -> Duration {
        for id in ids {
            // None while it is being tried.
            let due = wait_some(&format!("{id} waits in GC"), LONG, || {
                self.gc_list().into_iter().find(|entry| entry.id == **id)?.next_try
            });
            assert!(due > WallTime(WallTime::now().0 + 60_000_000_000), "{id} is tried again soon anyway");
        }
        let since = Instant::now();
        release();
        let took = ids.iter().map(|id| events.wait(id, EventKind::Stopped).0.duration_since(since)).max().unwrap();
        eprintln!("clean {took:?} after nothing was in the way any more");
        assert!(took < WOKEN_WITHIN, "{took:?}");
        assert!(ids.iter().all(|id| !self.layout().gc_entry(id).exists()));
        took
    }

    /// What is in GC.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    #[must_use]
    pub fn gc_list(&self) -> Vec<GcInfo> {
        let mut client = self.client();
        let mut all = Vec::new();
        let mut reply = client.call(&Request::GcList {});
        loop {
            match reply {
                Ok(Reply::GcEntries { entries, last }) => {
                    all.extend(entries);
                    if last {
                        return all;
                    }
                }
                other => panic!("gc list: {other:?}"),
            }
            reply = client.receive();
        }
    }

    /// What is in the way of one.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    pub fn gc_why(&self, id: &ContainerId) -> Result<GcWhy, ApiError> {
        match self.ask(&Request::GcWhy { id: id.clone() })? {
            Reply::GcWhy(why) => Ok(*why),
            other => panic!("gc why {id}: {other:?}"),
        }
    }

    /// Waits until it is in GC, durably, and everybody is told.
    ///
    /// # Panics
    /// If that does not come.
    #[track_caller]
    pub fn wait_gc(&self, id: &ContainerId) -> GcInfo {
        wait_some(&format!("{id} in GC"), LONG, || {
            let entry = self.gc_list().into_iter().find(|entry| entry.id == *id);
            // One that was added is no container of Sexton's.
            let told = self.list(true).iter().all(|info| info.id != *id || info.state == State::Gc);
            entry.filter(|_| told && self.layout().gc_entry(id).exists())
        })
    }
}

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
