//! Removing a container's own directory. Blocks on the disk.

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, openat2, unlinkat},
    io::Errno,
};
use sexton_common::{durable, layout::ContainerDir};
use std::{fs, io, path::Path};

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
}
