//! Looking at what is left, and removing what is empty. Everything here blocks on the file system.

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, openat2, unlinkat},
    io::Errno,
};
use serde::Deserialize;
use sexton_common::{
    Launch,
    cgroup::{self, CgroupDir},
    durable,
    layout::ContainerDir,
};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The first of these cgroups that is still there, with what keeps it.
pub fn cgroup_left(cgroups: &[PathBuf]) -> Option<String> {
    let dir = cgroups.iter().find(|dir| dir.exists())?;
    let tasks = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<&str> = tasks.lines().take(5).collect();
    let children = subdirectories(dir).len();
    Some(match (pids.is_empty(), children) {
        (false, _) => format!("cgroup {} has processes: {}", dir.display(), pids.join(", ")),
        (true, 0) => format!("cgroup {} is still there", dir.display()),
        (true, n) => format!("cgroup {} has {n} cgroups below it", dir.display()),
    })
}

/// Where the runtime would have made the container's cgroups.
pub fn expected_cgroups(launch: &Launch) -> Vec<CgroupDir> {
    // The parts of an OCI bundle's config.json that matter here.
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Linux {
        cgroups_path: Option<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Config {
        linux: Option<Linux>,
    }
    let text = fs::read(launch.bundle.join("config.json")).unwrap_or_default();
    let config: Config = serde_json::from_slice(&text).unwrap_or_default();
    let path = config.linux.and_then(|linux| linux.cgroups_path);
    cgroup::expected(&launch.cgroups, path.as_deref(), &launch.id).unwrap_or_default()
}

/// Lets a container's own freezer go, v1 and v2. One above it is somebody else's to thaw.
pub fn thaw(cgroups: &[CgroupDir]) {
    for cgroup in cgroups {
        let (file, word) = match cgroup.hierarchy.as_str() {
            "" => ("cgroup.freeze", "0"),
            controllers if controllers.split(',').any(|c| c == "freezer") => ("freezer.state", "THAWED"),
            _ => continue,
        };
        // It may be gone, or the kernel may have no freezer there: what counts is whether the process dies.
        let _ = fs::OpenOptions::new()
            .write(true)
            .open(cgroup.dir.join(file))
            .and_then(|mut f| f.write_all(word.as_bytes()));
    }
}

/// Removes cgroups that have no process, leaf first. What is busy stays, and is seen by the next look.
pub fn remove_empty(cgroups: &[PathBuf]) {
    for dir in cgroups {
        remove_tree(dir, 0);
    }
}

/// Deeper than the kernel lets cgroups nest usefully; a bound for the recursion.
const DEPTH: u32 = 128;

fn remove_tree(dir: &Path, depth: u32) {
    if depth < DEPTH {
        for child in subdirectories(dir) {
            remove_tree(&child, depth + 1);
        }
    }
    // A cgroup's files cannot be unlinked; its directory goes as soon as it has no task and no child.
    let _ = fs::remove_dir(dir);
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// The path, if there is something.
pub fn exists(path: &Path) -> Option<String> {
    path.symlink_metadata().is_ok().then(|| path.display().to_string())
}

/// Removes a container's directory: out of sight in one step, then emptied. Never leaves it, follows no
/// link, crosses no mount (I10).
///
/// # Errors
/// What failed; calling it again goes on where it stopped.
pub fn bury(dir: &ContainerDir, grave: &ContainerDir) -> io::Result<()> {
    match fs::rename(dir.path(), grave.path()) {
        Ok(()) => durable::sync_parent(dir.path())?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    empty_and_remove(grave.path())
}

fn empty_and_remove(path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    let directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, directory, Mode::empty())?;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    // The shim may be writing its record one last time.
    for _ in 0..16 {
        let fd = match openat2(&parent, name, directory, Mode::empty(), stay) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                match unlinkat(&fd, entry.file_name(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(e) => return Err(e.into()),
                }
            }
        }
        match unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(io::Error::other(format!("{} does not stay empty", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn pair(root: &Path) -> (ContainerDir, ContainerDir) {
        (ContainerDir::at(root.join("c")), ContainerDir::at(root.join("~gone-1-c")))
    }

    #[test]
    fn burying_removes_links_but_not_what_they_point_at() {
        let root = tempfile::tempdir().unwrap();
        let (dir, grave) = pair(root.path());
        let kept = root.path().join("kept");
        fs::write(&kept, "x").unwrap();
        fs::create_dir(dir.path()).unwrap();
        fs::write(dir.exit(), "y").unwrap();
        symlink(&kept, dir.launch()).unwrap();
        bury(&dir, &grave).unwrap();
        assert!(kept.exists() && !dir.path().exists() && !grave.path().exists());
        bury(&dir, &grave).unwrap();
    }

    #[test]
    fn a_directory_inside_is_not_ours_and_stops_it() {
        let root = tempfile::tempdir().unwrap();
        let (dir, grave) = pair(root.path());
        fs::create_dir_all(dir.path().join("strange/x")).unwrap();
        assert!(bury(&dir, &grave).is_err());
        assert!(grave.path().join("strange/x").exists());
    }

    #[test]
    fn a_grave_that_is_a_link_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (dir, grave) = pair(root.path());
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("f"), "x").unwrap();
        symlink(&elsewhere, grave.path()).unwrap();
        assert!(bury(&dir, &grave).is_err());
        assert!(elsewhere.join("f").exists());
    }

    #[test]
    fn what_is_left_is_said() {
        let root = tempfile::tempdir().unwrap();
        let cgroup = root.path().join("cg");
        assert_eq!(cgroup_left(std::slice::from_ref(&cgroup)), None);
        fs::create_dir_all(cgroup.join("child")).unwrap();
        assert!(cgroup_left(std::slice::from_ref(&cgroup)).unwrap().contains("1 cgroups below"));
        remove_empty(std::slice::from_ref(&cgroup));
        assert!(!cgroup.exists());
    }
}
