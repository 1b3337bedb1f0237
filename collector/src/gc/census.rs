//! Who is in a container's cgroups.

use super::cgroup_tree::{Place, walk};
use rustix::io::Errno;
use sexton_common::{
    ProcessIdentity,
    identity::{Presence, Stat},
};
use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    rc::Rc,
    sync::LazyLock,
};

/// The processes of some cgroups and of everything below them, in any hierarchy.
#[derive(Debug, Default)]
pub struct Census {
    /// By pid, with one cgroup in which each was seen: some thread of it, at least.
    pub pids: BTreeMap<u32, Rc<Path>>,
    /// Why there may be more than that.
    pub unseen: Option<String>,
}

/// A process that was seen in a cgroup while it was held.
#[derive(Debug)]
pub struct Member {
    /// Which.
    pub process: ProcessIdentity,
    /// Holds it.
    pub fd: OwnedFd,
    /// Where; `None` if it is one of those that were asked for by name.
    pub cgroup: Option<Rc<Path>>,
    /// Whether the kernel made it for itself.
    pub kernels: bool,
}

impl Census {
    /// Of these cgroups as they are now.
    #[must_use]
    pub fn of<'a>(cgroups: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut census = Self::default();
        for top in cgroups {
            let (mut unseen, mut seen) = (None, 0);
            let walked = walk(top, |place| {
                match census.count(place) {
                    Ok(count) => seen += count,
                    Err(e) => {
                        let dir = place.path.display();
                        unseen = Some(format!("the processes of cgroup {dir} cannot be read: {e}"));
                    }
                }
                // v2 says it of all below at once, those included that hide in another pid namespace.
                let events = || place.read("cgroup.events").ok().flatten().unwrap_or_default();
                if place.path == top && seen == 0 && events().contains("populated 1") {
                    unseen = Some(format!("cgroup {} has processes that cannot be seen from here", top.display()));
                }
            });
            if let Err(e) = walked {
                unseen = Some(format!("not all below cgroup {} can be looked at: {e}", top.display()));
            }
            census.unseen = census.unseen.or(unseen);
        }
        census
    }

    fn count(&mut self, place: &Place<'_>) -> io::Result<usize> {
        let (text, threads) = match place.read("cgroup.procs") {
            // A threaded cgroup names threads only.
            Err(e) if e.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => {
                (place.read("cgroup.threads")?, true)
            }
            text => (text?, false),
        };
        // A number that was cut off is another process'.
        let text = text.unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let (mut dir, mut count): (Option<Rc<Path>>, _) = (None, 0);
        for id in whole.lines().filter_map(|line| line.parse().ok()) {
            let pid = if threads { leader(id) } else { Some(id) };
            // Zero is somebody of another pid namespace.
            if let Some(pid) = pid.filter(|&pid| pid != 0) {
                let dir = dir.get_or_insert_with(|| place.path.into());
                self.pids.entry(pid).or_insert_with(|| dir.clone());
                count += 1;
            }
        }
        Ok(count)
    }

    /// Those of `pids` that are still in the cgroups when they are held: whoever got the pid of one that left is not taken
    /// for it (I6). One that was held before the second look and has its pid in it either is that process, or is dead.
    ///
    /// # Errors
    /// If one of them cannot be held.
    pub fn hold<'a>(&self, pids: &[u32], cgroups: impl IntoIterator<Item = &'a Path>) -> io::Result<Vec<Member>> {
        let mut held = Vec::new();
        for &pid in pids {
            match ProcessIdentity::open_pid(pid) {
                Ok(opened) => held.push(opened),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        // One hierarchy is enough to find it in again, where there may be a dozen.
        let places: HashSet<&Path> = pids.iter().filter_map(|pid| self.pids.get(pid)).map(|dir| &**dir).collect();
        let had_them = |top: &&Path| places.iter().any(|place| place.starts_with(top));
        let now = Self::of(cgroups.into_iter().filter(had_them));
        let member = |(process, fd): (ProcessIdentity, OwnedFd)| {
            let cgroup = Some(now.pids.get(&process.pid)?.clone());
            let stat = Stat::of(process.pid).ok()?.filter(|stat| !stat.is_dead())?;
            Some(Member { process, fd, cgroup, kernels: stat.is_kernels() })
        };
        Ok(held.into_iter().filter_map(member).collect())
    }
}

impl Member {
    /// One that was asked for by name; `None` if it is dead.
    ///
    /// # Errors
    /// If that cannot be told.
    pub fn named(process: ProcessIdentity) -> io::Result<Option<Self>> {
        let Presence::Alive(fd) = process.look()? else { return Ok(None) };
        let kernels = Stat::of(process.pid)?.is_some_and(|stat| stat.is_kernels());
        Ok(Some(Self { process, fd, cgroup: None, kernels }))
    }
}

/// Which process the thread belongs to.
fn leader(tid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// Processes that are not this container's, wherever they are found: inits of other containers that live, shims, sextond,
/// its keeper.
pub struct Spared(LazyLock<HashSet<u32>, Box<dyn FnOnce() -> HashSet<u32> + Send>>);

impl Spared {
    /// Those that `who` names. It is asked when somebody is met, and once: most containers leave nobody behind, and all
    /// others are many.
    pub fn of(who: impl FnOnce() -> HashSet<u32> + Send + 'static) -> Self {
        Self(LazyLock::new(Box::new(who)))
    }
}

impl std::fmt::Debug for Spared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spared")
    }
}

/// Who of a census is not to be touched.
#[derive(Debug)]
pub struct Strangers<'a> {
    spared: &'a Spared,
    namespaces: HashSet<u64>,
}

impl<'a> Strangers<'a> {
    /// Whoever shares a pid namespace with a stranger that is in the same cgroups is another container's too: two
    /// containers were given one `cgroupsPath`.
    #[must_use]
    pub fn of(spared: &'a Spared, census: &Census) -> Self {
        let mut strangers = Self { spared, namespaces: HashSet::new() };
        let own = pid_namespace(std::process::id());
        let met = census.pids.keys().filter(|&&pid| strangers.knows(pid));
        strangers.namespaces = met.filter_map(|&pid| pid_namespace(pid)).filter(|ns| Some(*ns) != own).collect();
        strangers
    }

    fn knows(&self, pid: u32) -> bool {
        pid == 1 || pid == std::process::id() || self.spared.0.contains(&pid)
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn has(&self, pid: u32) -> bool {
        self.knows(pid)
            || !self.namespaces.is_empty() && pid_namespace(pid).is_some_and(|ns| self.namespaces.contains(&ns))
    }

    /// Whether any of them is in there.
    #[must_use]
    pub fn are_in(&self, census: &Census) -> bool {
        census.pids.keys().any(|&pid| self.knows(pid))
    }
}

/// Tells pid namespaces apart.
#[must_use]
pub fn pid_namespace(pid: u32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|file| file.ino())
}

/// The directories.
pub fn dirs(cgroups: &[sexton_common::cgroup::CgroupDir]) -> impl Iterator<Item = &Path> + Clone {
    cgroups.iter().map(|cgroup| cgroup.dir.as_path())
}

/// The same, of paths.
pub fn paths(cgroups: &[PathBuf]) -> impl Iterator<Item = &Path> + Clone {
    cgroups.iter().map(PathBuf::as_path)
}
