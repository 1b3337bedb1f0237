//! The container's directory, held by a descriptor wherever it is moved to.

use crate::{args::Plan, lasting};
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, fstat, mkdirat, mkfifoat, openat, unlinkat},
    io::Errno,
    process::fchdir,
};
use sexton_common::{ContainerId, Launch, Layout, durable, layout::ContainerDir};
use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
};

/// A container's directory and doorbell.
#[derive(Debug)]
pub struct Place {
    dir: OwnedFd,
    /// Its files, reached through the descriptor.
    pub files: ContainerDir,
    /// The doorbell, open for both directions: a write neither blocks nor gets EPIPE, and what nobody has
    /// read yet survives the collector's restart.
    pub fifo: OwnedFd,
}

/// Why there is no place.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// The id is taken.
    #[error("container {0} exists already: remove it with `sexton rm {0}`, or choose another id")]
    Taken(ContainerId),
    /// What bore the id is still to be cleaned.
    #[error(
        "container {0} is in GC: something of an earlier one of this name is still to be cleaned; see `sexton gc why {0}`, or choose another id"
    )]
    InGc(ContainerId),
    /// Something failed.
    #[error("{0} in the state directory: {1}")]
    Failed(&'static str, io::Error),
}

impl Place {
    /// Fills the directory under a temporary name and renames it into place: it appears whole or not at all.
    /// Blocks on the disk. If it fails nothing is left, or what is in the grave.
    pub fn prepare(plan: &Plan, launch: &Launch) -> Result<Self, (NoPlace, Option<Box<Grave>>)> {
        let unborn = plan.layout.unborn(launch.shim.pid);
        // A dead process that had our pid may have left one.
        lasting::bury_unborn(&plan.layout, launch.shim.pid);
        let mut made = None;
        match Self::fill(plan, launch, &unborn, &mut made) {
            Err(e) => {
                let place = made.filter(|_| !matches!(e, NoPlace::Taken(_)));
                let grave =
                    Grave { place, unborn, layout: plan.layout.clone(), launch: (plan.id.clone(), launch.generation) };
                let left = grave.empty().is_err().then(|| Box::new(grave));
                Err((e, left))
            }
            Ok(()) => made.ok_or((NoPlace::Failed("make a directory", io::ErrorKind::Other.into()), None)),
        }
    }

    fn fill(plan: &Plan, launch: &Launch, unborn: &ContainerDir, made: &mut Option<Self>) -> Result<(), NoPlace> {
        let failed = |what| move |e: Errno| NoPlace::Failed(what, e.into());
        mkdirat(CWD, unborn.path(), Mode::RWXU).map_err(failed("make a directory"))?;
        let dir = open_dir(unborn.path(), OFlags::PATH).map_err(failed("open a directory"))?;
        durable::write(&unborn.launch(), launch).map_err(|e| NoPlace::Failed("write `launch`", e))?;
        mkfifoat(CWD, unborn.exit_fifo(), Mode::RUSR | Mode::WUSR).map_err(failed("make a FIFO"))?;
        if plan.workload.program().is_some() {
            mkfifoat(CWD, unborn.gate(), Mode::RUSR | Mode::WUSR).map_err(failed("make a FIFO"))?;
        }
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fifo = openat(CWD, unborn.exit_fifo(), flags, Mode::empty()).map_err(failed("open a FIFO"))?;
        let files = ContainerDir::at(format!("/proc/self/fd/{}", dir.as_raw_fd()).into());
        *made = Some(Self { dir, files, fifo });
        // Before the container has a name: whoever finds that finds this (I4).
        lasting::write(plan, launch)?;
        match durable::appear(unborn.path(), plan.layout.container(&plan.id).path()) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(NoPlace::Taken(plan.id.clone())),
            done => done.map_err(|e| NoPlace::Failed("put a directory into place", e)),
        }
    }

    /// Itself, good for looking up names in it.
    pub fn directory(&self) -> &OwnedFd {
        &self.dir
    }

    /// Makes it the working directory, if that can be: its files are found sooner than through the descriptor's name in `/proc`. For
    /// a shim that has no more children to start.
    pub fn enter(&mut self) {
        if fchdir(&self.dir).is_ok() {
            self.files = ContainerDir::at(".".into());
        }
    }

    /// Whether somebody, the collector, has removed the directory.
    pub fn is_gone(&self) -> bool {
        fstat(&self.dir).is_ok_and(|stat| stat.st_nlink == 0)
    }

    /// Removes it: out of the way in one step, then file by file. Called again it goes on where it stopped.
    pub fn remove(&self, layout: &Layout, id: &ContainerId, generation: u64) -> io::Result<()> {
        let place = layout.container(id);
        // Under this name may lie another run's by now, if somebody removed ours.
        let ours = fstat(&self.dir)?;
        let buried = layout.buried(id, generation);
        match open_dir(place.path(), OFlags::PATH).and_then(fstat) {
            Ok(there) if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) => {
                durable::rename(place.path(), buried.path(), RenameFlags::NOREPLACE)?;
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        // Before it is emptied: under its own name it is whole, whatever happens.
        durable::sync_parent(place.path())?;
        bury(buried.path())
    }
}

