//! Removing what was registered, and nothing else (I10).
//!
//! Whoever shares the directory may be at work in it: the container's root, in a user namespace, with all the time of the
//! world. So no path is ever looked up twice: from `/` down to the registered name, and from there on, each component is
//! opened beneath the one before it, never through a link, and below the name never across a mount. Up it goes by `..`,
//! but only into the very directory that it came down from.

pub mod descriptors;
mod failures;
mod walk;

use super::Obstacle;
use failures::{Failures, shown};
use rustix::{fd::OwnedFd, io::Errno};
use sexton_common::gc::Step;
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path, time::Instant};
use walk::{Stop, Walk};

/// The way back of how many directories is kept in memory.
const REMEMBERED: usize = 8192;
/// Rounds after which something was there again, or nothing could be removed because directories were moved about.
const TRIES: u32 = 16;

/// Removes what lies at `path`: a file, socket, FIFO, symbolic link (itself, never what it points at), or directory with
/// everything in it. Nothing there: done. Goes on until `end`; what is left then is an obstacle that says how far it
/// came, and calling again goes on. Blocks.
///
/// # Errors
/// What is in the way. Everything else is removed nevertheless.
pub fn remove(path: &Path, end: Instant) -> Result<(), Obstacle> {
    rounds(path, end, REMEMBERED)
}

fn rounds(path: &Path, end: Instant, remembered: usize) -> Result<(), Obstacle> {
    let obstacle = |what: String| Err(Obstacle::new(Step::Files, what));
    let place = shown(path.as_os_str().as_bytes());
    let name = path.file_name().and_then(|name| CString::new(name.as_bytes()).ok());
    let (Some(parent), Some(name)) = (path.parent(), name) else {
        return obstacle(format!("{place} names nothing that could be removed: forget this entry"));
    };
    let (mut removed, mut tries) = (0, 0);
    loop {
        // Every round begins at the root directory: what is seen to be gone is gone under its name.
        let parent = match descriptors::parent(parent) {
            Ok(Some(parent)) => parent,
            Ok(None) => return Ok(()),
            Err((at, Errno::LOOP)) => {
                return obstacle(format!(
                    "{place} is not removed: {at} was a directory and is a symbolic link now; remove by hand what was \
                     meant, then the link"
                ));
            }
            Err((at, e)) => return obstacle(format!("{place} cannot be reached: open {at}: {e}")),
        };
        match descriptors::exists(&parent, &name) {
            Ok(true) => {}
            Ok(false) => return persist(&parent).or_else(|e| obstacle(format!("sync the directory of {place}: {e}"))),
            Err(e) => return obstacle(format!("look at {place}: {e}")),
        }
        let mut failures = Failures::default();
        let mut walk = Walk::new(&parent, &name, path, end, remembered, &mut failures);
        let stop = walk.run();
        let progress = walk.removed > 0;
        removed += walk.removed;
        let so_far = format!("{removed} removed so far");
        match stop {
            Err(Stop::Late) if failures.is_empty() => {
                return obstacle(format!("{place} is not all gone yet, {so_far}: the next attempt goes on"));
            }
            _ if !failures.is_empty() => return Err(failures.obstacle(&so_far)),
            // Each such round takes something away, and `end` bounds them.
            Err(Stop::Lost) if progress => {}
            _ if tries < TRIES => tries += 1,
            _ => {
                return obstacle(format!(
                    "{place} does not stay empty, {so_far}: somebody makes or moves files there; end who does (fuser -v)"
                ));
            }
        }
    }
}

/// Else a power failure brings back what nobody knows of any more.
fn persist(parent: &OwnedFd) -> Result<(), Errno> {
    match descriptors::sync(parent) {
        // Nothing to make durable, or nothing that could have changed.
        Err(Errno::INVAL | Errno::ROFS) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
