//! Where a process sits in each cgroup hierarchy, and what its cgroup has counted.

use crate::{ContainerId, mountinfo::unescape};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// A container's cgroup in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupDir {
    /// The controllers, as `/proc/PID/cgroup` names them; empty for v2 (`unified` in a hybrid layout).
    pub hierarchy: String,
    /// The directory, as this mount namespace sees it.
    pub dir: PathBuf,
}

/// The cgroup directories of `pid` in every mounted hierarchy, without those that are the caller's own, or
/// above it: they are not the container's to clean.
///
/// Works for v1, v2 and hybrid. Reads `/proc` and does not block.
///
/// # Errors
/// What reading `/proc` failed with; `NotFound` if there is no such process.
pub fn of_process(pid: u32) -> io::Result<Vec<CgroupDir>> {
    let own = memberships("/proc/self/cgroup")?;
    let shared =
        |hierarchy: &str, path: &str| own.iter().any(|(h, mine)| h == hierarchy && Path::new(mine).starts_with(path));
    let mut theirs = memberships(&format!("/proc/{pid}/cgroup"))?;
    theirs.retain(|(hierarchy, path)| !shared(hierarchy, path));
    directories(&theirs)
}

/// The caller's own cgroup directories.
///
/// # Errors
/// What reading `/proc` failed with.
pub fn own() -> io::Result<Vec<CgroupDir>> {
    directories(&memberships("/proc/self/cgroup")?)
}

/// Where a runtime called from the cgroups `own` makes a container's, as runc and crun do it without systemd:
/// below them, under the container's id, or where `linux.cgroupsPath` of the bundle says.
///
/// # Errors
/// What reading `/proc` failed with.
pub fn expected(own: &[CgroupDir], cgroups_path: Option<&str>, id: &ContainerId) -> io::Result<Vec<CgroupDir>> {
    let path = cgroups_path.filter(|path| !path.is_empty()).unwrap_or(id.as_str());
    if path.split('/').any(|part| part == "..") {
        return Ok(Vec::new());
    }
    if path.starts_with('/') {
        let everywhere: Vec<_> = own.iter().map(|cgroup| (cgroup.hierarchy.clone(), path.to_owned())).collect();
        return directories(&everywhere);
    }
    let below = |cgroup: &CgroupDir| {
        let below = |dir: &Path| CgroupDir { hierarchy: cgroup.hierarchy.clone(), dir: dir.join(path) };
        // On v2 runc goes beside its own cgroup, which has processes and so may have no children with controllers.
        let beside = cgroup.dir.parent().filter(|_| cgroup.hierarchy.is_empty()).map(below);
        [Some(below(&cgroup.dir)), beside]
    };
    Ok(own.iter().flat_map(below).flatten().collect())
}

/// Where a plain program's cgroups are made: below the shim's `own`, or at `path` below the root of each hierarchy.
///
/// # Errors
/// What reading `/proc` failed with.
pub fn of_program(own: &[CgroupDir], path: Option<&Path>, id: &ContainerId) -> io::Result<Vec<CgroupDir>> {
    let Some(path) = path else {
        let name = child_name(id);
        let below = |cgroup: &CgroupDir| CgroupDir { hierarchy: cgroup.hierarchy.clone(), dir: cgroup.dir.join(&name) };
        return Ok(own.iter().map(below).collect());
    };
    let below = Path::new("/").join(path);
    let everywhere: Vec<_> =
        own.iter().map(|cgroup| (cgroup.hierarchy.clone(), below.to_string_lossy().into_owned())).collect();
    directories(&everywhere)
}

/// What a plain program's own cgroup is called.
#[must_use]
pub fn child_name(id: &ContainerId) -> String {
    format!("sexton-{id}")
}

/// The directories of that path, from the root of each hierarchy, where it exists.
///
/// # Errors
/// What reading `/proc` failed with.
pub fn at(path: &Path) -> io::Result<Vec<CgroupDir>> {
    let Some(path) = path.to_str() else { return Ok(Vec::new()) };
    let own = memberships("/proc/self/cgroup")?;
    let everywhere: Vec<_> = own.into_iter().map(|(hierarchy, _)| (hierarchy, path.to_owned())).collect();
    let mut found = directories(&everywhere)?;
    found.retain(|cgroup| cgroup.dir.is_dir());
    Ok(found)
}