/// What a failed launch has left on a disk that fails.
#[derive(Debug)]
pub struct Grave {
    /// The directory, if it came as far as its place.
    pub place: Option<Place>,
    /// Where it was filled.
    pub unborn: ContainerDir,
    /// Where it is.
    pub layout: Layout,
    /// Whose it was: id and generation.
    pub launch: (ContainerId, u64),
}

impl Grave {
    /// Removes what is left.
    pub fn empty(&self) -> io::Result<()> {
        let (id, generation) = &self.launch;
        lasting::remove(&self.layout, id, *generation)?;
        if let Some(place) = &self.place {
            place.remove(&self.layout, id, *generation)?;
        }
        bury(self.unborn.path())
    }
}

fn open_dir(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Removes a directory of plain files, never following a symlink (I10).
pub fn bury(path: &Path) -> io::Result<()> {
    let dir = match open_dir(path, OFlags::RDONLY) {
        Ok(dir) => dir,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            unlinkat(dir.as_fd(), name, AtFlags::empty())?;
        }
    }
    Ok(unlinkat(CWD, path, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::Streams;
    use sexton_common::{
        ProcessIdentity, Stamp,
        launch::{Mode as LaunchMode, OnShimDeath, Origin, Stdio},
        restart::RestartPolicy,
        runtime::Runtime,
        workload::Workload,
    };
    use std::{fs, time::Duration};

    fn plan(root: &Path) -> (Plan, Launch) {
        let plan = Plan {
            id: "web".parse().unwrap(),
            workload: Workload::Oci { bundle: "/b".into(), runtime: Runtime::default() },
            who: None,
            layout: Layout::new(root.into(), root.join("data")),
            stdio: Stdio::Null,
            streams: Streams::Null,
            mode: LaunchMode::Run,
            auto_remove: false,
            restart: RestartPolicy::No,
            on_shim_death: OnShimDeath::Adopt,
            timeout: Duration::from_secs(1),
            cleanup: sexton_common::cleanup::Cleanup::default(),
        };
        fs::create_dir_all(plan.layout.containers()).unwrap();
        let launch = Launch {
            id: plan.id.clone(),
            generation: 7,
            workload: plan.workload.clone(),
            stdio: Stdio::Null,
            mode: plan.mode,
            auto_remove: false,
            on_shim_death: OnShimDeath::Adopt,
            shim: ProcessIdentity::of(std::process::id()).unwrap(),
            origin: Origin::Sexton,
            cgroups: vec![],
            created: Stamp::now(),
            cleanup: sexton_common::cleanup::Cleanup::default(),
            restart: RestartPolicy::No,
            timeout_ms: Launch::TIMEOUT_MS,
        };
        (plan, launch)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_place_appears_whole_is_taken_and_goes() {
        let root = tempfile::tempdir().unwrap();
        let (plan, launch) = plan(root.path());
        let place = Place::prepare(&plan, &launch).unwrap();
        let dir = plan.layout.container(&plan.id);
        assert_eq!(names(&plan.layout.containers()), ["web"]);
        assert_eq!(names(dir.path()), ["exit.fifo", "launch"]);
        assert_eq!(durable::read::<Launch>(&dir.launch()).unwrap().unwrap(), launch);
        assert!(matches!(Place::prepare(&plan, &launch), Err((NoPlace::Taken(_), None))));
        assert_eq!(names(&plan.layout.containers()), ["web"], "nothing is left of the second");
        assert!(!place.is_gone());
        place.remove(&plan.layout, &plan.id, 7).unwrap();
        assert!(place.is_gone());
        assert!(names(&plan.layout.containers()).is_empty());
    }

    #[test]
    fn a_successors_place_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (plan, launch) = plan(root.path());
        let place = Place::prepare(&plan, &launch).unwrap();
        fs::remove_dir_all(plan.layout.container(&plan.id).path()).unwrap();
        let _successor = Place::prepare(&plan, &launch).unwrap();
        place.remove(&plan.layout, &plan.id, 7).unwrap();
        assert_eq!(names(&plan.layout.containers()), ["web"]);
    }

    #[test]
    fn a_moved_place_is_still_written_to() {
        let root = tempfile::tempdir().unwrap();
        let (plan, launch) = plan(root.path());
        let place = Place::prepare(&plan, &launch).unwrap();
        let moved = root.path().join("moved");
        fs::rename(plan.layout.container(&plan.id).path(), &moved).unwrap();
        fs::write(place.files.exit(), "x").unwrap();
        assert_eq!(names(&moved), ["exit", "exit.fifo", "launch"]);
    }

    #[test]
    fn burying_does_not_follow_links() {
        let root = tempfile::tempdir().unwrap();
        let (grave, kept) = (root.path().join("grave"), root.path().join("kept"));
        fs::create_dir(&grave).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&kept, grave.join("link")).unwrap();
        std::os::unix::fs::symlink(&kept, root.path().join("way")).unwrap();
        assert!(bury(&root.path().join("way")).is_err());
        bury(&grave).unwrap();
        assert_eq!(names(&kept), ["file"]);
    }
}
