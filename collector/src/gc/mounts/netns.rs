//! Bind-mounted network namespaces.

use super::{
    held::pause,
    place::Place,
    table::{self, Mount},
};
use crate::gc::obstacle::Obstacle;
use rustix::{
    fs::{AtFlags, FileType, StatxFlags, statx, unlinkat},
    io::Errno,
};
use sexton_common::gc::Step;
use std::{io, path::Path, time::Instant};

/// A network namespace, mounted on a file as `ip netns add` does it: unmounts it, however often it is mounted there, and removes
/// the file, which also unmounts it in every other mount namespace. Done if there is nothing. Symbolic links are not followed.
/// Blocks.
///
/// # Errors
/// What else is there, which is not touched; or what failed.
pub fn remove_netns(path: &Path, end: Instant) -> Result<(), Obstacle> {
    // Somebody may be mounting while we unmount.
    while Instant::now() < end {
        unmount_all(path)?;
        match remove_file(path) {
            Ok(()) => return Ok(()),
            Err(Failure::Busy) => pause(),
            Err(Failure::Words(words)) => return Err(obstacle(path, &words)),
        }
    }
    Err(obstacle(path, "there was no time for more; tried again"))
}

fn unmount_all(path: &Path) -> Result<(), Obstacle> {
    let table = table::read().map_err(|e| obstacle(path, &format!("read the mount table: {e}")))?;
    let rows = table::by_id(&table);
    let mut here: Vec<(usize, &Mount)> = table
        .iter()
        .filter(|mount| mount.point == path && !mount.deleted)
        .map(|mount| (table::ancestors(&rows, mount).count(), mount))
        .collect();
    here.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
    for (_, mount) in here {
        let is_netns = mount.fs == "nsfs" && mount.root.to_string_lossy().starts_with("net:[");
        if !is_netns {
            let what = match mount.fs.as_str() {
                "nsfs" => mount.root.display().to_string(),
                fs => format!("{fs} {}", mount.source),
            };
            return Err(obstacle(path, &format!("{what} is mounted there, which is no network namespace: unmount it")));
        }
        let place = Place::of_mount(mount, &rows).map_err(|words| obstacle(path, &words))?;
        // As ip(8) does: whoever has it open keeps the namespace, not the mount.
        match place.unmount(true) {
            // Somebody was quicker; what is there then is looked at.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(e) => return Err(obstacle(path, &format!("unmount: {}", io::Error::from(e)))),
        }
    }
    Ok(())
}

enum Failure {
    /// It has been mounted on again.
    Busy,
    Words(String),
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    let words = |words: &str| Err(Failure::Words(words.to_owned()));
    let failed = |what: &str, e: Errno| Err(Failure::Words(format!("{what}: {}", io::Error::from(e))));
    let place = match Place::of(path) {
        Ok(place) => place,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::LOOP) => {
            return words("a symbolic link is on the way to it, and is not followed: remove what is there");
        }
        Err(Errno::NOTDIR) => return words("a file is on the way to it: remove what is there"),
        Err(e) => return failed("open its directory", e),
    };
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let stat = match statx(place.dir(), place.name(), flags, StatxFlags::TYPE | StatxFlags::SIZE) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(()),
        Err(e) => return failed("look at it", e),
    };
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::RegularFile if stat.stx_size == 0 => {}
        FileType::RegularFile => {
            return words("a file with content is there, which is no network namespace: remove it");
        }
        FileType::Directory => return words("a directory is there, which is no network namespace: remove it"),
        FileType::Symlink => return words("a symbolic link is there, and is not followed: remove it"),
        _ => return words("a socket, pipe or device is there, which is no network namespace: remove it"),
    }
    match unlinkat(place.dir(), place.name(), AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::BUSY) => Err(Failure::Busy),
        Err(e) => failed("remove it", e),
    }
}

fn obstacle(path: &Path, words: &str) -> Obstacle {
    Obstacle { mounts: true, ..Obstacle::new(Step::Netns, format!("network namespace {}: {words}", path.display())) }
}

#[cfg(test)]
#[path = "netns_tests.rs"]
mod tests;