fn directories(memberships: &[(String, String)]) -> io::Result<Vec<CgroupDir>> {
    let mut found = Vec::new();
    for_each_mount(|mount| {
        for (hierarchy, path) in memberships {
            if !mount.is(hierarchy) || found.iter().any(|c: &CgroupDir| c.hierarchy == *hierarchy) {
                continue;
            }
            if let Ok(below) = Path::new(path).strip_prefix(&mount.root) {
                found.push(CgroupDir { hierarchy: hierarchy.clone(), dir: mount.point.join(below) });
            }
        }
    })?;
    Ok(found)
}

fn memberships(path: &str) -> io::Result<Vec<(String, String)>> {
    let text = fs::read_to_string(path)?;
    let line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// One cgroup mount of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    root: PathBuf,
    point: PathBuf,
    v2: bool,
    options: String,
}

impl Mount {
    fn is(&self, hierarchy: &str) -> bool {
        match hierarchy.split(',').next() {
            None | Some("") => self.v2,
            Some(first) => !self.v2 && self.options.split(',').any(|option| option == first),
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let (mount, source) = line.split_once(" - ")?;
        let mut source = source.split(' ');
        let v2 = match source.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let mut mount = mount.split(' ').skip(3);
        Some(Self {
            root: unescape(mount.next()?.as_bytes()),
            point: unescape(mount.next()?.as_bytes()),
            v2,
            options: source.nth(1)?.to_owned(),
        })
    }
}

fn for_each_mount(mut visit: impl FnMut(Mount)) -> io::Result<()> {
    // Line by line: a node has thousands of mounts, and the shim must stay small.
    let mut lines = BufReader::with_capacity(4096, File::open("/proc/self/mountinfo")?);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if let Some(mount) = Mount::parse(line.trim_end()) {
            visit(mount);
        }
        line.clear();
    }
    Ok(())
}

/// Whether a cgroup hierarchy of this kind is mounted: (v1, v2).
///
/// # Errors
/// If `/proc/self/mountinfo` cannot be read.
pub fn layout() -> io::Result<(bool, bool)> {
    let mut seen = (false, false);
    for_each_mount(|mount| if mount.v2 { seen.1 = true } else { seen.0 = true })?;
    Ok(seen)
}

/// What a container's cgroups have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Whether the OOM killer struck; `None` if no memory controller says so.
    pub oom_killed: Option<bool>,
    /// The most memory, in bytes.
    pub memory_peak: Option<u64>,
    /// CPU time, in nanoseconds.
    pub cpu_ns: Option<u64>,
}

/// More than any of the files has that are read for figures.
const FILE: usize = 4096;

/// Reads the figures; what cannot be read is `None`. Must happen before the runtime removes the cgroups.
#[must_use]
pub fn figures(cgroups: &[CgroupDir]) -> Figures {
    let mut figures = Figures::default();
    for cgroup in cgroups {
        let number = |file: &str| read(&cgroup.dir.join(file))?.trim().parse::<u64>().ok();
        let keyed = |file: &str, key: &str| {
            let text = read(&cgroup.dir.join(file))?;
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
            value.trim().parse::<u64>().ok()
        };
        if cgroup.hierarchy.is_empty() {
            let killed = || keyed("memory.events", "oom_kill").map(|kills| kills > 0);
            figures.oom_killed = figures.oom_killed.or_else(killed);
            figures.memory_peak = figures.memory_peak.or_else(|| number("memory.peak"));
            figures.cpu_ns = figures.cpu_ns.or_else(|| Some(keyed("cpu.stat", "usage_usec")?.saturating_mul(1000)));
        }
        for controller in cgroup.hierarchy.split(',') {
            match controller {
                // Linux 4.13 counts the kills here.
                "memory" => {
                    figures.oom_killed = keyed("memory.oom_control", "oom_kill").map(|kills| kills > 0);
                    figures.memory_peak = number("memory.max_usage_in_bytes");
                }
                "cpuacct" => figures.cpu_ns = number("cpuacct.usage"),
                _ => {}
            }
        }
    }
    figures
}

/// A file of the kernel's, all of which one read gives: the dead are not told of before their figures are read.
fn read(path: &Path) -> Option<String> {
    let mut bytes = vec![0; FILE];
    let length = File::open(path).ok()?.read(&mut bytes).ok()?;
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_understood() {
        let v1 = "33 26 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";
        let mount = Mount::parse(v1).unwrap();
        assert!(mount.is("cpu,cpuacct") && mount.is("cpuacct") && !mount.is("") && !mount.is("memory"));
        let named = "28 25 0:25 /a\\040b /mnt/x\\134y rw - cgroup cgroup rw,xattr,name=systemd";
        let mount = Mount::parse(named).unwrap();
        assert!(mount.is("name=systemd"));
        assert_eq!((mount.root, mount.point), ("/a b".into(), "/mnt/x\\y".into()));
        let v2 = "27 25 0:24 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw,nsdelegate";
        assert!(Mount::parse(v2).unwrap().is(""));
        assert!(Mount::parse("22 1 0:20 / /sys rw - sysfs sysfs rw").is_none());
        assert!(Mount::parse("nonsense").is_none());
    }

    #[test]
    fn ones_own_cgroup_is_nobodys_to_clean() {
        assert_eq!(of_process(std::process::id()).unwrap(), []);
    }

    #[test]
    fn what_a_runtime_will_make_is_known_before() {
        let id = "c".parse().unwrap();
        let dirs = |found: Vec<CgroupDir>| found.into_iter().map(|cgroup| cgroup.dir).collect::<Vec<_>>();
        let own = [("memory", "/cg/memory/eng"), ("", "/cg/unified/eng")]
            .map(|(hierarchy, dir)| CgroupDir { hierarchy: hierarchy.into(), dir: dir.into() });
        let below = dirs(expected(&own, None, &id).unwrap());
        assert_eq!(below, ["/cg/memory/eng/c", "/cg/unified/eng/c", "/cg/unified/c"].map(PathBuf::from));
        let named = dirs(expected(&own[..1], Some("pods/x"), &id).unwrap());
        assert_eq!(named, [PathBuf::from("/cg/memory/eng/pods/x")]);
        assert!(expected(&own, Some("../.."), &id).unwrap().is_empty());
        let own = super::own().unwrap();
        let absolute = expected(&own, Some("/pods/x"), &id).unwrap();
        assert!(!own.is_empty() && absolute.iter().all(|cgroup| cgroup.dir.ends_with("pods/x")));
    }

    #[test]
    fn where_a_program_will_be_is_known_before() {
        let id = "c".parse().unwrap();
        let own = [CgroupDir { hierarchy: "memory".into(), dir: "/cg/memory/eng".into() }];
        let dirs = |found: Vec<CgroupDir>| found.into_iter().map(|cgroup| cgroup.dir).collect::<Vec<_>>();
        assert_eq!(dirs(of_program(&own, None, &id).unwrap()), [PathBuf::from("/cg/memory/eng/sexton-c")]);
        let own = super::own().unwrap();
        for path in ["/jobs/x", "jobs/x"] {
            let there = dirs(of_program(&own, Some(Path::new(path)), &id).unwrap());
            assert!(!there.is_empty() && there.iter().all(|dir| dir.ends_with("jobs/x")), "{there:?}");
        }
    }

    #[test]
    fn figures_of_v2_and_of_nothing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.events"), "low 0\noom 3\noom_kill 2\noom_group_kill 0\n").unwrap();
        fs::write(dir.path().join("memory.peak"), "4096\n").unwrap();
        fs::write(dir.path().join("cpu.stat"), "usage_usec 5\nuser_usec 3\n").unwrap();
        let cgroup = CgroupDir { hierarchy: String::new(), dir: dir.path().into() };
        let all = Figures { oom_killed: Some(true), memory_peak: Some(4096), cpu_ns: Some(5000) };
        assert_eq!(figures(&[cgroup]), all);
        let gone = CgroupDir { hierarchy: "memory".into(), dir: "/nonexistent".into() };
        assert_eq!(figures(&[gone]), Figures::default());
    }
}
